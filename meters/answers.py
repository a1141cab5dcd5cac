"""Answers of meters close their commands, and what they prove moves the queue of top-ups. Part of intake's transaction.

Top-ups are locked before commands, each in the order of their keys, as everywhere.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Q

from meters import commands, topups
from meters.evidence import OK, REFUSED, Evidence, Verdict, weigh
from meters.models import Command, TopUp
from meters.reports import News, Told

logger = logging.getLogger(__name__)
State = TopUp.State
QUICK_TRIES = 6  # sendings and reads that follow at once; then the meter is asked more and more slowly


@dataclass(slots=True)
class Moved:
    """What came of a batch: top-ups that landed, and whether something new can be sent."""

    landed: list[int] = field(default_factory=list)
    anything: bool = False


def take(told: list[Told], news: Collection[News], *, now: datetime) -> Moved:
    """Records the answers among `told` (in order of arrival) and moves the top-ups of which they prove something.

    What was on its way to meters that are back (`news`) is given up, and what waits for them is due.
    """
    top_ups = _held_top_ups(told, news)
    held = _held_commands(told, news)
    sendings = _sendings(top_ups, held)
    moved, answered = Moved(), []
    for one in [one for one in told if one.command is not None or one.meter.pk in top_ups]:
        command = held.get(one.command.pk) if one.command else None
        is_news = command is not None and one.answer is not None and _record(command, one, now=now)
        if is_news and command is not None and command.kind == Command.Kind.TOP_UP:
            answered.append(command)
        for top_up in top_ups.get(one.meter.pk, ()):
            if is_news and command is not None and _waits_for(command, top_up):
                moved.anything |= _make_due(top_up, now=now)
            _apply(top_up, sendings.get(top_up.pk, []), one, command, is_news=is_news, now=now, moved=moved)
    _give_up_what_was_lost(held.values(), news, now=now)
    for meter_id in sorted(_back(news)):
        for top_up in top_ups.get(meter_id, ()):
            moved.anything |= _goes_on(top_up, sendings.get(top_up.pk, []), now=now)
    if answered:
        _tell_of_contradictions(answered, now=now)
    return moved


def _back(news: Iterable[News]) -> set[int]:
    return {one.meter.pk for one in news if one.is_back or one.connected_at is not None}


def _held_top_ups(told: list[Told], news: Collection[News]) -> dict[int, list[TopUp]]:
    meters = {one.meter.pk for one in told if one.report.purchase_count is not None or _is_about_top_ups(one.command)}
    asked = {one.command.top_up_id for one in told if one.command is not None}
    concerned = Q(meter_id__in=meters, number__isnull=False) | Q(meter_id__in=_back(news)) | Q(pk__in=asked - {None})
    by_meter: dict[int, list[TopUp]] = {}
    rows = TopUp.objects.filter(concerned, state__in=topups.ON_THEIR_WAY).select_related("meter__model")
    for top_up in rows.select_for_update(of=("self",)).order_by("pk"):
        by_meter.setdefault(top_up.meter_id, []).append(top_up)
    return by_meter


def _is_about_top_ups(command: Command | None) -> bool:
    return command is not None and command.kind in (Command.Kind.TOP_UP, Command.Kind.READ)


def _held_commands(told: list[Told], news: Collection[News]) -> dict[uuid.UUID, Command]:
    concerned = {one.command.pk for one in told if one.command is not None}
    connected = {one.meter.pk for one in news if one.connected_at is not None}
    if connected:
        out = Command.objects.filter(state=Command.State.SENT, meter_id__in=connected)
        concerned.update(out.values_list("pk", flat=True))
    rows = Command.objects.select_for_update().filter(pk__in=concerned).order_by("pk") if concerned else ()
    return {command.pk: command for command in rows}


def _sendings(top_ups: dict[int, list[TopUp]], held: dict[uuid.UUID, Command]) -> dict[int, list[Command]]:
    """Each top-up's commands, oldest first; the held rows where they are held."""
    ids = [top_up.pk for queue in top_ups.values() for top_up in queue]
    by_top_up: dict[int, list[Command]] = {}
    if ids:
        for command in Command.objects.filter(top_up__in=ids, kind="top_up").order_by("queued_at", "pk"):
            by_top_up.setdefault(command.top_up_id or 0, []).append(held.get(command.pk, command))
    return by_top_up


def _record(command: Command, told: Told, *, now: datetime) -> bool:
    answer = told.answer
    if answer is None or not commands.answer(command, error=_error_of(told), now=now):
        return False
    logger.info(
        "meter %s answered %s %s: %s",
        told.meter.serial,
        command.kind,
        command.value,
        command.error or "done",
        extra={"trace": command.trace or None},
    )
    return True


def _error_of(told: Told) -> str:
    return (told.answer and told.answer.error) or OK


def _apply(
    top_up: TopUp,
    sendings: list[Command],
    told: Told,
    command: Command | None,
    *,
    is_news: bool,
    now: datetime,
    moved: Moved,
) -> None:
    if top_up.state not in topups.ON_THEIR_WAY or top_up.number is None:
        return
    sent = [one for one in sendings if one.sent_at is not None and one.generation == top_up.number]
    evidence = _evidence(sent, sendings, told, command, is_news=is_news)
    doubt = top_up.note if top_up.state == State.UNKNOWN else ""
    verdict, note = weigh(number=top_up.number, doubt=doubt, evidence=evidence)
    if _follow(top_up, verdict, note=note, count=told.report.purchase_count, now=now):
        _take_back_what_is_queued(top_up, sendings)
        moved.anything = True
        if verdict is Verdict.LANDED:
            moved.landed.append(top_up.pk)


