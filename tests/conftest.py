"""Real PostgreSQL for every test: the operator's where DATABASE_URL names one, else an embedded one of our own."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

# Settings read the environment when they are imported, so this comes first. Tests never touch the data under var/
# of somebody who tries the project out, and never sync to disk.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")  # here and not in pyproject.toml: it would be first
os.environ.setdefault("LOG_LEVEL", "WARNING")
os.environ.setdefault("API_REQUESTS_A_MINUTE", "0")  # a thousand tests ask from one address
if not os.environ.get("DATABASE_URL"):
    from config.embedded import postgres

    _place = zlib.crc32(str(Path(__file__).resolve()).encode())  # two clones do not share a database
    _folder = Path(tempfile.gettempdir()) / f"meterpay-tests-{os.getuid()}-{_place:08x}"
    _folder.mkdir(mode=0o711, exist_ok=True)
    os.environ["METERPAY_VAR"] = str(_folder)
    os.environ["DATABASE_URL"] = postgres.lease(_folder / "postgres", durable=False)

import django

django.setup()

from django.core.servers.basehttp import WSGIServer
from django.db import connection
from django.utils import translation

from tests import emptying

emptying.install()
WSGIServer.request_queue_size = 128  # fifty callers at the same instant are what some tests are about; Django's is 10


_OPERATORS = connection.settings_dict["NAME"]


@pytest.fixture(scope="session", autouse=True)
def _end_what_children_left(django_db_setup: None, django_db_blocker) -> Iterator[None]:
    """A killed child's connection must not keep the test database from being dropped.

    Where none of the chosen tests needs a database, pytest-django makes none, and the settings still name the one that
    the operator works with: nobody's connections to that are ours to end.
    """
    yield
    if connection.settings_dict["NAME"] == _OPERATORS:
        return
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )


@pytest.fixture(autouse=True)
def _in_english() -> Iterator[None]:
    """Tests read the source's own words; what the catalogue makes of them has tests of its own."""
    with translation.override("en"):
        yield
