"""Prepaid: money reaches a purse, goes on into a meter, is taken back, and nothing is doubled or lost."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import transaction

from accounts.models import Room
from billing import ledger, prepaid
from billing.ledger import LedgerConflict
from billing.models import JournalEntry, Purse, Transfer
from billing.prepaid import Source
from meters.models import Level, TopUp
from notifications.models import WorkItem
from tests import makers
from tests.billing.books import BANK, NOW, columns, summed, take_back, top_up, write
from tests.racing import race

pytestmark = pytest.mark.django_db


def a_home(*, held_by: str = "server") -> Purse:
    room = makers.a_room()
    makers.a_meter(room=room, held_by=held_by)
    return makers.a_purse(tenancy=makers.a_tenancy(room=room))


def end(key: str, state: str = "landed", *, number: int | None = 1) -> TopUp:
    """The meter said so, or a person took it back."""
    TopUp.objects.filter(key=key).update(
        state=state, number=number, landed_at=NOW + timedelta(minutes=5) if state == "landed" else None
    )
    return TopUp.objects.get(key=key)


def test_a_tenancy_has_one_purse() -> None:
    tenancy = makers.a_tenancy()

    assert prepaid.purse_of(tenancy) == prepaid.purse_of(tenancy)
    assert prepaid.purse_of(tenancy).property_id == tenancy.property_id


@pytest.mark.django_db(transaction=True)
def test_a_purse_asked_for_by_many_at_once_is_one() -> None:
    tenancy = makers.a_tenancy()

    purses = race([partial(prepaid.purse_of, tenancy)] * 10)

    assert len({purse.pk for purse in purses}) == 1
    assert Purse.objects.count() == 1


# ---- top up ----


def test_a_recharge_where_the_server_holds_the_money_stays_in_the_purse_and_wants_the_power_on() -> None:
    purse = a_home()

    assert top_up(purse, 5000, key="payment:1") is True

    assert columns(purse) == {"paid": 5000, "subsidy": 0, "in_transit": 0, "in_meter": 0}
    assert list(Level.objects.order_by("kind").values_list("kind", "wanted")) == [("relay", "closed"), ("show", "5000")]
    assert not TopUp.objects.exists()


def test_a_recharge_where_the_meter_holds_the_money_is_on_its_way_there() -> None:
    purse = a_home(held_by="meter")

    top_up(purse, 5000, key="payment:1")

    assert columns(purse) == {"paid": 0, "subsidy": 0, "in_transit": 5000, "in_meter": 0}
    queued = TopUp.objects.get()
    assert (queued.key, queued.amount_fen, queued.state, queued.trace) == ("payment:1", 5000, "waiting", "t")


@pytest.mark.parametrize(("debt_fen", "onward_fen"), [(300, 200), (500, 0), (700, 0)])
def test_a_debt_is_paid_back_before_money_goes_on_to_the_meter(debt_fen: int, onward_fen: int) -> None:
    purse = a_home(held_by="meter")
    take_back(purse, debt_fen, key="refund:1")

    top_up(purse, 500, key="payment:1")

    assert columns(purse) == {
        "paid": 500 - debt_fen - onward_fen,
        "subsidy": 0,
        "in_transit": onward_fen,
        "in_meter": 0,
    }
    assert list(TopUp.objects.values_list("amount_fen", flat=True)) == [onward_fen] * (onward_fen > 0)


def test_the_same_recharge_again_is_an_answer_even_when_the_debt_was_another_then() -> None:
    purse = a_home(held_by="meter")
    top_up(purse, 500, key="payment:1")
    take_back(purse, 300, key="refund:1")

    assert top_up(purse, 500, key="payment:1") is False

    assert columns(purse) == {"paid": 0, "subsidy": 0, "in_transit": 200, "in_meter": 0}
    assert sorted(TopUp.objects.values_list("amount_fen", "state")) == [(200, "waiting"), (500, "cancelled")]


def test_the_same_key_for_another_amount_purse_or_source_is_a_conflict() -> None:
    purse, other = a_home(), a_home()
    top_up(purse, 500, key="payment:1")

    for wrong in (
        partial(top_up, purse, 501, key="payment:1"),
        partial(top_up, other, 500, key="payment:1"),
        partial(top_up, purse, 500, key="payment:1", source=Source("cash", "property:1")),
    ):
        with pytest.raises(LedgerConflict):
            wrong()

    assert (columns(purse)["paid"], columns(other)["paid"]) == (500, 0)


@pytest.mark.parametrize("amount_fen", [0, -5])
def test_a_recharge_adds_money(amount_fen: int) -> None:
    with pytest.raises(ValueError, match="adds money"):
        top_up(makers.a_purse(), amount_fen, key="payment:1")


def test_the_chosen_meter_of_several_gets_the_money() -> None:
    room = makers.a_room()
    makers.a_meter(room=room, held_by="meter")
    chosen = makers.a_meter(room=room, held_by="meter")
    purse = makers.a_purse(tenancy=makers.a_tenancy(room=room))

    top_up(purse, 500, key="payment:1", meter_id=chosen.pk)

    assert TopUp.objects.get().meter == chosen


def test_money_for_a_meter_that_was_replaced_goes_to_the_one_that_hangs_there_now() -> None:
    room = makers.a_room()
    ordered_for = makers.a_meter(room=room, held_by="meter")
    purse = makers.a_purse(tenancy=makers.a_tenancy(room=room))
    ordered_for.installations.update(ends_at=NOW)
    now_there = makers.a_meter(room=room, held_by="meter")

    top_up(purse, 500, key="payment:1", meter_id=ordered_for.pk)

    assert TopUp.objects.get().meter == now_there


def test_money_for_a_meter_without_money_of_its_own_stays_in_the_purse() -> None:
    room = makers.a_room()
    chosen = makers.a_meter(room=room, held_by="server")
    makers.a_meter(room=room, held_by="meter")
    purse = makers.a_purse(tenancy=makers.a_tenancy(room=room))

    top_up(purse, 500, key="payment:1", meter_id=chosen.pk)

    assert columns(purse)["paid"] == 500
    assert not TopUp.objects.exists()


@pytest.mark.parametrize("dates", [{"ends_at": NOW}, {"starts_at": NOW + timedelta(days=1)}])
def test_money_of_those_who_do_not_live_there_now_never_goes_into_the_rooms_meter(dates: Any) -> None:
    """A suspended payment may be moved to a purse whose tenancy has ended: the meter is the next tenant's."""
    room = makers.a_room()
    makers.a_meter(room=room, held_by="meter")
    purse = makers.a_purse(tenancy=makers.a_tenancy(room=room, **dates))

    top_up(purse, 500, key="suspense:1")

    assert columns(purse) == {"paid": 500, "subsidy": 0, "in_transit": 0, "in_meter": 0}
    assert not TopUp.objects.exists()
    assert not Level.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_fifty_threads_with_one_recharge_credit_once_and_queue_one_top_up() -> None:
    purse = a_home(held_by="meter")

    answers = race([partial(top_up, purse, 5000, key="payment:1")] * 50)

    assert sorted(answers) == [False] * 49 + [True]
    assert columns(purse)["in_transit"] == 5000
    assert TopUp.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_recharges_and_refunds_of_one_purse_at_once_lose_nothing() -> None:
    purse = a_home()
    calls = [partial(top_up, purse, 100 + n, key=f"payment:{n}") for n in range(20)]
    calls += [partial(take_back, purse, 10 + n, key=f"refund:{n}") for n in range(20)]

    assert race(calls) == [True] * 40

    left = sum(100 + n for n in range(20)) - sum(10 + n for n in range(20))
    assert columns(purse)["paid"] == left
    assert Level.objects.get(kind="show").wanted == str(left)