def _evidence(
    sent: list[Command], sendings: list[Command], told: Told, command: Command | None, *, is_news: bool
) -> Evidence:
    """What `told` says of a top-up; `sent` are the sendings under its present number."""
    count = told.report.purchase_count
    if not sent:
        return Evidence(count=count, chances=0)
    first_sent_at = min(sending.sent_at for sending in sent if sending.sent_at)
    newest = sendings[-1]
    return Evidence(
        count=count if told.at >= first_sent_at else None,
        chances=sum(sending.error not in REFUSED for sending in sent),
        answer=_error_of(told) if is_news and command is not None and command.pk == newest.pk else None,
        is_read_back=command is not None and command.kind == Command.Kind.READ and _was_over(newest, command),
    )


def _give_up_what_was_lost(held: Iterable[Command], news: Iterable[News], *, now: datetime) -> None:
    """Meters keep no session: what was sent to one before it connected does not reach it any more."""
    connected = {one.meter.pk: one.connected_at for one in news if one.connected_at is not None}
    for command in held:
        since = connected.get(command.meter_id)
        if since and command.state == Command.State.SENT and command.sent_at and command.sent_at < since:
            commands.give_up(command, now=now)


def _tell_of_contradictions(answered: Iterable[Command], *, now: datetime) -> None:
    """What was booked by the count alone, or called back, and is now answered otherwise: a person must look.

    A report between our sending and its answer may show a count that somebody else has lifted to our number.
    """
    refused = [command.top_up_id for command in answered if command.error in REFUSED]
    done = [command.top_up_id for command in answered if command.state == Command.State.DONE]
    ended = Q(pk__in=refused, state=State.LANDED) | Q(pk__in=done, state=State.CANCELLED)
    for top_up in TopUp.objects.filter(ended).select_related("meter").order_by("pk"):
        is_cancelled = top_up.state == State.CANCELLED
        sent = Command.objects.filter(top_up=top_up, kind="top_up", sent_at__isnull=False)
        if is_cancelled or not sent.filter(generation=top_up.number or 0).exclude(error__in=REFUSED).exists():
            topups.contradicted(top_up, why="landed_after_all" if is_cancelled else "number_taken", now=now)


def _waits_for(read: Command, top_up: TopUp) -> bool:
    """It was not sent for want of the count, which is there now."""
    return read.kind == Command.Kind.READ and read.top_up_id == top_up.pk and top_up.state == State.WAITING


def _goes_on(top_up: TopUp, sendings: list[Command], *, now: datetime) -> bool:
    """Its meter is back: read back what was lost on the way, and let the others not wait for their next try."""
    if top_up.state != State.SENT:
        return _make_due(top_up, now=now)
    if not sendings or sendings[-1].state != Command.State.EXPIRED:
        return False
    topups.move(top_up, State.UNKNOWN, next_try_at=now)
    return True


def _make_due(top_up: TopUp, *, now: datetime) -> bool:
    if top_up.state not in (State.WAITING, State.UNKNOWN) or top_up.next_try_at <= now:
        return False
    top_up.next_try_at = now
    top_up.save(update_fields=["next_try_at"])
    return True


def _was_over(sending: Command, read: Command) -> bool:
    """Whether the sending could no longer be executed when the read was sent."""
    over_at = sending.answered_at or sending.expires_at
    return over_at is not None and read.sent_at is not None and read.sent_at >= over_at


def _follow(top_up: TopUp, verdict: Verdict, *, note: str, count: int | None, now: datetime) -> bool:
    """Moves the top-up as the verdict says. False when that changes nothing."""
    if verdict is Verdict.NOTHING or (top_up.state == State.WAITING and verdict not in _OF_WAITING):
        return False
    if verdict is Verdict.LANDED:
        topups.move(top_up, State.LANDED, landed_at=now, note="")
    elif verdict is Verdict.STUCK:
        topups.stick(top_up, note=note, count=count, now=now)
    elif verdict is Verdict.READ_BACK:
        if top_up.state == State.UNKNOWN:
            return False
        topups.move(top_up, State.UNKNOWN, note=note, next_try_at=now)
    else:
        number = None if verdict is Verdict.RENUMBER else top_up.number
        topups.move(top_up, State.WAITING, number=number, note=note, next_try_at=_when_again(top_up, now))
    logger.info(
        "top-up %s of meter %s: %s %s",
        top_up.pk,
        top_up.meter.serial,
        top_up.state,
        note,
        extra={"trace": top_up.trace},
    )
    return True


_OF_WAITING = (Verdict.LANDED, Verdict.STUCK, Verdict.READ_BACK)


def _when_again(top_up: TopUp, now: datetime) -> datetime:
    if top_up.tries <= QUICK_TRIES:
        return now
    return now + commands.back_off(top_up.meter.model.command_ttl_s, top_up.tries - QUICK_TRIES)


def _take_back_what_is_queued(top_up: TopUp, sendings: Iterable[Command]) -> None:
    for sending in sendings:
        if sending.state == Command.State.QUEUED:
            commands.withdraw(sending)
