"""Whether an instant that a meter's clock gave can be right. Pure: no tables, no clock of its own."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

AHEAD_AT_MOST = timedelta(minutes=10)  # meters are set right once a day and drift by seconds (GB/T 17215)
BACK_AT_MOST = timedelta(days=400)  # a meter keeps a year of readings at most; before it there is a lost clock

Verdict = Literal["", "ahead", "long_past"]


def verdict(*, at: datetime, received_at: datetime) -> Verdict:
    """What is wrong with `at` in a report that we received at `received_at`; "" when nothing is."""
    if at > received_at + AHEAD_AT_MOST:
        return "ahead"
    if at < received_at - BACK_AT_MOST:
        return "long_past"
    return ""


def to_ms(at: datetime) -> datetime:
    """Cut to the millisecond: between two readings there is then at least one, or they are the same instant."""
    beyond = at.microsecond % 1000
    return at.replace(microsecond=at.microsecond - beyond) if beyond else at
