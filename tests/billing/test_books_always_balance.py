"""Any sequence of recharges, refunds and settlements against plain arithmetic."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import audit, prepaid
from billing.ledger import LedgerConflict
from billing.models import JournalEntry, Transfer
from meters.models import TopUp
from tests import makers
from tests.billing.books import NOW, columns, summed, take_back, top_up

pytestmark = pytest.mark.django_db
_run = itertools.count(1)


@dataclass
class Oracle:
    """What a child would keep in a notebook about one home."""

    meter_holds_money: bool
    paid: int = 0
    in_transit: int = 0
    in_meter: int = 0
    outside: int = 0
    done: dict[str, tuple[str, int]] = field(default_factory=dict)
    under_way: dict[str, int] = field(default_factory=dict)
    queued: dict[str, int] = field(default_factory=dict)

    def is_new(self, key: str, what: str, amount: int) -> bool:
        if key in self.done and self.done[key] != (what, amount):
            raise LedgerConflict
        is_new = key not in self.done
        self.done[key] = (what, amount)
        return is_new

    def top_up(self, key: str, amount: int) -> bool:
        if not self.is_new(key, "top_up", amount):
            return False
        self.paid += amount
        self.outside -= amount
        if self.meter_holds_money and self.paid > 0:
            self.send_on(key)
        return True

    def take_back(self, key: str, amount: int) -> bool:
        if not self.is_new(key, "take_back", amount):
            return False
        back = 0
        for sent in reversed([key for key in self.queued if key in self.under_way]):
            if back >= amount:
                break
            back += self.under_way[sent]
            self.end(sent, "cancelled")
        self.paid -= amount
        self.outside += amount
        if back and self.paid > 0:
            self.send_on(f"{key}:onward")
        return True

    def send_on(self, key: str) -> None:
        self.under_way[key] = self.queued[key] = self.paid
        self.in_transit += self.paid
        self.paid = 0

    def end(self, key: str, state: str) -> None:
        fen = self.under_way.pop(key)
        self.in_transit -= fen
        if state == "landed":
            self.in_meter += fen
        else:
            self.paid += fen

    def columns(self) -> dict[str, int]:
        return {"paid": self.paid, "subsidy": 0, "in_transit": self.in_transit, "in_meter": self.in_meter}


AMOUNTS = st.sampled_from([1, 7, 100, 100, 5000])
STEPS = st.lists(
    st.tuples(st.sampled_from(["top_up", "take_back", "landed", "cancelled", "settle"]), st.integers(0, 5), AMOUNTS),
    max_size=14,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(held_by=st.sampled_from(["server", "meter"]), steps=STEPS)
def test_whatever_happens_the_books_say_what_the_notebook_says(held_by: str, steps) -> None:
    """Few keys and amounts, so that the same key comes again with the same contents and with others."""
    run = next(_run)
    room = makers.a_room()
    meter = makers.a_meter(room=room, held_by=held_by)
    purse = makers.a_purse(tenancy=makers.a_tenancy(room=room))
    oracle = Oracle(meter_holds_money=held_by == "meter")
    outside_before = summed(purse=None)
    doors = {"top_up": top_up, "take_back": take_back}

    for what, n, amount in steps:
        key = f"{run}:{n}"
        before = list(Transfer.objects.order_by("pk").values_list())
        if what in doors:
            assert outcome(doors[what], purse, amount, key=key) == outcome(getattr(oracle, what), key, amount)
        elif what == "settle":
            prepaid.settle(now=NOW)
        elif key in oracle.under_way:
            number = n if what == "landed" else None
            TopUp.objects.filter(key=key).update(state=what, number=number, landed_at=NOW)
            oracle.end(key, what)
            prepaid.settle(now=NOW)
        assert columns(purse) == oracle.columns()
        assert dict(TopUp.objects.filter(meter=meter).values_list("key", "amount_fen")) == oracle.queued
        assert list(Transfer.objects.order_by("pk").values_list())[: len(before)] == before

    for kind, fen in oracle.columns().items():
        assert summed(kind=kind, purse=purse) == fen
    assert summed(purse=None) - outside_before == oracle.outside
    assert summed() == 0
    own = JournalEntry.objects.filter(key__startswith=f"{run}:").exclude(kind="onward")
    assert own.count() == len(oracle.done)
    assert audit.audit(checks=audit.CHECKS, now=NOW).findings == ()


def outcome(door, *args, **kwargs):
    try:
        return door(*args, **kwargs)
    except LedgerConflict:
        return "conflict"