# ---- take back ----


def test_money_is_taken_back_to_where_it_came_from_with_its_reason_and_the_power_with_it() -> None:
    purse = a_home()
    assert purse.tenancy is not None
    makers.a_cut_ready_home(purse.tenancy.room, read_at=NOW)
    by = makers.a_user()
    top_up(purse, 500, key="payment:1")

    assert take_back(purse, 500, key="refund:1", actor_id=by.pk, reason="two of us paid") is True

    entry = JournalEntry.objects.get(key="refund:1")
    assert (entry.actor, entry.reason, entry.property) == (by, "two of us paid", purse.property)
    assert columns(purse)["paid"] == 0
    assert summed(kind=BANK.kind, ref=BANK.ref) == 0
    assert Level.objects.get(kind="relay").wanted == "open"


def test_taking_back_what_went_into_a_meter_leaves_a_debt() -> None:
    purse = a_home(held_by="meter")
    top_up(purse, 500, key="payment:1")
    TopUp.objects.update(state="landed", number=1, landed_at=NOW)
    prepaid.settle(now=NOW)

    take_back(purse, 500, key="refund:1")

    assert columns(purse) == {"paid": -500, "subsidy": 0, "in_transit": 0, "in_meter": 500}


def test_taking_back_calls_back_what_has_not_been_sent() -> None:
    purse = a_home(held_by="meter")
    top_up(purse, 500_000, key="counter:1")

    take_back(purse, 500_000, key="counter:1:corrected")

    assert columns(purse) == {"paid": 0, "subsidy": 0, "in_transit": 0, "in_meter": 0}
    assert TopUp.objects.get().state == "cancelled"


