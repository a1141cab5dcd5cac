"""Callers who come together share one piece of work: each gets its own result, and none is forgotten."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from billing.models import JournalEntry
from payments import inbox
from payments.confirm import confirm_payment
from payments.evidence import Arrival
from payments.models import Order, Payment, ProviderEvent
from payments.providers.base import PAID, PAYMENT, Receipt
from payments.together import Together
from tests import makers
from tests.payments.conftest import wechat_merchant
from tests.payments.homes_to_pay import tables
from tests.racing import race


class Work:
    """Doubles numbers, slowly, and remembers what came together."""

    def __init__(self, *, seconds: float = 0.02) -> None:
        self.batches: list[list[int]] = []
        self.seconds = seconds
        self.fails = False
        self._at_work = threading.Semaphore(1)

    def __call__(self, items: Sequence[int]) -> list[int]:
        assert self._at_work.acquire(blocking=False), "two led at once"
        try:
            self.batches.append(list(items))
            time.sleep(self.seconds)
            if self.fails:
                raise RuntimeError("no")
            return [item * 2 for item in items]
        finally:
            self._at_work.release()


class TestTogether:
    def test_who_comes_alone_does_not_wait(self):
        work = Work(seconds=0)

        assert Together(work, most=8, patience_s=5).do(1) == 2
        assert work.batches == [[1]]

    def test_each_of_many_gets_its_own(self):
        work = Work()
        together = Together(work, most=8, patience_s=30)

        assert _run(together, range(50)) == [item * 2 for item in range(50)]
        assert sorted(item for batch in work.batches for item in batch) == list(range(50))
        assert len(work.batches) < 20
        assert max(map(len, work.batches)) <= 8

    def test_a_failure_is_everybody_s_of_that_batch_and_nobody_else_s(self, caplog):
        work = Work()
        work.fails = True
        together = Together(work, most=4, patience_s=30)

        assert _run(together, range(10)) == [None] * 10
        work.fails = False
        assert together.do(4) == 8

    def test_who_is_out_of_patience_goes_alone_and_the_rest_is_served(self):
        work = Work(seconds=0.5)
        together = Together(work, most=1, patience_s=0.7)

        results = _run(together, range(4))

        assert sorted(result is None for result in results)[:2] == [False, False]
        assert None in results
        assert together.do(9) == 18  # nobody who left was made to lead


def _run(together: Together[int, int], items: Sequence[int]) -> list[Any]:
    results: dict[int, Any] = {}
    threads = [threading.Thread(target=lambda n=n: results.update({n: together.do(n)})) for n in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return [results[n] for n in items]


@pytest.mark.django_db(transaction=True)
class TestCallbacksTogether:
    @pytest.fixture
    def merchant(self, world):
        return wechat_merchant(world, makers.a_property())

    @pytest.fixture
    def purses(self, merchant):
        place = merchant.assignments.get().property
        purses = []
        for _ in range(6):
            room = makers.a_room(place=place)
            makers.a_meter(room=room, is_online=True)
            purses.append(makers.a_purse(tenancy=makers.a_tenancy(room=room)))
        return purses

    def test_batches_and_singles_over_the_same_homes_credit_each_payment_once(self, merchant, purses):
        attempts = [makers.an_attempt(order=makers.an_order(purse=purse), merchant=merchant) for purse in purses * 2]
        calls = [_callback(merchant, attempt) for attempt in attempts for _ in range(2)]
        calls += [_query(merchant, attempt) for attempt in attempts]

        results = race(calls)

        assert not [result for result in results if isinstance(result, BaseException)]
        for purse in purses:
            purse.refresh_from_db()
            assert (purse.paid_fen, purse.recharges) == (10_000, 2)
        assert Payment.objects.filter(state="credited").count() == len(attempts) == JournalEntry.objects.count()
        assert not ProviderEvent.objects.exclude(state="done", times=2).exists()

    def test_where_the_batch_cannot_be_confirmed_each_is_confirmed_alone(self, merchant, purses, caplog):
        """Here the database refuses it; the evidence stands by then, once."""
        attempts = [makers.an_attempt(order=makers.an_order(purse=purse), merchant=merchant) for purse in purses]
        with connection.cursor() as cursor:
            cursor.execute("alter function payments_confirm_plain rename to payments_confirm_gone")
        try:
            results = race([_callback(merchant, attempt) for attempt in attempts])
        finally:
            with connection.cursor() as cursor:
                cursor.execute("alter function payments_confirm_gone rename to payments_confirm_plain")

        assert results == [None] * len(attempts)
        assert Order.objects.filter(state="paid").count() == len(attempts)
        assert not ProviderEvent.objects.exclude(state="done", times=1).exists()
        assert "are acted on one by one" in caplog.text

    def test_a_home_that_somebody_else_holds_keeps_nobody_waiting(self, merchant, purses):
        """The batch goes on without it; it is confirmed once the other lets go."""
        attempts = [makers.an_attempt(order=makers.an_order(purse=purse), merchant=merchant) for purse in purses[:3]]
        is_held, may_go = threading.Event(), threading.Event()

        def hold() -> None:
            from django.db import transaction

            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("select 1 from billing_purse where id = %s for update", [purses[0].pk])
                is_held.set()
                may_go.wait(timeout=30)

        def pay_others() -> list[str]:
            is_held.wait(timeout=30)
            events = [_arrival(merchant, attempt) for attempt in attempts]
            settled = inbox.settle([(arrival, True) for arrival in events])
            may_go.set()
            return ["" if confirmed is None else confirmed.state for _stored, confirmed in settled]

        _held, states = race([hold, pay_others])

        assert states == ["", "credited", "credited"]

    def test_a_callback_inside_a_transaction_is_its_own(self, merchant, purses):
        from django.db import transaction

        attempt = makers.an_attempt(order=makers.an_order(purse=purses[0]), merchant=merchant)
        before = tables()
        with transaction.atomic():
            _callback(merchant, attempt)()
            transaction.set_rollback(True)

        assert tables() == before


def _arrival(merchant, attempt) -> Arrival:
    return Arrival(
        merchant_id=merchant.pk,
        receipt=_receipt(merchant, attempt),
        body=b"{}",
        headers={},
        trace=f"t-{attempt.pk}",
        at=timezone.now(),
    )


def _receipt(merchant, attempt) -> Receipt:
    return Receipt(
        provider="wechat",
        kind=PAYMENT,
        trade_state=PAID,
        attempt_number=attempt.number,
        event_id=f"E{attempt.pk}",
        provider_transaction=f"T{attempt.pk}",
        amount_fen=5000,
        paid_at=timezone.now() - timedelta(seconds=1),
        payer="openid-1",
    )


def _callback(merchant, attempt):
    from payments import merchants

    snapshot = merchants.snapshot(merchant)
    return lambda: inbox.take_in(_arrival(merchant, attempt), merchant=snapshot)


def _query(merchant, attempt):
    return lambda: confirm_payment(
        _receipt(merchant, attempt), merchant_id=merchant.pk, found_by="query", event_id=None, trace="q",
        now=timezone.now(),
    )  # fmt: skip
