"""Leases on embedded servers: whoever uses one holds a shared `flock`; the kernel drops it however the holder dies.

The folder of a server holds

    lease       shared lock: somebody uses the server. The keeper takes it exclusively to learn that nobody does.
    keeper      exclusive lock: a keeper process is alive (config/embedded/keeper.py).
    ready       kind and URL of the running server; believed only while its keeper holds it locked.
    failure     why the last keeper gave up, one line.
    log         what keeper and server had to say.

Nothing is ever stopped by hand: the last lease that goes takes the server with it.
"""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

WAIT_S = 90.0  # longer than a keeper needs to give up, so that its reason is what people read
POLL_S = 0.05
NOTICED_S = 1.0  # a keeper looks four times a second whether anybody is left
LOG_AT_MOST_BYTES = 10_000_000
PROJECT = Path(__file__).resolve().parents[2]

_held: dict[Path, int] = {}  # folder -> descriptor, kept open until this process dies
_one_at_a_time = threading.RLock()


class EmbeddedServerError(RuntimeError):
    """An embedded server cannot run here; the message is one line that says what to do about it."""


def hold(folder: Path, *kinds: str) -> str:
    """Hold a lease on the server of `folder` until this process dies, starting the server if need be; its URL.

    `kinds` are the servers that will do; the first is the one to start. The descriptor is not handed to programs that
    this process executes; children that it merely forks (gunicorn's and django-q2's workers) share the lease.
    Raises EmbeddedServerError.
    """
    try:
        folder = folder.resolve()
        _make_passable(folder)
        with _one_at_a_time:
            return _hold(folder, kinds)
    except OSError as error:
        raise EmbeddedServerError(f"{error.filename or folder}: {error.strerror}") from error


def release(folder: Path, *, patience_s: float) -> bool:
    """Give a lease back before this process dies, and see the server gone, if nobody else uses it; whether it is gone.

    For whoever removes the folder, or wants to leave nothing behind: without it the server goes a moment after us.
    """
    folder = folder.resolve()
    if not (folder / "keeper").exists():
        return True
    with _one_at_a_time:
        if folder in _held:
            os.close(_held.pop(folder))
    keeper = _open(folder / "keeper")
    try:
        return _is_deserted(folder, keeper, time.monotonic() + patience_s)
    finally:
        os.close(keeper)


def _is_deserted(folder: Path, keeper: int, deadline: float) -> bool:
    """Wait for the keeper to end. One that was only just bringing the server up does so first, and then looks."""
    ready_since = None
    while not lock(keeper, fcntl.LOCK_EX):
        now = time.monotonic()
        ready_since = (ready_since or now) if _ready(folder) is not None else None
        if now > deadline or (ready_since is not None and now - ready_since > NOTICED_S):
            return False  # somebody else uses it
        time.sleep(POLL_S)
    return True


def _make_passable(folder: Path) -> None:
    """What we make may be passed by anybody whatever the umask says: as root, PostgreSQL runs as somebody else."""
    if not folder.exists():
        _make_passable(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o711)


def _hold(folder: Path, kinds: tuple[str, ...]) -> str:
    deadline = time.monotonic() + WAIT_S
    held_before = folder in _held
    lease = _held[folder] if held_before else _shared_lock(folder / "lease", deadline)
    try:
        url = _wait_until_ready(folder, kinds, deadline)
    except BaseException:
        if not held_before:
            os.close(lease)
        raise
    _held[folder] = lease
    return url


def _shared_lock(path: Path, deadline: float) -> int:
    """A keeper that is just stopping its server holds this exclusively, so wait for it."""
    descriptor = _open(path)
    while not lock(descriptor, fcntl.LOCK_SH):
        if time.monotonic() > deadline:
            os.close(descriptor)
            raise EmbeddedServerError(f"the server of {path.parent} does not stop: see {path.parent / 'log'}")
        time.sleep(POLL_S)
    return descriptor


def _wait_until_ready(folder: Path, kinds: tuple[str, ...], deadline: float) -> str:
    launched = False
    while time.monotonic() < deadline:
        if (ready := _ready(folder)) is not None:
            if ready["kind"] not in kinds:
                raise EmbeddedServerError(f"{folder} is in use by {ready['kind']}, not {kinds[0]}: use another folder")
            return ready["url"]
        keeper = _open(folder / "keeper")
        try:
            if lock(keeper, fcntl.LOCK_EX):
                if launched:
                    raise EmbeddedServerError(_failure(folder))
                _launch(kinds[0], folder, keeper)
                launched = True
        finally:
            os.close(keeper)
        time.sleep(POLL_S)
    raise EmbeddedServerError(f"the server of {folder} did not come up in {WAIT_S:.0f} s: see {folder / 'log'}")


def _ready(folder: Path) -> dict[str, str] | None:
    try:
        descriptor = os.open(folder / "ready", os.O_RDONLY)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor) as file:
        if lock(descriptor, fcntl.LOCK_SH):  # nobody guards it any more: left by a keeper that was killed
            return None
        ready: dict[str, str] = json.load(file)
        return ready


def _failure(folder: Path) -> str:
    try:
        return (folder / "failure").read_text().strip()
    except FileNotFoundError:
        return f"the keeper of {folder} was killed: see {folder / 'log'}"


def _launch(kind: str, folder: Path, keeper: int) -> None:
    """Start a keeper that inherits our exclusive lock, so that there is never a moment with two or without one.

    It detaches itself (a session of its own, and a fork), so it is no child of ours to wait for, and Ctrl-C here does
    not reach it.
    """
    (folder / "failure").unlink(missing_ok=True)
    log = folder / "log"
    modules = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with suppress(FileNotFoundError):
        if log.stat().st_size > LOG_AT_MOST_BYTES:
            log.replace(folder / "log.old")
    with os.fdopen(_open(log, os.O_APPEND), "ab") as sink:
        subprocess.run(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "config.embedded.keeper", kind, str(folder), str(keeper)],
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": modules},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            pass_fds=[keeper],
            start_new_session=True,
            check=False,  # whether it lives shows in its lock
        )


def announce(folder: Path, *, kind: str, url: str) -> int:
    """Say that the server answers. The descriptor returned guards the announcement: closing it, or dying, ends it."""
    fresh = folder / "ready.new"
    fresh.unlink(missing_ok=True)
    descriptor = _open(fresh)
    lock(descriptor, fcntl.LOCK_EX)
    os.write(descriptor, json.dumps({"kind": kind, "url": url}).encode())
    fresh.rename(folder / "ready")
    return descriptor


def lock(descriptor: int, how: int) -> bool:
    """Try to `flock`; True if we have it now."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open(path: Path, flags: int = 0) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600)  # never inherited by programs executed (PEP 446)
