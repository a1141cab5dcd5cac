"""From the database to the broker: rung by NOTIFY, commands are claimed, committed, and then published."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import django.db
from django.db import close_old_connections, connection
from django.utils import timezone

from accounts.bell import Bell
from meters import commands, desired, topups
from meters.commands import Outgoing

logger = logging.getLogger(__name__)

NET_S = 5.0  # a lost notification is made good after so long
AGAIN_S = 0.5  # after a sweep that failed
EXPIRY_EVERY_S = 1.0
CLAIM_AT_MOST = 200
# Parameters go in small groups, so that no relay waits behind a thousand of them at the broker.
PARAMETERS_AT_MOST = 25
PARAMETERS_EVERY_S = 0.25


class Sender:
    """`run()` is a thread of its own. While the broker is away nothing is claimed: it would only run out.

    It begins with what a former self claimed and perhaps did not publish: see meters.commands.
    """

    def __init__(
        self,
        *,
        bell: Bell,
        publish: Callable[[Outgoing], None],
        is_connected: Callable[[], bool],
        stopped: threading.Event,
        net_s: float = NET_S,
    ) -> None:
        self._bell = bell
        self._publish = publish
        self._is_connected = is_connected
        self._stopped = stopped
        self._net_s = net_s
        self._expired_at = 0.0
        self._has_said_again = False
        self._pushed_at = 0.0
        self._is_pushing = False

    def run(self) -> None:
        """Listens first, then sweeps, then waits: nothing that is committed meanwhile is missed."""
        try:
            while not self._stopped.is_set():
                is_done = self._bell.listen() and self._sweep_bravely()
                self._bell.wait(self._pause_s() if is_done else min(AGAIN_S, self._net_s))
        finally:
            self._bell.close()

    def _pause_s(self) -> float:
        return min(PARAMETERS_EVERY_S, self._net_s) if self._is_pushing else self._net_s

    def _sweep_bravely(self) -> bool:
        close_old_connections()
        try:
            self.sweep()
        except django.db.Error:
            logger.exception("a sweep failed; it comes again")
            connection.close()
            return False
        return True

    def sweep(self) -> None:
        """What is queued goes out first; then what must be asked again, and the next of each queue of top-ups.

        Parameters come last, and a group at a time.
        """
        self._expire()
        if not self._is_connected():
            return
        self._say_again()
        self._send_what_is_queued()
        now = timezone.now()
        if desired.reconcile(now=now) + topups.dispatch(now=now):
            self._send_what_is_queued()
        self._push_parameters()

    def _expire(self) -> None:
        if time.monotonic() < self._expired_at + EXPIRY_EVERY_S:
            return
        self._expired_at = time.monotonic()
        now = timezone.now()
        commands.expire(now=now)
        topups.expire(now=now)

    def _say_again(self) -> None:
        """Once, before the first claim. Those of other gateways are doubled by it too, which harms nobody."""
        if self._has_said_again:
            return
        for outgoing in commands.unanswered(now=timezone.now()):
            self._publish(outgoing)
        self._has_said_again = True

    def _send_what_is_queued(self) -> None:
        while self._is_connected() and not self._stopped.is_set():
            claimed = commands.claim(now=timezone.now(), limit=CLAIM_AT_MOST)
            for outgoing in claimed:
                self._publish(outgoing)
            if len(claimed) < CLAIM_AT_MOST:
                return

    def _push_parameters(self) -> None:
        """While there are any, a group each quarter of a second."""
        if self._is_pushing and time.monotonic() < self._pushed_at + PARAMETERS_EVERY_S:
            return
        self._pushed_at, now = time.monotonic(), timezone.now()
        looked_at = desired.reconcile_parameters(now=now, limit=PARAMETERS_AT_MOST)
        claimed = commands.claim_parameters(now=now, limit=PARAMETERS_AT_MOST) if self._is_connected() else []
        for outgoing in claimed:
            self._publish(outgoing)
        self._is_pushing = looked_at + len(claimed) > 0
