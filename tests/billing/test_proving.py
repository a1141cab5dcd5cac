"""A notice is proven by the channel that brought it, as far as the property asks for; or somebody has to serve it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from billing import notices, proving, review, supply
from billing.models import Notice, Purse, SupplyPolicy
from notifications.models import Delivery, Message, WorkItem
from tests import makers
from tests.billing.spent import NOON, accrue, relay
from tests.billing.test_notices import a_warned_home
from tests.billing.test_review import look, recharge
from tests.notifications.carried import a_delivery, carry
from tests.racing import race

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
LATER = NOON + 10 * MINUTE


def carried(**about: Any) -> Delivery:
    carry(kind="cut_notice", **about)
    return Delivery.objects.get()


def is_listed() -> bool:
    return WorkItem.objects.filter(kind="unreachable", state="open").exists()


def test_the_period_runs_from_the_instant_at_which_the_message_was_delivered_and_then_it_is_cut():
    purse = a_warned_home(fresh_for_s=7 * 24 * 3600)
    accrue(purse, fen=400)
    delivery = carried(state="delivered", at=NOON + MINUTE)

    assert proving.look(now=LATER) == 1
    assert proving.look(now=LATER) == 0

    notice = Notice.objects.get()
    assert (notice.state, notice.proven_by, notice.proven_by_channel) == ("proven", None, "sms_aliyun")
    assert (notice.proven_at, notice.proof) == (NOON + MINUTE, f"delivered {delivery.vendor_id}")
    review.work(now=LATER)
    assert relay(purse) == "closed"
    review.work(now=NOON + MINUTE + timedelta(hours=24))
    assert relay(purse) == "open"


@pytest.mark.parametrize(
    ("asked", "came", "is_proven"),
    [
        ("handed", "handed", True),
        ("handed", "read", True),
        ("delivered", "handed", False),
        ("delivered", "delivered", True),
        ("read", "delivered", False),
        ("read", "read", True),
        ("handed", "undelivered", False),
    ],
)
def test_it_counts_as_far_as_the_property_asks_for(asked, came, is_proven):
    a_warned_home(proof_level=asked)
    carried(state=came, at=NOON)

    proving.look(now=LATER)

    assert (Notice.objects.get().state == "proven") == is_proven


def test_what_comes_late_is_found_by_the_slower_round():
    a_warned_home()
    carried(state="delivered", at=NOON + timedelta(hours=5))
    evening = NOON + timedelta(hours=6)

    assert (proving.look(now=evening), proving.look_at_old(now=evening)) == (0, 1)


def test_whoever_nobody_can_tell_goes_onto_the_work_list_when_nothing_is_left():
    purse = a_warned_home()
    Message.objects.filter(kind="cut_notice").update(state="nobody")

    assert proving.look(now=LATER) == 1
    assert proving.look(now=LATER) == 0
    review.work(now=LATER)
    assert not is_listed()  # four yuan are left
    accrue(purse, fen=400)
    look(purse, now=LATER)

    assert is_listed()
    assert (Notice.objects.get().stranded_at, relay(purse)) == (LATER, "closed")


def test_what_every_channel_has_refused_is_served_by_staff_and_then_off_the_list():
    purse = a_warned_home()
    accrue(purse, fen=400)
    carried(state="refused", at=NOON)
    proving.look(now=LATER)
    review.work(now=LATER)
    assert is_listed()

    notice = Notice.objects.get()
    notices.proven(notice_id=notice.pk, by=makers.a_user(), channel="", proof="door", at=LATER, now=LATER)
    review.work(now=LATER)

    assert not is_listed()
    assert proving.look(now=LATER) == 0
    assert purse.pk == notice.purse_id


def test_what_is_on_its_way_is_not_given_up():
    purse = a_warned_home()
    accrue(purse, fen=400)
    carried(state="handed", at=NOON)

    assert proving.look(now=LATER) == 0

    assert Notice.objects.get().stranded_at is None
    assert purse.tenancy is not None


def test_sent_again_and_delivered_it_is_proven_after_all():
    a_warned_home()
    carried(state="refused", at=NOON)
    proving.look(now=LATER)

    a_delivery(Message.objects.get(kind="cut_notice"), state="delivered", at=LATER)

    assert proving.look(now=LATER + MINUTE) == 1
    assert Notice.objects.get().state == "proven"


def test_without_a_notice_nothing_is_looked_for():
    assert proving.look(now=NOON) == proving.look_at_old(now=NOON) == 0


@pytest.mark.django_db(transaction=True)
def test_two_rounds_staff_and_a_recharge_at_once_leave_one_truth():
    purse = a_warned_home()
    carried(state="delivered", at=NOON)
    notice = Notice.objects.get()
    serve = partial(notices.proven, notice_id=notice.pk, by=None, channel="sms", proof="", at=NOON, now=LATER)

    outcomes = race([partial(proving.look, now=LATER)] * 4 + [serve, partial(_pay, purse)])

    proved = sum(one for one in outcomes[:4]) + isinstance(outcomes[4], Notice)
    assert proved <= 1
    notice.refresh_from_db()
    assert notice.state in ("proven", "void")
    assert (notice.proven_at is not None) == (proved == 1)
    assert SupplyPolicy.objects.get().proof_level == "delivered"


def _pay(purse: Purse) -> None:
    recharge(purse, 50_000)
    supply.decide(purse_id=purse.pk, trace="", now=LATER)
