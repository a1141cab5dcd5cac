"""LISTEN: woken by the database when something was committed that has to go out: a command, a message."""

from __future__ import annotations

import logging
import threading
import time

import psycopg
from psycopg import sql

logger = logging.getLogger(__name__)

LOOK_UP_S = 0.2  # how soon a waiting bell notices that it was pulled by hand
TRY_AGAIN_S = 1.0


class Bell:
    """A direct connection of its own, on one channel of NOTIFY: never one of a pool, nor through a transaction-mode
    pooler.

    Used by one thread, but anybody may `pull()`.
    """

    def __init__(self, url: str, channel: str) -> None:
        self._url = url
        self._listen = sql.SQL("listen {}").format(sql.Identifier(channel))
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None
        self._pulled = threading.Event()

    def listen(self) -> bool:
        """Connects if need be. False when the database is away; sweep after it was True, then wait."""
        if self._connection is not None:
            return True
        try:
            self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=5)
            self._connection.execute(self._listen)
        except psycopg.OperationalError as error:
            logger.warning("cannot listen to the database: %s", type(error).__name__)
            self.close()
            return False
        return True

    def wait(self, seconds: float) -> None:
        """Returns when it rings, when it is pulled, when the connection is lost, or after so many seconds."""
        until = time.monotonic() + seconds
        while not self._pulled.is_set() and (left := until - time.monotonic()) > 0:
            if self._rings_within(min(left, LOOK_UP_S)):
                break
        self._pulled.clear()

    def _rings_within(self, seconds: float) -> bool:
        if self._connection is None:
            self._pulled.wait(min(seconds, TRY_AGAIN_S))
            return False
        try:
            return any(True for _ in self._connection.notifies(timeout=seconds, stop_after=1))
        except psycopg.OperationalError as error:
            logger.warning("lost the database's bell: %s", type(error).__name__)
            self.close()
            return True

    def pull(self) -> None:
        self._pulled.set()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
