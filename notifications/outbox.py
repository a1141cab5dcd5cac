"""Messages to the people of a tenancy: left as rows in the transaction that made them true, carried later."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection, transaction

from notifications import permits
from notifications.models import Channel, Delivery, Message

State = Message.State
# Somebody has read it, or may have.
TOLD_BY: Final = (
    Delivery.State.CLAIMED,
    Delivery.State.UNKNOWN,
    Delivery.State.HANDED,
    Delivery.State.DELIVERED,
    Delivery.State.READ,
    Delivery.State.LOST,
)

# Plan: one insert; the unique index on the key decides who was first.
_LEAVE = "select notifications_leave(%s, %s, %s::bigint, %s::bigint, %s::jsonb, %s)"
_LEAVE_ALL = """
select notifications_leave(m.key, %s, %s::bigint, m.tenancy, m.context::jsonb, %s)
  from unnest(%s::text[], %s::bigint[], %s::text[]) as m(key, tenancy, context)
"""


def leave(
    *, key: str, kind: str, tenancy_id: int | None, property_id: int, context: Mapping[str, Any], now: datetime
) -> None:
    """Leaves a message to be carried; without a tenancy, to the staff of the property.

    The same key again changes nothing, even after it was withdrawn.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LEAVE, [key, kind, property_id, tenancy_id, json.dumps(dict(context)), now])


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """One of many messages of a kind."""

    key: str
    tenancy_id: int | None
    context: Mapping[str, Any]


def leave_all(*, kind: str, property_id: int, messages: Iterable[Left], now: datetime) -> None:
    """Leaves many messages of a kind to homes of one property in one statement, each as `leave` does."""
    rows = sorted((one.key, one.tenancy_id, json.dumps(dict(one.context))) for one in messages)
    if rows:
        keys, tenancies, contexts = (list(column) for column in zip(*rows, strict=True))
        with connection.cursor() as cursor:
            cursor.execute(_LEAVE_ALL, [kind, property_id, now, keys, tenancies, contexts])


def withdraw(*, key: str, now: datetime) -> bool:
    """Takes back a message that is no longer true: what was not sent yet is not sent, and the inbox says so.

    True when nothing but the inbox had it; False when somebody has been told, or there is no such message.
    """
    with transaction.atomic():
        message = Message.objects.select_for_update().filter(key=key).exclude(state=State.WITHDRAWN).first()
        if message is None or message.state not in (State.WAITING, State.CARRIED):
            return False
        message.state, message.withdrawn_at = State.WITHDRAWN, now
        message.save(update_fields=["state", "withdrawn_at"])
        return not _was_told(message, now)


def _was_told(message: Message, now: datetime) -> bool:
    waiting = Delivery.objects.filter(message=message, state=Delivery.State.WAITING)
    taken_back = list(waiting.select_for_update().values_list("pk", flat=True))
    permits.give_back(taken_back)
    Delivery.objects.filter(pk__in=taken_back).update(
        state=Delivery.State.WITHDRAWN, ended_at=now, next_at=None, follow_at=None
    )
    sent = Delivery.objects.filter(message=message).exclude(channel=Channel.INBOX)
    return sent.filter(state__in=TOLD_BY).exists()
