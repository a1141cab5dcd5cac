"""The database as a story spoils it: connections cut, or no new ones let in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.db import connection

from tests.gateways import database_url


def backends(name: str, *, where: str = "true") -> list[int]:
    """The connections of a process to the database, as they are now: within a transaction it shows an old picture."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_stat_clear_snapshot()")
        cursor.execute(
            f"select pid from pg_stat_activity where application_name = %s and {where}",  # noqa: S608 - the tests' own
            [f"town-{name}"],
        )
        return [pid for (pid,) in cursor.fetchall()]


def cut_off(pids: list[int]) -> None:
    """Ends connections as a broken line or a failing server does."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_terminate_backend(pid) from unnest(%s) as pid", [pids])


@contextmanager
def database_away(*names: str) -> Iterator[None]:
    """These processes lose their connections and get no new ones, as when the server is restarted."""
    whole, name = database_url().rsplit("/", 1)
    with psycopg.connect(f"{whole}/postgres", autocommit=True) as outside:
        outside.execute(f'alter database "{name}" allow_connections false')
        try:
            cut_off([pid for one in names for pid in backends(one)])
            yield
        finally:
            outside.execute(f'alter database "{name}" allow_connections true')
