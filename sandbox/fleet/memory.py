"""Keeps the registers of meters in a file, written before a meter says anything that depends on them.

A killed fleet comes back with every relay, count and balance that anybody was told of.
"""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from sandbox.fleet.registers import Registers

LOCK_TIMEOUT_S = 1.0  # one that is just ending is waited for


class MemoryInUseError(Exception):
    """Another fleet lives with this file: the same meters may not exist twice."""


class Memory:
    """One row a meter. Survives the death of the process, not that of the machine: nothing is synced to disk."""

    def __init__(self, path: Path | None) -> None:
        """Holds the file for itself. Raises MemoryInUseError, or sqlite3.Error when it cannot be used."""
        self._connection = sqlite3.connect(
            path or ":memory:", timeout=LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            self._begin()
        except sqlite3.Error as error:
            self._connection.close()
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise MemoryInUseError(f"{path} is in use by another fleet") from None
            raise

    def _begin(self) -> None:
        for statement in (
            "pragma locking_mode = exclusive",
            "pragma synchronous = off",
            "begin exclusive",
            "create table if not exists meters (name text primary key, registers text not null)",
            "commit",
        ):
            self._connection.execute(statement)

    def save(self, name: str, registers: Registers) -> None:
        self._connection.execute("replace into meters values (?, ?)", (name, json.dumps(asdict(registers))))

    def forget(self, name: str) -> None:
        self._connection.execute("delete from meters where name = ?", (name,))

    def load(self) -> Iterator[Registers]:
        """All meters as they were."""
        for (text,) in self._connection.execute("select registers from meters order by name").fetchall():
            registers = Registers(**json.loads(text))
            registers.follow_own_money(datetime.now(UTC))
            yield registers

    def close(self) -> None:
        self._connection.close()
