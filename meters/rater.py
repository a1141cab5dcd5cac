"""What was stored is rated: rung by the intake, and now and then without it, for what a crash left behind."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime

from django.db import close_old_connections, connection
from django.utils import timezone

logger = logging.getLogger(__name__)

NET_S = 5.0  # a batch of a gateway that died, or a round that failed, waits for so long at most


class Rater:
    """`run()` is a thread of its own; `ring()` is called by the others.

    `rate` works from the rows and says how many it moved; it is called until that is none. Its faults are logged and
    never stop the intake: what it did not do is still marked, and is found in the next round.
    """

    def __init__(self, *, rate: Callable[[datetime], int], stopped: threading.Event, net_s: float = NET_S) -> None:
        self._rate = rate
        self._stopped = stopped
        self._net_s = net_s
        self._rung = threading.Event()

    def ring(self) -> None:
        self._rung.set()

    def run(self) -> None:
        """The first round is at once: the process that was here before may have died with its work undone."""
        while not self._stopped.is_set():
            self._rung.clear()  # before the round: what is stored during it rings for the next
            if self._round():
                self._rung.wait(self._net_s)
            else:
                self._stopped.wait(self._net_s)  # a ring does not hurry on what has just failed

    def _round(self) -> bool:
        close_old_connections()
        try:
            while not self._stopped.is_set() and self._rate(timezone.now()):
                pass
        except Exception:
            logger.exception("rating failed; it comes again")
            connection.close()
            return False
        return True
