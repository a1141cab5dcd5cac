"""What became of a call that nobody answered: the vendor is asked before anything is sent again.

A claim whose carrier died is such a call too. SMS vendors keep our reference; the official account drops a second
message with the same one for ten minutes (client_msg_id), so there it is simply sent again; elsewhere nobody can say,
and what is serious goes by the next channel.
Source: developers.weixin.qq.com/doc/service/api/notify/template/api_sendtemplatemessage (client_msg_id).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Final, cast

from django.conf import settings
from django.db import transaction

from notifications import receipts
from notifications.channels.base import Carries, Receipt, Traceable
from notifications.kinds import TOLD
from notifications.models import Channel, Delivery
from notifications.routing import SHANGHAI, SMS

State = Delivery.State
SEND_WITHIN_S: Final = 15  # of the claim; what is not sent by then is given back
ASK_AT_ONCE_S: Final = 5.0
ASK_EVERY: Final = timedelta(seconds=15)
ASK_FOR: Final = timedelta(minutes=30)
DROPS_DOUBLES_FOR: Final = timedelta(minutes=9)


def lease() -> timedelta:
    """After so long nobody is sending any more what was claimed: two time-outs after the last instant to begin."""
    return timedelta(seconds=SEND_WITHIN_S + 2 * settings.VENDOR_TIMEOUT_S + 15)


def expire_claims(*, now: datetime) -> int:
    """Claims whose carrier has died. Plan: the partial index on what is claimed, by its instant."""
    stale = Delivery.objects.filter(state=State.CLAIMED, claimed_at__lt=now - lease())
    return stale.update(state=State.UNKNOWN, next_at=now)


def trace(*, channel: str, carries: Carries | None, now: datetime, limit: int = 50) -> int:
    """Asks about what is unknown and due. Returns how many it looked at.

    Each is reserved (its `next_at` moves on) before the vendor is asked, so that two carriers do not both ask. After
    some seconds the rest is left for the next time: the same thread has messages to send.
    """
    reserved, until = _reserve(channel, now, limit), time.monotonic() + ASK_AT_ONCE_S
    for delivery in reserved:
        if time.monotonic() > until:
            break
        if channel in SMS:
            _ask(delivery, cast("Traceable | None", carries), now)
        else:
            _decide(delivery, now)
    return len(reserved)


def _reserve(channel: str, now: datetime, limit: int) -> list[Delivery]:
    with transaction.atomic():
        due = Delivery.objects.filter(channel=channel, state=State.UNKNOWN, next_at__lte=now).order_by("next_at", "pk")
        found = list(due.select_for_update(skip_locked=True, of=("self",)).select_related("message")[:limit])
        Delivery.objects.filter(pk__in=[one.pk for one in found]).update(next_at=now + ASK_EVERY)
    return found


def _ask(delivery: Delivery, vendor: Traceable | None, now: datetime) -> None:
    claimed_at = delivery.claimed_at or delivery.made_at
    told = vendor and _look_up(vendor, delivery, claimed_at)
    if told:
        receipts.note(channel=delivery.channel, receipts=told, now=now)
        _follow_later(delivery, now)
    elif told is not None and vendor and _was_never_taken(vendor, claimed_at, now):
        _move(delivery, State.WAITING, next_at=now, code="never_taken")
    elif now > claimed_at + ASK_FOR:
        _lose(delivery, now)


def _follow_later(delivery: Delivery, now: datetime) -> None:
    """The vendor has it after all: a receipt is waited for as after any other answer."""
    wait = TOLD[delivery.message.kind].falls_back_after
    if wait:
        handed = Delivery.objects.filter(pk=delivery.pk, state=State.HANDED, follow_at=None)
        handed.update(follow_at=now + wait)


def _was_never_taken(vendor: Traceable, claimed_at: datetime, now: datetime) -> bool:
    return vendor.absence_proves_after is not None and now > claimed_at + vendor.absence_proves_after


def _look_up(vendor: Traceable, delivery: Delivery, claimed_at: datetime) -> Sequence[Receipt] | None:
    """By the civil day in Shanghai; around midnight the vendor may have counted it to the next."""
    told: list[Receipt] = []
    for day in _days(claimed_at):
        found = vendor.look_up(reference=delivery.reference, address=delivery.address, sent_on=day)
        if found is None:
            return None
        told += found
    return told


def _days(claimed_at: datetime) -> Iterator[date]:
    first = claimed_at.astimezone(SHANGHAI).date()
    last = (claimed_at + lease()).astimezone(SHANGHAI).date()
    yield first
    if last != first:
        yield last


def _decide(delivery: Delivery, now: datetime) -> None:
    claimed_at = delivery.claimed_at or delivery.made_at
    if delivery.channel == Channel.CONSOLE or (
        delivery.channel == Channel.WECHAT_TEMPLATE and now < claimed_at + DROPS_DOUBLES_FOR
    ):
        _move(delivery, State.WAITING, next_at=now)
    else:
        _lose(delivery, now)


def _lose(delivery: Delivery, now: datetime) -> None:
    is_serious = TOLD[delivery.message.kind].is_serious
    _move(delivery, State.LOST, next_at=None, ended_at=now, follow_at=now if is_serious else None)


def _move(delivery: Delivery, to: str, **changes: object) -> None:
    """Unless a receipt came meanwhile."""
    still = Delivery.objects.filter(pk=delivery.pk, state=State.UNKNOWN, claimed_at=delivery.claimed_at)
    still.update(state=to, **changes)


def trace_orphans(*, channels: Collection[str], now: datetime) -> int:
    """What is unknown of channels that are not set up any more, so that nobody else looks; nobody is asked."""
    unknown = Delivery.objects.filter(state=State.UNKNOWN, next_at__lte=now).exclude(channel__in=channels)
    orphans = list(unknown.values_list("channel", flat=True).distinct())
    return sum(trace(channel=channel, carries=None, now=now) for channel in orphans)
