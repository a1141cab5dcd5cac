"""The work list: what needs a person."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import connection

from accounts.models import User
from notifications.models import WorkItem

# Plan: one insert, or one update of the open item found by the partial unique index on its key.
_RAISE = "select notifications_raise_item(%s, %s, %s::bigint, %s::jsonb, %s, %s)"


def raise_item(
    *, key: str, kind: str, property_id: int | None, detail: Mapping[str, Any], trace: str, now: datetime
) -> None:
    """Puts something before a person, in the caller's transaction.

    Raised again while it is open it counts one more, with the newest detail; after it was resolved it is a new item.
    """
    with connection.cursor() as cursor:
        cursor.execute(_RAISE, [key, kind, property_id, json.dumps(dict(detail)), trace, now])


def resolve(*, key: str, by: User | None, resolution: str, now: datetime) -> bool:
    """Closes the open item of this key (`by` is None when it settled itself). False when none is open."""
    open_items = WorkItem.objects.filter(key=key, state=WorkItem.State.OPEN)
    return open_items.update(state=WorkItem.State.RESOLVED, resolved_at=now, resolved_by=by, resolution=resolution) == 1
