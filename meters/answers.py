"""Answers of meters close their commands, and what they prove moves the queue of top-ups. Part of intake's transaction.

Top-ups are locked before commands, each in the order of their keys, as everywhere.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from meters import commands, topups
from meters.evidence import OK, Evidence, Verdict, weigh
from meters.models import Command, TopUp
from meters.reports import Told

logger = logging.getLogger(__name__)
State = TopUp.State
QUICK_TRIES = 6  # sendings and reads that follow at once; then the meter is asked more and more slowly


@dataclass(slots=True)
class Moved:
    """What came of a batch: top-ups that landed, and whether something new can be sent."""

    landed: list[int] = field(default_factory=list)
    anything: bool = False


def take(told: list[Told], *, now: datetime) -> Moved:
    """Records the answers among `told` (in order of arrival) and moves the top-ups of which they prove something."""
    top_ups = _held_top_ups(told)
    held = _held_commands(told)
    sendings = _sendings(top_ups, held)
    moved = Moved()
    for one in told:
        command = held.get(one.command.pk) if one.command else None
        is_news = command is not None and one.answer is not None and _record(command, one, now=now)
        for top_up in top_ups.get(one.meter.pk, ()):
            _apply(top_up, sendings.get(top_up.pk, []), one, command, is_news=is_news, now=now, moved=moved)
    return moved


def _held_top_ups(told: list[Told]) -> dict[int, list[TopUp]]:
    meters = {one.meter.pk for one in told if one.report.purchase_count is not None or _is_about_top_ups(one.command)}
    numbered = TopUp.objects.filter(meter_id__in=meters, state__in=topups.ON_THEIR_WAY, number__isnull=False)
    by_meter: dict[int, list[TopUp]] = {}
    for top_up in numbered.select_for_update(of=("self",)).select_related("meter__model").order_by("pk"):
        by_meter.setdefault(top_up.meter_id, []).append(top_up)
    return by_meter


def _is_about_top_ups(command: Command | None) -> bool:
    return command is not None and command.kind in (Command.Kind.TOP_UP, Command.Kind.READ)


def _held_commands(told: list[Told]) -> dict[uuid.UUID, Command]:
    answered = {one.command.pk for one in told if one.command is not None}
    rows = Command.objects.select_for_update().filter(pk__in=answered).order_by("pk") if answered else ()
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
    sent = [sending for sending in sendings if sending.sent_at is not None]
    evidence = _evidence(sent, sendings, told, command, is_news=is_news)
    doubt = top_up.note if top_up.state == State.UNKNOWN else ""
    verdict, note = weigh(number=top_up.number, was_sent=bool(sent), doubt=doubt, evidence=evidence)
    if _follow(top_up, verdict, note=note, count=told.report.purchase_count, now=now):
        _take_back_what_is_queued(top_up, sendings)
        moved.anything = True
        if verdict is Verdict.LANDED:
            moved.landed.append(top_up.pk)


def _evidence(
    sent: list[Command], sendings: list[Command], told: Told, command: Command | None, *, is_news: bool
) -> Evidence:
    count = told.report.purchase_count
    if not sent:
        return Evidence(count=count)
    first_sent_at = min(sending.sent_at for sending in sent if sending.sent_at)
    newest = sendings[-1]
    return Evidence(
        count=count if told.at >= first_sent_at else None,
        answer=_error_of(told) if is_news and command is not None and command.pk == newest.pk else None,
        is_read_back=command is not None and command.kind == Command.Kind.READ and _was_over(newest, command),
    )


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
