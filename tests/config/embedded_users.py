"""Other processes that use embedded servers, and a look at what runs for a folder: shared by the tests beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from config.embedded.children import command_line

PROJECT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys
from pathlib import Path
from config.embedded import broker, postgres
from config.embedded.holding import EmbeddedServerError
folder = Path(sys.argv[2])
try:
    if sys.argv[1].startswith("postgres"):
        url = postgres.lease(folder, durable=sys.argv[1] == "postgres")
    else:
        url = broker.lease(folder, kind=sys.argv[1])
except EmbeddedServerError as error:
    url = f"refused: {error}"
print(url, flush=True)
sys.stdin.read()
"""


class User:
    """A process that holds a lease until it is told to leave, or killed."""

    everybody: ClassVar[list[User]] = []  # so that those of a failed test can be sent away

    def __init__(self, kind: str, folder: Path, **env: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SCRIPT, kind, str(folder)],
            env=os.environ | {"PYTHONPATH": str(PROJECT)} | env,
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            umask=0o077,
        )
        self.everybody.append(self)

    def url(self) -> str:
        """Wait for the server; its address, or why there is none."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def leave(self) -> None:
        if self in self.everybody:
            self.everybody.remove(self)
            self.process.communicate()

    def kill(self) -> None:
        self.process.kill()
        self.leave()


@contextmanager
def using(kind: str, folder: Path, **env: str) -> Iterator[str]:
    """A lease by another process for the length of a block; yields the URL."""
    user = User(kind, folder, **env)
    try:
        yield user.url()
    finally:
        user.leave()


def keeper_of(folder: Path) -> int:
    """The process that keeps the folder's server."""
    (pid,) = (pid for pid, words in processes_of(folder) if "config.embedded.keeper" in words)
    return pid


def server_of(folder: Path) -> int:
    """The server's own (first) process."""
    return int((folder / "pid").read_text())


def processes_of(folder: Path) -> list[tuple[int, str]]:
    """Keeper and server: the living processes whose command line names the folder, but not its users."""
    everybody = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    named = [(pid, command_line(pid)) for pid in everybody]
    return [(pid, words) for pid, words in named if str(folder) in words and "import broker" not in words]


def within(seconds: float, condition: Callable[[], object]) -> bool:
    """Whether it becomes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
