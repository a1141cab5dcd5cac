"""A slow second opinion: walks every watt-hour by itself through the definition as people wrote it.

Nothing of billing.tariff is used here, and nothing is clever: fractions for money and time, days counted one by one.
"""

from __future__ import annotations

import calendar
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from fractions import Fraction
from typing import Any

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DAY_TYPES = ("workday", "weekend", "holiday")
ONE_DAY = timedelta(days=1)
LEAP_YEAR = [(date(2024, 1, 1) + timedelta(days=day)) for day in range(366)]
EPOCH = datetime(2000, 1, 1, tzinfo=timezone(timedelta(hours=8)))


@dataclass
class Walk:
    """How many Wh fell where, what they cost, and what each cycle has counted."""

    counted: dict[date, int]
    energy_wh: Counter[tuple[Any, ...]] = field(default_factory=Counter)  # (date, version, tier, period, cycle) -> Wh
    cost_nano_fen: Fraction = Fraction(0)
    fee_nano_fen: Fraction = Fraction(0)


def walk(*, from_at, to_at, energy_wh, terms, special_days, used_wh, people=1, moved_in=None) -> Walk:
    """`terms`: (from_at, version, definition) in order of time."""
    result = Walk(dict(used_wh))
    homes = {version: Book(definition, people, moved_in) for _from_at, version, definition in terms}
    start, end = seconds(from_at), seconds(to_at)
    for nth in range(1, energy_wh + 1):
        done = start + (end - start) * Fraction(nth, energy_wh)  # the instant at which this watt-hour is complete
        version = [version for term_at, version, _definition in terms if seconds(term_at) < done][-1]
        minute = -(-done // 60) - 1  # it was used in the minute that ends then, or in which then lies
        price_one(result, homes[version], version, minute, special_days)
    return result


def price_one(result: Walk, book: Book, version: int, minute: int, special_days) -> None:
    on = date(2000, 1, 1) + timedelta(days=minute // 1440)
    period = book.period(on, minute % 1440, special_days)
    cycle = book.cycle(on)
    tier = 1
    if cycle is not None:
        start, limits = cycle
        result.counted[start] = result.counted.get(start, 0) + 1
        tier += sum(result.counted[start] > limit for limit in limits)
    result.energy_wh[on, version, tier, period, cycle[0] if cycle else None] += 1
    result.cost_nano_fen += book.yuan(on, tier, period) * 10**8  # a Wh of a yuan a kWh is 0.1 fen
    result.fee_nano_fen += Fraction(book.definition.get("fee_yuan", "0")) * 10**8


def civil(at: datetime) -> date:
    return at.astimezone(EPOCH.tzinfo).date()


def seconds(at: datetime) -> Fraction:
    gone = at - EPOCH
    return Fraction(gone.days * 86400 + gone.seconds) + Fraction(gone.microseconds, 10**6)


class Book:
    def __init__(self, definition, people, moved_in):
        self.definition, self.people, self.moved_in = definition, people, moved_in
        self.known = {}

    def period(self, on, minute, special_days):
        day_type = special_days.get(on, "weekend" if on.isoweekday() > 5 else "workday")
        if (on, "hours") not in self.known:
            rules = self.definition.get("periods", [{"day": {"flat": "rest"}}])
            self.known[on, "hours"] = rule_for(rules, on, day_type)["day"]
        hours = self.known[on, "hours"]
        for period, times in hours.items():
            if times != "rest" and any(covers(one, minute) for one in times):
                return period
        return next(period for period, times in hours.items() if times == "rest")

    def yuan(self, on, tier, period):
        if (on, "prices") not in self.known:
            self.known[on, "prices"] = rule_for(self.definition["prices"], on, "workday")
        rule = self.known[on, "prices"]
        prices = rule["yuan"]
        more = Fraction(0)
        if isinstance(prices, list):
            prices = prices[tier - 1]
        elif tier > 1:
            more = Fraction(rule["surcharge_yuan"][tier - 2])
        return Fraction(prices if isinstance(prices, str) else prices[period]) + more

    def cycle(self, on):
        if on not in self.known:
            self.known[on] = self.look_up(on)
        return self.known[on]

    def look_up(self, on):
        tiers = self.definition.get("tiers")
        season = tiers and tiers["cycle"].get("season")
        if tiers is None or (season and not in_dates(on, season)):
            return None
        if tiers.get("counted_from") and on < date.fromisoformat(tiers["counted_from"]):
            return None
        start = on
        while not begins(start, tiers["cycle"]):
            start -= ONE_DAY
        end = on + ONE_DAY
        while not begins(end, tiers["cycle"]) and (not season or in_dates(end, season)):
            end += ONE_DAY
        counted_from = max(
            start,
            date.fromisoformat(tiers.get("counted_from", "1900-01-01")),
            (self.moved_in if tiers.get("restarts_with_tenancy") else None) or start,
        )
        return start, self.limits(tiers, start, end, counted_from)

    def limits(self, tiers, start, end, counted_from):
        limits = [Fraction(str(kwh)) * 1000 for kwh in rule_for(tiers["limits"], start, "workday")["kwh"]]
        if "extension" in tiers:
            steps = [step for step in tiers["extension"]["steps"] if step["people"] <= self.people]
            a_month = max([Fraction(str(step["kwh_per_month"])) * 1000 for step in steps], default=0)
            more = a_month * months_begun(start, end)
            moved = len(limits) if tiers["extension"]["moves"] == "all" else 1
            limits = [limit + more if index < moved else limit for index, limit in enumerate(limits)]
        if tiers.get("prorated"):
            part = Fraction(months_begun(counted_from, end), months_begun(start, end))
            limits = [limit * part // 1 for limit in limits]
        return [max(limits[: index + 1]) for index in range(len(limits))]


def begins(on, cycle):
    month, day = map(int, cycle.get("starts", "01-01").split("-"))
    if on.day == min(day, month_length(on)) and (on.month - month) % cycle["months"] == 0:
        return True
    return bool(cycle.get("season")) and not in_dates(on - ONE_DAY, cycle["season"]) and in_dates(on, cycle["season"])


def months_begun(start, end):
    """Monthly marks after the start up to the end."""
    days = [start + timedelta(days=day) for day in range(1, (end - start).days + 1)]
    return sum(on.day == min(end.day, month_length(on)) for on in days)


def month_length(on):
    return calendar.monthrange(on.year, on.month)[1]


def in_dates(on, dates):
    first, last = dates
    now = on.strftime("%m-%d")
    return first <= now <= last if first <= last else now >= first or now <= last


def covers(hours, minute):
    first, last = hours.split("-")
    now = f"{minute // 60:02d}:{minute % 60:02d}"
    return first <= now < last if first < last else now >= first or now < last


def rule_for(rules, on, day_type):
    """Of the rules that hold, the one that holds least often."""
    return min((rule for rule in rules if holds(rule, on, day_type)), key=often)


def holds(rule, on, day_type):
    when = rule.get("when") or {}
    return (
        on.month in when.get("months", [on.month])
        and any(in_dates(on, dates) for dates in when.get("dates", [["01-01", "12-31"]]))
        and day_type in when.get("day_types", [day_type])
        and WEEKDAYS[on.weekday()] in when.get("weekdays", WEEKDAYS)
    )


def often(rule):
    when = rule.get("when") or {}
    seasonal = {"when": {key: when[key] for key in ("months", "dates") if key in when}}
    days = sum(holds(seasonal, on, "workday") for on in LEAP_YEAR)
    return days * len(when.get("day_types", DAY_TYPES)) * len(when.get("weekdays", WEEKDAYS))
