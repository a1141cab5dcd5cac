"""What a meter used of the money in it, from what went in and what it shows: pure functions of amounts and counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

Puzzle = Literal["count_went_back", "purchase_unknown", "balance_rose"]


@dataclass(frozen=True, slots=True)
class Shown:
    """A reading of a meter with money of its own: the number of the last purchase in it, and what is left in fen."""

    at: datetime
    count: int
    balance_fen: int


@dataclass(frozen=True, slots=True)
class PutIn:
    """Money that went into the meter (below zero: out of it). Where its purchase number is not known, or it took none,
    it counts from `at` on."""

    amount_fen: int
    number: int | None
    at: datetime

    def is_in(self, shown: Shown) -> bool:
        return self.at <= shown.at if self.number is None else self.number <= shown.count


@dataclass(frozen=True, slots=True)
class Money:
    """All that went into a meter since it was hung, and what was in it then. Until `accepted_until` a person took its
    balance for right, even where it rose."""

    opening_fen: int
    put_in: tuple[PutIn, ...]
    accepted_until: datetime | None = None

    def used_fen(self, shown: Shown) -> int:
        """All that the meter took since it was hung, up to a reading."""
        return self.opening_fen + sum(one.amount_fen for one in self.put_in if one.is_in(shown)) - shown.balance_fen

    def has_strangers(self, before: Shown, after: Shown) -> bool:
        """Whether the meter counted more purchases between two readings than we know of. One that we know without its
        number is known to be among those of its time."""
        numbers = {one.number for one in self.put_in if one.number and before.count < one.number <= after.count}
        unnumbered = [one for one in self.put_in if one.number is None and one.amount_fen > 0]
        of_the_time = sum(before.at < one.at <= after.at for one in unnumbered)
        return after.count - before.count > len(numbers) + of_the_time


@dataclass(frozen=True, slots=True)
class Known:
    """What was charged of a meter so far, by which reading (None: it was never read)."""

    used_fen: int = 0
    shown: Shown | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """The reading from which on nothing is charged, and why. `is_sure`: the next one does not add up either."""

    shown: Shown
    why: Puzzle
    is_sure: bool


@dataclass(frozen=True, slots=True)
class DayOf:
    """A closed day of a draw."""

    draw_id: int
    usage_date: date
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Charge:
    """What the meter took on a day, and what is known with it."""

    day: DayOf
    charged_fen: int
    known: Known


def puzzle(shown: Shown, *, known: Known, money: Money) -> Puzzle | None:
    """Why a reading cannot follow what is known; None when it adds up."""
    if known.shown is not None and shown.count < known.shown.count:
        return "count_went_back"
    if known.shown is not None and money.has_strangers(known.shown, shown):
        return "purchase_unknown"
    is_accepted = money.accepted_until is not None and shown.at <= money.accepted_until
    return "balance_rose" if money.used_fen(shown) < known.used_fen and not is_accepted else None


def accepted(readings: Sequence[Shown], *, known: Known, money: Money) -> tuple[list[Known], Held | None]:
    """Readings in order of time that add up, and the first that does not.

    One that the next reading proves wrong is passed over: the next adds up without it, be it that this one showed too
    much or too little. What only the next can tell is not told by the last one.
    """
    found: list[Known] = []
    for shown, following in zip(readings, [*readings[1:], None], strict=True):
        why = puzzle(shown, known=known, money=money)
        now_known = Known(money.used_fen(shown), shown)
        if following and not puzzle(following, known=known, money=money):
            is_wrong = why is not None or puzzle(following, known=now_known, money=money) == "balance_rose"
        elif why:
            return found, Held(shown, why, is_sure=following is not None)
        else:
            is_wrong = False
        if not is_wrong:
            known = now_known
            found.append(known)
    return found, None


def follow(
    days: Sequence[DayOf], readings: Sequence[Shown], *, known: Known, money: Money
) -> tuple[list[Charge], Held | None]:
    """The charges of consecutive days up to the first reading that does not add up, and that reading.

    A day without a reading costs nothing; what it cost lies in that of the next reading.
    """
    steps, held = accepted(readings, known=known, money=money)
    charges: list[Charge] = []
    for day in days:
        if held and held.shown.at <= day.ends_at:
            break
        now_known = next((one for one in reversed(steps) if one.shown and one.shown.at <= day.ends_at), known)
        charges.append(Charge(day, now_known.used_fen - known.used_fen, now_known))
        known = now_known
    return charges, held
