"""How far a message is proven to have come: handed to a vendor, delivered, read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from notifications.models import Channel, Delivery, Message

State = Delivery.State
Level = Literal["handed", "delivered", "read"]
REACHED: Final[dict[str, tuple[str, ...]]] = {
    "handed": (State.HANDED, State.DELIVERED, State.READ),
    "delivered": (State.DELIVERED, State.READ),
    "read": (State.READ,),
}
# Something may still come of these.
OPEN: Final = (State.WAITING, State.CLAIMED, State.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Proof:
    """One person was told: by which channel, how far it came (`handed`, `delivered`, `read`), since when, the vendor's
    own number, and which user.
    """

    channel: str
    level: str
    at: datetime
    vendor_id: str
    to: int


def of(*, keys: Iterable[str], level: Level) -> dict[str, Proof]:
    """By the key of a message: the earliest proof of at least this level, for those that have one.

    The inbox and the console prove nothing until the person has opened the message there.
    """
    found: dict[str, Proof] = {}
    reached = Delivery.objects.filter(message__key__in=list(keys), state__in=REACHED[level])
    for delivery in reached.select_related("message"):
        proof = _proof(delivery, level)
        known = found.get(delivery.message.key)
        if proof and (known is None or proof.at < known.at):
            found[delivery.message.key] = proof
    return found


def hopeless(*, keys: Iterable[str]) -> set[str]:
    """Messages that nobody will be told any more, and nobody was: no person, no channel, refused by all, too late."""
    keys = list(keys)
    messages = Message.objects.filter(key__in=keys).exclude(state=Message.State.WAITING)
    hoped = Delivery.objects.filter(message__in=messages).exclude(channel__in=(Channel.INBOX, Channel.CONSOLE))
    open_ones = set(hoped.filter(state__in=(*OPEN, *REACHED["handed"])).values_list("message__key", flat=True))
    followed = set(hoped.filter(follow_at__isnull=False).values_list("message__key", flat=True))
    read = set(of(keys=keys, level="read"))
    return set(messages.values_list("key", flat=True)) - open_ones - followed - read


def _proof(delivery: Delivery, level: Level) -> Proof | None:
    is_ours = delivery.channel in (Channel.INBOX, Channel.CONSOLE)
    if is_ours and delivery.state != State.READ:
        return None
    at = {"handed": delivery.handed_at, "delivered": delivery.delivered_at, "read": delivery.read_at}[level]
    at = at or delivery.delivered_at or delivery.read_at
    if at is None:
        return None
    return Proof(delivery.channel, delivery.state, at, delivery.vendor_id, delivery.user_id)
