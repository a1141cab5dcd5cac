"""One person with WeChat, Alipay and a phone is one login, on proof; and whose it is not stays apart."""

from __future__ import annotations

import re

import pytest
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone

from accounts import members, phone_codes
from accounts.login import Person
from accounts.models import AccessToken, Identity, Member, PhoneCode, User
from billing import prepaid
from notifications.models import Delivery
from payments.models import Order
from portal import people
from tests import makers
from tests.racing import race

pytestmark = pytest.mark.django_db
NUMBER = "13812345678"
NOW = timezone.now


def ask(method, path, login, content=None):
    call = getattr(Client(), method)
    headers = login | {"Accept-Language": "en"}
    return call(f"/api/v1/{path}", content or {}, content_type="application/json", headers=headers)


@pytest.fixture
def sms(monkeypatch):
    from notifications.channels import console

    said: list[str] = []
    monkeypatch.setattr(console.log, "info", lambda text, *args: said.append(text % args))
    return said


def a_code(login, sms) -> str:
    """Asks for one, and reads the SMS."""
    assert ask("post", "me/phone-codes", login, {"phone": NUMBER}).status_code == 202
    found = re.search(r"\b([0-9]{6})\b", sms[-1])
    assert found
    return found[1]


def test_one_sees_oneself_and_says_ones_name():
    user = makers.a_user(phone=NUMBER)
    login = makers.a_login(user, identity=makers.an_identity(user=user))

    changed = ask("patch", "me", login, {"name": "李雷"})

    told = Client().get("/api/v1/me", headers=login).json()
    assert changed.status_code == 200
    assert (told["name"], told["phone"], told["consent_needed"]) == ("李雷", "138****5678", False)
    assert told["apps"] == [{"provider": "wechat", "app_id": "wxsandboxmini"}]


def test_a_number_is_changed_by_the_code_that_was_sent_to_it(sms):
    user = makers.a_user(phone="13900000000")
    login = makers.a_login(user)
    code = a_code(login, sms)

    changed = ask("put", "me/phone", login, {"phone": NUMBER, "code": code})

    assert changed.json()["phone"] == "138****5678"
    assert User.objects.get(pk=user.pk).phone == NUMBER


def test_a_change_that_is_sent_again_because_its_answer_was_lost_is_answered_again(sms):
    login = makers.a_login(makers.a_user())
    change = {"phone": NUMBER, "code": a_code(login, sms)}

    first, again = (ask("put", "me/phone", login, change) for _twice in range(2))

    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()


def test_a_code_for_logging_in_changes_no_number_and_the_other_way_round(sms):
    user = makers.a_user()
    login = makers.a_login(user)
    ask("post", "auth/phone-codes", {}, {"phone": NUMBER})
    for_login = re.search(r"\b([0-9]{6})\b", sms[-1])[1]

    refused = ask("put", "me/phone", login, {"phone": NUMBER, "code": for_login})

    assert (refused.status_code, refused.json()["code"]) == (400, "code_ended")
    assert User.objects.get(pk=user.pk).phone is None


@pytest.fixture
def two():
    """The older login has the number, a home, a recharge; the younger one asks."""
    older = makers.a_user(phone=NUMBER, name="")
    home = makers.a_tenancy(holder=older)
    order = makers.an_order(purse=prepaid.purse_of(home), user=older)
    makers.an_identity(user=older)
    younger = makers.a_user(name="李雷")
    makers.an_identity(user=younger, provider="alipay", app_id="2021")
    return older, younger, home, order


def test_a_number_of_another_login_is_told_to_who_has_proven_it_alone(two, sms):
    older, younger, _home, _order = two
    login = makers.a_login(younger)
    code = a_code(login, sms)

    wrong = ask("put", "me/phone", login, {"phone": NUMBER, "code": f"{(int(code) + 1) % 10**6:06d}"})
    asked = ask("put", "me/phone", login, {"phone": NUMBER, "code": code})

    assert wrong.json()["code"] == "wrong_code"
    assert (asked.status_code, asked.json()["code"]) == (409, "another_login")
    assert User.objects.get(pk=older.pk).is_active


def test_two_logins_become_one_with_all_that_is_theirs(two, sms):
    older, younger, home, order = two
    login, elsewhere = makers.a_login(younger), makers.a_login(older)
    code = a_code(login, sms)

    joined = ask("put", "me/phone", login, {"phone": NUMBER, "code": code, "join": True})

    assert joined.json() == {
        "id": older.pk, "name": "李雷", "phone": "138****5678", "consent_needed": False,
        "apps": [{"provider": "wechat", "app_id": "wxsandboxmini"}, {"provider": "alipay", "app_id": "2021"}],
    }  # fmt: skip
    assert Client().get(f"/api/v1/homes/{home.pk}", headers=login).status_code == 200  # who asked stays logged in
    assert Client().get("/api/v1/homes", headers=elsewhere).status_code == 401  # where somebody else may be
    assert Order.objects.get(pk=order.pk).user == older
    gone = User.objects.get(pk=younger.pk)
    assert (gone.is_active, gone.merged_into, gone.phone) == (False, older, None)


