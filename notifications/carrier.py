"""The carrier: messages that floors have left become deliveries, which are claimed, committed, and then sent.

Its threads:

* the router is rung by PostgreSQL when a message is left; it makes deliveries and follows up what did not arrive;
* a lane for each channel claims what is due, sends it with some connections at once, records the answers, and asks its
  vendor what became of calls that nobody answered. A vendor that hangs holds up nobody but itself.

Several carriers may run: they skip what another holds. One that dies leaves claims, which tracing.py finds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from django.db import close_old_connections, connection
from django.utils import timezone

from accounts.bell import Bell
from notifications import claims, outcomes, receipts, routes, tracing
from notifications.channels.base import Answer, Carries, Outcome
from notifications.claims import Claimed
from notifications.outcomes import NOT_SENT, Result

log = logging.getLogger(__name__)

CHANNEL = "messages"  # of NOTIFY: migrations/0005_bell.py
NET_S = 1.0  # a lost notification is made good after so long; so is what becomes due by itself
AGAIN_S = 0.5  # after a pass that failed
TRACE_EVERY_S = 5.0
FORGET_EVERY_S = 3600.0
ROUTE_AT_MOST = 200
CLAIM_AT_MOST = 128
AT_ONCE = 8  # connections to one vendor
PAUSE_S = 5.0  # for a vendor that answered nothing of a whole batch


class Carrier:
    """`go_on()` until `has_ended`. Raises RuntimeError when a thread of it dies: half a carrier would look alive."""

    def __init__(self, *, channels: Mapping[str, Carries], listen_url: str) -> None:
        self.has_ended = False
        self._channels = dict(channels)
        self._bell = Bell(listen_url, CHANNEL)
        self._lanes = [Lane(name, carries, self) for name, carries in self._channels.items()]
        self._traced_at = self._forgot_at = 0.0

    def go_on(self) -> None:
        """The router, in the caller's thread; it starts the lanes and ends them."""
        threads = [threading.Thread(target=lane.run, name=f"lane-{lane.name}", daemon=True) for lane in self._lanes]
        for thread in threads:
            thread.start()
        try:
            while not self.has_ended and all(thread.is_alive() for thread in threads):
                is_done = self._bell.listen() and self._route_bravely()
                self._bell.wait(NET_S if is_done else AGAIN_S)
        finally:
            were_told, self.has_ended = self.has_ended, True
            self._ring_lanes()
            for thread in threads:
                thread.join()
            self._bell.close()
        if not were_told:
            raise RuntimeError("a lane of the carrier has died")

    def _route_bravely(self) -> bool:
        close_old_connections()
        try:
            self.route()
        except Exception:
            log.exception("messages could not be routed; they are looked at again")
            connection.close()
            return False
        return True

    def route(self) -> None:
        """Everything that waits, then what did not arrive, then now and then what nobody answered."""
        while routes.route(channels=self._channels, now=timezone.now(), limit=ROUTE_AT_MOST) and not self.has_ended:
            self._ring_lanes()
        if routes.follow(channels=self._channels, now=timezone.now()):
            self._ring_lanes()
        if time.monotonic() > self._traced_at + TRACE_EVERY_S:
            self._traced_at = time.monotonic()
            receipts.use_left(now=timezone.now())
            tracing.expire_claims(now=timezone.now())
            tracing.trace_orphans(channels=self._channels, now=timezone.now())
        if time.monotonic() > self._forgot_at + FORGET_EVERY_S:
            self._forgot_at = time.monotonic()
            receipts.forget_early(now=timezone.now())

    def _ring_lanes(self) -> None:
        for lane in self._lanes:
            lane.rung.set()


class Lane:
    """What goes out by one channel. `run()` is a thread of its own."""

    def __init__(self, name: str, carries: Carries, carrier: Carrier) -> None:
        self.name = name
        self.rung = threading.Event()
        self._carries = carries
        self._carrier = carrier
        self._traced_at = 0.0

    def run(self) -> None:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix=f"send-{self.name}") as senders:
            while not self._carrier.has_ended:
                self.rung.clear()
                if not self._send_bravely(senders):
                    self.rung.wait(NET_S)
        connection.close()

    def _send_bravely(self, senders: ThreadPoolExecutor) -> bool:
        """Whether there may be more at once."""
        close_old_connections()
        try:
            self._trace()
            return self.send_batch(senders) == CLAIM_AT_MOST
        except Exception:
            log.exception("messages by %s could not be claimed or recorded; they are looked at again", self.name)
            connection.close()
            return False

    def _trace(self) -> None:
        if time.monotonic() > self._traced_at + TRACE_EVERY_S:
            self._traced_at = time.monotonic()
            tracing.trace(channel=self.name, carries=self._carries, now=timezone.now())

    def send_batch(self, senders: ThreadPoolExecutor) -> int:
        """Claims, sends and records one batch. Returns how many it claimed."""
        claimed = claims.claim(channel=self.name, now=timezone.now(), limit=CLAIM_AT_MOST)
        until = time.monotonic() + tracing.SEND_WITHIN_S
        results = list(senders.map(lambda one: Result(one, self._send(one, until)), claimed))
        outcomes.record(channel=self.name, results=results, now=timezone.now())
        if len(results) > 1 and not any(one.answer.outcome in (Outcome.HANDED, Outcome.REFUSED) for one in results):
            log.warning("%s answered none of %d messages", self.name, len(results))
            self._rest()
        return len(claimed)

    def _send(self, claimed: Claimed, until: float) -> Answer:
        if time.monotonic() > until or self._carrier.has_ended:
            return NOT_SENT
        try:
            return self._carries.send(claimed.letter)
        except Exception:
            log.exception("message %s by %s", claimed.letter.reference, self.name)
            return Answer(outcome=Outcome.UNKNOWN, code="fault")
        finally:
            connection.close()  # a vendor's token lies in the database's cache

    def _rest(self) -> None:
        until = time.monotonic() + PAUSE_S
        while time.monotonic() < until and not self._carrier.has_ended:
            time.sleep(0.1)
