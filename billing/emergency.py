"""Emergency credit: what a tenant took by a tap stands until there is money again."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Sum

from billing.models import Emergency


def standing_fen(*, purse_id: int) -> int:
    """What was taken and is not paid back, in fen. Plan: the unique index that begins with the purse."""
    taken = Emergency.objects.filter(purse=purse_id, repaid_at=None)
    return int(taken.aggregate(fen=Sum("amount_fen", default=0))["fen"])


def repaid(*, purse_id: int, now: datetime) -> bool:
    """The balance is above zero again: it is paid back, by arithmetic. The caller holds the purse. False: none was."""
    return Emergency.objects.filter(purse=purse_id, repaid_at=None).update(repaid_at=now) > 0
