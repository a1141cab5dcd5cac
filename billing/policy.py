"""When may a home be cut, and when must it not be: a pure decision about facts, with every reason that stands.

The order follows what real meters do (facts of the trade: staff, then money, then what protects the tenant): a hold is
stronger than money, money is stronger than anything that would keep the power off, and a cut needs every condition to
hold at once. Amounts are fen, exact ones nano-fen; instants are aware; days and hours are China's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal

from billing.tariff.civil import CIVIL, DAY_MINUTES, civil_date, instant
from billing.tariff.units import NANO_FEN_PER_FEN

OWN: Final = "own:"  # how the level begins that a home has set itself
NEVER_ABOVE: Final = -(2**62)  # no balance falls below it: nothing is left to be looked at


class Verdict(StrEnum):
    """What is decided for a home, and the reason that its meters' levels carry."""

    HOLD_OPEN = "hold_open"  # staff hold it off, stronger than money
    HOLD_CLOSED = "hold_closed"  # staff hold it on
    PAID = "paid"  # there is money
    CREDIT = "credit"  # there is none, and what may be used below zero is not used up
    SPARED = "spared"  # used up, and it may not be cut now
    SPENT = "spent"  # used up, and cut
    NONE = "none"  # nobody draws on this purse now


class Why(StrEnum):
    """Why a home whose money is used up is not cut now."""

    NO_LEGAL_BASIS = "no_legal_basis"
    PROTECTED_ROOM = "protected_room"
    MONEY_BEING_CONFIRMED = "money_being_confirmed"
    READING_IN_DOUBT = "reading_in_doubt"
    READING_STALE = "reading_stale"
    OUTAGE = "outage"
    EXTREME_WEATHER = "extreme_weather"
    PROTECTED_HOUR = "protected_hour"
    PROTECTED_WEEKDAY = "protected_weekday"
    HOLIDAY = "holiday"
    CUT_TODAY = "cut_today"
    NOTICE_NOT_PROVEN = "notice_not_proven"
    NOTICE_RUNNING = "notice_running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a property has laid down for a home, its room's own exceptions applied.

    `protected_hours` are pairs of minutes of the civil day, the second not in it; one that ends at or before its start
    runs across midnight. `protected_weekdays`: Monday is 0. Percents are of the last recharge.
    `own_fen` is what the home itself wants to be warned below.
    """

    has_legal_basis: bool = False
    is_protected: bool = False
    warn_fens: tuple[int, ...] = ()
    warn_percents: tuple[int, ...] = (20, 10)
    warn_days: int | None = None
    own_fen: int | None = None
    overdraft_fen: int = 0
    restore_above_fen: int = 0
    notice_for: timedelta = timedelta(hours=24)
    protected_hours: tuple[tuple[int, int], ...] = ()
    protected_weekdays: frozenset[int] = frozenset()
    protects_holidays: bool = True
    cuts_a_day: int = 1
    fresh_for: timedelta = timedelta(hours=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """How a home stands at an instant. `available_nano` is what is posted less what is accrued.

    `frozen_nano` is what a dispute is about; `emergency_fen` the emergency credit taken since the last recharge;
    `read_at` the oldest of its meters' newest readings, None where there is none. `notice_runs_until` belongs to a
    notice that is proven. `is_cut_on_its_way`: it is cut, and no meter has obeyed yet. `paid_since_cut_fen` is what
    was recharged since a cut that stands.
    """

    available_nano: int
    frozen_nano: int = 0
    emergency_fen: int = 0
    last_recharge_fen: int | None = None
    used_a_day_nano: int = 0
    hold: Literal["", "open", "closed"] = ""
    hold_until: datetime | None = None
    is_cut: bool = False
    is_cut_on_its_way: bool = False
    paid_since_cut_fen: int = 0
    cut_hold_until: datetime | None = None
    read_at: datetime | None = None
    is_in_doubt: bool = False
    has_outage: bool = False
    has_extreme_weather: bool = False
    is_holiday: bool = False
    cuts_today: int = 0
    is_notice_proven: bool = False
    notice_runs_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows. `wants` is the relay's; `why_not` says why a home that is used up keeps its power.

    `alerts` are the levels that the balance has reached: `fen:500`, `percent:20`, `days:3`, `own:5000`, `used_up`. The
    home is looked at again below `look_below_fen`, and at `look_at`. `needs_notice`: the tenant must be told that
    a cut is near, if they were not yet.
    """

    verdict: Verdict
    wants: Literal["open", "closed"]
    why_not: tuple[Why, ...] = ()
    alerts: frozenset[str] = frozenset()
    needs_notice: bool = False
    look_below_fen: int = NEVER_ABOVE
    look_at: datetime | None = None


