"""Logins that are joined while something else is under way, and proofs that come in an odd order."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from accounts import invitations, login, members, phone_codes
from accounts.login import Person
from accounts.models import Identity, Member, User
from portal import people
from tests import makers
from tests.racing import race

pytestmark = pytest.mark.django_db
NUMBER = "13812345678"
NOW = timezone.now


def a_code(user):
    return phone_codes.make(phone=NUMBER, user=user, address="203.0.113.7", now=NOW()).code


@pytest.fixture
def joined():
    """The older login, and the younger one as a request holds it that began before the two were joined."""
    older, younger = makers.a_user(), makers.a_user()
    people.join(asking=older, other=User.objects.get(pk=younger.pk), now=NOW())
    return older, younger


def test_a_fresh_app_with_a_union_id_is_added_and_nobody_is_made_up_for_it():
    user = makers.a_user()
    fresh = Person("wechat", "wxother", "openid-new", "union-new")

    kept = people.add_app(user=user, person=fresh, joins=False, now=NOW())

    assert kept == user
    assert Identity.objects.get(subject="openid-new").user == user
    assert User.objects.count() == 1


def test_an_app_of_another_with_the_same_union_id_is_asked_about():
    theirs = login.recognise(Person("wechat", "wxsandboxmini", "old", "union-1"))
    asking = makers.a_user()

    with pytest.raises(people.AnotherLoginError):
        people.add_app(user=asking, person=Person("wechat", "wxother", "new", "union-1"), joins=False, now=NOW())

    assert theirs.user.is_active


def test_the_fifth_try_may_be_the_right_one():
    user = makers.a_user()
    code = a_code(user)
    wrong = f"{(int(code) + 1) % 10**6:06d}"
    for _each in range(phone_codes.TRIES - 1):
        with pytest.raises(phone_codes.WrongCodeError):
            people.take_number(user=user, phone=NUMBER, code=wrong, joins=False, now=NOW())

    people.take_number(user=user, phone=NUMBER, code=code, joins=False, now=NOW())

    assert User.objects.get(pk=user.pk).phone == NUMBER


def test_no_number_goes_to_a_login_that_was_joined_meanwhile(joined):
    _older, younger = joined
    code = a_code(younger)

    said = race_one(lambda: people.take_number(user=younger, phone=NUMBER, code=code, joins=False, now=NOW()))

    assert not User.objects.filter(phone=NUMBER, is_active=False).exists(), said
    assert login.sign_in_phone(NUMBER, now=NOW()).user.is_active


def test_no_app_goes_to_a_login_that_was_joined_meanwhile(joined):
    _older, younger = joined
    person = Person("wechat", "wxother", "openid-new", "")

    said = race_one(lambda: people.add_app(user=younger, person=person, joins=False, now=NOW()))

    assert not Identity.objects.filter(user=younger).exists(), said
    assert login.sign_in(person, now=NOW()).user.is_active


def test_who_comes_into_a_home_while_two_logins_are_joined_lives_there_with_the_one_that_is_kept(joined):
    older, younger = joined
    home = makers.a_tenancy()
    invited = invitations.invite(tenancy=home, role="sharer", phone="", by=None, now=NOW())

    invitations.join_by_code(user=younger, code=invited.code, now=NOW())

    assert home.members.filter(left_at=None, user=older).exists()


def test_a_number_that_an_app_vouches_for_goes_to_the_login_that_is_kept(joined):
    older, younger = joined

    invitations.join_by_phone(user=younger, phone=NUMBER, now=NOW())

    assert User.objects.get(phone=NUMBER) == older


def test_who_left_does_not_come_in_by_a_code_of_a_login_joined_two_times_over():
    first, second, third = makers.a_user(), makers.a_user(), makers.a_user()
    home = makers.a_tenancy(holder=third)
    invited = members.invite(tenancy_id=home.pk, by=third, now=NOW())
    people.join(asking=second, other=third, now=NOW())
    people.join(asking=first, other=second, now=NOW())
    assert [one.pk for one in members.open_invitations(home, now=NOW())] == [invited.invitation.pk]

    members.end(member=home.members.get(left_at=None), now=NOW())

    with pytest.raises(invitations.UnknownCodeError):
        invitations.join_by_code(user=first, code=invited.code, now=NOW())
    assert not Member.objects.filter(left_at=None).exists()


@pytest.mark.parametrize("phone", ["1381234567\0", "x" * 5000, ""])
def test_a_number_that_is_none_is_told_so_at_the_second_step_too(phone):
    answer = Client().post("/login/", {"phone": phone, "code": "123456"})

    assert answer.status_code == 400


@pytest.mark.django_db(transaction=True)
def test_a_login_that_is_given_while_two_are_joined_opens():
    for turn in range(8):
        older, younger = makers.a_user(), makers.a_user()
        person = Person("wechat", "wxa", f"openid-{turn}", "")
        login.recognise(person, asking=younger)

        said = race(
            [
                lambda a=older, b=younger: people.join(asking=a, other=b, now=NOW()),
                *[lambda who=person: login.sign_in(who, now=NOW())] * 3,
            ]
        )

        given = [one for one in said if isinstance(one, login.SignedIn)]
        assert len(given) == 3, said
        # A token given before the join may end with it; one of a login that is gone would never open, nor end.
        assert not User.objects.get(pk=younger.pk).access_tokens.filter(revoked_at=None).exists()


def race_one(call):
    """What was said, whatever it was: the test looks at what is written."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - either answer is right, as long as nothing wrong is written
        return error
