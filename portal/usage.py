"""What a home used and what it cost, for its tenant: a day explained line by line, and sums by hour, day, month, year.

Closed days come from what was kept (`UsageDay`, `UsageMonth`), open ones from the engine as it stands now. A tenant
sees the draws of their own tenancy and nothing else of the room.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any, Final, Literal

from accounts.models import Tenancy
from billing.models import Dispute, Draw, TariffVersion, UsageDay, UsageMonth, UsageRevision
from billing.rating import looking, room
from billing.tariff.civil import civil_date, instant

By = Literal["hour", "day", "month", "year"]
# How many days may be asked for at once.
AT_MOST: Final[dict[By, int]] = {"hour": 7, "day": 92, "month": 1100, "year": 3700}
DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Line:
    """Energy of one period, tier and version, its prices in micro-fen per kWh and its exact cost in nano-fen."""

    version: TariffVersion
    period: str
    tier: int
    energy_wh: int
    price: int
    fee: int
    cost_nano: int
    fee_nano: int


@dataclass(frozen=True, slots=True)
class Metered:
    """One meter's part of a day: registers from-to with their instants, and what lies between within the day."""

    day: UsageDay
    lines: tuple[Line, ...]
    is_closed: bool
    is_disputed: bool
    revisions: tuple[UsageRevision, ...]

    @property
    def nano(self) -> int:
        return self.day.cost_nano + self.day.fee_nano


@dataclass(frozen=True, slots=True)
class DayExplained:
    """A day of a home. `is_priced`: false where no price is known yet, and nothing is said about what is open."""

    usage_date: date
    meters: tuple[Metered, ...]
    is_priced: bool

    @property
    def is_closed(self) -> bool:
        return bool(self.meters) and all(part.is_closed for part in self.meters)

    @property
    def nano(self) -> int:
        return sum(part.nano for part in self.meters)

    @property
    def energy_wh(self) -> int:
        return sum(part.day.energy_wh for part in self.meters)


@dataclass(slots=True)
class Sum:
    """What was used between two instants; `cost_nano` with the service fee, None by the hour. `is_final`: all of it is
    closed."""

    from_at: datetime
    to_at: datetime
    energy_wh: int = 0
    cost_nano: int | None = 0
    period_wh: dict[str, int] = field(default_factory=dict)
    is_final: bool = True


def day(*, tenancy: Tenancy, on: date, now: datetime) -> DayExplained:
    """A day of the home, explained. Days without anything have no meters."""
    rows, is_priced = _days(tenancy, on, on, now)
    return DayExplained(on, tuple(_explained(rows)), is_priced)


def sums(*, tenancy: Tenancy, by: By, from_date: date, to_date: date, now: datetime) -> list[Sum]:
    """What was used from from_date to to_date (in it), oldest first; parts without a reading are not there.

    Months and years are whole ones, those that the two dates lie in.
    """
    if by in ("month", "year"):
        return _long(tenancy, by, from_date, to_date, now)
    rows, _priced = _days(tenancy, from_date, to_date, now)
    found: dict[datetime, Sum] = {}
    for row in rows:
        if by == "hour":
            _add_hours(found, row)
        else:
            start_at = instant(row.usage_date)
            _add_day(found.setdefault(start_at, Sum(start_at, instant(row.usage_date + DAY))), row)
    return [found[at] for at in sorted(found)]


# ---- days ----


def _days(tenancy: Tenancy, from_date: date, to_date: date, now: datetime) -> tuple[list[UsageDay], bool]:
    """The days of the tenancy's draws, kept or as they stand, in order; whether the open ones could be priced."""
    draws = {draw.pk: draw for draw in Draw.objects.select_related("meter").filter(tenancy=tenancy)}
    kept = UsageDay.objects.filter(draw__in=draws, usage_date__gte=from_date, usage_date__lte=to_date)
    rows = [_of(row, draws[row.draw_id]) for row in kept if row.usage_date < draws[row.draw_id].closed_until]
    is_priced, open_rows = True, []
    if any(draw.closed_until <= to_date for draw in draws.values()) and from_date <= civil_date(now):
        try:
            asked = looking.open_days(room_id=tenancy.room_id, from_date=from_date, to_date=to_date, now=now)
            open_rows = [row for row in asked if row.draw_id in draws]
        except room.NoTariffError:
            is_priced = False
    return sorted([*rows, *open_rows], key=lambda row: (row.usage_date, row.opens_at, row.draw_id)), is_priced


def _of(row: UsageDay, draw: Draw) -> UsageDay:
    row.draw = draw
    return row


