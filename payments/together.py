"""Callers who come at the same time share one piece of work, as databases share one flush of their log (group commit).

Nobody waits for company: who finds nobody at work begins at once, with all who are waiting. Those who come meanwhile
wait for the next piece, and one of them does it for all. So work alone is as quick as before, and the more callers
there are, the more of them share.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

log = logging.getLogger(__name__)
Item = TypeVar("Item")
Result = TypeVar("Result")


class _Ticket(Generic[Item, Result]):
    """One caller: what it brings, what it gets, and a lock that is let go when it has got it or is to lead."""

    __slots__ = ("item", "leads", "result", "turn")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.result: Result | None = None
        self.leads = False
        self.turn = threading.Lock()
        self.turn.acquire()


class Together(Generic[Item, Result]):
    """Does `work` for many callers at once: at most `most` items a time, one time after another.

    `work` gets the items in the order in which they came and gives as many results. It runs in the thread of one of the
    callers.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Result]], *, most: int, patience_s: float) -> None:
        self._work = work
        self._most = most
        self._patience_s = patience_s
        self._mutex = threading.Lock()
        self._waiting: deque[_Ticket[Item, Result]] = deque()
        self._is_led = False

    def do(self, item: Item) -> Result | None:
        """The result for this item; None where the shared work failed or took too long: then do it alone.

        It may have been done all the same (the answer of a commit can be lost): doing it again must change nothing.
        """
        ticket = _Ticket[Item, Result](item)
        with self._mutex:
            self._waiting.append(ticket)
            if not self._is_led:
                self._is_led = ticket.leads = True
        if not ticket.leads and not ticket.turn.acquire(timeout=self._patience_s):
            self._leave(ticket)
        if ticket.leads:
            self._lead()
        return ticket.result

    def _leave(self, ticket: _Ticket[Item, Result]) -> None:
        """Out of patience: nobody shall work for it any more, unless somebody does or it is to lead since just now."""
        with self._mutex:
            if not ticket.leads and ticket in self._waiting:
                self._waiting.remove(ticket)

    def _lead(self) -> None:
        """Works once for all who wait, then hands the lead to the first of those who came meanwhile."""
        with self._mutex:
            batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        try:
            results = self._work([ticket.item for ticket in batch])
            for ticket, result in zip(batch, results, strict=True):
                ticket.result = result
        except Exception:
            log.exception("%s that came together are done one by one", len(batch))
        finally:
            self._pass_on(batch)

    def _pass_on(self, batch: list[_Ticket[Item, Result]]) -> None:
        with self._mutex:
            following = self._waiting[0] if self._waiting else None
            self._is_led = following is not None
            if following is not None:
                following.leads = True
        for ticket in batch:
            ticket.turn.release()
        if following is not None:
            following.turn.release()
