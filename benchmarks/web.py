"""The callback processes as an operator runs them: two workers of gunicorn that share the port evenly."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config.embedded.broker import is_free
from config.embedded.children import end, spawn

PROJECT = Path(__file__).resolve().parents[1]
START_S = 30.0
WORDS = ["--worker-class", "gthread", "--workers", "2", "--threads", "16", "--keep-alive", "75", "--reuse-port"]


@contextmanager
def running(folder: Path) -> Iterator[int]:
    """Serves callbacks until the end of the block; the port. What it logs, as in production, goes to a file."""
    port = free_port()
    settings = {"WEB_POOL": "callbacks", "LOG_FORMAT": "json"}
    words = [sys.executable, "-m", "gunicorn", "config.wsgi", "--chdir", str(PROJECT), "--bind", f"127.0.0.1:{port}"]
    child = spawn([*words, *WORDS], env=dict(os.environ) | settings, log=folder / "web.log")
    try:
        wait_for(port, folder)
        yield port
    finally:
        end(child, patience_s=10)


def wait_for(port: int, folder: Path) -> None:
    """Until it answers; RuntimeError where it does not."""
    deadline = time.monotonic() + START_S
    while is_free(port):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the web server does not come up: see {folder / 'web.log'}")
        time.sleep(0.1)
    time.sleep(2)  # the master listens first; then its workers import


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
