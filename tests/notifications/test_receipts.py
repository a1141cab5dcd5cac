"""What vendors tell of a message may come twice, late, in any order, and before our own call has returned."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import permutations

import pytest
from django.utils import timezone

from notifications import claims, outcomes, receipts, routes
from notifications.channels.base import Answer, Fate, Outcome, Receipt
from notifications.claims import Claimed
from notifications.models import Channel, Delivery, EarlyReceipt
from notifications.outcomes import Result
from tests.notifications.post import a_home, a_template, leave
from tests.racing import race

CHANNEL = Channel.SMS_TENCENT  # its receipts name the vendor's number alone
NUMBER = "5000:1"


def a_claim() -> Claimed:
    a_template("cut_notice", channel=CHANNEL, template_id="449739")
    leave(a_home(), kind="cut_notice", available_fen=-1, hours=24)
    now = timezone.now()
    routes.route(channels=[CHANNEL], now=now)
    (claimed,) = claims.claim(channel=CHANNEL, now=now, limit=9)
    return claimed


def answered(claimed: Claimed, outcome: Outcome = Outcome.HANDED) -> Callable[[], object]:
    answer = Answer(outcome=outcome, vendor_id=NUMBER if outcome == Outcome.HANDED else "")
    return lambda: outcomes.record(channel=CHANNEL, results=[Result(claimed, answer)], now=timezone.now())


def told(fate: Fate) -> Callable[[], object]:
    receipt = Receipt(fate=fate, vendor_id=NUMBER, at=timezone.now(), code="" if fate == Fate.DELIVERED else "UNDELIV")
    return lambda: receipts.note(channel=CHANNEL, receipts=[receipt], now=timezone.now())


def sent() -> Delivery:
    return Delivery.objects.get(channel=CHANNEL)


@pytest.mark.django_db
@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_whatever_the_order_it_ends_delivered_with_its_number(order: tuple[int, ...]) -> None:
    claimed = a_claim()
    events = [answered(claimed), told(Fate.DELIVERED), told(Fate.DELIVERED), told(Fate.UNDELIVERED)]

    for n in order:
        events[n]()
    receipts.use_left(now=timezone.now())

    delivery = sent()
    assert (delivery.state, delivery.vendor_id, delivery.follow_at) == ("delivered", NUMBER, None)
    assert delivery.handed_at is not None
    assert delivery.delivered_at is not None
    assert not EarlyReceipt.objects.exists()


@pytest.mark.django_db
def test_what_was_not_delivered_goes_another_way_at_once() -> None:
    claimed = a_claim()
    answered(claimed)()

    told(Fate.UNDELIVERED)()

    assert (sent().state, sent().code) == ("undelivered", "UNDELIV")
    assert sent().follow_at is not None


@pytest.mark.django_db
def test_an_answer_that_came_after_the_claim_ran_out_is_taken_all_the_same() -> None:
    claimed = a_claim()
    Delivery.objects.filter(pk=claimed.pk).update(state="unknown", next_at=timezone.now())

    answered(claimed)()

    assert (sent().state, sent().vendor_id) == ("handed", NUMBER)


@pytest.mark.django_db
def test_an_answer_to_an_older_claim_changes_nothing() -> None:
    claimed = a_claim()
    Delivery.objects.filter(pk=claimed.pk).update(claimed_at=timezone.now() + timedelta(seconds=1))

    answered(claimed, Outcome.REFUSED)()

    assert sent().state == "claimed"


@pytest.mark.django_db
def test_a_receipt_of_what_we_never_sent_is_forgotten_after_a_day() -> None:
    told(Fate.DELIVERED)()

    assert receipts.forget_early(now=timezone.now()) == 0
    assert receipts.forget_early(now=timezone.now() + timedelta(hours=25)) == 1


@pytest.mark.django_db(transaction=True)
def test_receipts_and_the_answer_at_the_same_instant_lose_nothing() -> None:
    for _ in range(5):
        claimed = a_claim()

        race([answered(claimed), *[told(Fate.DELIVERED)] * 6])
        receipts.use_left(now=timezone.now())

        assert (sent().state, sent().vendor_id) == ("delivered", NUMBER)
        assert not EarlyReceipt.objects.exists()
        Delivery.objects.all().delete()
        from notifications.models import Message, Template

        Message.objects.all().delete()
        Template.objects.all().delete()
