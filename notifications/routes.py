"""Waiting messages become deliveries: for each person one to the inbox, and one by the cheapest channel that will reach
them. What did not arrive goes by the next one.

The message, or the delivery that did not arrive, is locked, so that two carriers never do it twice; a permit is taken
in the same transaction.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import uuid4

from django.db import transaction

from notifications import limits, people, permits, routing
from notifications.kinds import TOLD
from notifications.letters import Texts
from notifications.models import Channel, Delivery, Message, Permit
from notifications.routing import Person

log = logging.getLogger(__name__)
State = Delivery.State
ARRIVED = (State.DELIVERED, State.READ)
ON_ITS_WAY = (State.CLAIMED, State.UNKNOWN)  # its outcome will say whether another way is needed


def route(*, channels: Collection[str], now: datetime, limit: int = 200) -> int:
    """Makes the deliveries of the oldest waiting messages. Returns how many messages it looked at.

    `channels` are those that are set up. Plan: the partial index on what waits; what another carrier holds is skipped.
    """
    with transaction.atomic():
        waiting = Message.objects.filter(state=Message.State.WAITING).order_by("left_at", "pk")
        messages = list(
            waiting.select_for_update(skip_locked=True, of=("self",)).select_related(
                "property", "tenancy__room__building"
            )[:limit]
        )
        _route(messages, channels, now)
    return len(messages)


def follow(*, channels: Collection[str], now: datetime, limit: int = 200) -> int:
    """Tries the next channel where one did not reach its person. Returns how many deliveries it looked at."""
    with transaction.atomic():
        due = Delivery.objects.filter(follow_at__lte=now).order_by("follow_at", "pk")
        fallen = list(
            due.select_for_update(skip_locked=True, of=("self",)).select_related(
                "message__property", "message__tenancy__room__building"
            )[:limit]
        )
        _follow([one for one in fallen if _needs_another(one, now)], channels, now)
        Delivery.objects.filter(pk__in=[one.pk for one in fallen]).update(follow_at=None)
    return len(fallen)


def _route(messages: list[Message], channels: Collection[str], now: datetime) -> None:
    by_state: dict[str, list[int]] = defaultdict(list)
    told = people.of_messages(messages, now=now)
    desk = _Desk(channels, [(message, person) for message in messages for person in told[message.pk]], now)
    for message in messages:
        by_state[_deliver(message, told[message.pk], desk, now)].append(message.pk)
    desk.write_down()
    for state, pks in by_state.items():
        Message.objects.filter(pk__in=pks).update(state=state, routed_at=now)


def _deliver(message: Message, told: list[Person], desk: _Desk, now: datetime) -> str:
    """What becomes of the message."""
    about = TOLD.get(message.kind)
    if about is None:
        log.error("nobody knows messages of the kind %s: %s", message.kind, message.key)
        return Message.State.NOBODY
    if message.left_at + about.good_for < now:
        return Message.State.LAPSED
    told = [person for person in told if routing.wants(person, kind=message.kind, about=about)]
    for person in told:
        desk.put_in_inbox(message, person)
        desk.send_on(message, person, tried=())
    return Message.State.CARRIED if told else Message.State.NOBODY


def _needs_another(delivery: Delivery, now: datetime) -> bool:
    message = delivery.message
    is_over = message.state == Message.State.WITHDRAWN or delivery.state in (*ARRIVED, *ON_ITS_WAY, State.WITHDRAWN)
    return not is_over and message.left_at + TOLD[message.kind].good_for > now


def _follow(fallen: list[Delivery], channels: Collection[str], now: datetime) -> None:
    persons = people.of_deliveries(fallen, now=now)
    others = Delivery.objects.filter(message__in={one.message_id for one in fallen})
    tried = defaultdict(set)
    for message_id, user_id, channel, state in others.values_list("message", "user", "channel", "state"):
        tried[message_id, user_id].add(channel)
        if state in ARRIVED and channel != Channel.INBOX:
            tried[message_id, user_id].update(Channel.values)  # it came by another way meanwhile
    desk = _Desk(channels, [(one.message, persons[one.pk]) for one in fallen], now)
    given_up = []
    for one in fallen:
        ways = tried[one.message_id, one.user_id]
        chosen = desk.send_on(one.message, persons[one.pk], tried=ways, turn=one.turn)
        if chosen:
            ways.add(chosen)
        if chosen and one.state == State.WAITING:  # its vendor kept putting us off
            given_up.append(one.pk)
    Delivery.objects.filter(pk__in=given_up).update(state=State.GIVEN_UP, ended_at=now, next_at=None)
    permits.give_back(given_up)
    desk.write_down()


class _Desk:
    """Writes deliveries for a batch of messages and persons: what can be asked of the database once, is."""

    def __init__(self, channels: Collection[str], told: Iterable[tuple[Message, Person]], now: datetime) -> None:
        told = list(told)
        self._channels, self._now = channels, now
        self._texts = Texts.load()
        self._made: list[Delivery] = []
        self._permits = self._permits_left({person.identity_id for _message, person in told})
        self._used: list[int] = []
        self._standing = limits.standing(
            {
                self._key(message, person, channel)
                for message, person in told
                for channel in limits.BY_CHANNEL
                if person.addresses.get(channel)
            },
            now=now,
        )

    def put_in_inbox(self, message: Message, person: Person) -> None:
        """Where a person finds everything that they were told; it is there at once."""
        written = self._texts.write(
            message=message, channel=Channel.INBOX, language=person.language, reference="", address=""
        )
        self._make(
            message, person, Channel.INBOX, state=State.HANDED, claimed_at=self._now, handed_at=self._now,
            text=written.letter.text,
        )  # fmt: skip

    def send_on(self, message: Message, person: Person, *, tried: Collection[str], turn: int = 0) -> str | None:
        """By the next channel; None where there is none."""
        about = TOLD[message.kind]
        channel = routing.next_channel(
            person, about=about, tried=tried, can=lambda one: self._can(message, person, one)
        )
        if channel is None:
            return None
        self._make(
            message, person, channel, turn=turn, address=person.addresses.get(channel, ""),
            template_id=self._template(message, person, channel),
            next_at=self._earliest(message, person, channel),
            permit_id=self._take_permit(message, person) if channel == Channel.WECHAT_SUBSCRIBE else None,
        )  # fmt: skip
        return channel

    def write_down(self) -> None:
        Delivery.objects.bulk_create(self._made)
        if self._used:
            Permit.objects.filter(pk__in=self._used).update(used_at=self._now, ended_at=self._now)

    def _make(self, message: Message, person: Person, channel: str, **more: object) -> None:
        self._made.append(
            Delivery(
                message=message,
                property_id=message.property_id,
                user_id=person.user_id,
                channel=channel,
                reference=uuid4().hex,
                language=person.language,
                made_at=self._now,
                **more,
            )
        )

    def _can(self, message: Message, person: Person, channel: str) -> bool:
        if channel not in self._channels or not self._texts.carries(
            kind=message.kind, channel=channel, language=person.language, property_id=message.property_id
        ):
            return False
        template = self._template(message, person, channel)
        if channel == Channel.WECHAT_SUBSCRIBE:
            return bool(self._permits.get((person.identity_id or 0, template)))
        return channel not in limits.BY_CHANNEL or not self._standing[self._key(message, person, channel)].is_full

    def _earliest(self, message: Message, person: Person, channel: str) -> datetime:
        """Not in quiet hours, and no nearer to another one than the vendor allows."""
        at = routing.not_before(person, about=TOLD[message.kind], now=self._now)
        limit = limits.BY_CHANNEL.get(channel)
        return self._standing[self._key(message, person, channel)].take(at, apart=limit.apart) if limit else at

    def _key(self, message: Message, person: Person, channel: str) -> limits.Key:
        return channel, person.addresses.get(channel, ""), self._template(message, person, channel)

    def _template(self, message: Message, person: Person, channel: str) -> str:
        return self._texts.template_id(
            kind=message.kind, channel=channel, language=person.language, property_id=message.property_id
        )

    def _permits_left(self, identity_ids: set[int | None]) -> dict[tuple[int, str], list[int]]:
        """By identity and template, the newest last: what expires at WeChat is the oldest, so it is used first."""
        left = Permit.objects.filter(identity__in=identity_ids - {None}, ended_at=None).order_by("-given_at", "-pk")
        found = defaultdict(list)
        for pk, identity_id, template in left.select_for_update(skip_locked=True).values_list(
            "pk", "identity", "template_id"
        ):
            found[identity_id, template].append(pk)
        return found

    def _take_permit(self, message: Message, person: Person) -> int:
        template = self._template(message, person, Channel.WECHAT_SUBSCRIBE)
        pk = self._permits[person.identity_id or 0, template].pop()
        self._used.append(pk)
        return pk
