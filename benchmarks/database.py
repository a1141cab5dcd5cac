"""A durable PostgreSQL of our own under var/bench: fsync and synchronous_commit on, as operators have it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg import sql

from config.embedded import postgres
from config.embedded.lease import var_folder

CLIENTS = 8
THREADS = 2


def folder() -> Path:
    """Where the benchmarks keep what they need; nothing of the project's own data is touched."""
    return var_folder() / "bench"


class Server:
    """The server, ours until this process ends; at SCALE=full with the memory that an operator of a city gives it."""

    def __init__(self) -> None:
        roomy = os.environ.get("SCALE") == "full"
        parts = urlsplit(postgres.lease(folder() / "postgres", roomy=roomy))
        self.host, self._user = unquote(parts.hostname or ""), parts.username or ""
        self._url = f"{parts.scheme}://{parts.netloc}/"
        with self._connected("postgres") as connection:
            for name in ("fsync", "synchronous_commit", "full_page_writes"):
                value = connection.execute(sql.SQL("show {}").format(sql.Identifier(name))).fetchone()
                if value != ("on",):
                    raise RuntimeError(f"{name} is not on: what is measured here would not be durable")

    def open_fresh(self, name: str) -> None:
        """Makes an empty database with our tables, and points Django (set up here) and all children at it."""
        with self._connected("postgres") as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        os.environ["DATABASE_URL"] = os.environ["DATABASE_LISTEN_URL"] = self._url + name
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        os.environ["API_REQUESTS_A_MINUTE"] = "0"  # one tenant asks as often as a thousand here
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)

    def settle(self) -> None:
        """What was written before is on disk, and the planner knows it: each run starts from the same calm."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("analyze")
            cursor.execute("checkpoint")

    def prepare_pgbench(self, *, scale: int) -> str:
        """The database with pgbench's tables, filled by `pgbench -i -s <scale>` unless it was before; its name."""
        name = f"pgbench_{scale}"
        with self._connected("postgres") as connection:
            if connection.execute("select from pg_database where datname = %s", [name]).fetchone() is not None:
                return name
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(f"{name}_filling")))
        self._pgbench("-i", "-q", "-s", str(scale), f"{name}_filling")
        with self._connected("postgres") as connection:
            connection.execute(
                sql.SQL("alter database {} rename to {}").format(
                    sql.Identifier(f"{name}_filling"), sql.Identifier(name)
                )
            )
        return name

    def pgbench(self, name: str, *, seconds: int) -> float:
        """TPC-B transactions a second, 8 clients, simple protocol."""
        said = self._pgbench("-M", "simple", "-c", str(CLIENTS), "-j", str(THREADS), "-T", str(seconds), name)
        found = re.search(r"^tps = ([0-9.]+)", said, re.MULTILINE)
        if found is None:
            raise RuntimeError(f"pgbench did not say how fast it was: {said}")
        return float(found[1])

    def _pgbench(self, *words: str) -> str:
        return subprocess.run(
            [postgres.binary("pgbench"), "-h", self.host, "-U", self._user, *words],
            env=postgres.environment(),
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def _connected(self, name: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self._url + name, autocommit=True)
