"""When power may flow: everybody's door to a decision, and what holds a cut back while money is found out about.

A decision is made under the purse's lock and becomes wishes about the home's meters in the same transaction: first what
a payment decides too (`billing_decide_supply`, migrations/0014_decide.py: restore, or leave as it is), then the review
(review.py), which alone may cut. Lock order: Purse, its draws, then holds, alerts, notices, then the meters' levels.
"""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import Final

from django.db import connection, transaction
from django.db.models import BigIntegerField, F, Func

from billing import debts, facts, review
from billing.explanation import Explanation, explain
from billing.models import CutHold, Purse
from billing.policy import Verdict
from notifications.models import WorkItem

__all__ = ["Explanation", "Verdict", "decide", "drop_cut_hold", "explain", "locked", "place_cut_hold", "recheck"]

PAID_ABOVE_FEN: Final = {debts.WITHOUT_BASIS: 0, debts.OF_WHO_LEFT: -debts.NOBODYS_WORK_FEN - 1}

# Plan: purse, tenancy, hold, draws, the room's meters and their levels, each by a unique or partial index.
_DECIDE = "select billing_decide_supply(%s::bigint, %s, %s)"


def locked(purse_id: int) -> Purse:
    """The purse, held until the end of the caller's transaction. Raises Purse.DoesNotExist."""
    return Purse.objects.select_for_update(no_key=True, of=("self",)).get(pk=purse_id)


def decide(*, purse_id: int, trace: str, now: datetime) -> Verdict:
    """Decides for the home that draws on this purse whether power is wanted, and tells its meters.

    All that follows is written with it: warnings, notice, work list, the reason. Raises Purse.DoesNotExist.
    """
    with transaction.atomic():
        facts.lock(purse_id=purse_id)
        with connection.cursor() as cursor:
            cursor.execute(_DECIDE, [purse_id, trace, now])
        return review.one(purse_id=purse_id, trace=trace, now=now).verdict


def place_cut_hold(*, purse_id: int, key: str, reason: str, expires_at: datetime) -> None:
    """Nobody is cut for this purse's sake until then: somebody above is finding out about money of it.

    The same key again moves the end. It never restores power that is off already.
    """
    with transaction.atomic():
        locked(purse_id)  # a decision that is being made now is made before, or knows of it
        CutHold.objects.bulk_create(
            [CutHold(purse_id=purse_id, key=key, reason=reason, expires_at=expires_at)],
            update_conflicts=True,
            unique_fields=["key"],
            update_fields=["reason", "expires_at"],
        )


def drop_cut_hold(*, purse_id: int, key: str, trace: str, now: datetime) -> bool:
    """Takes a cut hold back and decides again. False when it does not stand (any more)."""
    with transaction.atomic():
        locked(purse_id)
        dropped, _rows = CutHold.objects.filter(purse_id=purse_id, key=key).delete()
        if dropped:
            decide(purse_id=purse_id, trace=trace, now=now)
    return dropped > 0


def recheck(*, now: datetime, limit: int = 500) -> int:
    """Decides again where a cut hold ran out, and where a listed debt was paid. Returns for how many purses.

    A purse a transaction. Run it every few seconds; whoever dies in between leaves the rest to the next round.
    """
    expired = CutHold.objects.filter(expires_at__lte=now).order_by("purse_id").values_list("purse_id", flat=True)
    due = sorted({*expired.distinct()[:limit], *_paid_debts(limit)})
    for purse_id in due:
        with transaction.atomic():
            locked(purse_id)
            CutHold.objects.filter(purse_id=purse_id, expires_at__lte=now).delete()
            decide(purse_id=purse_id, trace="", now=now)
    return len(due)


def _paid_debts(limit: int) -> list[int]:
    """Purses whose debt is on the work list although a recharge has paid it (a recharge decides within SQL)."""
    listed = WorkItem.objects.filter(kind__in=PAID_ABOVE_FEN, state=WorkItem.State.OPEN)
    kinds = dict(listed.values_list("detail__purse", "kind"))
    available_fen = Func(F("pk"), function="billing_available_fen", output_field=BigIntegerField())
    purses = Purse.objects.filter(pk__in=list(kinds)).annotate(available=available_fen).order_by("pk")
    paid = (pk for pk, left_fen in purses.values_list("pk", "available") if left_fen > PAID_ABOVE_FEN[kinds[pk]])
    return list(islice(paid, limit))
