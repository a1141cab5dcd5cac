"""Rounds that take long keep nobody waiting, and a process that lost one of its lanes does not go on with the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager

# One lane counts quickly; what the other does is given.
_LANES = """
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
import django
django.setup()
import time
from config.rounds import Rounds, run_lanes

def count(now):
    print("round", flush=True)

def other(now):
    {other}

run_lanes(Rounds({{count: 0.05}}, pause_s=0.05), Rounds({{other: 1}}, pause_s=0.05))
print("over", flush=True)
"""


@contextmanager
def lanes(other: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_LANES.format(other=other))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"},  # nothing here asks it
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_round_that_takes_long_keeps_those_of_another_lane_waiting_for_nothing():
    with lanes("time.sleep(60)") as process:
        assert process.stdout
        assert [process.stdout.readline() for _ in range(5)] == ["round\n"] * 5


def test_it_ends_when_it_is_told_to_and_lets_both_lanes_come_to_an_end():
    with lanes("time.sleep(0.5)") as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)

        rest, _errors = process.communicate(timeout=20)

        assert rest.endswith("over\n")
        assert process.returncode == 0


def test_a_round_that_fails_comes_again_and_a_lane_that_dies_ends_the_process():
    with lanes("raise ValueError('a fault in one round')") as failing:
        assert failing.stdout
        assert [failing.stdout.readline() for _ in range(30)] == ["round\n"] * 30
        assert failing.poll() is None

    with lanes("raise SystemExit") as dying:
        deadline = time.monotonic() + 20
        _said, errors = dying.communicate(timeout=deadline - time.monotonic())

        assert dying.returncode == 1
        assert "a lane of rounds has died" in errors
