"""What is left of somebody in a home that they have left: nothing by which they come back, and a line in the log."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts import invitations, joining, members
from accounts.invitations import UnknownCodeError
from accounts.members import HolderStaysError, NoSuchMemberError, NotTheHolderError
from accounts.models import Member
from billing import prepaid
from payments import history
from tests import makers
from tests.gateways import wait_until
from tests.racing import race

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
TRACE = "5f0c" * 8
SEVERAL_TIMES = pytest.mark.parametrize("times", range(5))


def a_shared_home(*, sharers=1):
    """The tenancy, its holder, and who shares it."""
    home = makers.a_tenancy(holder=makers.a_user())
    rows = [
        Member.objects.create(tenancy=home, user=makers.a_user(), role="sharer", joined_at=makers.LONG_AGO)
        for _each in range(sharers)
    ]
    return home, home.members.get(role="holder"), *rows


def invited(home, by):
    return members.invite(tenancy_id=home.pk, by=by.user, now=NOON)


def hand_over(home, to, by):
    return members.hand_over(tenancy_id=home.pk, member_id=to.pk, by=by.user, trace=TRACE)


def send_out(home, whom, by):
    return members.send_out(tenancy_id=home.pk, member_id=whom.pk, by=by.user, trace=TRACE, now=NOON)


def test_who_held_the_home_does_not_come_back_by_a_code_they_made_before():
    home, first, second = a_shared_home()
    code = invited(home, first).code
    hand_over(home, second, first)

    send_out(home, first, second)

    with pytest.raises(UnknownCodeError):
        invitations.join_by_code(user=first.user, code=code, now=NOON)


def test_who_leaves_leaves_no_open_door_for_others_either():
    home, first, second = a_shared_home()
    code = invited(home, first).code
    hand_over(home, second, first)

    send_out(home, first, first)

    with pytest.raises(UnknownCodeError):
        invitations.join_by_code(user=makers.a_user(), code=code, now=NOON)


def test_what_others_invited_stays_open_when_somebody_leaves():
    home, holder, sharer = a_shared_home()
    code = invited(home, holder).code

    send_out(home, sharer, sharer)

    assert invitations.join_by_code(user=makers.a_user(), code=code, now=NOON).is_new


def test_who_holds_the_home_now_sees_and_takes_back_what_the_one_before_made():
    home, first, second = a_shared_home()
    made = invited(home, first).invitation
    hand_over(home, second, first)

    assert [*members.open_invitations(home, now=NOON)] == [made]
    assert members.take_back(tenancy_id=home.pk, invitation_id=made.pk, by=second.user, now=NOON)


def test_what_was_made_by_a_login_that_was_joined_with_another_is_seen_and_ends_with_the_person():
    older = makers.a_user()
    home, first, second = a_shared_home()
    made, code = invited(home, first)
    joining.join(asking=older, other=first.user, now=NOON)
    first.refresh_from_db()
    assert first.user == older
    assert [*members.open_invitations(home, now=NOON)] == [made]

    hand_over(home, second, first)
    send_out(home, first, second)

    with pytest.raises(UnknownCodeError):
        invitations.join_by_code(user=older, code=code, now=NOON)


def test_a_membership_ends_once():
    _home, _holder, sharer = a_shared_home()

    assert [members.end(member=sharer, now=NOON) for _each in range(2)] == [True, False]


def test_who_sent_whom_out_stands_in_the_log_with_the_trace(caplog):
    caplog.set_level(logging.INFO, logger="accounts.members")
    home, first, second = a_shared_home()

    hand_over(home, second, first)
    send_out(home, first, second)

    assert [record.getMessage() for record in caplog.records] == [
        f"user {second.user_id} made holder of tenancy {home.pk} by user {first.user_id}",
        f"user {first.user_id} sent out of tenancy {home.pk} by user {second.user_id}",
    ]
    assert {record.trace for record in caplog.records} == {TRACE}


def test_what_they_recharged_stays_theirs_to_look_at_and_what_others_did_does_not():
    home, holder, sharer = a_shared_home()
    purse = prepaid.purse_of(home)
    own, anothers = makers.an_order(purse=purse, user=sharer.user), makers.an_order(purse=purse, user=holder.user)
    assert {*history.visible_to(sharer.user, timezone.now())} == {own, anothers}

    send_out(home, sharer, holder)

    assert [*history.visible_to(sharer.user, timezone.now())] == [own]


# ---- at once ----


@pytest.mark.django_db(transaction=True)
def test_a_home_that_is_handed_to_two_at_once_is_handed_to_one():
    home, holder, *others = a_shared_home(sharers=4)

    outcomes = race([lambda to=to: hand_over(home, to, holder) for to in others])

    assert sum(isinstance(outcome, NotTheHolderError) for outcome in outcomes) == 3
    assert home.members.get(role="holder").user in {one.user for one in others}


@SEVERAL_TIMES
@pytest.mark.django_db(transaction=True)
def test_who_leaves_while_the_home_is_handed_to_them_leaves_it_with_a_holder_who_lives_there(times):
    home, holder, sharer = a_shared_home()

    handed, left = race([lambda: hand_over(home, sharer, holder), lambda: send_out(home, sharer, sharer)])

    assert isinstance(handed, NoSuchMemberError) != isinstance(left, HolderStaysError)
    assert home.members.filter(role="holder", left_at=None).count() == 1


@pytest.mark.django_db(transaction=True)
def test_staff_who_end_a_membership_while_the_home_is_handed_to_it_leave_the_holder_in_place():
    """Theirs is one statement that locks no tenancy (accounts/admin.py)."""
    home, holder, sharer = a_shared_home()
    outcomes = []
    handing = threading.Thread(target=lambda: outcomes.extend(race([lambda: hand_over(home, sharer, holder)])))

    with transaction.atomic():
        Member.objects.filter(pk=sharer.pk, left_at=None).update(left_at=NOON)
        handing.start()
        wait_until(somebody_waits)
    handing.join()

    assert isinstance(outcomes[0], NoSuchMemberError)
    assert dict(home.members.values_list("pk", "role")) == {holder.pk: "holder", sharer.pk: "sharer"}


def somebody_waits():
    with connection.cursor() as cursor:
        cursor.execute("select from pg_locks where not granted")
        return cursor.fetchone() is not None


@SEVERAL_TIMES
@pytest.mark.django_db(transaction=True)
def test_a_code_of_who_is_sent_out_opens_nothing_once_they_are_gone(times):
    home, first, second = a_shared_home()
    code, newcomer = invited(home, first).code, makers.a_user()
    hand_over(home, second, first)

    joined, gone = race(
        [
            lambda: invitations.join_by_code(user=newcomer, code=code, now=NOON),
            lambda: send_out(home, first, second),
        ]
    )

    assert gone.left_at == NOON
    assert hasattr(joined, "member") or isinstance(joined, UnknownCodeError)
    assert not members.open_invitations(home, now=NOON).exists()