def test_of_two_who_share_a_home_the_stronger_role_stays(two):
    older, younger, home, _order = two
    other = makers.a_tenancy(holder=younger)
    for tenancy, user in ((home, younger), (other, older)):
        Member.objects.create(tenancy=tenancy, user=user, role="sharer", joined_at=makers.LONG_AGO)

    people.join(asking=younger, other=older, now=NOW())

    present = Member.objects.filter(left_at=None)
    assert set(present.values_list("tenancy", "user", "role")) == {
        (home.pk, older.pk, "holder"),
        (other.pk, older.pk, "holder"),
    }


def test_the_login_of_staff_is_never_joined(two, sms):
    older, younger, _home, _order = two
    User.objects.filter(pk=older.pk).update(is_staff=True)
    login = makers.a_login(younger)

    refused = ask("put", "me/phone", login, {"phone": NUMBER, "code": a_code(login, sms), "join": True})

    assert (refused.status_code, refused.json()["code"]) == (409, "login_is_staffs")
    assert User.objects.filter(is_active=True, pk__in=[older.pk, younger.pk]).count() == 2


def test_an_app_that_nobody_logs_in_by_is_added_and_one_of_another_is_asked_about(two):
    older, younger, _home, _order = two
    fresh = Person("wechat", "wxother", "openid-new", "")
    theirs = older.identities.get()

    assert people.add_app(user=younger, person=fresh, joins=False, now=NOW()) == younger
    assert Identity.objects.get(subject="openid-new").user == younger
    with pytest.raises(people.AnotherLoginError):
        people.add_app(user=younger, person=Person("wechat", theirs.app_id, theirs.subject, ""), joins=False, now=NOW())


# ---- at once ----


@pytest.mark.django_db(transaction=True)
def test_two_who_ask_to_be_joined_at_once_are_joined_once(two):
    older, younger, home, _order = two

    race(
        [
            lambda: people.join(asking=younger, other=older, now=NOW()),
            lambda: people.join(asking=older, other=younger, now=NOW()),
        ]
        * 2
    )

    assert User.objects.get(pk=younger.pk).merged_into == older
    assert User.objects.get(pk=older.pk).is_active
    assert home.members.get(left_at=None).user == older


@pytest.mark.django_db(transaction=True)
def test_a_code_told_five_times_at_once_is_believed_once(sms):
    made = phone_codes.make(phone=NUMBER, user=None, address="203.0.113.7", now=NOW())

    said = race([lambda: phone_codes.use(phone=NUMBER, user=None, code=made.code, now=NOW())] * 5)

    assert [one for one in said if one is None] == [None]
    assert PhoneCode.objects.get().used_at


@pytest.mark.django_db(transaction=True)
def test_guesses_at_once_are_all_counted():
    made = phone_codes.make(phone=NUMBER, user=None, address="203.0.113.7", now=NOW())
    wrong = f"{(int(made.code) + 1) % 10**6:06d}"

    race([lambda: phone_codes.use(phone=NUMBER, user=None, code=wrong, now=NOW())] * 12)

    assert PhoneCode.objects.get().tries == phone_codes.TRIES
    with pytest.raises(phone_codes.CodeEndedError):
        phone_codes.use(phone=NUMBER, user=None, code=made.code, now=NOW())


@pytest.mark.django_db(transaction=True)
def test_two_first_logins_by_one_number_at_once_are_one_person():
    from accounts import login

    race([lambda: login.sign_in_phone(NUMBER, now=NOW())] * 5)

    assert User.objects.filter(phone=NUMBER).count() == 1
    assert AccessToken.objects.count() == 5
    assert not Delivery.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_logins_of_a_home_are_joined_while_it_is_handed_over(two):
    older, younger, home, _order = two
    sharer = Member.objects.create(tenancy=home, user=younger, role="sharer", joined_at=makers.LONG_AGO)

    said = race(
        [
            lambda: people.join(asking=younger, other=older, now=NOW()),
            lambda: members.hand_over(tenancy_id=home.pk, member_id=sharer.pk, by=older, trace=""),
        ]
    )

    assert not [one for one in said if isinstance(one, DatabaseError)], said
    present = home.members.get(left_at=None)
    assert (present.user, present.role) == (older, "holder")
