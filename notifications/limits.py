"""How often a person may be written to, and how often a vendor allows it, counted before the vendor refuses.

Sources: Aliyun, 50 notices a day to a number by one sign and template, in any 24 hours, counted on submission
(help.aliyun.com/document_detail/2881383.html); Tencent Cloud, the same content once in 30 seconds, and a number of SMS
a day to one phone that the account may set (cloud.tencent.com/document/product/382/13303).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Count, Max
from django.db.models.functions import Coalesce

from notifications.models import Channel, Delivery

DAY: Final = timedelta(days=1)
A_PERSON_A_DAY: Final = 12  # what is not urgent, by all channels but the inbox
Key = tuple[str, str, str]  # channel, address, template
OURS: Final = (Channel.INBOX, Channel.CONSOLE)


@dataclass(frozen=True, slots=True)
class Limit:
    """So many a day of one template to one address, and never within `apart` of the one before."""

    a_day: int
    apart: timedelta = timedelta()


BY_CHANNEL: Final[dict[str, Limit]] = {
    Channel.SMS_ALIYUN: Limit(50),
    Channel.SMS_TENCENT: Limit(30, timedelta(seconds=30)),
}


def persons_with_enough(user_ids: Iterable[int], *, now: datetime) -> set[int]:
    """Who was sent so much within a day that only what is urgent is added. Plan: the index on (user, made_at)."""
    sent = Delivery.objects.filter(user__in=set(user_ids), made_at__gt=now - DAY).exclude(channel__in=OURS)
    counted = sent.values("user").annotate(times=Count("pk")).filter(times__gte=A_PERSON_A_DAY)
    return set(counted.values_list("user", flat=True))


@dataclass(frozen=True, slots=True)
class Standing:
    """How near an address is to a vendor's limit: it has had all of a day, or may have the next one from `from_at`."""

    is_full: bool = False
    from_at: datetime | None = None


def standing(wanted: Iterable[Key], *, now: datetime) -> dict[Key, Standing]:
    """By (channel, address, template), for those that had any within a day or wait for one.

    Plan: the index on (channel, address).
    """
    limited = {one for one in wanted if one[0] in BY_CHANNEL}
    if not limited:
        return {}
    at = Coalesce("claimed_at", "next_at")
    sent = Delivery.objects.filter(
        channel__in={one[0] for one in limited}, address__in={one[1] for one in limited}, made_at__gt=now - 2 * DAY
    ).alias(at=at)
    counted = (
        sent.filter(at__gt=now - DAY)
        .values_list("channel", "address", "template_id")
        .annotate(times=Count("pk"), last=Max(at))
    )
    return {
        (channel, address, template): Standing(
            is_full=times >= BY_CHANNEL[channel].a_day, from_at=last + BY_CHANNEL[channel].apart
        )
        for channel, address, template, times, last in counted
        if (channel, address, template) in limited
    }
