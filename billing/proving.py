"""Notices are proven by the channels that brought them, as far as a property asks for it (SupplyPolicy.proof_level).

What is known to reach nobody any more is said to the review, for then somebody has to serve it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, cast

from django.db.models import QuerySet

from billing import notices
from billing.models import Notice, ProofLevel, SupplyPolicy
from notifications import proof
from notifications.proof import Level, Proof

FRESH: Final = timedelta(hours=2)  # most are delivered, or never, by then: later it is looked for now and then
A_BATCH: Final = 500


def look(*, now: datetime) -> int:
    """The round for notices of the last hours. Returns how many are proven now, or known to reach nobody."""
    return _look_at_all(_waiting().filter(left_at__gt=now - FRESH), now)


def look_at_old(*, now: datetime) -> int:
    """The round for those that wait for longer: a phone that was off, a message that staff have sent again."""
    return _look_at_all(_waiting().filter(left_at__lte=now - FRESH), now)


def _waiting() -> QuerySet[Notice]:
    return Notice.objects.filter(state=Notice.State.LEFT).order_by("pk")


def _look_at_all(waiting: QuerySet[Notice], now: datetime) -> int:
    levels = dict(SupplyPolicy.objects.values_list("property_id", "proof_level"))
    by_level: dict[str, list[tuple[str, int]]] = {}
    for notice_id, key, property_id in waiting.values_list("pk", "message_key", "property_id"):
        by_level.setdefault(levels.get(property_id, ProofLevel.DELIVERED), []).append((key, notice_id))
    return sum(
        _look_at(dict(theirs[start : start + A_BATCH]), cast("Level", level), now)
        for level, theirs in by_level.items()
        for start in range(0, len(theirs), A_BATCH)
    )


def _look_at(notice_ids: Mapping[str, int], level: Level, now: datetime) -> int:
    """Notices by the keys of their messages."""
    proofs = proof.of(keys=notice_ids, level=level)
    told = sum(_prove(notice_ids[key], proofs[key], now) for key in sorted(proofs))
    stranded = sorted(proof.hopeless(keys=notice_ids.keys() - proofs.keys()))
    return told + sum(notices.strand(notice_id=notice_ids[key], now=now) for key in stranded)


def _prove(notice_id: int, by: Proof, now: datetime) -> bool:
    """False where staff, or a recharge, came first."""
    words = f"{by.level} {by.vendor_id}".strip()
    try:
        notices.proven(notice_id=notice_id, by=None, channel=by.channel, proof=words, at=min(by.at, now), now=now)
    except notices.NoticeRefused:
        return False
    return True
