"""One thread with a selector, timers, and a way for other threads to have something done on it."""

import heapq
import itertools
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

CALL_TIMEOUT_S = 30.0

T = TypeVar("T")


class StoppedError(RuntimeError):
    """The thread has ended."""


class Ready(Protocol):
    """What is registered with the selector."""

    def ready(self, mask: int) -> None:
        """Its socket can be read or written."""
        ...


class Reactor:
    """Runs until it is told to stop, or until something it called raises."""

    def __init__(self, *, at_end: Callable[[], None], on_failure: Callable[[], None]) -> None:
        """`at_end` is called on the thread when it ends, `on_failure` after it when it ended by an error."""
        self.selector = selectors.DefaultSelector()
        self._at_end, self._on_failure = at_end, on_failure
        self._bell, self._rope = socket.socketpair()
        self._bell.settimeout(0)
        self.selector.register(self._bell, selectors.EVENT_READ, None)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._is_stopping, self._has_ended = False, False
        self._lock = threading.Lock()  # guards _has_ended and _calls: nobody may wait for a thread that is gone
        self._thread = threading.Thread(target=self._run, name="fleet", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and waits for it."""
        self._ring(Future(), self._begin_to_stop)
        self._thread.join()
        self._rope.close()

    def call(self, work: Callable[[], T]) -> T:
        """Runs `work` on the thread, from any other. Raises what it raises, or StoppedError."""
        future: Future[T] = Future()
        if not self._ring(future, work):
            raise StoppedError("the fleet has stopped")
        return future.result(CALL_TIMEOUT_S)

    def after(self, delay_s: float, deed: Callable[[], None]) -> None:
        """Does something later; on the thread, or before it starts."""
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._numbers), deed))

    def _ring(self, future: Future[Any], work: Callable[[], Any]) -> bool:
        with self._lock:
            if self._has_ended:
                return False
            self._calls.append((future, work))
            self._rope.send(b"!")
            return True

    def _begin_to_stop(self) -> None:
        self._is_stopping = True

    def _run(self) -> None:
        has_failed = True
        try:
            while not self._is_stopping:
                self._turn()
            has_failed = False
        finally:
            self._end()
            if has_failed:
                self._on_failure()

    def _turn(self) -> None:
        wait_s = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
        for key, mask in self.selector.select(wait_s):
            if key.data is None:
                self._bell.recv(4096)
                self._answer_calls()
            else:
                key.data.ready(mask)
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()

    def _answer_calls(self) -> None:
        while self._calls and not self._is_stopping:
            future, work = self._calls.popleft()
            try:
                future.set_result(work())
            except Exception as error:  # noqa: BLE001 - it belongs to whoever called
                future.set_exception(error)

    def _end(self) -> None:
        try:
            self._at_end()
        finally:
            with self._lock:
                self._has_ended = True
                for future, _ in self._calls:
                    future.set_exception(StoppedError("the fleet has stopped"))
            self.selector.close()
            self._bell.close()