def test_what_was_called_back_for_a_smaller_sum_goes_on_again() -> None:
    purse = a_home(held_by="meter")
    top_up(purse, 500, key="payment:1")
    top_up(purse, 700, key="payment:2")

    take_back(purse, 200, key="refund:1")

    assert columns(purse) == {"paid": 0, "subsidy": 0, "in_transit": 1000, "in_meter": 0}
    waiting = TopUp.objects.filter(state="waiting").values_list("amount_fen", flat=True)
    assert sorted(waiting) == [500, 500]


def test_money_paid_before_it_could_go_on_goes_on_with_the_next_recharge() -> None:
    purse = makers.a_purse(tenancy=makers.a_tenancy(room=(room := makers.a_room())))
    top_up(purse, 500, key="payment:1")
    makers.a_meter(room=room, held_by="meter")

    top_up(purse, 100, key="payment:2")

    assert columns(purse) == {"paid": 0, "subsidy": 0, "in_transit": 600, "in_meter": 0}


def test_where_both_kinds_hang_money_stays_unless_a_meter_is_named() -> None:
    purse = a_home(held_by="meter")
    room = Room.objects.get(tenancies__purse=purse)
    makers.a_meter(room=room, held_by="server")
    own = room.installations.get(meter__model__balance_held_by="meter").meter

    top_up(purse, 500, key="payment:1")
    assert columns(purse)["paid"] == 500

    top_up(purse, 100, key="payment:2", meter_id=own.pk)
    assert columns(purse)["in_transit"] == 600


def test_taking_back_again_is_an_answer_and_another_amount_a_conflict() -> None:
    purse = a_home()
    take_back(purse, 500, key="refund:1")

    assert take_back(purse, 500, key="refund:1") is False
    with pytest.raises(LedgerConflict):
        take_back(purse, 501, key="refund:1")

    assert columns(purse)["paid"] == -500


# ---- settle ----


def test_what_landed_moves_into_the_meter_once() -> None:
    purse = a_home(held_by="meter")
    top_up(purse, 500, key="payment:1")
    landed = end("payment:1")

    assert prepaid.settle(now=NOW) == 1
    assert prepaid.settle(now=NOW) == 0

    assert columns(purse) == {"paid": 0, "subsidy": 0, "in_transit": 0, "in_meter": 500}
    entry = JournalEntry.objects.get(key=f"landed:{landed.pk}")
    assert (entry.happened_at, entry.trace) == (landed.landed_at, "t")
    assert TopUp.objects.get().settled_at == NOW