def decide(facts: Facts, *, rule: Rule, now: datetime) -> Decision:
    """The one decision about a home's power. Nothing of it is remembered but what the caller writes down."""
    levels = _levels(facts, rule)
    alerts = frozenset(name for name, at_nano in levels.items() if facts.available_nano <= at_nano)
    on = Decision(
        verdict=Verdict.PAID if facts.available_nano > 0 else Verdict.CREDIT,
        wants="closed",
        alerts=alerts,
        needs_notice=is_near(alerts),
        look_below_fen=_look_below_fen(facts, levels),
    )
    off = replace(on, verdict=Verdict.SPENT, wants="open")
    if facts.hold == "open":
        return replace(off, verdict=Verdict.HOLD_OPEN, look_at=facts.hold_until)
    if facts.hold == "closed":
        return replace(on, verdict=Verdict.HOLD_CLOSED, look_at=facts.hold_until)
    is_used_up = usable_nano(facts, rule) <= 0
    if facts.is_cut and not rule.is_protected and not (is_used_up and facts.is_cut_on_its_way):
        return on if not is_used_up and _comes_back(facts, rule) else off
    if not is_used_up:
        return on
    reasons = _reasons(facts, rule, now)
    if not reasons:
        return off
    ends = [ends_at for ends_at in reasons.values() if ends_at is not None]
    return replace(on, verdict=Verdict.SPARED, why_not=tuple(reasons), look_at=min(ends, default=None))


def usable_nano(facts: Facts, rule: Rule) -> int:
    """What may still be used before a cut is due: the balance, what a dispute is about, and what goes below zero."""
    below_zero_fen = rule.overdraft_fen + facts.emergency_fen
    return facts.available_nano + facts.frozen_nano + below_zero_fen * NANO_FEN_PER_FEN


def warn_days_nano(facts: Facts, rule: Rule) -> int | None:
    """The balance that lasts for as many days as the rule warns before; None where that is unknown or not asked for."""
    if rule.warn_days is None or facts.used_a_day_nano <= 0:
        return None
    return rule.warn_days * facts.used_a_day_nano


def days_left(facts: Facts) -> int | None:
    """For how many whole days the balance lasts at the usual use; None where that is not known."""
    return max(facts.available_nano, 0) // facts.used_a_day_nano if facts.used_a_day_nano > 0 else None


def is_near(alerts: Iterable[str]) -> bool:
    """Whether a cut is near by what the property warns of; a level of the home's own says nothing of that."""
    return any(not name.startswith(OWN) for name in alerts)


def earliest_cut(rule: Rule, *, now: datetime) -> datetime:
    """When a home could be cut at the earliest whose notice is proven now: after its period, at an hour of a day at
    which the property cuts. Public holidays are not looked at.
    """
    at = now + rule.notice_for
    for _ in range(2 * 7):  # protected hours and weekdays come again each week
        local = at.astimezone(CIVIL)
        is_protected_day = local.weekday() in rule.protected_weekdays
        ends_at = instant(civil_date(at), minute=DAY_MINUTES) if is_protected_day else _protected_until(local, rule)
        if ends_at is None:
            break
        at = ends_at
    return at


