"""Messages that a channel has taken, as the carrier writes them."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from notifications.models import Delivery, Message
from tests import makers

_number = itertools.count(1)


def carry(*, state: str = "handed", channel: str = "sms_aliyun", at: datetime | None = None, **of: Any) -> int:
    """Each message that waits goes to somebody by that channel, as far as `state`. Returns how many."""
    with transaction.atomic():
        messages = list(Message.objects.select_for_update().filter(state="waiting", **of))
        for message in messages:
            a_delivery(message, state=state, channel=channel, at=at)
            Message.objects.filter(pk=message.pk).update(state="carried")
    return len(messages)


def a_delivery(
    message: Message, *, state: str = "handed", channel: str = "sms_aliyun", at: datetime | None = None
) -> Delivery:
    at = at or timezone.now()
    number = next(_number)
    reached = ["handed", "delivered", "read"]
    came = reached[: reached.index(state) + 1] if state in reached else []
    return Delivery.objects.create(
        message=message,
        property_id=message.property_id,
        user=makers.a_user(),
        channel=channel,
        reference=f"test-{number}",
        vendor_id=f"vendor-{number}",
        state=state,
        made_at=at,
        claimed_at=at,
        **{f"{name}_at": at for name in came},
    )
