"""The keeper: one detached process a folder that runs an embedded server for as long as anybody holds a lease on it.

Started by config/embedded/holding.py as `python -m config.embedded.keeper <kind> <folder> <descriptor>`, where the
descriptor is the exclusive lock that makes it the only one. Imports neither Django nor the settings.

Whatever dies, nothing stays behind: without leases the keeper stops the server; without the keeper the kernel stops it
(Linux) or the next keeper does (macOS); without the server the keeper starts it again, at the same address if it can.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from config.embedded import holding
from config.embedded.broker import IotCore, Mosquitto
from config.embedded.children import command_line
from config.embedded.holding import EmbeddedServerError
from config.embedded.postgres import Postgres

__all__ = ["EmbeddedServerError", "keep", "main"]

LOOK_S = 0.25  # how often we ask whether anybody is left
START_S = 60.0  # crash recovery of a large database takes its time
STOP_S = 30.0
PAUSES_S = (0.25, 0.5, 1.0, 2.0, 0.0)  # after each failed start: a port was taken, old backends are still leaving


class Server(Protocol):
    """What a keeper must know of a server."""

    stop_signal: signal.Signals
    url: str  # may change with each start

    def start(self) -> subprocess.Popen[bytes]:
        """Start a direct child that dies with us; its command line names its folder. Raises EmbeddedServerError."""

    def answers(self) -> bool:
        """Whether clients can use it now."""


SERVERS: dict[str, Callable[[Path], Server]] = {
    "postgres": Postgres,
    "postgres-roomy": lambda folder: Postgres(folder, roomy=True),
    "postgres-forgetful": lambda folder: Postgres(folder, durable=False),
    "mosquitto": Mosquitto,
    "iotcore": IotCore,
}


def keep(kind: str, folder: Path) -> None:
    """Run the server until nobody holds a lease any more. Raises EmbeddedServerError when it does not start."""
    server = SERVERS[kind](folder)
    lease = os.open(folder / "lease", os.O_RDWR)
    end_leftover(folder, server.stop_signal)
    in_use = True
    while in_use:
        process = bring_up(server, folder)
        guard = holding.announce(folder, kind=kind, url=server.url)
        try:
            while in_use and process.poll() is None:
                time.sleep(LOOK_S)
                in_use = not holding.lock(lease, fcntl.LOCK_EX)  # held from here to our end: newcomers wait for it
        finally:
            (folder / "ready").unlink(missing_ok=True)
            os.close(guard)
            stop(process, server.stop_signal)


def bring_up(server: Server, folder: Path) -> subprocess.Popen[bytes]:
    """Start the server and wait until it answers; again when it exits instead."""
    for pause_s in PAUSES_S:
        process = server.start()
        note_pid(folder, process.pid)
        deadline = time.monotonic() + START_S
        while process.poll() is None:
            if server.answers() and process.poll() is None:
                return process
            if time.monotonic() > deadline:
                stop(process, server.stop_signal)
                raise EmbeddedServerError(f"the server of {folder} does not answer: see {folder / 'log'}")
            time.sleep(0.03)
        time.sleep(pause_s)
    last_words = (folder / "log").read_text(errors="replace").splitlines()[-2:]
    raise EmbeddedServerError(f"the server of {folder} does not start: {' / '.join(last_words)}")


def note_pid(folder: Path, pid: int) -> None:
    """For the next keeper, should we be killed. By rename: never empty, not even for a moment."""
    fresh = folder / "pid.new"
    fresh.write_text(str(pid))
    fresh.replace(folder / "pid")


def stop(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """End our server: politely, then not."""
    process.send_signal(number)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)  # to PostgreSQL: drop everything, recover at the next start
        process.wait(STOP_S)


def end_leftover(folder: Path, number: signal.Signals) -> None:
    """Wait for the server of a keeper that was killed. Its number may long belong to somebody else: look who it is."""
    try:
        pid = int((folder / "pid").read_text())
    except (FileNotFoundError, ValueError):
        return
    deadline = time.monotonic() + STOP_S
    while str(folder) in command_line(pid):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        if time.monotonic() > deadline:
            raise EmbeddedServerError(f"process {pid} still serves {folder} and does not stop")
        time.sleep(holding.POLL_S)


def main(kind: str, folder: Path) -> None:
    """Detach, keep, and leave the reason behind when that fails."""
    if os.fork():
        os._exit(0)  # whoever launched us waits for this
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        keep(kind, folder)
    except (EmbeddedServerError, OSError) as error:
        (folder / "failure").write_text(f"{error}\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
