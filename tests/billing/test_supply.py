"""When power may flow: the decision against an oracle in the ORM's words, and what holds a cut back."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from functools import partial

import pytest

from billing import prepaid, supply
from billing.models import CutHold, Purse, StaffHold, SupplyPolicy
from billing.supply import Verdict
from meters import desired
from meters.models import Level, Meter, MeterModel
from notifications.models import WorkItem
from tests import makers
from tests.billing.books import NOW, set_available, take_back, top_up
from tests.racing import race

pytestmark = pytest.mark.django_db
SOON, JUST_NOW = NOW + timedelta(minutes=5), NOW - timedelta(seconds=1)


def a_home(*, fen: int = 0, policy: bool = True, held_by: str = "server") -> Purse:
    room = makers.a_room()
    makers.a_meter(room=room, held_by=held_by)
    purse = makers.a_purse(tenancy=makers.a_tenancy(room=room))
    if policy:
        makers.a_cut_ready_home(room, read_at=NOW)
    if fen:
        set_available(purse, fen)
    return purse


def decide(purse: Purse, *, now: datetime = NOW) -> Verdict:
    return supply.decide(purse_id=purse.pk, trace="t", now=now)


def relay(purse: Purse) -> tuple[str, str]:
    """What its only meter is wanted to do, and why."""
    level = Level.objects.get(meter__installations__room__tenancies__purse=purse, kind="relay")
    return level.wanted, level.reason


# ---- the decision, case by case, against an oracle ----

HOLDS = {
    "none": None,
    "off": {"position": "open"},
    "on": {"position": "closed", "until_at": SOON},
    "ran out": {"position": "open", "until_at": JUST_NOW},
    "lifted": {"position": "open", "lifted_at": JUST_NOW},
}
BEFORE = {"nothing": None, "cut": ("open", "spent"), "held off": ("open", "hold_open"), "on": ("closed", "paid")}
METERS = (("server", True), ("server", False), ("meter", True))
CASES = list(itertools.product((-1, 0, 1), (True, False), (None, SOON, JUST_NOW), METERS))


def verdict_by_oracle(purse: Purse, meter: Meter, before: tuple[str, str] | None, now: datetime) -> Verdict:
    tenancy = purse.tenancy
    if tenancy is None or not tenancy.is_open(now):
        return Verdict.NONE
    standing = [h for h in StaffHold.objects.filter(room=tenancy.room) if not h.lifted_at]
    standing = [h for h in standing if h.until_at is None or h.until_at > now]
    if standing:
        return Verdict.HOLD_OPEN if standing[0].position == "open" else Verdict.HOLD_CLOSED
    if purse.available_fen() > 0 or (meter.holds_money() and purse.available_fen() == 0):
        return Verdict.PAID
    if meter.holds_money():
        return Verdict.SPARED
    if before == ("open", "spent"):
        return Verdict.SPENT  # what is cut stays cut
    may_cut = SupplyPolicy.objects.filter(property=purse.property).exists()
    found_out = any(hold.expires_at > now for hold in purse.cut_holds.all())
    return Verdict.SPENT if may_cut and not found_out else Verdict.SPARED


def wanted_by_oracle(purse: Purse, verdict: Verdict, meter: Meter) -> dict[str, str]:
    if meter.holds_money():
        return {"relay": {"hold_open": "open", "hold_closed": "closed"}.get(verdict, "auto")}
    wanted = {"relay": "open" if verdict in (Verdict.SPENT, Verdict.HOLD_OPEN) else "closed"}
    return wanted | ({"show": str(purse.available_fen())} if meter.model.has_display else {})


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("hold", HOLDS)
def test_the_decision_is_what_the_oracle_says(hold: str, before: str) -> None:
    by = makers.a_user()
    for fen, policy, cut_hold_until, (held_by, has_display) in CASES:
        room = makers.a_room()
        model, _ = MeterModel.objects.get_or_create(
            name=f"{held_by} {has_display}", defaults={"balance_held_by": held_by, "has_display": has_display}
        )
        meter = makers.a_meter(room=room, model=model)
        purse = makers.a_purse(tenancy=makers.a_tenancy(room=room))
        if fen:
            set_available(purse, fen)
            purse.refresh_from_db()
        if policy:
            makers.a_cut_ready_home(room, read_at=NOW)
        if cut_hold_until:
            CutHold.objects.create(purse=purse, key=f"order:{purse.pk}", reason="r", expires_at=cut_hold_until)
        if placed := HOLDS[hold]:
            StaffHold.objects.create(
                room=room, property=room.property, reason="r", placed_at=makers.LONG_AGO, placed_by=by, **placed
            )
        if was := BEFORE[before]:
            desired.want(meter_id=meter.pk, kind="relay", wanted=was[0], reason=was[1], trace="", now=JUST_NOW)
            Level.objects.filter(meter=meter, kind="relay").update(reported=was[0])

        verdict = decide(purse)

        case = (fen, policy, cut_hold_until, held_by, has_display)
        assert verdict == verdict_by_oracle(purse, meter, was, NOW), case
        wanted = dict(Level.objects.filter(meter=meter).values_list("kind", "wanted"))
        assert wanted == wanted_by_oracle(purse, verdict, meter), case
        assert set(Level.objects.filter(meter=meter).values_list("reason", flat=True)) == {verdict}, case


def test_nobody_draws_on_the_purse_of_a_tenancy_that_has_ended_or_of_a_property() -> None:
    ended = a_home(fen=500)
    assert ended.tenancy is not None
    ended.tenancy.ends_at = NOW
    ended.tenancy.save(update_fields=["ends_at"])
    of_property = Purse.objects.create(property=makers.a_property())

    assert decide(ended) == decide(of_property) == Verdict.NONE

    assert not Level.objects.exists()


def test_all_meters_of_a_home_are_told_and_none_that_was_taken_down() -> None:
    purse = a_home(fen=500)
    assert purse.tenancy is not None
    room = purse.tenancy.room
    second, gone = makers.a_meter(room=room), makers.a_meter(room=room)
    gone.installations.update(ends_at=NOW)

    decide(purse)

    told = Level.objects.filter(kind="relay", wanted="closed")
    assert told.count() == 2
    assert told.filter(meter=second).exists()


@pytest.mark.django_db(transaction=True)
def test_a_home_with_two_meters_decided_at_once_by_many_does_not_block_itself() -> None:
    purse = a_home(fen=500)
    assert purse.tenancy is not None
    makers.a_meter(room=purse.tenancy.room)

    assert race([partial(decide, purse)] * 12) == [Verdict.PAID] * 12


# ---- who may not be cut, on the work list ----


def test_a_debt_without_a_recorded_basis_goes_onto_the_work_list() -> None:
    purse = a_home(policy=False)

    take_back(purse, 300, key="refund:1")

    item = WorkItem.objects.get()
    assert (item.kind, item.property, item.trace) == ("debt_without_basis", purse.property, "t")
    assert item.detail == {"purse": purse.pk, "tenancy": purse.tenancy_id, "available_fen": -300}
    assert relay(purse) == ("closed", "spared")


def test_nothing_left_is_a_debt_only_where_the_server_counts() -> None:
    decide(a_home(policy=False, held_by="server"))
    decide(a_home(policy=False, held_by="meter"))

    assert WorkItem.objects.count() == 1


def test_a_debt_where_the_meter_counts_is_one_below_zero() -> None:
    decide(a_home(policy=False, held_by="meter", fen=-1))

    assert WorkItem.objects.count() == 1


def test_nobody_is_told_of_who_may_be_cut_or_has_paid() -> None:
    for purse in (a_home(policy=True), a_home(policy=False, fen=1)):
        decide(purse)

    assert not WorkItem.objects.exists()


def test_a_debt_that_is_spared_only_while_a_payment_is_found_out_is_no_work() -> None:
    purse = a_home()
    supply.place_cut_hold(purse_id=purse.pk, key="order:1", reason="r", expires_at=SOON)

    assert decide(purse) == Verdict.SPARED

    assert not WorkItem.objects.exists()


def test_a_paid_debt_leaves_the_work_list_by_itself() -> None:
    purse = a_home(policy=False, fen=-300)
    other = a_home(policy=False, fen=-300)
    decide(purse)
    decide(other)
    top_up(purse, 500, key="payment:1")

    assert supply.recheck(now=NOW) == 1

    assert WorkItem.objects.get(state="open").detail["purse"] == other.pk
    assert WorkItem.objects.get(state="resolved").resolution == "The debt is paid."


# ---- cut holds ----


def test_nobody_is_cut_while_a_payment_is_being_found_out_about() -> None:
    purse = a_home(fen=1)
    decide(purse)
    supply.place_cut_hold(purse_id=purse.pk, key="order:1", reason="payment_being_confirmed", expires_at=SOON)

    take_back(purse, 1, key="refund:1")

    assert relay(purse) == ("closed", "spared")


def test_finding_out_restores_nothing_yet() -> None:
    purse = a_home()
    decide(purse)
    Level.objects.filter(kind="relay").update(reported="open")
    supply.place_cut_hold(purse_id=purse.pk, key="order:1", reason="r", expires_at=SOON)

    for _ in range(2):
        assert decide(purse) == Verdict.SPENT

    assert relay(purse) == ("open", "spent")


def test_a_cut_hold_that_is_dropped_lets_the_decision_be_made() -> None:
    purse = a_home()
    supply.place_cut_hold(purse_id=purse.pk, key="order:1", reason="r", expires_at=SOON)
    decide(purse)

    assert supply.drop_cut_hold(purse_id=purse.pk, key="order:1", trace="t2", now=NOW) is True
    assert supply.drop_cut_hold(purse_id=purse.pk, key="order:1", trace="t2", now=NOW) is False

    assert relay(purse) == ("open", "spent")
    assert Level.objects.get(kind="relay").trace == "t2"


def test_the_same_cut_hold_again_moves_its_end() -> None:
    purse = a_home()
    for minutes in (5, 15):
        end = NOW + timedelta(minutes=minutes)
        supply.place_cut_hold(purse_id=purse.pk, key="order:1", reason="r", expires_at=end)

    assert CutHold.objects.get().expires_at == NOW + timedelta(minutes=15)


def test_one_cut_hold_of_two_is_enough() -> None:
    purse = a_home()
    for key in ("order:1", "order:2"):
        supply.place_cut_hold(purse_id=purse.pk, key=key, reason="r", expires_at=SOON)

    supply.drop_cut_hold(purse_id=purse.pk, key="order:1", trace="", now=NOW)

    assert relay(purse) == ("closed", "spared")


def test_a_cut_hold_that_ran_out_is_swept_and_the_decision_made() -> None:
    purse, waiting = a_home(), a_home()
    supply.place_cut_hold(purse_id=purse.pk, key="order:1", reason="r", expires_at=JUST_NOW)
    supply.place_cut_hold(purse_id=purse.pk, key="order:2", reason="r", expires_at=NOW)
    supply.place_cut_hold(purse_id=waiting.pk, key="order:3", reason="r", expires_at=SOON)

    assert supply.recheck(now=NOW) == 1
    assert supply.recheck(now=NOW) == 0

    assert relay(purse) == ("open", "spent")
    assert list(CutHold.objects.values_list("key", flat=True)) == ["order:3"]


@pytest.mark.django_db(transaction=True)
def test_a_hold_placed_while_the_money_goes_is_either_seen_or_comes_after_the_cut() -> None:
    purse = a_home(fen=1)
    decide(purse)

    race(
        [
            partial(take_back, purse, 1, key="refund:1"),
            *[
                partial(supply.place_cut_hold, purse_id=purse.pk, key=f"order:{n}", reason="r", expires_at=SOON)
                for n in range(6)
            ],
        ]
    )

    assert relay(purse) in {("closed", "spared"), ("open", "spent")}
    assert decide(purse) == Verdict.SPARED


def test_a_purse_made_by_its_first_money_is_decided_like_any_other() -> None:
    tenancy = makers.a_tenancy()
    makers.a_meter(room=tenancy.room)

    top_up(prepaid.purse_of(tenancy), 500, key="payment:1")

    assert Level.objects.get(kind="relay").wanted == "closed"
