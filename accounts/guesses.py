"""Counts what somebody tried that can be guessed, and stops them when it was too often."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import F

from accounts.models import Guesses

KEPT: Final = timedelta(days=7)  # longer than any window


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `times` tries of this kind within `window`, by one person. The window begins with its first try."""

    kind: str
    times: int
    window: timedelta


class TooManyGuessesError(Exception):
    """The limit is used up until `again_at`."""

    def __init__(self, again_at: datetime) -> None:
        super().__init__(f"no more guesses before {again_at:%Y-%m-%d %H:%M:%S %Z}")
        self.again_at = again_at


def spend(limit: Limit, *, who: str, now: datetime) -> None:
    """Counts one try before it is made, or raises TooManyGuessesError.

    Call it outside of the transaction that makes the try: a failed try is rolled back, its count must not be. Both
    updates look again at the row as it is when they hold its lock, so parallel tries are counted one by one.
    """
    row, _ = Guesses.objects.get_or_create(kind=limit.kind, who=who, defaults={"window_began_at": now})
    mine = Guesses.objects.filter(pk=row.pk)
    if mine.filter(window_began_at__lte=now - limit.window).update(window_began_at=now, count=1):
        return
    if not mine.filter(count__lt=limit.times).update(count=F("count") + 1):
        row.refresh_from_db()
        raise TooManyGuessesError(row.window_began_at + limit.window)


def forget_old(*, now: datetime) -> int:
    """Deletes counts that nobody adds to any more: some are of addresses. Returns how many."""
    return Guesses.objects.filter(window_began_at__lt=now - KEPT).delete()[0]