def test_what_was_cancelled_comes_back_to_the_purse() -> None:
    purse = a_home(held_by="meter")
    top_up(purse, 500, key="payment:1")
    cancelled = end("payment:1", "cancelled", number=None)

    assert prepaid.settle(now=NOW) == 1

    assert columns(purse) == {"paid": 500, "subsidy": 0, "in_transit": 0, "in_meter": 0}
    assert JournalEntry.objects.filter(key=f"cancelled:{cancelled.pk}").exists()
    assert Level.objects.get(kind="relay").reason == "paid"


@pytest.mark.parametrize("state", ["waiting", "sent", "unknown", "stuck"])
def test_what_is_still_on_its_way_is_left_alone(state: str) -> None:
    purse = a_home(held_by="meter")
    top_up(purse, 500, key="payment:1")
    end("payment:1", state)

    assert prepaid.settle(now=NOW) == 0

    assert columns(purse)["in_transit"] == 500


def test_who_died_between_the_ledger_and_the_marker_has_it_done_again_without_doubling() -> None:
    """It cannot happen within our transaction; should a marker be lost all the same, the key answers."""
    purse = a_home(held_by="meter")
    top_up(purse, 500, key="payment:1")
    end("payment:1")
    prepaid.settle(now=NOW)
    TopUp.objects.update(settled_at=None)

    assert prepaid.settle(now=NOW) == 1

    assert columns(purse)["in_meter"] == 500
    assert TopUp.objects.get().settled_at == NOW


def test_a_settlement_that_is_rolled_back_leaves_neither_entry_nor_marker() -> None:
    purse = a_home(held_by="meter")
    top_up(purse, 500, key="payment:1")
    end("payment:1")

    with transaction.atomic():
        prepaid.settle(now=NOW)
        transaction.set_rollback(True)

    assert columns(purse)["in_transit"] == 500
    assert prepaid.settle(now=NOW) == 1


def test_a_purse_that_cannot_be_settled_goes_onto_the_work_list_and_holds_up_nobody() -> None:
    broken, fine = a_home(held_by="meter"), a_home(held_by="meter")
    for purse, key in ((broken, "payment:1"), (fine, "payment:2")):
        top_up(purse, 500, key=key)
        end(key)
    in_transit, paid = ledger.purse_account("in_transit", broken.pk), ledger.purse_account("paid", broken.pk)
    write("mistake", [ledger.Line(in_transit, paid, 1)])

    assert prepaid.settle(now=NOW) == 1

    assert (columns(broken)["in_meter"], columns(fine)["in_meter"]) == (0, 500)
    item = WorkItem.objects.get(kind="top_up_not_settled")
    assert (item.property, item.detail["purse"]) == (broken.property, broken.pk)


@pytest.mark.django_db(transaction=True)
def test_many_who_settle_at_once_settle_each_top_up_once() -> None:
    homes = [a_home(held_by="meter") for _ in range(5)]
    for n, purse in enumerate(homes):
        for part in range(3):
            top_up(purse, 100, key=f"payment:{n}:{part}")
            end(f"payment:{n}:{part}", "landed" if part else "cancelled", number=part or None)

    settled = race([partial(prepaid.settle, now=NOW)] * 7)

    assert sum(settled) == 15
    for purse in homes:
        assert columns(purse) == {"paid": 100, "subsidy": 0, "in_transit": 0, "in_meter": 200}
    assert Transfer.objects.filter(entry__kind="top_up_landed").count() == 10


def test_settling_takes_no_more_than_its_limit() -> None:
    purse = a_home(held_by="meter")
    for n in range(3):
        top_up(purse, 100, key=f"payment:{n}")
        end(f"payment:{n}", number=n + 1)

    assert [prepaid.settle(now=NOW, limit=2) for _ in range(3)] == [2, 1, 0]
