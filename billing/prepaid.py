"""What prepaid means: money reaches a purse, goes on into a meter that holds its own, and can be taken back.

Lock order: Purse, then the meter's levels and top-ups.
"""

from __future__ import annotations

import logging
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Literal, NamedTuple

from django.db import IntegrityError, connection, transaction

from accounts.models import Tenancy
from billing import ledger, supply
from billing.models import Purse
from meters import topups
from meters.models import TopUp
from notifications import worklist

log = logging.getLogger(__name__)

# Plan: every step inside is one look-up by a unique index (purse, key, accounts, tenancy, the room's meters); the purse
# is locked first and to the end. Nothing grows with the tables. Its oracle: tests/billing/test_books_always_balance.py.
_TOP_UP = """
select billing_top_up(%s, %s, %s::bigint, %s::bigint, %s, %s, %s::bigint, %s, %s, %s::bigint, %s, %s)
"""
# Plan: first the few top-ups that wait for it, by their partial index (hence the materialized step: they are the short
# side, whatever the statistics say); each one's entry by its unique key, its transfers by the entry, its account by
# primary key. A top-up and the entry that sent it share their key.
_TO_SETTLE = """
with ended as materialized (
    select id, key, property_id, amount_fen, state, landed_at, trace
      from meters_topup where state in ('landed', 'cancelled') and settled_at is null
)
select a.purse_id, t.id, t.property_id, t.amount_fen, t.state, t.landed_at, t.trace
  from ended t
  join billing_journalentry e on e.key = t.key
  join billing_transfer tr on tr.entry_id = e.id
  join billing_ledgeraccount a on a.id = tr.credit_id and a.kind = 'in_transit'
 order by t.id
 limit %s
"""


class Source(NamedTuple):
    """Where money comes from, or goes back to: an account outside of the purses, by its owner's name for it."""

    kind: Literal["clearing", "cash", "suspense"]
    ref: str


class _Ended(NamedTuple):
    """A top-up that has reached its end and is to be settled."""

    purse_id: int
    top_up_id: int
    property_id: int
    amount_fen: int
    state: str
    landed_at: datetime | None
    trace: str


def purse_of(tenancy: Tenancy) -> Purse:
    """The purse of a tenancy, made when it has none. Safe to race."""
    purse, _ = Purse.objects.get_or_create(tenancy=tenancy, defaults={"property_id": tenancy.property_id})
    return purse


def top_up(
    *,
    key: str,
    kind: str,
    purse_id: int,
    amount_fen: int,
    source: Source,
    meter_id: int | None = None,
    happened_at: datetime,
    trace: str,
    actor_id: int | None = None,
    reason: str = "",
    now: datetime,
) -> bool:
    """Credits a purse: a debt is paid back first, the rest goes on to the home's meter where that holds the money
    (`meter_id` chooses among several), and supply is decided.

    True when credited now, false when this key was before. Raises ledger.LedgerConflict when the key stands for
    another source, purse or amount, ValueError for an amount below one fen; then nothing was written.
    """
    if amount_fen <= 0:
        raise ValueError("a top-up adds money")
    values: list[str | int | datetime | None] = [
        key, kind, purse_id, amount_fen, source.kind, source.ref, meter_id, happened_at, trace, actor_id, reason, now,
    ]  # fmt: skip
    with transaction.atomic(), connection.cursor() as cursor, ledger.naming_conflicts():
        cursor.execute(_TOP_UP, values)
        return bool(cursor.fetchone()[0])


def take_back(
    *,
    key: str,
    kind: str,
    purse_id: int,
    amount_fen: int,
    target: Source,
    happened_at: datetime,
    trace: str,
    actor_id: int | None,
    reason: str,
    now: datetime,
) -> bool:
    """Takes paid money out of a purse to where it came from, then decides supply.

    What has gone on into a meter stays there and leaves the purse in debt, which the next recharge pays back first;
    the caller tells a person. Returns and raises what `top_up` does.
    """
    with transaction.atomic():
        purse = supply.locked(purse_id)
        line = ledger.Line(ledger.purse_account("paid", purse_id), ledger.account(*target), amount_fen)
        is_new = ledger.post(
            key=key,
            kind=kind,
            property_id=purse.property_id,
            lines=[line],
            happened_at=happened_at,
            trace=trace,
            actor_id=actor_id,
            reason=reason,
            now=now,
        )
        if is_new:
            supply.decide(purse_id=purse_id, trace=trace, now=now)
    return is_new


def settle(*, now: datetime, limit: int = 500) -> int:
    """Moves money that was on its way to where its top-up ended: into the meter, or back when it was cancelled.

    Entry and marker are one transaction a purse, and the entry's key is the top-up's own: whoever dies in between, or
    comes second, doubles nothing. Returns how many were settled now. A purse that cannot be settled goes onto the work
    list and does not hold up the others.
    """
    with connection.cursor() as cursor:
        cursor.execute(_TO_SETTLE, [limit])
        ended = sorted((_Ended(*row) for row in cursor.fetchall()), key=attrgetter("purse_id", "top_up_id"))
    return sum(_settle_purse(purse_id, list(group), now) for purse_id, group in groupby(ended, attrgetter("purse_id")))


def _settle_purse(purse_id: int, ended: list[_Ended], now: datetime) -> int:
    try:
        with transaction.atomic():
            supply.locked(purse_id)
            came_back = [end.trace for end in ended if _post_end(end, now) and end.state == TopUp.State.CANCELLED]
            if came_back:
                supply.decide(purse_id=purse_id, trace=came_back[-1], now=now)
            # The marker comes last: deciding locks levels, and levels come before top-ups.
            return len(topups.settled(top_up_ids=[end.top_up_id for end in ended], now=now))
    except (IntegrityError, ledger.LedgerConflict) as error:
        log.exception("top-ups of purse %s cannot be settled", purse_id, extra={"trace": ended[0].trace})
        worklist.raise_item(
            key=f"settle:{purse_id}",
            kind="top_up_not_settled",
            property_id=ended[0].property_id,
            detail={"purse": purse_id, "top_ups": [end.top_up_id for end in ended], "why": str(error)[:200]},
            trace=ended[0].trace,
            now=now,
        )
        return 0


def _post_end(end: _Ended, now: datetime) -> bool:
    landed = end.state == TopUp.State.LANDED
    into = ledger.purse_account("in_meter" if landed else "paid", end.purse_id)
    return ledger.post(
        key=f"{end.state}:{end.top_up_id}",
        kind="top_up_landed" if landed else "top_up_cancelled",
        property_id=end.property_id,
        lines=[ledger.Line(ledger.purse_account("in_transit", end.purse_id), into, end.amount_fen)],
        happened_at=end.landed_at or now,
        trace=end.trace,
        actor_id=None,
        reason="",
        now=now,
    )
