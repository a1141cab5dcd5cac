"""Folders for embedded servers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.config.embedded_users import User, processes_of, within
from tests.payments.conftest import world

__all__ = ["world"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for one embedded server, which must be deserted when the test ends.

    Not pytest's tmp_path: its parents are closed to all but their owner, and PostgreSQL does not run as root.
    """
    home = Path(tempfile.mkdtemp(prefix="meterpay embedded "))  # with a blank, as in people's folders
    home.chmod(0o711)
    server_folder = home / "server"
    yield server_folder
    for user in tuple(User.everybody):
        user.kill()
    deserted = within(5, lambda: not processes_of(server_folder))
    left, log = processes_of(server_folder), server_folder / "log"
    assert deserted, (left, log.read_text(errors="replace")[-2000:] if log.exists() else "")
    shutil.rmtree(home)
