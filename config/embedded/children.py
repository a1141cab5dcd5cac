"""Child processes that never outlive whoever started them."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def spawn(args: Sequence[str | Path], *, env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a child in a process group of its own; what it prints is appended to `log`.

    Ctrl-C at the terminal does not reach it: whoever spawned it calls `end`. On Linux it also gets SIGTERM when the
    *thread* that called this ends, even by SIGKILL: call it from a thread that lives as long as the child should.
    """
    with log.open("ab") as sink:
        return subprocess.Popen(  # noqa: S603 - the caller's own program
            args,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            process_group=0,
            preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509 - one system call, its library loaded before
        )


def end(*children: subprocess.Popen[bytes], patience_s: float) -> None:
    """Ask all groups to end (SIGTERM), wait up to `patience_s` seconds together, then SIGKILL what is left of them.

    A group is killed even when its leader went quietly: django-q2's workers outlive a main process that was killed.
    """
    for child in children:
        _signal_group(child, signal.SIGTERM)
    deadline = time.monotonic() + patience_s
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, deadline - time.monotonic()))
        _signal_group(child, signal.SIGKILL)
        child.wait()


def _signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
        os.killpg(child.pid, number)


def die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """What to give as `preexec_fn`, so that the child gets this signal when its parent dies. None on macOS.

    It runs after subprocess changed the user, which would otherwise clear the wish (man 2 PR_SET_PDEATHSIG).
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def ask_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)

    return ask_kernel


def command_line(pid: int) -> str:
    """The command line of a living process, its words parted by blanks; empty for a zombie, a stranger or nobody."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    answer = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607 - macOS
    return answer.stdout
