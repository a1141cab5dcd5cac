"""Registers that people read off: readings like any other, if they can stand between those around them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from billing.moves.asked import MoveRefused
from billing.rating import chain, room
from billing.rating.chain import Point
from meters import clocks, staging
from meters.models import Installation, Meter, Reading


def hanging(room_id: int, at: datetime) -> list[Installation]:
    """The meters that hang in a room at an instant."""
    rows = Installation.objects.select_related("meter__model").filter(room=room_id, starts_at__lte=at)
    return [one for one in rows.order_by("pk") if one.ends_at is None or one.ends_at > at]


def enter(
    installations: list[Installation], told: Mapping[int, int], *, at: datetime, now: datetime
) -> list[dict[str, Any]]:
    """What was read at these meters (by meter id) at an instant, stored. Returns how an Operation keeps it.

    A meter that nobody read is cut by time between the readings around. Raises MoveRefused.
    """
    unknown = set(told) - {one.meter_id for one in installations}
    if unknown:
        raise MoveRefused(_("This meter does not hang there then."))
    kept = []
    for one in installations:
        if one.meter_id in told:
            _enter(one, told[one.meter_id], at=at, now=now)
            kept.append({"meter": one.meter.serial, "import_wh": told[one.meter_id]})
    return kept


def _enter(one: Installation, wh: int, *, at: datetime, now: datetime) -> None:
    at = clocks.to_ms(at)
    check(one, Point(at, wh, source=Reading.Source.STAFF))
    if at == one.starts_at:
        return  # the register when it was hung says so
    known = Reading.objects.filter(meter=one.meter_id, read_at=at).values_list("import_wh", flat=True).first()
    if known == wh:
        return
    if known is not None:
        raise MoveRefused(_("The meter itself reported another register at that very instant."))
    list(Meter.objects.select_for_update(no_key=True).filter(pk=one.meter_id))
    row = staging.Row(one.meter_id, at, one.property_id, wh, source=Reading.Source.STAFF.value)
    staging.put([row], stored_at=now)


def check(one: Installation, point: Point) -> None:
    """Raises MoveRefused where the register cannot follow the reading before it, or the next one cannot follow it."""
    rule = room.rule_of(one)
    before, after = _around(one, point.at)
    if point.at == before.at and point.wh != before.wh:
        raise MoveRefused(_("The meter was hung at %(kwh)s kWh.") % {"kwh": before.wh / 1000})
    if point.at > before.at and chain.fits(before, point, rule=rule) is None:
        raise MoveRefused(
            _("Meter %(serial)s showed %(kwh)s kWh before: this register cannot be right.")
            % {"serial": one.meter.serial, "kwh": before.wh / 1000}
        )
    if after is not None and chain.fits(point, after, rule=rule) is None:
        raise MoveRefused(
            _("Meter %(serial)s showed %(kwh)s kWh after that: this register cannot be right.")
            % {"serial": one.meter.serial, "kwh": after.wh / 1000}
        )


def _around(one: Installation, at: datetime) -> tuple[Point, Point | None]:
    """The readings around an instant, those in doubt or ruled out left aside. Plan: the key of readings, backwards."""
    doubted = one.doubts.exclude(state__in=("believed", "rebased")).values_list("read_at", flat=True)
    rows = Reading.objects.filter(meter=one.meter_id, read_at__gt=one.starts_at).exclude(read_at__in=list(doubted))
    before = rows.filter(read_at__lt=at).order_by("-read_at").values_list("read_at", "import_wh").first()
    after = rows.filter(read_at__gt=at).order_by("read_at").values_list("read_at", "import_wh").first()
    return Point(*before) if before else Point(one.starts_at, one.starts_wh), Point(*after) if after else None
