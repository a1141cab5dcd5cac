"""Carries callbacks to whoever asked for them, with a vendor's retry ladder at a chosen speed, and keeps a log."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import requests
from requests.adapters import HTTPAdapter

ANSWER_WITHIN_S = 5  # both vendors give up on an answer after that, whatever the speed
SENDERS = 64
EXCERPT = 500  # characters kept of an answer
FINAL = {"accepted", "given_up", "dropped"}

Dressed = tuple[dict[str, str], bytes]


@dataclass
class Delivery:
    """One callback on its way. `payload` is the event as the vendor keeps it: each try dresses and signs it anew."""

    id: str
    about: str  # out_trade_no
    url: str
    payload: dict[str, Any]
    probe: bool = False  # the first try carries a deliberately wrong signature
    state: str = "waiting"  # waiting, held, accepted, given_up, dropped
    due_at: float = 0.0
    tries: list[dict[str, Any]] = field(default_factory=list)


class Courier:
    """Sends deliveries and repeats them until they are accepted or the ladder ends.

    `dress` turns a delivery into headers and body at the moment of each try; `accepts` reads the receiver's answer.
    """

    def __init__(
        self,
        *,
        ladder_s: Sequence[float],
        speed: float,
        dress: Callable[[Delivery], Dressed],
        accepts: Callable[[int, bytes], bool],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.ladder_s, self.speed, self.dress, self.accepts, self.changed = ladder_s, speed, dress, accepts, changed
        self.deliveries: dict[str, Delivery] = {}
        self.handled = 0
        self._due: list[tuple[float, int, str]] = []
        self._order = itertools.count()
        self._moved = threading.Condition()
        self._closing = False
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the machine has no business between two local processes
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_connections=8, pool_maxsize=SENDERS))
        self._pool = ThreadPoolExecutor(SENDERS, thread_name_prefix="courier")
        self._clockwork = threading.Thread(target=self._run, name="courier-clock", daemon=True)
        self._clockwork.start()

    def send(self, delivery: Delivery, *, delay_s: float = 0.0) -> None:
        """Takes a delivery over: sent after `delay_s` (real seconds), or kept where its state is `held`."""
        with self._moved:
            self.deliveries[delivery.id] = delivery
            if delivery.state == "waiting":
                self._schedule(delivery, time.time() + delay_s)

    def release(self, about: str = "") -> list[str]:
        """Lets held deliveries go (all, or those about one trade); returns their ids."""
        with self._moved:
            held = [d for d in self.deliveries.values() if d.state == "held" and about in {"", d.about}]
            for delivery in held:
                delivery.state = "waiting"
                self._schedule(delivery, time.time())
        return [d.id for d in held]

    def wait(self, ids: Sequence[str], *, tries: int = 1, timeout_s: float = 30.0) -> bool:
        """Blocks until each delivery was tried `tries` times or is final; False after `timeout_s`."""
        with self._moved:
            return self._moved.wait_for(lambda: all(self._tried(i, tries) for i in ids), timeout_s)

    def log(self, about: str = "") -> list[dict[str, Any]]:
        """All deliveries (or those about one trade), oldest first, each with its tries."""
        with self._moved:
            return [asdict(d) for d in self.deliveries.values() if about in {"", d.about}]

    def restore(self, entries: Sequence[dict[str, Any]]) -> None:
        """Continues with the deliveries of an earlier process."""
        for entry in entries:
            delivery = Delivery(**entry)
            self.send(delivery, delay_s=max(0.0, delivery.due_at - time.time()))

    def forget(self) -> None:
        """Drops everything that is known or waiting."""
        with self._moved:
            for delivery in self.deliveries.values():
                delivery.state = "dropped"
            self.deliveries.clear()
            self._due.clear()
            self._moved.notify_all()

    def close(self) -> None:
        """Stops sending and closes every connection."""
        with self._moved:
            self._closing = True
            self._moved.notify_all()
        self._clockwork.join()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._session.close()

    def _tried(self, delivery_id: str, tries: int) -> bool:
        delivery = self.deliveries.get(delivery_id)
        return delivery is None or delivery.state in FINAL or len(delivery.tries) >= tries

    def _schedule(self, delivery: Delivery, due_at: float) -> None:
        delivery.due_at = due_at
        heapq.heappush(self._due, (due_at, next(self._order), delivery.id))
        self._moved.notify_all()

    def _run(self) -> None:
        while True:
            with self._moved:
                if self._closing:
                    return
                wait_s = self._due[0][0] - time.time() if self._due else None
                if wait_s is None or wait_s > 0:
                    self._moved.wait(wait_s)
                    continue
                delivery = self.deliveries.get(heapq.heappop(self._due)[2])
            if delivery is not None and delivery.state == "waiting":
                self._pool.submit(self._try, delivery)

    def _try(self, delivery: Delivery) -> None:
        sent_at = time.time()
        started = time.perf_counter()
        status, answer, error = self._post(delivery)
        accepted = not error and self.accepts(status, answer)
        with self._moved:
            delivery.tries.append(
                {
                    "sent_at": sent_at,
                    "ms": round((time.perf_counter() - started) * 1000, 3),
                    "status": status,
                    "answer": answer.decode("utf-8", "replace")[:EXCERPT],
                    "error": error,
                    "accepted": accepted,
                }
            )
            self.handled += 1
            self._settle(delivery, accepted=accepted)
            self._moved.notify_all()
        self.changed()

    def _settle(self, delivery: Delivery, *, accepted: bool) -> None:
        if delivery.state == "dropped":
            return
        if accepted:
            delivery.state = "accepted"
        elif len(delivery.tries) > len(self.ladder_s):
            delivery.state = "given_up"
        else:
            self._schedule(delivery, time.time() + self.ladder_s[len(delivery.tries) - 1] / self.speed)

    def _post(self, delivery: Delivery) -> tuple[int, bytes, str]:
        headers, body = self.dress(delivery)
        try:
            answer = self._session.post(
                delivery.url, data=body, headers=headers, timeout=ANSWER_WITHIN_S, allow_redirects=False
            )
        except requests.RequestException as error:
            return 0, b"", type(error).__name__
        return answer.status_code, answer.content, ""


def send_once(url: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    """Posts a crafted callback once, outside any ladder; the receiver's status and an excerpt of its answer."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(url, data=body, headers=headers, timeout=ANSWER_WITHIN_S, allow_redirects=False)
    return {"status": answer.status_code, "answer": answer.text[:EXCERPT]}