def _explained(rows: Sequence[UsageDay]) -> Iterable[Metered]:
    draws = {row.draw_id for row in rows}
    dates = {row.usage_date for row in rows}
    versions = _versions(rows)
    revisions = UsageRevision.objects.filter(draw__in=draws, usage_date__in=dates).order_by("revision")
    disputes = list(Dispute.objects.filter(draw__in=draws, state=Dispute.State.OPEN))
    for row in rows:
        yield Metered(
            day=row,
            lines=tuple(_line(line, versions) for line in row.lines),
            is_closed=row.usage_date < row.draw.closed_until,
            is_disputed=any(
                one.draw_id == row.draw_id and one.from_date <= row.usage_date <= one.to_date for one in disputes
            ),
            revisions=tuple(one for one in revisions if (one.draw_id, one.usage_date) == (row.draw_id, row.usage_date)),
        )


def _versions(rows: Iterable[UsageDay]) -> dict[int, TariffVersion]:
    named = {line["version"] for row in rows for line in row.lines}
    return TariffVersion.objects.select_related("tariff").in_bulk(named)


def _line(line: dict[str, Any], versions: dict[int, TariffVersion]) -> Line:
    said = {name: line[name] for name in ("period", "tier", "energy_wh", "price", "fee", "cost_nano", "fee_nano")}
    return Line(version=versions[line["version"]], **said)


def _add_day(total: Sum, row: UsageDay) -> None:
    total.energy_wh += row.energy_wh
    total.cost_nano = (total.cost_nano or 0) + row.cost_nano + row.fee_nano
    for line in row.lines:
        total.period_wh[line["period"]] = total.period_wh.get(line["period"], 0) + line["energy_wh"]
    total.is_final &= row.usage_date < row.draw.closed_until


def _add_hours(found: dict[datetime, Sum], row: UsageDay) -> None:
    for hour, energy_wh in enumerate(row.slot_wh):
        start_at = instant(row.usage_date, minute=hour * 60)
        if start_at >= row.closes_at and not energy_wh:
            continue
        total = found.setdefault(start_at, Sum(start_at, start_at + timedelta(hours=1), cost_nano=None))
        total.energy_wh += energy_wh
        total.is_final &= row.usage_date < row.draw.closed_until


# ---- months and years ----


def _long(tenancy: Tenancy, by: By, from_date: date, to_date: date, now: datetime) -> list[Sum]:
    """Closed days by their months' rows; what is open, or opened again, is put in its place."""
    first, last = from_date.replace(day=1), to_date
    if by == "year":
        first, last = date(from_date.year, 1, 1), date(to_date.year, 12, 31)
    draws = {draw.pk: draw for draw in Draw.objects.filter(tenancy=tenancy)}
    totals: dict[date, Sum] = {}
    for month in UsageMonth.objects.filter(draw__in=draws, month_date__gte=first, month_date__lte=last):
        total = totals.setdefault(month.month_date, _month(month.month_date))
        _add(total, month.energy_wh, month.cost_nano + month.fee_nano, month.period_wh)
    for row in _opened_again(draws):
        if row.usage_date.replace(day=1) in totals:
            _add(totals[row.usage_date.replace(day=1)], *_less(row))
    open_from = min((draw.closed_until for draw in draws.values()), default=to_date + DAY)
    if open_from <= last:
        for row in _days(tenancy, max(open_from, first), last, now)[0]:
            if row.usage_date >= row.draw.closed_until and row.usage_date >= first:
                month_date = row.usage_date.replace(day=1)
                _add_day(totals.setdefault(month_date, _month(month_date)), row)
    return [totals[on] for on in sorted(totals)] if by == "month" else _years(totals)


def _opened_again(draws: dict[int, Draw]) -> list[UsageDay]:
    """Days that are kept and in their month's row, and wait to be closed once more. Hardly ever any."""
    first = min((draw.closed_until for draw in draws.values()), default=date.max)
    kept = UsageDay.objects.filter(draw__in=draws, usage_date__gte=first)
    return [row for row in kept if row.usage_date >= draws[row.draw_id].closed_until]


def _less(row: UsageDay) -> tuple[int, int, dict[str, int]]:
    period_wh: dict[str, int] = {}
    for line in row.lines:
        period_wh[line["period"]] = period_wh.get(line["period"], 0) - line["energy_wh"]
    return -row.energy_wh, -(row.cost_nano + row.fee_nano), period_wh


def _month(on: date) -> Sum:
    return Sum(instant(on), instant((on + 31 * DAY).replace(day=1)))


def _add(total: Sum, energy_wh: int, nano: int, period_wh: dict[str, int]) -> None:
    total.energy_wh += energy_wh
    total.cost_nano = (total.cost_nano or 0) + nano
    for period, wh in period_wh.items():
        total.period_wh[period] = total.period_wh.get(period, 0) + wh


def _years(months: dict[date, Sum]) -> list[Sum]:
    years = []
    for year, theirs in groupby(sorted(months), key=lambda on: on.year):
        total = Sum(instant(date(year, 1, 1)), instant(date(year + 1, 1, 1)))
        for on in theirs:
            _add(total, months[on].energy_wh, months[on].cost_nano or 0, months[on].period_wh)
            total.is_final &= months[on].is_final
        years.append(total)
    return years
