"""What a home used and what it cost, for its tenant: a day explained line by line, and sums by hour, day, month, year.

Closed days come from what was kept (`UsageDay`, `UsageMonth`), open ones from the engine as it stands now. A tenant
sees the draws of their own tenancy and nothing else of the room.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any, Final, Literal, NamedTuple

from accounts.models import Tenancy
from billing.models import Dispute, Draw, TariffVersion, UsageDay, UsageMonth, UsageRevision
from billing.rating import looking, room
from billing.tariff.civil import civil_date, instant
from portal import hours

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


class Part(NamedTuple):
    """Of energy and its cost: the price period and the tier (from 1 on) in which it was used."""

    period: str
    tier: int


@dataclass(slots=True)
class Sum:
    """What was used between two instants; `cost_nano` with the service fee, None by the hour. `is_final`: all of it is
    closed. By the hour `period` is that of the whole hour, blank where it changes within or is not known, and
    `is_cheap` says that no other hour of the day has a lower price, and some have a higher one."""

    from_at: datetime
    to_at: datetime
    energy_wh: int = 0
    cost_nano: int | None = 0
    part_wh: Counter[Part] = field(default_factory=Counter)
    part_nano: Counter[Part] = field(default_factory=Counter)
    is_final: bool = True
    period: str = ""
    is_cheap: bool = False

    def by(self, name: Literal["period", "tier"]) -> dict[Any, tuple[int, int]]:
        """Wh and nano-fen by price period, or by tier; what nothing was used of is left out."""
        found: dict[Any, tuple[int, int]] = {}
        for part, wh in self.part_wh.items():
            had_wh, had_nano = found.get(getattr(part, name), (0, 0))
            found[getattr(part, name)] = had_wh + wh, had_nano + self.part_nano[part]
        return {key: both for key, both in found.items() if both[0]}


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
    if by == "hour":
        return _hours(rows, tenancy)
    found: dict[datetime, Sum] = {}
    for row in rows:
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
    _add(total, row.energy_wh, row.cost_nano + row.fee_nano, _lines_of_day(row))
    total.is_final &= row.usage_date < row.draw.closed_until


def _lines_of_day(row: UsageDay) -> Iterator[tuple[Part, int, int]]:
    for line in row.lines:
        yield Part(line["period"], line["tier"]), line["energy_wh"], line["cost_nano"] + line["fee_nano"]


def _hours(rows: Iterable[UsageDay], tenancy: Tenancy) -> list[Sum]:
    found: dict[datetime, Sum] = {}
    for row in rows:
        _add_hours(found, row)
    known = hours.of_days(rows, property_id=tenancy.property_id)
    for at, hour in known.items():
        if at in found:
            found[at].period, found[at].is_cheap = hour.period, hour.is_cheap
    return [found[at] for at in sorted(found)]


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
        _add(total, month.energy_wh, month.cost_nano + month.fee_nano, _lines_of_month(month))
    for row in _opened_again(draws):
        if row.usage_date.replace(day=1) in totals:
            less = ((part, -wh, -part_nano) for part, wh, part_nano in _lines_of_day(row))
            nano = row.cost_nano + row.fee_nano
            _add(totals[row.usage_date.replace(day=1)], -row.energy_wh, -nano, less)
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


def _lines_of_month(month: UsageMonth) -> Iterator[tuple[Part, int, int]]:
    """By the keys of its lines, version:tier:period:price:fee. A line's cost is its energy at its price, exactly."""
    for name, wh in month.line_wh.items():
        _version, tier, period, price, fee = name.split(":")
        yield Part(period, int(tier)), wh, wh * (int(price) + int(fee))


def _month(on: date) -> Sum:
    return Sum(instant(on), instant((on + 31 * DAY).replace(day=1)))


def _add(total: Sum, energy_wh: int, nano: int, lines: Iterable[tuple[Part, int, int]]) -> None:
    total.energy_wh += energy_wh
    total.cost_nano = (total.cost_nano or 0) + nano
    for part, wh, part_nano in lines:
        total.part_wh[part] += wh
        total.part_nano[part] += part_nano


def together(sums: Iterable[Sum], *, from_at: datetime, to_at: datetime) -> Sum:
    """Sums as one. Its cost is None where one of theirs is."""
    whole = Sum(from_at, to_at)
    for one in sums:
        whole.energy_wh += one.energy_wh
        is_known = whole.cost_nano is not None and one.cost_nano is not None
        whole.cost_nano = (whole.cost_nano or 0) + (one.cost_nano or 0) if is_known else None
        whole.part_wh.update(one.part_wh)
        whole.part_nano.update(one.part_nano)
        whole.is_final &= one.is_final
    return whole


def _years(months: dict[date, Sum]) -> list[Sum]:
    return [
        together([months[on] for on in theirs], from_at=instant(date(year, 1, 1)), to_at=instant(date(year + 1, 1, 1)))
        for year, theirs in groupby(sorted(months), key=lambda on: on.year)
    ]
