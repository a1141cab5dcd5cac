"""Who lives in a home: let in, sent out, handed over; by the holder, each of them once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts import invitations, members
from accounts.models import Invitation, Member
from portal import pay_links
from tests import makers
from tests.racing import race

pytestmark = pytest.mark.django_db
NOW = timezone.now


@pytest.fixture
def home():
    tenancy = makers.a_tenancy(holder=makers.a_user(phone="13812345678"))
    Member.objects.create(tenancy=tenancy, user=makers.a_user(), role="sharer", joined_at=makers.LONG_AGO)
    return tenancy


def user_of(home, role):
    return home.members.get(role=role, left_at=None).user


def ask(method, path, user, content=None):
    headers = makers.a_login(user) | {"Accept-Language": "en"}
    call = getattr(Client(), method)
    return call(f"/api/v1/homes/{path}", content or {}, content_type="application/json", headers=headers)


def test_everybody_sees_who_lives_there_with_masked_numbers(home):
    told = Client().get(f"/api/v1/homes/{home.pk}/members", headers=makers.a_login(user_of(home, "sharer"))).json()

    first, second = told["members"]
    assert (first["role"], first["phone"], first["is_me"]) == ("holder", "138****5678", False)
    assert (second["role"], second["is_me"]) == ("sharer", True)


def test_a_code_lets_one_more_in_and_is_told_once(home):
    invited = ask("post", f"{home.pk}/invitations", user_of(home, "holder")).json()
    newcomer = makers.a_user()

    joined = invitations.join_by_code(user=newcomer, code=invited["code"], now=NOW())

    assert joined.member.role == "sharer"
    assert invited["code"] not in str(Invitation.objects.values().get())


def test_only_the_holder_invites_and_five_at_most_are_open(home):
    refused = ask("post", f"{home.pk}/invitations", user_of(home, "sharer"))
    for _each in range(members.OPEN_AT_MOST):
        assert ask("post", f"{home.pk}/invitations", user_of(home, "holder")).status_code == 201
    sixth = ask("post", f"{home.pk}/invitations", user_of(home, "holder"))

    assert (refused.status_code, refused.json()["code"]) == (403, "not_the_holder")
    assert (sixth.status_code, sixth.json()["code"]) == (409, "too_many_invitations")


def test_an_invitation_that_was_taken_back_opens_nothing(home):
    holder = user_of(home, "holder")
    invited = ask("post", f"{home.pk}/invitations", holder).json()

    done = ask("delete", f"{home.pk}/invitations/{invited['id']}", holder)
    again = ask("delete", f"{home.pk}/invitations/{invited['id']}", holder)

    assert (done.status_code, again.status_code) == (204, 404)
    with pytest.raises(invitations.UnknownCodeError):
        invitations.join_by_code(user=makers.a_user(), code=invited["code"], now=NOW())


def test_the_invitations_of_staff_are_not_the_tenants_to_see(home):
    invitations.invite(tenancy=home, role="sharer", phone="", by=makers.a_user(is_staff=True), now=NOW())

    headers = makers.a_login(user_of(home, "holder"))
    assert Client().get(f"/api/v1/homes/{home.pk}/invitations", headers=headers).json() == {"invitations": []}


def test_who_was_sent_out_sees_nothing_from_that_instant_with_the_login_they_have(home):
    sharer = user_of(home, "sharer")
    login = makers.a_login(sharer)
    member = home.members.get(user=sharer)

    gone = ask("delete", f"{home.pk}/members/{member.pk}", user_of(home, "holder"))

    assert gone.status_code == 204
    assert Client().get(f"/api/v1/homes/{home.pk}", headers=login).status_code == 404
    assert Client().get("/api/v1/homes", headers=login).json() == {"homes": []}


def test_a_sharer_may_leave_but_sends_nobody_out(home):
    sharer, holder = user_of(home, "sharer"), user_of(home, "holder")

    refused = ask("delete", f"{home.pk}/members/{home.members.get(user=holder).pk}", sharer)
    left = ask("delete", f"{home.pk}/members/{home.members.get(user=sharer).pk}", sharer)

    assert (refused.status_code, left.status_code) == (403, 204)


def test_the_holder_hands_over_before_they_leave(home):
    holder, sharer = user_of(home, "holder"), user_of(home, "sharer")
    own = home.members.get(user=holder)

    stays = ask("delete", f"{home.pk}/members/{own.pk}", holder)
    ask("post", f"{home.pk}/members/{home.members.get(user=sharer).pk}/make-holder", holder)
    left = ask("delete", f"{home.pk}/members/{own.pk}", holder)

    assert (stays.status_code, stays.json()["code"]) == (409, "holder_stays")
    assert left.status_code == 204
    assert user_of(home, "holder") == sharer


def test_who_gave_the_home_away_and_was_sent_out_does_not_come_back_by_their_own_code(home):
    first, second = user_of(home, "holder"), user_of(home, "sharer")
    code = ask("post", f"{home.pk}/invitations", first).json()["code"]
    ask("post", f"{home.pk}/members/{home.members.get(user=second).pk}/make-holder", first)
    ask("delete", f"{home.pk}/members/{home.members.get(user=first).pk}", second)

    headers = makers.a_login(first) | {"Accept-Language": "en"}
    back = Client().post("/api/v1/homes", {"code": code}, content_type="application/json", headers=headers)

    assert (back.status_code, back.json()["code"]) == (404, "unknown_code")
    assert Client().get("/api/v1/homes", headers=headers).json() == {"homes": []}


# ---- at once ----


@pytest.mark.django_db(transaction=True)
def test_two_who_are_made_holder_at_once_leave_one_holder(home):
    third = Member.objects.create(tenancy=home, user=makers.a_user(), role="sharer", joined_at=makers.LONG_AGO)
    holder, second = (
        user_of(home, "holder"),
        home.members.get(role="sharer", joined_at=makers.LONG_AGO, pk__lt=third.pk),
    )

    race(
        [
            lambda: members.hand_over(tenancy_id=home.pk, member_id=second.pk, by=holder, trace=""),
            lambda: members.hand_over(tenancy_id=home.pk, member_id=third.pk, by=holder, trace=""),
        ]
        * 2
    )

    assert home.members.filter(role="holder", left_at=None).count() == 1


@pytest.mark.django_db(transaction=True)
def test_who_is_sent_out_while_the_home_is_handed_to_them_leaves_it_with_a_holder(home):
    holder, sharer = user_of(home, "holder"), home.members.get(role="sharer")

    race(
        [
            lambda: members.hand_over(tenancy_id=home.pk, member_id=sharer.pk, by=holder, trace=""),
            lambda: members.send_out(tenancy_id=home.pk, member_id=sharer.pk, by=holder, trace="", now=NOW()),
        ]
    )

    assert home.members.filter(role="holder", left_at=None).count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_code_that_is_used_while_it_is_taken_back_is_one_of_both(home):
    holder, newcomer = user_of(home, "holder"), makers.a_user()
    invited = members.invite(tenancy_id=home.pk, by=holder, now=NOW())

    taken_back, joined = race(
        [
            lambda: members.take_back(tenancy_id=home.pk, invitation_id=invited.invitation.pk, by=holder, now=NOW()),
            lambda: invitations.join_by_code(user=newcomer, code=invited.code, now=NOW()),
        ]
    )

    assert (taken_back is True) != hasattr(joined, "member")
    assert home.members.filter(user=newcomer).exists() == hasattr(joined, "member")


@pytest.mark.django_db(transaction=True)
def test_ten_taps_at_once_open_five_invitations(home):
    holder = user_of(home, "holder")

    race([lambda: members.invite(tenancy_id=home.pk, by=holder, now=NOW())] * 10)

    assert Invitation.objects.count() == members.OPEN_AT_MOST


# ---- somebody else pays ----


def test_a_link_shows_the_door_and_the_amount_and_nothing_else(home):
    makers.a_merchant(provider="alipay", place=home.property)
    made = ask("post", f"{home.pk}/pay-links", user_of(home, "sharer"), {"amount": "66.60", "note": "Thank you!"})

    page = Client(headers={"Accept-Language": "en", "User-Agent": "Mobile"}).get(
        made.json()["url"].removeprefix("http://127.0.0.1:8000")
    )

    text = page.content.decode()
    assert made.status_code == 201
    assert str(home.room) in text
    assert "¥66.60" in text
    assert "Thank you!" in text
    assert "5678" not in text
    assert "alance" not in text


def test_a_link_ends_with_the_tenancy(home):
    token = token_of(pay_links.make(tenancy=home, amount_fen=None, note="", now=NOW()))
    assert pay_links.read(token, now=NOW()).tenancy == home

    home.ends_at = NOW() - timedelta(seconds=1)
    home.save(update_fields=["ends_at"])

    with pytest.raises(pay_links.BadPayLink):
        pay_links.read(token, now=NOW())
    assert Client().get(f"/f/{token}/").status_code == 404


def test_a_link_ends_with_its_week(home):
    made = pay_links.make(tenancy=home, amount_fen=6660, note="谢谢", now=NOW() - timedelta(days=3))
    token = token_of(made)

    link = pay_links.read(token, now=made.expires_at - timedelta(seconds=1))

    assert (link.amount_fen, link.note) == (6660, "谢谢")
    with pytest.raises(pay_links.BadPayLink):
        pay_links.read(token, now=made.expires_at)
    assert timedelta(days=3, hours=23) < made.expires_at - NOW() < timedelta(days=4)


def test_no_letter_of_a_link_can_be_changed(home):
    token = token_of(pay_links.make(tenancy=home, amount_fen=6660, note="", now=NOW()))

    for at in range(len(token) - 1):  # the last letter of base64 has bits that say nothing
        forged = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        with pytest.raises(pay_links.BadPayLink):
            pay_links.read(forged, now=NOW())
    assert Client().get("/f/forged/").status_code == 404


def test_a_link_that_nobody_could_pay_is_not_made(home):
    refused = ask("post", f"{home.pk}/pay-links", user_of(home, "sharer"), {"amount": "9999999"})

    assert (refused.status_code, refused.json()["code"]) == (400, "amount_out_of_limits")


def token_of(made):
    return made.url.rsplit("/", 2)[1]


@pytest.mark.parametrize("sent", [{"amount": "0"}, {"amount": "1.001"}, {"amount": "x"}, {"note": "n" * 41}])
def test_a_link_for_nonsense_is_not_made(home, sent):
    assert ask("post", f"{home.pk}/pay-links", user_of(home, "holder"), sent).status_code == 400
