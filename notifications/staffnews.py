"""What came onto the work list is told to the staff of its property: what came together, in one message.

A round gathers the open items of some minutes by property and kind of message, and never tells an item twice: each
message names its items. What was settled before anybody was told is taken back. Two rounds go one after the other.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection, transaction
from django.utils.translation import gettext_lazy as _

from accounts.deeds import Text
from accounts.models import Property
from notifications import languages, outbox
from notifications.kinds import KINDS
from notifications.models import Message, WorkItem


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gathering:
    """Which items one kind of message is about, and for how long others of theirs are waited for."""

    kinds: tuple[str, ...]
    wait: timedelta


GATHERED: Final[dict[str, _Gathering]] = {
    "outage": _Gathering(kinds=("outage",), wait=timedelta(0)),
    "commands_given_up": _Gathering(
        kinds=("meter_does_not_answer", "top_up_stuck", "slow_restore"), wait=timedelta(minutes=5)
    ),
    "differences_found": _Gathering(
        kinds=(
            *("rating_differs", "meter_balance_unexplained", "meter_price_differs", "payment_in_suspense"),
            *("refund_made_outside", "correction_left_debt", "top_up_contradicted"),
        ),
        wait=timedelta(minutes=5),
    ),
}
# What is down (billing/models/decisions.py: Outage.Kind).
DOWN: Final[dict[str, Text]] = {
    "provider": _("a payment provider does not answer"),
    "broker": _("no connection to the meters"),
    "telemetry": _("many meters are silent"),
}
OF_LATE: Final = timedelta(days=1)  # what nobody told by then (nothing ran) is on the work list all the same
AT_MOST: Final = 1000  # items a message
SHOWN: Final = 5  # meters by their numbers
_ONE_AT_A_TIME: Final = "select pg_advisory_xact_lock(hashtext('notifications.staffnews'))"


def gather(*, now: datetime) -> int:
    """The round. Returns how many messages were left."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_ONE_AT_A_TIME)
        messages = _of_late(now)
        _take_back(messages, now)
        return sum(_gather(kind, [one for one in messages if one.kind == kind], now) for kind in GATHERED)


def _of_late(now: datetime) -> list[Message]:
    """Plan: messages_of_a_tenancy, those without one."""
    late = Message.objects.filter(tenancy=None, kind__in=list(GATHERED), left_at__gt=now - OF_LATE - timedelta(hours=1))
    return list(late.order_by("pk"))


def _take_back(messages: Iterable[Message], now: datetime) -> None:
    """What is about nothing that is open any more: who was not told yet is not told."""
    waiting = [one for one in messages if one.state in (Message.State.WAITING, Message.State.CARRIED)]
    about = {pk for one in waiting for pk in one.context["items"]}
    is_open = set(WorkItem.objects.filter(pk__in=about, state=WorkItem.State.OPEN).values_list("pk", flat=True))
    for message in waiting:
        if not is_open.intersection(message.context["items"]):
            outbox.withdraw(key=message.key, now=now)


def _gather(kind: str, told: Iterable[Message], now: datetime) -> int:
    """Plan: the open items by one_open_work_item_a_key; they are few beside the resolved ones."""
    known: dict[int, set[int]] = defaultdict(set)
    for message in told:
        known[message.property_id].update(message.context["items"])
    gathered = GATHERED[kind]
    fresh = WorkItem.objects.filter(kind__in=gathered.kinds, state=WorkItem.State.OPEN, raised_at__gt=now - OF_LATE)
    left = 0
    for property_id, items in _by_property(list(fresh.order_by("pk"))).items():
        news = [item for item in items if item.pk not in known[property_id]][:AT_MOST]
        if news and min(item.raised_at for item in news) <= now - gathered.wait:
            _leave(kind, property_id, news, now)
            left += 1
    return left


def _by_property(items: Sequence[WorkItem]) -> dict[int, list[WorkItem]]:
    """What concerns no single property concerns each."""
    everywhere: Iterable[int] = ()
    if any(item.property_id is None for item in items):
        everywhere = Property.objects.order_by("pk").values_list("pk", flat=True)
    places = sorted({*everywhere, *(item.property_id for item in items if item.property_id is not None)})
    return {place: [item for item in items if item.property_id in (None, place)] for place in places}


def _leave(kind: str, property_id: int, items: Sequence[WorkItem], now: datetime) -> None:
    meters = sorted({str(item.detail["meter"]) for item in items if item.detail.get("meter")})
    context: dict[str, Any] = {
        "count": len(meters) if kind == "commands_given_up" and meters else len(items),
        "meters": shown(meters),
        "what": languages.in_each(lambda: _in_words(items)),
        "items": [item.pk for item in items],
    }
    key = f"news:{kind}:{property_id}:{items[-1].pk}"
    outbox.leave(key=key, kind=kind, tenancy_id=None, property_id=property_id, context=context, now=now)


def shown(serials: Sequence[str]) -> str:
    """The first numbers of meters, and that there are more."""
    return ", ".join(serials[:SHOWN]) + (" …" if len(serials) > SHOWN else "")


def _in_words(items: Iterable[WorkItem]) -> str:
    said = Counter(_what(item) for item in items)
    return ", ".join(what if times == 1 else f"{what} ({times})" for what, times in said.items())


def _what(item: WorkItem) -> str:
    return str(DOWN.get(str(item.detail.get("of")), "") or KINDS.get(item.kind, item.kind))
