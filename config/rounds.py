"""A process that does its rounds: the same small loop for everything that sweeps rows."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from datetime import datetime
from types import FrameType

from django.db import close_old_connections
from django.utils import timezone

from config.logs import tracing

log = logging.getLogger(__name__)
Round = Callable[..., object]


class Rounds:
    """Calls each round when its time has come, until SIGTERM or SIGINT. A round that fails is logged and comes again.

    `rounds` maps a function that takes `now` to the seconds between two calls. A failing one does not stop the others:
    a fault in one merchant's keys must not keep everyone else's payments from being found.
    """

    def __init__(self, rounds: dict[Round, float], *, pause_s: float = 0.5) -> None:
        self.rounds = rounds
        self.pause_s = pause_s
        self.has_ended = False  # a flag, not an Event: a signal that interrupts an Event's own lock would wait for ever
        self._due: dict[Round, datetime] = {}

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        while not self.has_ended:
            self.go_round(timezone.now())
            time.sleep(self.pause_s)

    def go_round(self, now: datetime) -> None:
        """One pass over everything that is due."""
        close_old_connections()
        for each, every_s in self.rounds.items():
            last = self._due.get(each)
            if last is not None and (now - last).total_seconds() < every_s:
                continue
            self._due[each] = now
            with tracing(""):
                self._do(each)

    def _do(self, each: Round) -> None:
        try:
            each(now=timezone.now())
        except Exception:
            log.exception("round %s.%s failed", each.__module__, getattr(each, "__qualname__", each))

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self.has_ended = True
