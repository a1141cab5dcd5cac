"""The thread that rates what was stored: at once, again after a fault, and never in the way of the intake."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager
from datetime import datetime

import pytest

from meters.rater import Rater
from tests.gateways import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def rating(rate: Callable[[datetime], int], *, net_s: float = 60):
    stopped = threading.Event()
    rater = Rater(rate=rate, stopped=stopped, net_s=net_s)
    thread = threading.Thread(target=rater.run)
    thread.start()
    try:
        yield rater
    finally:
        stopped.set()
        rater.ring()
        thread.join(10)
        assert not thread.is_alive()


def test_it_looks_once_when_it_begins_and_again_when_it_is_rung():
    rounds: list[object] = []
    with rating(lambda now: rounds.append(now) or 0) as rater:
        wait_until(lambda: len(rounds) == 1)

        rater.ring()

        wait_until(lambda: len(rounds) == 2)


def test_it_goes_on_until_nothing_is_left():
    left = [3, 2, 1, 0]
    with rating(lambda _now: left.pop(0) if left else 0):
        wait_until(lambda: not left)


def test_what_is_stored_during_a_round_is_rated_after_it():
    rounds: list[object] = []
    begun, go_on = threading.Event(), threading.Event()

    def rate(now):
        rounds.append(now)
        begun.set()
        assert go_on.wait(10)
        return 0

    with rating(rate) as rater:
        assert begun.wait(10)
        rater.ring()
        go_on.set()

        wait_until(lambda: len(rounds) == 2)


def test_it_looks_now_and_then_without_being_rung():
    rounds: list[object] = []
    with rating(lambda now: rounds.append(now) or 0, net_s=0.05):
        wait_until(lambda: len(rounds) >= 3)


def test_a_fault_is_tried_again_and_no_ring_hurries_it_on():
    rounds: list[object] = []

    def rate(now):
        rounds.append(now)
        if len(rounds) == 1:
            raise ValueError("a tariff is broken")
        return 0

    with rating(rate, net_s=0.5) as rater:
        wait_until(lambda: rounds)
        for _ in range(100):
            rater.ring()

        wait_until(lambda: len(rounds) >= 2)

        assert (rounds[1] - rounds[0]).total_seconds() > 0.4


def test_it_ends_when_it_is_told_to_though_there_is_always_more_to_do():
    with rating(lambda _now: 1):
        pass
