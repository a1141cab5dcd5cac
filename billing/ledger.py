"""The only Python door that writes money.

A journal entry is a business event under a permanent unique key; its transfers name both sides. The same key with the
same lines is an answer, with other lines an error. What it does is `billing_post` (migrations/0002_ledger.py); triggers
refuse every other way in. Money is in fen; a credit to a purse's account raises what we owe its tenant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from django.db import DatabaseError, connection, transaction

CONFLICT = "MP001"  # raised by billing_post and billing_top_up

# Plan: one look-up by the unique index on (kind, ref); an insert the first time that a name is heard.
_ACCOUNT = "select billing_account(%s, %s, %s::bigint)"
# Plan: accounts by primary key, their purses by primary key; locked in that order whoever else does the same.
_LOCK = """
select p.id from billing_purse p
 where p.id in (select a.purse_id from billing_ledgeraccount a where a.id = any(%s::bigint[]))
 order by p.id for no key update
"""
# Plan: one insert of the entry (unique key), one of its transfers from the arrays, one update of the purses touched,
# found by primary key through their accounts. Nothing grows with the tables.
_POST = """
select billing_post(%s, %s, %s::bigint, %s::bigint[], %s::bigint[], %s::bigint[], %s, %s, %s::bigint, %s, %s)
"""


class LedgerConflict(Exception):
    """This key stands in the ledger with other lines; nothing was written. Ours to fix: a key names one event."""


class Line(NamedTuple):
    """`amount_fen` > 0 moves from the debited account to the credited one (ids of LedgerAccount)."""

    debit: int
    credit: int
    amount_fen: int


def account(kind: str, ref: str, *, purse_id: int | None = None) -> int:
    """The id of the account with this name, made when it is new. `kind` is a LedgerAccount.Kind."""
    with connection.cursor() as cursor:
        cursor.execute(_ACCOUNT, [kind, ref, purse_id])
        return int(cursor.fetchone()[0])


def purse_account(kind: str, purse_id: int) -> int:
    """The id of one of a purse's own accounts: `paid`, `subsidy`, `in_transit` or `in_meter`."""
    return account(kind, f"purse:{purse_id}", purse_id=purse_id)


def post(
    *,
    key: str,
    kind: str,
    property_id: int | None,
    lines: Sequence[Line],
    happened_at: datetime,
    trace: str,
    actor_id: int | None,
    reason: str,
    now: datetime,
) -> bool:
    """Writes one entry with its transfers and moves the balances of the purses they touch.

    True when it was written now, false when the same key with the same lines stood there already. Raises
    LedgerConflict for the same key with other lines, ValueError without lines or for one that moves no money between
    two accounts; then nothing was written and the caller's transaction goes on. Locks the purses of its lines in
    primary-key order; a caller who decides by a balance holds them already.
    """
    if not lines or any(line.amount_fen <= 0 or line.debit == line.credit for line in lines):
        raise ValueError("an entry has lines, and each moves money from one account to another")
    debits, credits_, amounts = (list(column) for column in zip(*lines, strict=True))
    with transaction.atomic(), connection.cursor() as cursor, naming_conflicts():
        cursor.execute(_LOCK, [debits + credits_])
        cursor.execute(
            _POST,
            [key, kind, property_id, debits, credits_, amounts, happened_at, trace, actor_id, reason, now],
        )
        return bool(cursor.fetchone()[0])


@contextmanager
def naming_conflicts() -> Iterator[None]:
    """Turns the database's word for "this key stands with other lines" into LedgerConflict."""
    try:
        yield
    except DatabaseError as error:
        if getattr(error.__cause__, "sqlstate", None) == CONFLICT:
            raise LedgerConflict(str(error.__cause__).splitlines()[0]) from error
        raise
