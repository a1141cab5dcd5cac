"""The notice before a cut: left once, proven once, its period from the proof, void when paid."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

import pytest

from billing import notices, review, supply
from billing.models import Notice, Purse, Review, RoomPolicy, SupplyPolicy
from billing.notices import NoticeRefused
from notifications.models import Message
from tests import makers
from tests.billing.spent import NOON, a_home, accrue, relay
from tests.billing.test_review import look, recharge
from tests.racing import race

pytestmark = pytest.mark.django_db
LATER = NOON + timedelta(hours=2)


def a_warned_home(**policy: object) -> Purse:
    """4.00 yuan are left, 5.00 is a level: the tenant has been told that a cut is near."""
    purse = a_home(fen=400, warn_fens=[500], **policy)
    Notice.objects.filter(purse=purse).delete()
    look(purse)
    return purse


def serve(
    notice: Notice, *, at: datetime = LATER, now: datetime = LATER, proof: str = "signed by the tenant"
) -> Notice:
    return notices.proven(notice_id=notice.pk, by=makers.a_user(), channel="", proof=proof, at=at, now=now)


def test_the_first_warning_leaves_a_notice_and_the_next_none():
    purse = a_warned_home()
    accrue(purse, fen=400)
    look(purse)

    notice = Notice.objects.get()
    assert (notice.state, notice.left_at, notice.recharge) == ("left", NOON, 0)
    message = Message.objects.get(kind="cut_notice")
    assert (message.key, message.context["available_fen"], message.context["hours"]) == (notice.message_key, 400, 24)
    assert datetime.fromisoformat(message.context["not_before"]) == NOON + timedelta(hours=24)
    assert message.context["why"]["en"] == "the balance is low"


def test_the_notice_says_that_nothing_is_left_and_the_earliest_hour_at_which_the_property_cuts():
    purse = a_home(protected_hours=[["10:00", "15:00"]])
    Notice.objects.filter(purse=purse).delete()
    look(purse)

    context = Message.objects.get(kind="cut_notice").context
    assert context["why"]["en"] == "the balance is used up"
    assert datetime.fromisoformat(context["not_before"]) == NOON + timedelta(hours=27)


def test_who_may_not_be_cut_is_not_told_that_they_will_be():
    for spare in (
        lambda purse: SupplyPolicy.objects.filter(property=purse.property).delete(),
        lambda purse: RoomPolicy.objects.create(
            room=purse.tenancy.room, property=purse.property, is_protected=True, protected_reason="r", changed_at=NOON
        ),
    ):
        purse = a_home(fen=400, warn_fens=[500])
        Notice.objects.filter(purse=purse).delete()
        spare(purse)

        look(purse)

    assert not Notice.objects.exists()


def test_staff_serve_it_and_its_period_runs_from_then():
    purse = a_warned_home(notice_hours=48, fresh_for_s=7 * 24 * 3600)
    accrue(purse, fen=400)

    served = serve(Notice.objects.get(), at=NOON + timedelta(hours=1))

    assert (served.state, served.proof, served.runs_until) == (
        "proven",
        "signed by the tenant",
        NOON + timedelta(hours=49),
    )
    assert Review.objects.filter(purse=purse).exists()
    review.work(now=LATER)
    assert relay(purse) == "closed"
    review.work(now=NOON + timedelta(hours=49))
    assert relay(purse) == "open"


def test_a_channel_proves_it_without_words():
    a_warned_home()

    notice = Notice.objects.get()
    notices.proven(notice_id=notice.pk, by=None, channel="sms", proof="", at=NOON, now=LATER)

    notice.refresh_from_db()
    assert (notice.proven_by_channel, notice.runs_until) == ("sms", NOON + timedelta(hours=24))


@pytest.mark.parametrize(
    ("told", "refusal"),
    [
        ({"proof": "  "}, "Say how"),
        ({"at": LATER + timedelta(seconds=1)}, "between"),
        ({"at": NOON - timedelta(minutes=2)}, "between"),
    ],
)
def test_what_is_no_proof_is_refused_and_changes_nothing(told, refusal):
    a_warned_home()
    notice = Notice.objects.get()

    with pytest.raises(NoticeRefused, match=refusal):
        serve(notice, **told)

    notice.refresh_from_db()
    assert notice.state == "left"


@pytest.mark.parametrize("state", ["left", "proven", "void"])
def test_it_moves_as_its_table_says_and_not_otherwise(state):
    purse = a_warned_home()
    proven = {"proven_at": NOON, "runs_until": NOON, "proof": "p"} if state == "proven" else {}
    Notice.objects.update(state=state, **proven)
    notice = Notice.objects.get(purse=purse)

    for to, move in (
        ("proven", partial(serve, notice)),
        ("void", partial(notices.void, notice_id=notice.pk, now=LATER)),
    ):
        Notice.objects.update(state=state)
        if to in notices.MOVES[state]:
            move()
        else:
            with pytest.raises(NoticeRefused):
                move()
        assert Notice.objects.get().state == (to if to in notices.MOVES[state] else state)


def test_a_recharge_that_lifts_the_balance_voids_it_and_the_next_debt_needs_another():
    purse = a_warned_home()
    serve(Notice.objects.get(), at=NOON)

    recharge(purse, 100, now=LATER)  # 5.00 again: still near
    review.work(now=LATER)

    assert list(Notice.objects.order_by("pk").values_list("state", "recharge")) == [("void", 0), ("left", 1)]
    accrue(purse, fen=500, at=LATER)
    assert look(purse, now=LATER).why_not == ("notice_not_proven",)


def test_a_recharge_that_leaves_a_debt_voids_nothing():
    purse = a_warned_home()
    serve(Notice.objects.get(), at=NOON)
    accrue(purse, fen=1400, at=LATER)
    look(purse, now=LATER)

    recharge(purse, 500, now=LATER)
    review.work(now=LATER)

    assert Notice.objects.get().state == "proven"


def test_a_message_that_nobody_has_carried_is_taken_back_with_the_notice():
    purse = a_warned_home()

    recharge(purse, 10_000)
    review.work(now=NOON)

    assert Notice.objects.get().state == "void"
    assert Message.objects.get(kind="cut_notice").state == "withdrawn"


@pytest.mark.django_db(transaction=True)
def test_many_who_serve_it_and_a_payment_at_once_leave_one_truth():
    purse = a_warned_home()
    notice = Notice.objects.get()

    outcomes = race([partial(serve, notice)] * 4 + [partial(supply.decide, purse_id=purse.pk, trace="", now=LATER)] * 3)

    assert sum(isinstance(one, Notice) for one in outcomes) == 1
    assert sum(isinstance(one, NoticeRefused) for one in outcomes) == 3
    assert Notice.objects.get().state == "proven"
