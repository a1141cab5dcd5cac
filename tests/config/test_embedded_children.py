"""Child processes end with whoever started them, whole groups of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from config.embedded.children import command_line, end, spawn
from tests.config.embedded_users import PROJECT, kill, within

pytestmark = pytest.mark.kill

STUBBORN_WITH_CHILD = """
import signal, subprocess, sys, time
deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", deaf])
if sys.argv[1] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(child.pid, flush=True)
time.sleep(60)
"""


def started(log: Path) -> int:
    """Wait for both to be deaf to SIGTERM; the grandchild's number."""
    assert within(10, lambda: log.exists() and len(log.read_text().split()) == 2)
    return int(next(word for word in log.read_text().split() if word.isdigit()))


def test_what_a_child_prints_is_in_its_log(tmp_path):
    child = spawn(
        [sys.executable, "-c", "import os; print(os.environ['WORD'])"],
        env={"WORD": "电"} | {"PYTHONUTF8": "1"},
        log=tmp_path / "log",
    )
    child.wait()
    end(child, patience_s=1)

    assert (tmp_path / "log").read_text() == "电\n"


def test_a_child_has_a_group_of_its_own(tmp_path):
    child = spawn(["sleep", "60"], env=os.environ, log=tmp_path / "log")

    assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
    end(child, patience_s=5)
    assert child.returncode == -signal.SIGTERM


@pytest.mark.parametrize("manner", ["polite", "stubborn"])
def test_ending_a_child_ends_its_group_to_the_last(tmp_path, manner):
    log = tmp_path / "log"
    child = spawn([sys.executable, "-c", STUBBORN_WITH_CHILD, manner], env=os.environ, log=log)
    grandchild = started(log)

    end(child, patience_s=0.5)

    assert child.returncode == (-signal.SIGTERM if manner == "polite" else -signal.SIGKILL)
    assert within(2, lambda: not command_line(grandchild))


def test_the_group_of_a_child_that_was_killed_is_ended_too(tmp_path):
    log = tmp_path / "log"
    child = spawn([sys.executable, "-c", STUBBORN_WITH_CHILD, "polite"], env=os.environ, log=log)
    grandchild = started(log)
    kill(child.pid)
    child.wait()

    end(child, patience_s=0.5)

    assert within(2, lambda: not command_line(grandchild))


def test_several_children_share_one_patience(tmp_path):
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    logs = [tmp_path / str(number) for number in range(3)]
    children = [spawn([sys.executable, "-c", deaf], env=os.environ, log=log) for log in logs]
    assert within(10, lambda: all(log.read_text() for log in logs))

    began = time.monotonic()
    end(*children, patience_s=0.5)

    assert time.monotonic() - began < 1.2
    assert {child.returncode for child in children} == {-signal.SIGKILL}


def test_a_child_goes_when_its_parent_is_killed(tmp_path):
    script = """
import sys, time
from pathlib import Path
from config.embedded.children import spawn
child = spawn(["sleep", "60"], env={"PATH": "/usr/bin:/bin"}, log=Path(sys.argv[1]))
print(child.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path / "log"], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    child = int(parent.stdout.readline())
    assert "sleep" in command_line(child)

    parent.kill()
    parent.communicate()

    assert within(2, lambda: not command_line(child))


def test_where_the_kernel_offers_nothing_children_start_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")

    child = spawn(["sleep", "60"], env=os.environ, log=tmp_path / "log")
    end(child, patience_s=5)

    assert child.returncode == -signal.SIGTERM


def test_nobody_has_no_command_line():
    gone = subprocess.Popen(["true"])
    gone.wait()

    assert command_line(gone.pid) == ""
    assert "pytest" in command_line(os.getpid()) or "python" in command_line(os.getpid())
