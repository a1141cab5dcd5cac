"""What prepaid means: money reaches a purse, goes on into a meter that holds its own, and can be taken back.

Lock order: Purse, then the meter's levels and top-ups.
"""

from __future__ import annotations

import logging
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Literal, NamedTuple, Self

from django.db import IntegrityError, connection, transaction

from accounts.models import Tenancy
from billing import ledger, supply
from billing.models import JournalEntry, Purse
from meters import desired, topups
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

    @classmethod
    def cancelled(cls, top_up: TopUp, purse_id: int) -> Self:
        amount_fen, state = top_up.amount_fen, TopUp.State.CANCELLED.value
        return cls(purse_id, top_up.pk, top_up.property_id, amount_fen, state, None, top_up.trace)


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

    What was to go on into a meter and has not been sent is called back first. What is in a meter stays there and
    leaves the purse in debt, which the next recharge pays back first; the caller tells a person. Returns and raises
    what `top_up` does.
    """
    with transaction.atomic():
        purse = supply.locked(purse_id)
        called_back = [] if JournalEntry.objects.filter(key=key).exists() else _call_back(purse, amount_fen, now)
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
        if called_back:
            send_on(key=f"{key}:onward", purse_id=purse_id, meter_id=called_back[0].meter_id, trace=trace, now=now)
        if is_new:
            supply.decide(purse_id=purse_id, trace=trace, now=now)
    return is_new


def send_on(*, key: str, purse_id: int, meter_id: int, trace: str, now: datetime) -> int:
    """Sends all that is paid and lies in the purse on to a meter of this home that holds money. Returns how much.

    For what a recharge could not do at the time: it came before the move, or it was called back for a smaller sum.
    """
    with transaction.atomic():
        purse = supply.locked(purse_id)
        if purse.paid_fen <= 0:
            return 0
        line = ledger.Line(
            ledger.purse_account("paid", purse_id), ledger.purse_account("in_transit", purse_id), purse.paid_fen
        )
        ledger.post(
            key=key,
            kind="onward",
            property_id=purse.property_id,
            lines=[line],
            happened_at=now,
            trace=trace,
            actor_id=None,
            reason="",
            now=now,
        )
        topups.queue(
            key=key, meter_id=meter_id, tenancy_id=purse.tenancy_id, amount_fen=line.amount_fen, trace=trace, now=now
        )
    return line.amount_fen


def call_back(*, purse_id: int, now: datetime, meter_id: int | None = None) -> int:
    """Calls back what is on its way into a meter (into this one) and was not sent yet; how much. The caller decides
    supply after."""
    with transaction.atomic():
        purse = supply.locked(purse_id)
        called = _call_back(purse, purse.in_transit_fen, now, meter_id=meter_id)
        return sum(top_up.amount_fen for top_up in called)


def _call_back(purse: Purse, amount_fen: int, now: datetime, *, meter_id: int | None = None) -> list[TopUp]:
    """Cancels top-ups that have not been sent, newest first, until they cover the amount. The purse is held."""
    if purse.tenancy_id is None:
        return []
    desired.hold_levels(top_ups_of=purse.tenancy_id)  # levels come before top-ups, and supply is decided afterwards
    back: list[TopUp] = []
    for top_up in topups.not_sent(tenancy_id=purse.tenancy_id):
        if sum(one.amount_fen for one in back) >= amount_fen:
            break
        if meter_id is not None and top_up.meter_id != meter_id:
            continue
        if topups.cancel(top_up_id=top_up.pk, now=now):
            back.append(top_up)
            _post_end(_Ended.cancelled(top_up, purse.pk), now)
    topups.settled(top_up_ids=[one.pk for one in back], now=now)
    return back


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
