"""Payments confirmed together end as if each had been confirmed alone: the same rows, whatever the homes are like."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from payments.confirm import confirm_payment, confirm_plain
from payments.evidence import Arrival, Stored, store
from payments.models import Merchant
from payments.providers.base import PAID, PAYMENT, Receipt
from tests import makers
from tests.payments.homes_to_pay import NOW, Home, Paid, build, tables

pytestmark = pytest.mark.django_db

Event = tuple[Stored, Arrival]
homes = st.builds(
    Home,
    paid_fen=st.sampled_from([0, 0, 300, -2000, -5000, -7000]),
    accrued_fen=st.sampled_from([0, 0, 4000, 4999, 5000, 9000]),
    restore_above_fen=st.sampled_from([0, 0, 1000, 4999]),
    needs_review=st.booleans(),
    has_review=st.booleans(),
    has_account=st.booleans(),
    hold=st.sampled_from(["", "", "", "open", "closed", "over"]),
    tenancy=st.sampled_from(["runs", "runs", "runs", "ended", "to come"]),
    meters=st.sampled_from(
        [("server",), ("display",), ("server", "display"), (), ("meter",), ("server", "meter"), ("server", "server")]
    ),
    reported=st.sampled_from([None, "open", "closed", ""]),
    command=st.sampled_from(
        ["", "queued open", "queued closed", "sent open", "sent closed", "expired open", "expired closed",
         "done open", "done closed", "superseded closed"]
    ),
    is_online=st.booleans(),
    order=st.sampled_from(["placed", "placed", "placed", "closed", "paid"]),
    second_attempt=st.booleans(),
    cut_hold=st.booleans(),
)  # fmt: skip
payments = st.builds(
    Paid,
    home=homes,
    wrong_amount=st.sampled_from([False, False, False, True]),
    unknown=st.sampled_from([False, False, False, True]),
    known=st.sampled_from([False, False, False, True]),
    times=st.sampled_from([1, 1, 2]),
    orders=st.sampled_from([1, 1, 2]),
    channel=st.sampled_from(["wechat_mini", "alipay_mini"]),
)


def arrivals_of(paid: Paid, merchant: Merchant) -> list[Arrival]:
    return [
        Arrival(
            merchant_id=merchant.pk,
            receipt=Receipt(
                provider="wechat",
                kind=PAYMENT,
                trade_state=PAID,
                attempt_number="NOBODY-KNOWS" + attempt.number if paid.unknown else attempt.number,
                event_id=f"E{attempt.number}-{n}",
                provider_transaction=f"T{attempt.number}",
                amount_fen=4999 if paid.wrong_amount else 5000,
                paid_at=NOW,
                payer="openid-1",
            ),
            body=b"{}",
            headers={},
            trace=f"trace-{attempt.number[-8:]}",
            at=NOW,
        )
        for attempt in build(paid, merchant)
        for n in range(paid.times)
    ]


def alone(events: list[Event]) -> None:
    for stored, arrival in events:
        confirm_payment(
            arrival.receipt, merchant_id=arrival.merchant_id, found_by="callback", event_id=stored.id,
            trace=stored.trace, now=NOW,
        )  # fmt: skip


def together(events: list[Event]) -> list[Event]:
    """Those that were done; the rest follows alone, as in the inbox."""
    confirmed = confirm_plain(events, now=NOW)
    done = [event for event, one in zip(events, confirmed, strict=True) if one is not None]
    alone([event for event, one in zip(events, confirmed, strict=True) if one is None])
    return done


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(batch=st.lists(payments, min_size=1, max_size=5))
@example(batch=[Paid(Home()), Paid(Home(paid_fen=-4999)), Paid(Home(meters=("server", "display")))])
@example(batch=[Paid(Home(), orders=2, times=2)])
def test_together_is_as_alone(batch):
    with transaction.atomic():
        merchant = makers.a_merchant()
        arrivals = [arrival for paid in batch for arrival in arrivals_of(paid, merchant)]
        events = list(zip(store(arrivals), arrivals, strict=True))
        with transaction.atomic():
            done = together(events)
            seen = tables()
            transaction.set_rollback(True)

        # Who was left out came after those who were not: one of the orders in which they may have come one by one.
        alone(done + [event for event in events if event not in done])

        expected = tables()
        assert {name: seen[name] for name in seen if seen[name] != expected[name]} == {
            name: expected[name] for name in seen if seen[name] != expected[name]
        }
        transaction.set_rollback(True)


@pytest.mark.parametrize(
    "home",
    [
        Home(),
        Home(has_account=True, paid_fen=300, reported="closed"),
        Home(needs_review=True, accrued_fen=4000, paid_fen=0),
        Home(meters=("server", "display"), command="done open"),
        Home(hold="over", second_attempt=True, cut_hold=True, reported=None),
    ],
)
def test_a_usual_recharge_is_confirmed_with_the_others(home):
    assert len(_done([Paid(home), Paid(home)])) == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"home": Home(accrued_fen=5000)},
        {"home": Home(paid_fen=-4000, restore_above_fen=1000)},
        {"home": Home(hold="open")},
        {"home": Home(hold="closed")},
        {"home": Home(tenancy="ended")},
        {"home": Home(tenancy="to come")},
        {"home": Home(meters=("meter",))},
        {"home": Home(meters=("server", "meter"))},
        {"home": Home(meters=())},
        {"home": Home(command="queued open")},
        {"home": Home(order="closed")},
        {"home": Home(order="paid")},
        {"wrong_amount": True},
        {"unknown": True},
        {"known": True},
    ],
    ids=str,
)
def test_whatever_needs_a_thought_is_left_out_and_the_others_are_done(changed: dict[str, Any]):
    odd = Paid(**{"home": Home()} | changed)

    assert len(_done([odd, Paid(Home()), odd])) == 1


def _done(batch: list[Paid]) -> list[Event]:
    merchant = makers.a_merchant()
    arrivals = [arrival for paid in batch for arrival in arrivals_of(paid, merchant)]
    events = list(zip(store(arrivals), arrivals, strict=True))
    confirmed = confirm_plain(events, now=NOW)
    return [event for event, one in zip(events, confirmed, strict=True) if one is not None]
