"""Real threads on the real database, all let go at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from django.db import connection


def at_once(times: int, work: Callable[[], Any]) -> list[Any]:
    """The same from many threads; what each returned, in no order."""
    return at_once_each(*[work] * times)


def at_once_each(*works: Callable[[], Any]) -> list[Any]:
    """Each in a thread of its own. Fails when one of them does."""
    start, results = threading.Barrier(len(works)), []

    def act(work: Callable[[], Any]) -> None:
        try:
            start.wait()
            results.append(work())
        finally:
            connection.close()

    threads = [threading.Thread(target=act, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == len(works), "one of them failed"
    return results
