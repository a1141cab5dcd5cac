"""What a meter's purchase count proves about the top-up that is out. Pure: no tables, no clock.

The meter's rule (facts: State Grid recharge, meters of the makers read alike): it applies number n when its count is
n - 1, once, and its count is n then; an equal or lower number is a duplicate, a higher one a wrong count.
So a count of n, seen after we sent n, means that it is in; a count of n - 1 means that it is not, but only from an
answer to a question that was asked after the command had run out: before, it may still be on its way.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

OK = ""  # as an answer: the meter did it
REFUSED = frozenset({"expired", "count", "duplicate"})  # it did not: its rules forbade it before it began


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that a meter told us.

    `count` is its purchase count, from a report taken after the top-up was first sent (None: it did not say).
    `answer` is what it answered to the newest sending of this top-up: OK, or its error; None: this is no such answer.
    `chances` is how many sendings under its number the meter may have obeyed: all but those that it refused outright
    (REFUSED). Without one the top-up is not in, whatever the count says.
    `is_read_back`: the count answers a read that was asked after that sending was over.
    """

    count: int | None
    chances: int
    answer: str | None = None
    is_read_back: bool = False


class Verdict(Enum):
    NOTHING = auto()  # proves nothing
    LANDED = auto()  # it is in the meter
    AGAIN = auto()  # it is not, and cannot be any more: send the same number again
    RENUMBER = auto()  # it is not, and our count was wrong: send it with the next number
    READ_BACK = auto()  # ask for the count before anything else
    STUCK = auto()  # a person must look


def weigh(*, number: int, doubt: str, evidence: Evidence) -> tuple[Verdict, str]:
    """What follows for the top-up with this number, and why (a word for its note).

    `doubt` is the error for which it is being read back, "" when it is for want of an answer.
    """
    if evidence.answer is not None:
        return _answered(number, evidence.answer, evidence)
    if evidence.count is not None and evidence.count >= number:
        return _reached(number, evidence.count, evidence.chances)
    if evidence.is_read_back:
        return _read_back(number, evidence.count, doubt)
    return Verdict.NOTHING, ""


def _reached(number: int, count: int, chances: int) -> tuple[Verdict, str]:
    """One is out at a time, so nothing of ours lifts the count beyond its number. Without a chance it was not ours
    that lifted it: somebody else (a card, a hand-held device) took our number, and we never jump blindly.
    """
    if not chances:
        return Verdict.STUCK, "number_taken"
    return (Verdict.LANDED, "") if count == number else (Verdict.STUCK, "count_jumped")


def _answered(number: int, answer: str, evidence: Evidence) -> tuple[Verdict, str]:
    count = evidence.count
    if answer == OK:
        believable = count is None or count >= number
        return (Verdict.LANDED, "") if believable else (Verdict.READ_BACK, "contradiction")
    if answer == "count":
        return _wrong_count(number, count)
    if answer == "duplicate" and not evidence.chances:
        return Verdict.STUCK, "number_taken"  # a meter repeats its first answer to a command that comes twice
    if count is not None and count >= number:
        return _reached(number, count, evidence.chances)
    if answer == "expired":
        return Verdict.AGAIN, answer
    return Verdict.READ_BACK, answer


def _wrong_count(number: int, count: int | None) -> tuple[Verdict, str]:
    """It says that our number is too high: then its count must be below what we thought, or it contradicts itself."""
    if count is None or count == number - 1:
        return Verdict.READ_BACK, "count"
    return (Verdict.RENUMBER, "count") if count < number else (Verdict.STUCK, "count_jumped")


def _read_back(number: int, count: int | None, doubt: str) -> tuple[Verdict, str]:
    if count is None:
        return Verdict.STUCK, "no_count"
    if doubt:
        return Verdict.STUCK, doubt
    return (Verdict.AGAIN if count == number - 1 else Verdict.RENUMBER), "not_applied"
