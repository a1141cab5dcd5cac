"""Messages to the people of a tenancy: left as rows in the transaction that made them true, carried later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import connection

from notifications.models import Message

# Plan: one insert; the unique index on the key decides who was first.
_LEAVE = "select notifications_leave(%s, %s, %s::bigint, %s::bigint, %s::jsonb, %s)"


def leave(*, key: str, kind: str, tenancy_id: int, property_id: int, context: Mapping[str, Any], now: datetime) -> None:
    """Leaves a message to be carried. The same key again changes nothing, even after it was withdrawn."""
    with connection.cursor() as cursor:
        cursor.execute(_LEAVE, [key, kind, property_id, tenancy_id, json.dumps(dict(context)), now])


def withdraw(*, key: str, now: datetime) -> bool:
    """Takes back a message that is no longer true. False when none waits under this key."""
    waiting = Message.objects.filter(key=key, state=Message.State.WAITING)
    return waiting.update(state=Message.State.WITHDRAWN, withdrawn_at=now) == 1
