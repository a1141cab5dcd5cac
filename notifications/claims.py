"""What is due is claimed, written out and committed, before anything of it is sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.conf import settings
from django.db import connection, transaction

from notifications import permits
from notifications.channels.base import Letter
from notifications.kinds import TOLD
from notifications.letters import Texts, Written
from notifications.models import Delivery, Message
from notifications.routing import SMS

State = Delivery.State
TOO_LATE: Final = "too_late"  # codes of ours
NOT_TRUE: Final = "withdrawn"  # while its vendor put us off


@dataclass(frozen=True, slots=True)
class Claimed:
    """One delivery that is ours to send. `claimed_at` tells this claim from a later one."""

    pk: int
    kind: str
    tries: int
    left_at: datetime
    claimed_at: datetime
    letter: Letter


# Plan: one update of the claimed rows, by primary key.
_CLAIM = """
update notifications_delivery d
   set state = 'claimed', claimed_at = %(now)s, tries = d.tries + 1, next_at = null,
       template_id = w.template, text = w.text, parts = w.parts, cost_milli_fen = w.cost
  from unnest(%(ids)s::bigint[], %(templates)s::text[], %(texts)s::text[], %(parts)s::int[], %(costs)s::int[])
       as w (id, template, text, parts, cost)
 where d.id = w.id
"""


def claim(*, channel: str, now: datetime, limit: int) -> list[Claimed]:
    """The deliveries of a channel that are due, ours from now on. What would come too late is given up.

    Plan: the partial index on what is due; what another carrier holds is skipped.
    """
    with transaction.atomic():
        due = Delivery.objects.filter(channel=channel, state=State.WAITING, next_at__lte=now)
        found = list(
            due.order_by("next_at", "pk")
            .select_for_update(skip_locked=True, of=("self",))
            .select_related("message__property", "message__tenancy__room__building")[:limit]
        )
        untrue = [one for one in found if one.message.state == Message.State.WITHDRAWN]
        late = [one for one in found if one.message.left_at + TOLD[one.message.kind].good_for <= now]
        give_up(late, code=TOO_LATE, now=now)
        give_up(untrue, code=NOT_TRUE, now=now, state=State.WITHDRAWN)
        permits.give_back([one.pk for one in (*late, *untrue)])
        fresh = [one for one in found if one not in late and one not in untrue]
        written = _written(fresh)
        _claim(written, now)
    return [
        Claimed(one.pk, one.message.kind, one.tries + 1, one.message.left_at, now, what.letter) for one, what in written
    ]


def give_up(deliveries: Iterable[Delivery], *, code: str, now: datetime, state: str = State.GIVEN_UP) -> None:
    """They will not be sent."""
    Delivery.objects.filter(pk__in=[one.pk for one in deliveries]).update(
        state=state, code=code, ended_at=now, next_at=None
    )


def _written(deliveries: list[Delivery]) -> list[tuple[Delivery, Written]]:
    if not deliveries:
        return []
    texts = Texts.load()
    return [
        (
            one,
            texts.write(
                message=one.message,
                channel=one.channel,
                language=one.language,
                reference=one.reference,
                address=one.address,
            ),
        )
        for one in deliveries
    ]


def _claim(written: list[tuple[Delivery, Written]], now: datetime) -> None:
    if not written:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            _CLAIM,
            {
                "now": now,
                "ids": [one.pk for one, _what in written],
                "templates": [what.letter.template_id for _one, what in written],
                "texts": [what.letter.text for _one, what in written],
                "parts": [what.parts for _one, what in written],
                "costs": [cost_milli_fen(one.channel, what.parts) for one, what in written],
            },
        )


def cost_milli_fen(channel: str, parts: int) -> int:
    """What so many parts of an SMS cost; the other channels cost nothing."""
    return parts * int(settings.SMS_PART_MILLI_FEN) if channel in SMS else 0
