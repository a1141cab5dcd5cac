"""How often a person may be written to, and how often a vendor allows it, counted before the vendor refuses.

Sources: Aliyun, 50 notices a day to a number by one sign and template, in any 24 hours, counted on submission
(help.aliyun.com/document_detail/2881383.html); Tencent Cloud, the same content once in 30 seconds, and a number of SMS
a day to one phone that the account may set (cloud.tencent.com/document/product/382/13303).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count, Q, Value
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
LONGEST_APART: Final = max(limit.apart for limit in BY_CHANNEL.values())


def persons_with_enough(user_ids: Iterable[int], *, now: datetime) -> set[int]:
    """Who was sent so much within a day that only what is urgent is added. Plan: the index on (user, made_at)."""
    sent = Delivery.objects.filter(user__in=set(user_ids), made_at__gt=now - DAY).exclude(channel__in=OURS)
    counted = sent.values("user").annotate(times=Count("pk")).filter(times__gte=A_PERSON_A_DAY)
    return set(counted.values_list("user", flat=True))


@dataclass(slots=True)
class Standing:
    """How near an address is to a vendor's limit: whether it has had all of a day, and the instants at which something
    was just sent or is going to be.
    """

    is_full: bool = False
    taken: list[datetime] = field(default_factory=list)

    def take(self, at: datetime, *, apart: timedelta) -> datetime:
        """The first instant from `at` on that is not within `apart` of another; it is taken from now on.

        What waits for the morning keeps nobody waiting until then.
        """
        for other in sorted(self.taken):
            if abs(other - at) < apart:
                at = other + apart
        self.taken.append(at)
        return at


def standing(wanted: Iterable[Key], *, now: datetime) -> dict[Key, Standing]:
    """By (channel, address, template), for each that a vendor limits. Plan: the index on (channel, address)."""
    found = {one: Standing() for one in wanted if one[0] in BY_CHANNEL}
    at = Coalesce("claimed_at", "next_at")
    sent = Delivery.objects.filter(
        channel__in={one[0] for one in found}, address__in={one[1] for one in found}, made_at__gt=now - 2 * DAY
    ).alias(at=at)
    counted = (
        sent.filter(at__gt=now - DAY)
        .values_list("channel", "address", "template_id")
        .annotate(times=Count("pk"), taken=ArrayAgg(at, filter=Q(at__gt=now - LONGEST_APART), default=Value([])))
    )
    for channel, address, template, times, taken in counted if found else ():
        if one := found.get((channel, address, template)):
            one.is_full, one.taken = times >= BY_CHANNEL[channel].a_day, taken
    return found
