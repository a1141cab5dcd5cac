"""A process that does its rounds: the same small loop for everything that sweeps rows.

Rounds that may take minutes (the days of ten thousand homes after midnight) go in a lane of their own, so that nobody
waits for them: `run_lanes(prompt, patient)`.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime
from types import FrameType
from typing import Protocol

from django.db import close_old_connections, connection
from django.utils import timezone

from config.logs import tracing

log = logging.getLogger(__name__)
Round = Callable[..., object]
LOOK_EVERY_S = 0.2


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
        """In the main thread: signals end it."""
        end_on_signals(self)
        self.go_on()

    def go_on(self) -> None:
        """Round after round until `has_ended`."""
        while not self.has_ended:
            self.go_round(timezone.now())
            time.sleep(self.pause_s)

    def go_round(self, now: datetime) -> None:
        """One pass over everything that is due."""
        close_old_connections()
        for each, every_s in self.rounds.items():
            last = self._due.get(each)
            if self.has_ended or (last is not None and (now - last).total_seconds() < every_s):
                continue
            self._due[each] = now
            with tracing(""):
                self._do(each)

    def _do(self, each: Round) -> None:
        try:
            each(now=timezone.now())
        except Exception:
            log.exception("round %s.%s failed", each.__module__, getattr(each, "__qualname__", each))


def run_lanes(*lanes: Rounds) -> None:
    """Each in a thread of its own, until SIGTERM or SIGINT. Raises RuntimeError when one of them ends before that: a
    process that does half of its work would look alive.
    """
    end_on_signals(*lanes)
    threads = [
        threading.Thread(target=_drive, args=(lane,), name=f"lane-{n}", daemon=True) for n, lane in enumerate(lanes)
    ]
    for thread in threads:
        thread.start()
    while all(thread.is_alive() for thread in threads):
        time.sleep(LOOK_EVERY_S)
    were_told = all(lane.has_ended for lane in lanes)
    for lane, thread in zip(lanes, threads, strict=True):
        lane.has_ended = True
        thread.join()
    if not were_told:
        raise RuntimeError("a lane of rounds has died")


def _drive(lane: Rounds) -> None:
    try:
        lane.go_on()
    finally:
        connection.close()


class Ends(Protocol):
    """What goes on until it is told to end."""

    has_ended: bool


def end_on_signals(*lanes: Ends) -> None:
    """SIGTERM and SIGINT tell each of them."""

    def end(_number: int, _frame: FrameType | None) -> None:
        for lane in lanes:
            lane.has_ended = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
