"""A home whose money is used up and in whose way nothing stands, and every row that can stand in the way of its cut."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from billing import supply
from billing.models import (
    Doubt,
    Draw,
    Notice,
    Outage,
    Purse,
    RoomPolicy,
    SpecialDay,
    SupplyDecision,
    SupplyPolicy,
    WeatherHold,
)
from billing.policy import Why
from billing.tariff.civil import civil_date
from billing.tariff.units import NANO_FEN_PER_FEN
from meters.models import Level
from tests import makers
from tests.billing.rating import world

NOON = world.START + timedelta(days=2, hours=12)  # a Thursday


def a_home(*, fen: int = 0, **policy: Any) -> Purse:
    """What is left is `fen`, after what was accrued; with 0 it is to be cut at NOON."""
    draw = world.a_draw(last_at=NOON - timedelta(minutes=10), total_nano=-fen * NANO_FEN_PER_FEN, max_power_w=13_200)
    return makers.a_cut_ready_home(draw.room, purse=draw.purse, read_at=NOON, **policy)


def accrue(purse: Purse, *, fen: int, at: datetime = NOON) -> None:
    """So much more is used, as the fast path writes it."""
    draw = Draw.objects.get(purse=purse)
    Draw.objects.filter(pk=draw.pk).update(total_nano=draw.total_nano + fen * NANO_FEN_PER_FEN, last_at=at)


def relay(purse: Purse) -> str:
    return Level.objects.get(meter__draws__purse=purse, kind="relay").wanted


def _policy(**columns: Any) -> Callable[[Purse], object]:
    return lambda purse: SupplyPolicy.objects.filter(property=purse.property).update(**columns)


def _notice(**columns: Any) -> Callable[[Purse], object]:
    return lambda purse: Notice.objects.filter(purse=purse).update(**columns)


def _protect(purse: Purse) -> None:
    RoomPolicy.objects.create(
        room=purse.tenancy.room,  # type: ignore[union-attr]
        property=purse.property,
        is_protected=True,
        protected_reason="ventilator",
        changed_at=NOON,
    )


def _doubt(purse: Purse) -> None:
    draw = Draw.objects.get(purse=purse)
    Doubt.objects.create(
        installation=draw.installation, property=purse.property, read_at=NOON, import_wh=1, reason="jump", found_at=NOON
    )


def _weather(purse: Purse) -> None:
    WeatherHold.objects.create(
        property=purse.property, reason="typhoon", from_at=NOON, placed_at=NOON, placed_by=makers.a_user()
    )


def _holiday(purse: Purse) -> None:
    _policy(protects_holidays=True)(purse)
    SpecialDay.objects.create(property=purse.property, on_date=civil_date(NOON), kind="holiday", name="village fair")


def _cut_today(purse: Purse) -> None:
    _policy(cuts_a_day=1)(purse)
    draw, at = Draw.objects.get(purse=purse), NOON - timedelta(hours=3)
    about = {"purse": purse, "room": draw.room, "property": purse.property, "available_fen": 0}
    SupplyDecision.objects.create(**about, decided_at=at, verdict="spent", wants="open")
    SupplyDecision.objects.create(**about, decided_at=at + timedelta(hours=1), verdict="paid", wants="closed")


AGAINST: dict[Why, Callable[[Purse], object]] = {
    Why.NO_LEGAL_BASIS: lambda purse: SupplyPolicy.objects.filter(property=purse.property).delete(),
    Why.PROTECTED_ROOM: _protect,
    Why.MONEY_BEING_CONFIRMED: lambda purse: supply.place_cut_hold(
        purse_id=purse.pk, key=f"order:{purse.pk}", reason="r", expires_at=NOON + timedelta(minutes=5)
    ),
    Why.READING_IN_DOUBT: _doubt,
    Why.READING_STALE: lambda purse: Draw.objects.filter(purse=purse).update(last_at=NOON - timedelta(hours=3)),
    Why.OUTAGE: lambda purse: Outage.objects.create(
        kind="broker", ref=f"{purse.pk}", property=purse.property, began_at=NOON, seen_at=NOON
    ),
    Why.EXTREME_WEATHER: _weather,
    Why.PROTECTED_HOUR: _policy(protected_hours=[["11:30", "13:00"]]),
    Why.PROTECTED_WEEKDAY: _policy(protected_weekdays=[NOON.weekday()]),
    Why.HOLIDAY: _holiday,
    Why.CUT_TODAY: _cut_today,
    Why.NOTICE_NOT_PROVEN: _notice(state="left", proven_at=None, runs_until=None, proof=""),
    Why.NOTICE_RUNNING: _notice(runs_until=NOON + timedelta(hours=2)),
}
