"""How a test that commits leaves the database: empty, as Django's own flush does, in a fifth of its time.

Flush truncates all ninety tables, most of them empty, and makes Django's permissions anew: a quarter of a second after
each of seven hundred tests. Here tables that hold something are emptied row by row and without triggers (the ledger's
own would refuse), and what Django made for itself stays. Like a truncate it waits for whoever still writes.
"""

from __future__ import annotations

from typing import Any, Final

from django.db import connection, transaction
from django.test import TransactionTestCase

DJANGOS_OWN: Final = frozenset({"django_migrations", "django_content_type", "auth_permission"})
_flush: Final = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]  # the stubs leave it out


def install() -> None:
    """For every test of this process that is not rolled back."""
    TransactionTestCase._fixture_teardown = _empty  # type: ignore[attr-defined]


def _empty(case: Any) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("select current_setting('is_superuser') = 'on'")
        if cursor.fetchone() == (True,):  # of our own server always, of an operator's perhaps not
            _delete_all(cursor)
            return
    _flush(case)


def _delete_all(cursor: Any) -> None:
    found = set(connection.introspection.django_table_names(only_existing=True, include_views=False))
    tables = sorted(f'"{name}"' for name in found - DJANGOS_OWN)
    cursor.execute(f"lock table {', '.join(tables)} in access exclusive mode")
    asked = [f"select '{name}' where exists (select from {name})" for name in tables]  # noqa: S608 (our own names)
    cursor.execute(" union all ".join(asked))
    filled = [name for (name,) in cursor.fetchall()]
    cursor.execute("set local session_replication_role = replica")
    for name in filled:
        cursor.execute(f"delete from {name}")  # noqa: S608 (the same)
