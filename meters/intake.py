"""Uplinks become rows, a batch in one transaction: readings, events, the newest report, levels, answered commands.

Everything here may come twice, late, or out of order, and changes nothing the second time. One bad frame, or a meter
that nobody registered, never costs the rest of its batch. Rating and settling come afterwards, from the rows.

Lock order: Meter, StrayReading, Level, TopUp, Command; several of a kind in the order of their keys.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.db import transaction

from accounts.models import Property
from meters import alarms, answers, commands, held, parameters, reports, staging, strays
from meters.held import Address, Held
from meters.models import Command, MeterEvent
from meters.reports import News, Told
from meters.wire import json_v1, topics
from meters.wire.base import Answer, BadFrame, Event
from meters.wire.base import Uplink as Message
from notifications import worklist

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Frame:
    """A message as the broker delivered it."""

    topic: str
    payload: bytes
    received_at: datetime
    retained: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """What a batch came to."""

    readings: int = 0
    doubles: int = 0  # readings that were there already
    strays: int = 0  # readings that were kept apart, since their clock cannot be right
    batch_id: int | None = None  # the mark that they are to be rated
    events: int = 0
    unknown_meters: int = 0
    bad_frames: int = 0
    read_meter_ids: frozenset[int] = frozenset()  # with new readings
    agreed: tuple[tuple[int, str], ...] = ()  # (meter id, kind) of levels that came to agree now
    landed: tuple[int, ...] = ()  # top-ups that are in their meter now
    switched: frozenset[int] = frozenset()  # meters whose relay is another than they reported before


@dataclass(frozen=True, slots=True)
class Heard:
    address: Address
    message: Message
    frame: Frame


@dataclass(frozen=True, slots=True)
class Bad:
    """What could not be understood, and why."""

    frame: Frame
    reason: str

    def digest(self) -> str:
        return hashlib.sha256(self.frame.payload).hexdigest()


def take(frames: Sequence[Frame], *, now: datetime) -> Taken:
    """Stores a batch, all of it or nothing; the caller acknowledges it to the broker afterwards.

    Raises django.db.Error when the database refuses; then nothing of the batch is stored.
    """
    return keep(*decode(frames), now=now)


def keep(heard: Sequence[Heard], bad: Sequence[Bad], *, now: datetime) -> Taken:
    """Stores what was decoded, all of it or nothing. Raises django.db.Error."""
    addresses = {one.address for one in heard}
    with transaction.atomic():
        meters = held.hold(addresses)
        strangers = sorted(addresses - meters.keys())
        taken = _store([one for one in heard if one.address in meters] if strangers else heard, meters, now=now)
        _tell_of_strangers(strangers, now=now)
        tell_of_bad_frames(bad, now=now)
    return replace(taken, unknown_meters=len(strangers), bad_frames=len(bad))


def decode(frames: Iterable[Frame]) -> tuple[list[Heard], list[Bad]]:
    heard, bad = [], []
    for frame in frames:
        try:
            code, serial, leaf = topics.parse(frame.topic)
            heard.append(Heard((code, serial), json_v1.decode(leaf, frame.payload), frame))
        except BadFrame as error:
            bad.append(Bad(frame, error.reason))
    return heard, bad


def _store(heard: Sequence[Heard], meters: dict[Address, Held], *, now: datetime) -> Taken:
    asked = _commands_answered(heard)
    news = {address: News.of(meter) for address, meter in meters.items()}
    told: list[Told] = []
    for one in heard:
        told += reports.hear(
            news[one.address],
            one.message,
            received_at=one.frame.received_at,
            retained=one.frame.retained,
            command=_own_command(one, meters[one.address], asked),
        )
    held.write(meters.values())
    fit, kept_apart = strays.sift(told, now=now)
    stored = staging.store(fit, stored_at=now)
    events = _store_events(heard, meters, now=now)
    levels = reports.store_levels(news.values(), now=now)
    moved = answers.take(told, news.values(), now=now)
    is_back = any(one.is_back for one in news.values())
    if moved.anything or is_back or not all(agrees for _, _, agrees in levels) or _took_parameters(told):
        commands.wake()
    return Taken(
        readings=stored.readings,
        doubles=stored.doubles,
        strays=kept_apart,
        batch_id=stored.batch_id,
        events=events,
        read_meter_ids=stored.meter_ids,
        agreed=tuple((meter, kind) for meter, kind, agrees in levels if agrees),
        landed=tuple(moved.landed),
        switched=frozenset(one.meter.pk for one in news.values() if one.is_switched()),
    )


def _commands_answered(heard: Sequence[Heard]) -> dict[uuid.UUID, Command]:
    """Not locked yet: of these rows only what never changes is looked at before they are."""
    ids = {one.message.command for one in heard if isinstance(one.message, Answer)}
    return Command.objects.in_bulk(ids) if ids else {}


def _own_command(heard: Heard, meter: Held, asked: dict[uuid.UUID, Command]) -> Command | None:
    """The command that this answers, if it is one of ours to this meter and was ever sent."""
    if not isinstance(heard.message, Answer):
        return None
    command = asked.get(heard.message.command)
    if command is None or command.meter_id != meter.pk or command.sent_at is None:
        logger.warning("meter %s answers a command that it was never sent: %s", meter.serial, heard.message.command)
        return None
    return command


def _took_parameters(told: Iterable[Told]) -> bool:
    """One goes out at a time: after its answer the next one may."""
    return any(one.command is not None and one.command.kind in parameters.KINDS for one in told)


def _store_events(heard: Sequence[Heard], meters: dict[Address, Held], *, now: datetime) -> int:
    rows = [
        MeterEvent(
            meter_id=meter.pk,
            property_id=meter.property_id,
            message_id=one.message.id,
            kind=one.message.event,
            happened_at=one.message.at,
            received_at=now,
            detail=one.message.detail,
        )
        for one in heard
        if isinstance(one.message, Event)
        for meter in (meters[one.address],)
    ]
    if rows:
        MeterEvent.objects.bulk_create(rows, ignore_conflicts=True)  # a_meter_says_a_thing_once
        alarms.tell(rows, now=now)
    return len(rows)


def _tell_of_strangers(strangers: Iterable[Address], *, now: datetime) -> None:
    """One item a stranger, however often it speaks."""
    for code, serial in strangers:
        logger.warning("meter %s of %s is not registered", serial, code)
        worklist.raise_item(
            key=f"unknown_meter:{code}:{serial}",
            kind="unknown_meter",
            property_id=_property_id(code),
            detail={"property": code, "meter": serial},
            trace="",
            now=now,
        )


def tell_of_bad_frames(bad: Iterable[Bad], *, now: datetime) -> None:
    """Logged, and one item a topic however many they are. Call it inside a transaction."""
    by_topic: dict[str, Bad] = {}
    for one in bad:
        logger.warning("bad frame on %.100s: %s (sha256 %s)", one.frame.topic, one.reason, one.digest())
        by_topic[one.frame.topic] = one
    for topic, one in sorted(by_topic.items()):
        code = topic.partition("/")[2].partition("/")[0]
        worklist.raise_item(
            key=f"bad_frame:{topic:.80}",
            kind="bad_frame",
            property_id=_property_id(code),
            detail={"topic": topic[:200], "why": one.reason[:200], "sha256": one.digest()},
            trace="",
            now=now,
        )


def _property_id(code: str) -> int | None:
    return Property.objects.filter(code=code).values_list("pk", flat=True).first()
