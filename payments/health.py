"""Whether a provider answers a merchant at all: known by the questions that the chaser asked of it anyway.

It is down when each of several questions of the last minutes was left without an answer that means something, whoever's
fault that is: what was paid cannot be known then. Nobody at the merchant's properties is cut until it answers again, or
is asked no more.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Final

from billing import outages
from billing.models import Outage
from payments import chase
from payments.models import Attempt, Merchant

WITHIN: Final = timedelta(minutes=5)
QUESTIONS: Final = 3


def look(*, now: datetime) -> int:
    """The round: notes what is down and what is back. Returns for how many merchants their provider is down.

    Plan: attempts_to_ask_about, the open attempts alone.
    """
    answers: dict[int, list[bool]] = defaultdict(list)
    standing = Attempt.objects.filter(state__in=chase.OPEN, next_ask_at__isnull=False, asked_at__gt=now - WITHIN)
    asked = standing.values_list("merchant_id", "last_error")
    for merchant_id, error in asked:
        answers[merchant_id].append(not error)
    down = {merchant_id for merchant_id, known in answers.items() if len(known) >= QUESTIONS and not any(known)}
    for merchant in Merchant.objects.filter(pk__in=down).order_by("pk"):
        _is_down(merchant, now)
    for outage in Outage.objects.filter(kind=Outage.Kind.PROVIDER, ended_at=None):
        merchant_id = int(outage.ref.partition(":")[0])
        is_back = any(answers.get(merchant_id, ())) or outage.seen_at < now - WITHIN
        if merchant_id not in down and is_back:
            outages.note(
                kind=outage.kind, ref=outage.ref, property_id=outage.property_id, is_down=False, detail="", now=now
            )
    return len(down)


def _is_down(merchant: Merchant, now: datetime) -> None:
    served = merchant.assignments.filter(ends_at=None).values_list("property_id", flat=True)
    for property_id in sorted(set(served)):
        outages.note(
            kind=Outage.Kind.PROVIDER,
            ref=f"{merchant.pk}:{property_id}",
            property_id=property_id,
            is_down=True,
            detail=f"{merchant.slug}: no answer to {QUESTIONS} questions or more",
            now=now,
        )
