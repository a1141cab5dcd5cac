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

from notifications.models import Channel, Delivery

DAY: Final = timedelta(days=1)
A_PERSON_A_DAY: Final = 12  # what is not urgent, by all channels but the inbox
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


def addresses_at_their_limit(wanted: Iterable[tuple[str, str, str]], *, now: datetime) -> set[tuple[str, str, str]]:
    """Which of these (channel, address, template) the vendor would refuse now.

    Plan: the index on (channel, address).
    """
    limited = {one for one in wanted if one[0] in BY_CHANNEL}
    if not limited:
        return set()
    sent = Delivery.objects.filter(
        channel__in={one[0] for one in limited}, address__in={one[1] for one in limited}, claimed_at__gt=now - DAY
    )
    counted = sent.values_list("channel", "address", "template_id").annotate(times=Count("pk"), last=Max("claimed_at"))
    return {
        (channel, address, template)
        for channel, address, template, times, last in counted
        if times >= BY_CHANNEL[channel].a_day or last > now - BY_CHANNEL[channel].apart
    } & limited
