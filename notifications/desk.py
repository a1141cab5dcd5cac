"""What staff do about messages: send one again, and try a channel out."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import User
from notifications import people
from notifications.letters import Texts
from notifications.models import Channel, Delivery, Message
from notifications.routing import Person

State = Delivery.State
TRIAL = "trial"  # a kind of message
OVER = (State.HANDED, State.DELIVERED, State.READ, State.REFUSED, State.UNDELIVERED, State.LOST, State.GIVEN_UP)


class DeskRefused(Exception):
    """It cannot be done; nothing was changed. The text is for the person who asked."""


def send_again(*, delivery_id: int, by: User, reason: str, now: datetime) -> int:
    """The same message to the same person by the same channel once more; the new delivery's id.

    Raises DeskRefused without a reason, while the former one is still on its way, and where the person or the text is
    not to be reached any more. Two who press at the same time make one delivery.
    """
    if not reason.strip():
        raise DeskRefused(_("Say why it is sent again."))
    with transaction.atomic():
        former = _held(delivery_id)
        if former.state not in OVER or former.channel == Channel.INBOX:
            raise DeskRefused(_("It is still on its way."))
        others = Delivery.objects.filter(message=former.message_id, user=former.user_id, channel=former.channel)
        if others.filter(turn__gt=former.turn).exists():
            raise DeskRefused(_("It was sent again already."))
        person = people.of_deliveries([former], now=now)[former.pk]
        made = _make(
            former.message, person, former.channel, turn=former.turn + 1, by=by, reason=reason.strip(), now=now
        )
    return made.pk


def trial(*, property_id: int, user: User, channel: str, by: User, now: datetime) -> int:
    """A test message to one person by exactly one channel, end to end; the delivery's id.

    Raises DeskRefused where the person has no address there, or the channel no template for it.
    """
    with transaction.atomic():
        message = Message.objects.create(
            key=f"{TRIAL}:{uuid4().hex}",
            kind=TRIAL,
            property_id=property_id,
            context={"at": now.isoformat()},
            state=Message.State.CARRIED,
            left_at=now,
            routed_at=now,
        )
        draft = Delivery(message=message, user=user)
        person = people.of_deliveries([draft], now=now)[draft.pk]
        made = _make(message, person, channel, turn=0, by=by, reason="", now=now)
    return made.pk


def _held(delivery_id: int) -> Delivery:
    """Locked with its message, so that nobody withdraws it or sends it again meanwhile."""
    message_id = Delivery.objects.values_list("message_id", flat=True).get(pk=delivery_id)
    Message.objects.select_for_update().get(pk=message_id)
    return Delivery.objects.select_related("message").get(pk=delivery_id)


def _make(
    message: Message, person: Person, channel: str, *, turn: int, by: User, reason: str, now: datetime
) -> Delivery:
    address = person.addresses.get(channel, "")
    if not address and channel != Channel.CONSOLE:
        raise DeskRefused(_("This person cannot be reached there."))
    if not Texts.load().carries(
        kind=message.kind, channel=channel, language=person.language, property_id=message.property_id
    ):
        raise DeskRefused(_("There is no template for this kind of message there."))
    return Delivery.objects.create(
        message=message,
        property_id=message.property_id,
        user_id=person.user_id,
        channel=channel,
        turn=turn,
        reference=uuid4().hex,
        address=address,
        language=person.language,
        made_at=now,
        next_at=now,
        sent_again_by=by,
        reason=reason,
    )