def _comes_back(facts: Facts, rule: Rule) -> bool:
    """A home that was cut, and has something to use again, comes back for money above the limit that the property set,
    for emergency credit, where a dispute is about what it lacks, and where what it was cut for has gone without its
    money: the property lets it go further below zero by now, or what it had used was corrected.
    """
    left_nano = facts.available_nano + facts.frozen_nano
    if facts.emergency_fen > 0 or left_nano > rule.restore_above_fen * NANO_FEN_PER_FEN:
        return True
    return usable_nano(facts, rule) > facts.paid_since_cut_fen * NANO_FEN_PER_FEN


def _levels(facts: Facts, rule: Rule) -> dict[str, int]:
    """Each level that is warned of, and the balance at which it is reached, in nano-fen."""
    levels = {f"fen:{fen}": fen * NANO_FEN_PER_FEN for fen in rule.warn_fens}
    if facts.last_recharge_fen:
        of_recharge = facts.last_recharge_fen * NANO_FEN_PER_FEN
        levels |= {f"percent:{percent}": of_recharge * percent // 100 for percent in rule.warn_percents}
    days_nano = warn_days_nano(facts, rule)
    if days_nano is not None:
        levels[f"days:{rule.warn_days}"] = days_nano
    if rule.own_fen is not None:
        levels[f"{OWN}{rule.own_fen}"] = rule.own_fen * NANO_FEN_PER_FEN
    levels["used_up"] = facts.available_nano - usable_nano(facts, rule)
    return levels


def _look_below_fen(facts: Facts, levels: dict[str, int]) -> int:
    """The highest level that is still ahead, as the fen that the balance must fall below; a fen early at most."""
    ahead = [at_nano for at_nano in levels.values() if at_nano < facts.available_nano]
    return max(ahead) // NANO_FEN_PER_FEN + 1 if ahead else NEVER_ABOVE


def _reasons(facts: Facts, rule: Rule, now: datetime) -> dict[Why, datetime | None]:
    """Every reason against a cut that stands, and when it ends where time alone ends it."""
    local = now.astimezone(CIVIL)
    midnight = instant(civil_date(now), minute=DAY_MINUTES)
    hour_ends_at = _protected_until(local, rule)
    is_stale = facts.read_at is None or facts.read_at < now - rule.fresh_for
    is_notice_running = facts.is_notice_proven and _is_ahead(facts.notice_runs_until, now)
    known: tuple[tuple[Why, bool, datetime | None], ...] = (
        (Why.NO_LEGAL_BASIS, not rule.has_legal_basis, None),
        (Why.PROTECTED_ROOM, rule.is_protected, None),
        (Why.MONEY_BEING_CONFIRMED, _is_ahead(facts.cut_hold_until, now), facts.cut_hold_until),
        (Why.READING_IN_DOUBT, facts.is_in_doubt, None),
        (Why.READING_STALE, is_stale, None),
        (Why.OUTAGE, facts.has_outage, None),
        (Why.EXTREME_WEATHER, facts.has_extreme_weather, None),
        (Why.PROTECTED_HOUR, hour_ends_at is not None, hour_ends_at),
        (Why.PROTECTED_WEEKDAY, local.weekday() in rule.protected_weekdays, midnight),
        (Why.HOLIDAY, facts.is_holiday and rule.protects_holidays, midnight),
        (Why.CUT_TODAY, facts.cuts_today >= rule.cuts_a_day, midnight),
        (Why.NOTICE_NOT_PROVEN, not facts.is_notice_proven, None),
        (Why.NOTICE_RUNNING, is_notice_running, facts.notice_runs_until),
    )
    return {why: ends_at for why, stands, ends_at in known if stands}


def _is_ahead(at: datetime | None, now: datetime) -> bool:
    return at is not None and at > now


def _protected_until(local: datetime, rule: Rule) -> datetime | None:
    """When the protected hours end that hold at this instant: the latest of them, None where none holds."""
    minute = local.hour * 60 + local.minute
    today = local.date()
    ends = [
        instant(today if end > minute else today + timedelta(days=1), minute=end)
        for start, end in rule.protected_hours
        if (start <= minute < end if start < end else minute >= start or minute < end)
    ]
    return max(ends, default=None)
