"""Sees each answer of a meter the moment it is stored: a trigger of our own rings, and only what is committed rings."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Self

import psycopg

# What brings the power back: the relay's answer where the server holds the money, the top-up's where the meter does.
TRIGGER = """
create function bench_ring() returns trigger language plpgsql as $$
begin
    perform pg_notify('bench_answers', new.meter_id::text);
    return null;
end $$;
create trigger bench_ring after update on meters_command for each row
    when (new.state = 'done' and old.state <> 'done' and new.kind in ('relay', 'top_up'))
    execute function bench_ring();
"""


class Observer:
    """`stored_at` maps a meter's id to when its answer was seen to be committed (epoch, s)."""

    def __init__(self, url: str) -> None:
        self.stored_at: dict[int, float] = {}
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute(TRIGGER)
        self._connection.execute("listen bench_answers")
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="observer")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_ending.set()
        self._thread.join()
        self._connection.close()

    def wait_for(self, meters: Iterable[int], *, seconds: float) -> None:
        """Raises RuntimeError when a meter's answer is not stored in time."""
        left, deadline = set(meters), time.monotonic() + seconds
        while left := left - self.stored_at.keys():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(left)} meters have not answered within {seconds} s: {sorted(left)[:10]}")
            time.sleep(0.05)

    def _listen(self) -> None:
        while not self._is_ending.is_set():
            for notify in self._connection.notifies(timeout=0.2):
                self.stored_at.setdefault(int(notify.payload), time.time())
