"""Why is my power off, and how do I bring it back?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import translation

from accounts.models import Tenancy
from billing import holds, prepaid, supply
from billing.models import Purse
from billing.supply import Explanation, Verdict
from meters.models import Level, Meter, TopUp
from tests import makers
from tests.billing.books import NOW, set_available, top_up

pytestmark = pytest.mark.django_db


def a_home(*, held_by: str = "server", fen: int = 0, policy: bool = True, **reported: Any) -> Tenancy:
    """A decided home whose meter has reported."""
    room = makers.a_room()
    seen: dict[str, Any] = {"is_online": True, "relay": "open"}
    makers.a_meter(room=room, held_by=held_by, **seen | reported)
    tenancy = makers.a_tenancy(room=room)
    purse = prepaid.purse_of(tenancy)
    if policy:
        makers.a_cut_ready_home(room, read_at=NOW)
    if fen:
        set_available(purse, fen)
    supply.decide(purse_id=purse.pk, trace="", now=NOW)
    return tenancy


def explain(tenancy: Tenancy) -> Explanation:
    return supply.explain(tenancy=tenancy, now=NOW)


def test_all_is_well() -> None:
    assert explain(a_home(fen=500, relay="closed")) == Explanation(
        verdict=Verdict.PAID, is_off=False, why="", remedy=""
    )


def test_the_balance_is_used_up() -> None:
    said = explain(a_home())

    assert (said.verdict, said.is_off, said.why) == (Verdict.SPENT, True, "The balance is used up.")
    assert said.remedy == "Recharge, and the power comes back within seconds."


def test_a_debt_says_how_much_it_takes() -> None:
    assert "Recharge more than ¥12.34, which is owed" in explain(a_home(fen=-1234)).remedy


def test_a_cut_that_is_about_to_come_is_said_before_it_has() -> None:
    said = explain(a_home(relay="closed"))

    assert (said.is_off, said.why) == (False, "The balance is used up.")


def test_what_is_used_up_and_not_cut_is_said_with_every_reason() -> None:
    tenancy = a_home(relay="closed", policy=False)
    notice = makers.a_cut_ready_home(tenancy.room, purse=tenancy.purse, read_at=NOW, protected_weekdays=[NOW.weekday()])
    notice.notices.update(runs_until=NOW + timedelta(hours=2))
    supply.decide(purse_id=tenancy.purse.pk, trace="", now=NOW)

    said = explain(tenancy)

    assert (said.verdict, said.is_off) == (Verdict.SPARED, False)
    assert said.why == (
        "The balance is used up. The power is not cut now: nobody is cut on this weekday; "
        "the period of the notice is running, until 2026-06-01 14:00."
    )
    assert said.remedy == "Recharge in time, and it stays on."


def test_a_home_that_is_to_come_back_and_has_not_is_not_told_why_it_was_spared() -> None:
    assert explain(a_home(policy=False)).why == "The meter has been told to switch on."


def test_what_is_missing_to_the_propertys_limit_is_said() -> None:
    tenancy = a_home(fen=-300)
    tenancy.property.supply_policy.restore_above_fen = 1000
    tenancy.property.supply_policy.save(update_fields=["restore_above_fen"])
    supply.decide(purse_id=tenancy.purse.pk, trace="", now=NOW)

    remedy = explain(tenancy).remedy

    assert remedy == "Recharge more than ¥13.00: the power comes back when more than ¥10.00 is there."


def test_a_home_whose_purse_was_never_made_owes_nothing() -> None:
    tenancy = a_home()
    Level.objects.filter(kind="relay").update(reason="spent")
    Purse.objects.filter(tenancy=tenancy).update(tenancy=None)

    assert explain(tenancy).remedy == "Recharge, and the power comes back within seconds."


def test_the_property_holds_it_off_and_says_why() -> None:
    tenancy = a_home(fen=500)
    by = makers.a_user()
    holds.hold_room(room=tenancy.room, position="open", reason="leaking pipe", by=by, until=None, now=NOW)

    said = explain(tenancy)

    assert said.verdict == Verdict.HOLD_OPEN
    assert said.why == "The property has switched the power off: leaking pipe"
    assert "A recharge alone does not" in said.remedy


def test_a_hold_that_was_just_lifted_has_no_reason_to_tell() -> None:
    tenancy = a_home(fen=500)
    by = makers.a_user()
    holds.hold_room(room=tenancy.room, position="open", reason="pipe", by=by, until=None, now=NOW)
    tenancy.room.holds.update(lifted_at=NOW)  # between its lifting and the decision

    assert explain(tenancy).why == "The property has switched the power off: "


@pytest.mark.parametrize(
    ("reported", "why"),
    [
        ({}, "The meter has been told to switch on."),
        ({"relay": "permitted"}, "The meter waits for you."),
        ({"is_online": False}, "The meter cannot be reached at the moment."),
    ],
)
def test_it_is_paid_for_and_not_on_yet(reported: dict[str, Any], why: str) -> None:
    said = explain(a_home(fen=500, **reported))

    assert (said.verdict, said.is_off, said.why) == (Verdict.PAID, True, why)
    assert said.remedy


def test_a_payment_is_being_confirmed() -> None:
    tenancy = a_home()
    purse = tenancy.purse
    later = NOW + timedelta(minutes=5)
    supply.place_cut_hold(purse_id=purse.pk, key="order:1", reason="r", expires_at=later)
    supply.decide(purse_id=purse.pk, trace="", now=NOW)

    assert explain(tenancy).why == "A payment is being confirmed."


@pytest.mark.parametrize(
    ("balance_fen", "why"),
    [
        (0, "The money in the meter is used up."),
        (-5, "The money in the meter is used up."),
        (500, "The meter has switched off by itself."),
        (None, "The meter has switched off by itself."),
    ],
)
def test_a_meter_that_counts_its_own_money(balance_fen: int | None, why: str) -> None:
    assert explain(a_home(held_by="meter", balance_fen=balance_fen)).why == why


def test_a_recharge_is_on_its_way_to_such_a_meter() -> None:
    tenancy = a_home(held_by="meter", balance_fen=0)
    top_up(tenancy.purse, 500, key="payment:1")

    assert explain(tenancy).why == "Your recharge is on its way to the meter."

    TopUp.objects.update(state="landed", number=1)
    assert explain(tenancy).why == "The money in the meter is used up."


def test_an_ended_tenancy_and_a_home_without_a_meter_have_nothing_to_explain() -> None:
    ended = makers.a_tenancy(ends_at=NOW)
    bare = makers.a_tenancy()

    assert explain(ended).why == "This tenancy has ended."
    assert explain(bare).why == "No meter is recorded for this home."
    assert explain(bare).verdict == explain(ended).verdict == Verdict.NONE


def test_a_home_nobody_has_decided_about_goes_by_what_its_meter_says() -> None:
    tenancy = makers.a_tenancy()
    makers.a_meter(room=tenancy.room, relay="open", is_online=False)

    said = explain(tenancy)

    assert (said.verdict, said.is_off) == (Verdict.NONE, True)
    assert said.why == "The meter cannot be reached at the moment."


def test_explaining_changes_nothing() -> None:
    tenancy = a_home()
    before = list(Meter.objects.values_list())

    with translation.override("zh-hans"):
        explain(tenancy)

    assert list(Meter.objects.values_list()) == before
