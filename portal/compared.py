"""What a home used in a span of time, beside the span before it: like is compared with like.

A day that is not over is left out on both sides, and of the span before as many days count as of this one: twenty-two
days of November stand beside the first twenty-two of October. Within a day the hours that are over are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from accounts.models import Tenancy
from billing.tariff.civil import civil_date, instant, months_later
from portal import usage
from portal.usage import DAY, By, Sum


@dataclass(frozen=True, slots=True)
class Compared:
    """`before` and the part of this span that it is compared with, `this`, which ends at the same point."""

    this: Sum
    before: Sum

    def energy_percent(self) -> int | None:
        """How much more energy, in percent of before; below zero for less. None where nothing was used before."""
        return _percent(self.this.energy_wh, self.before.energy_wh)

    def cost_percent(self) -> int | None:
        if self.this.cost_nano is None or self.before.cost_nano is None:
            return None
        return _percent(self.this.cost_nano, self.before.cost_nano)


def compared(
    sums: Sequence[Sum], *, tenancy: Tenancy, by: By, from_date: date, to_date: date, now: datetime
) -> Compared | None:
    """Beside the span before; None where they did not live there for all of that, or nothing of this one is over.

    `sums` are those of this span (`usage.sums` of the same question).
    """
    if by == "hour":
        return _by_hour(sums, tenancy, from_date, to_date, now)
    first, last = _whole(by, from_date, to_date)
    until = min(last, civil_date(now) - DAY)
    if until < first:
        return None
    before_first, before_until = _days_before(first, last, until) if by == "day" else _months_before(first, last, until)
    if before_first < civil_date(tenancy.starts_at):
        return None
    return Compared(
        this=_total(tenancy, first, until, now) if by != "day" else _within(sums, instant(first), instant(until + DAY)),
        before=_total(tenancy, before_first, before_until, now),
    )


# ---- the span before ----


def _whole(by: By, from_date: date, to_date: date) -> tuple[date, date]:
    """The first and the last day of what was asked for: months and years are whole ones."""
    if by == "month":
        return from_date.replace(day=1), _month_end(to_date)
    if by == "year":
        return date(from_date.year, 1, 1), date(to_date.year, 12, 31)
    return from_date, to_date


def _days_before(first: date, last: date, until: date) -> tuple[date, date]:
    length = last - first + DAY
    return first - length, until - length


def _months_before(first: date, last: date, until: date) -> tuple[date, date]:
    """As many months earlier. The end of a month stands beside the end of a month."""
    months = (last.year - first.year) * 12 + last.month - first.month + 1
    then = months_later(until.year, (until.month, until.day), -months)
    return months_later(first.year, (first.month, 1), -months), _month_end(then) if until == _month_end(until) else then


def _month_end(on: date) -> date:
    return (on.replace(day=1) + 31 * DAY).replace(day=1) - DAY


# ---- sums ----


def _total(tenancy: Tenancy, first: date, until: date, now: datetime) -> Sum:
    """What was used from first to until (in it): whole months by what was kept of them, the rest by its days."""
    rest = until + DAY if until == _month_end(until) else until.replace(day=1)
    found: list[Sum] = []
    if first.day == 1 and first < rest:
        found += usage.sums(tenancy=tenancy, by="month", from_date=first, to_date=rest - DAY, now=now)
    else:
        rest = first
    if rest <= until:
        found += usage.sums(tenancy=tenancy, by="day", from_date=rest, to_date=until, now=now)
    return usage.together(found, from_at=instant(first), to_at=instant(until + DAY))


def _by_hour(sums: Sequence[Sum], tenancy: Tenancy, from_date: date, to_date: date, now: datetime) -> Compared | None:
    """The hours that are over and were read, and the same ones of as many days before."""
    length: timedelta = to_date - from_date + DAY
    until_at = max((one.to_at for one in sums if one.to_at <= now), default=None)
    if until_at is None or from_date - length < civil_date(tenancy.starts_at):
        return None
    earlier = usage.sums(tenancy=tenancy, by="hour", from_date=from_date - length, to_date=to_date - length, now=now)
    from_at = instant(from_date)
    return Compared(_within(sums, from_at, until_at), _within(earlier, from_at - length, until_at - length))


def _within(sums: Sequence[Sum], from_at: datetime, to_at: datetime) -> Sum:
    return usage.together((one for one in sums if one.to_at <= to_at), from_at=from_at, to_at=to_at)


def _percent(this: int, before: int) -> int | None:
    """Rounded, half a percent up."""
    return (200 * (this - before) + before) // (2 * before) if before > 0 else None
