"""From the broker into the database: what has gathered is stored in one transaction, and only then acknowledged."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.db import InterfaceError, OperationalError, close_old_connections, connection, transaction
from django.utils import timezone

from meters import intake
from meters.intake import Frame, Taken

logger = logging.getLogger(__name__)

BATCH_AT_MOST = 5000  # a second's work at most; a larger one would make whoever waits for an answer wait
BYTES_AT_MOST = 4 * 2**20  # after an outage each message may carry 200 readings
AWAY_S = (0.2, 5.0)  # waits while the database is away: first, and at most


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame with what its acknowledgement needs: it is for the connection that brought it, and for no later one."""

    frame: Frame
    mid: int
    connection: int


class Committer:
    """`put()` is called by the network's thread, `run()` is a thread of its own.

    Acknowledgements are given in the order of arrival. `after` is called with what each batch came to, once it is
    acknowledged; its faults never stop the intake.
    """

    def __init__(
        self,
        *,
        acknowledge: Callable[[Sequence[Arrival]], None],
        after: Callable[[Taken], object],
        stopped: threading.Event,
    ) -> None:
        self._arrivals: queue.SimpleQueue[Arrival] = queue.SimpleQueue()
        self._acknowledge = acknowledge
        self._after = after
        self._stopped = stopped

    def put(self, arrival: Arrival) -> None:
        self._arrivals.put(arrival)

    def run(self) -> None:
        while not self._stopped.is_set():
            batch = self._gathered()
            if batch:
                close_old_connections()
                self._commit(batch)

    def _gathered(self) -> list[Arrival]:
        """What has come while the last batch was stored; nobody waits for more."""
        batch: list[Arrival] = []
        size = 0
        try:
            while len(batch) < BATCH_AT_MOST and size < BYTES_AT_MOST:
                batch.append(self._arrivals.get_nowait() if batch else self._arrivals.get(timeout=0.2))
                size += len(batch[-1].frame.payload)
        except queue.Empty:
            pass
        return batch

    def _commit(self, batch: Sequence[Arrival]) -> None:
        try:
            taken = self._stored(batch)
        except Exception:
            logger.exception("a batch of %d messages cannot be stored", len(batch))
            self._commit_in_parts(batch)
            return
        if taken is not None:
            self._acknowledge(batch)
            self._tell(taken)

    def _stored(self, batch: Sequence[Arrival]) -> Taken | None:
        """While the database is away nothing is acknowledged, and the same is tried again. None when we stop first."""
        frames = [arrival.frame for arrival in batch]
        return self._patiently(lambda: intake.take(frames, now=timezone.now()))

    def _patiently(self, work: Callable[[], Taken]) -> Taken | None:
        wait_s = AWAY_S[0]
        while True:
            try:
                return work()
            except (OperationalError, InterfaceError) as error:
                logger.warning("the database is away, messages wait at the broker: %s", error)
                connection.close()
                if self._stopped.wait(wait_s):
                    return None
                wait_s = min(wait_s * 2, AWAY_S[1])

    def _commit_in_parts(self, batch: Sequence[Arrival]) -> None:
        """One of them is poison: the others are stored, that one is put on the work list.

        It is found by halves, the first half first: acknowledgements stay in order, and one among thousands costs a
        dozen more transactions, not thousands.
        """
        if len(batch) == 1:
            if self._patiently(lambda: _give_up(batch[0].frame)) is not None:
                self._acknowledge(batch)
            return
        middle = len(batch) // 2
        for part in (batch[:middle], batch[middle:]):
            self._commit(part)

    def _tell(self, taken: Taken) -> None:
        try:
            self._after(taken)
        except Exception:
            logger.exception("what follows the intake failed; it is found again from the rows")
            connection.close()


def _give_up(frame: Frame) -> Taken:
    with transaction.atomic():
        intake.tell_of_bad_frames([intake.Bad(frame, "it cannot be stored")], now=timezone.now())
    return Taken(bad_frames=1)
