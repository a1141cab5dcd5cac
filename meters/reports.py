"""What a meter says it has becomes the newest of its row and of its Levels. Part of intake's transaction.

A report counts from the instant it was made, never later than it was received (a clock in the future must not freeze
the state) and, when it answers a command, not earlier than that was sent (nor must a clock in the past). An older
report never overwrites a newer one, with two exceptions, both for clocks that a power failure took back: what a meter
says on connecting is what it has, and an instant from before anything could still lie at the broker is no instant.
Either may believe something old once more; that costs a command, or a question for the purchase count.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection

from meters import parameters
from meters.held import Held
from meters.models import Command, Level, Relay
from meters.wire.base import Answer, Event, Report, Status, Telemetry
from meters.wire.base import Uplink as Message

FRESH = timedelta(minutes=5)  # an older telemetry lay somewhere: it does not prove that its meter is there now
LIES_AT_MOST = timedelta(hours=1)  # as long as our session lives (gateway.SESSION_S): an older one is a lost clock
HIGHEST_GUESS = 2**40  # above it no generation of a display or parameter is looked for any more
COMPARED_EACH = 17
RELAY, SHOW = str(Level.Kind.RELAY), str(Level.Kind.SHOW)
SERVERS = (RELAY, SHOW)  # kinds of levels of a meter whose money the server holds
METERS = (*SERVERS, *parameters.KINDS)  # and of one that holds it


class Told(NamedTuple):
    """One report in its place: whose it is, for which instant it counts, and which command it answers, if any."""

    meter: Held
    report: Report
    at: datetime
    received_at: datetime
    answer: Answer | None = None
    command: Command | None = None


@dataclass(slots=True)
class News:
    """What a batch changes about one meter."""

    meter: Held
    had: tuple[str, str, int | None]  # relay, its order and the shown balance, as they were before
    is_back: bool = False  # it came online: what waits for it goes out at once
    connected_at: datetime | None = None  # it connected anew, without a session: what was sent before will not arrive
    reported: dict[str, str] = field(default_factory=dict)  # by kind of level
    due: set[str] = field(default_factory=set)  # kinds that are tried again at once
    floors: dict[str, int] = field(default_factory=dict)  # by kind: below it no generation need be tried
    says_parameters: bool = False  # in a message in which they are compared with what is known

    @classmethod
    def of(cls, meter: Held) -> News:
        return cls(meter, (meter.relay, meter.relay_order, meter.shown_fen))

    def is_unchanged(self) -> bool:
        """Whether all that its levels are about is as it was."""
        meter = self.meter
        is_same = self.had == (meter.relay, meter.relay_order, meter.shown_fen)
        return is_same and not (self.is_back or self.due or self.says_parameters)

    def is_switched(self) -> bool:
        """Whether its relay is another than it was; of one that never told, only where it is not closed."""
        before, _order, _shown = self.had
        return self.meter.relay != before and (before != "" or self.meter.relay != Relay.CLOSED)


def hear(news: News, message: Message, *, received_at: datetime, retained: bool, command: Command | None) -> list[Told]:
    """Takes one message of a meter into its row (in memory) and `news`; the reports it brought, oldest first.

    A retained message tells what the broker kept, not that the meter spoke now.
    """
    answer = message if isinstance(message, Answer) else None
    sent_at = command.sent_at if command is not None else None
    told = [
        Told(news.meter, report, _counts_from(report.at, received_at, sent_at), received_at, answer, command)
        for report in reports_of(message)
    ]
    if told and not retained and received_at - told[-1].report.at > LIES_AT_MOST:
        told[-1] = told[-1]._replace(at=received_at)
    _note_presence(news, message, told, received_at=received_at, retained=retained)
    for one in told[-1:]:
        newest = news.meter.reported_at
        is_newer = newest is None or one.at >= newest
        if is_newer or (_is_greeting(message, retained=retained) and received_at >= (newest or received_at)):
            _adopt(news, one, may_lower=is_newer and not isinstance(message, Telemetry) and not retained)
            news.says_parameters |= one.report.parameters is not None and _is_compared(one, message)
    if isinstance(message, Answer) and command is not None:
        _learn(news, message, command)
    return told


def reports_of(message: Message) -> tuple[Report, ...]:
    if isinstance(message, Telemetry):
        return message.readings
    if isinstance(message, Event) or message.report is None:
        return ()
    return (message.report,)


def _counts_from(at: datetime, received_at: datetime, sent_at: datetime | None) -> datetime:
    return min(at if sent_at is None else max(at, sent_at), received_at)


def _is_greeting(message: Message, *, retained: bool) -> bool:
    """What a meter says when it has just connected."""
    return isinstance(message, Status) and message.online and not retained


def _note_presence(news: News, message: Message, told: list[Told], *, received_at: datetime, retained: bool) -> None:
    meter = news.meter
    if isinstance(message, Status):
        news.is_back = message.online and not (retained and meter.is_online)
        meter.is_online = message.online
        if _is_greeting(message, retained=retained):
            news.connected_at = received_at
    elif not meter.is_online and (not told or told[-1].at >= received_at - FRESH):
        news.is_back = meter.is_online = True
    if meter.is_online:
        heard_at = told[-1].at if retained and told else received_at
        if meter.last_seen_at is None or meter.last_seen_at < heard_at:
            meter.last_seen_at = heard_at


def _adopt(news: News, told: Told, *, may_lower: bool) -> None:
    """The newest report. What it leaves out is not forgotten.

    A purchase count rises; that it fell (the meter was set back) is believed only when the meter certainly says so now.
    """
    meter, report = news.meter, told.report
    meter.reported_at = told.at
    meter.import_wh, meter.power_w = report.import_wh, report.power_w
    meter.relay, meter.relay_order, meter.relay_generation = report.relay, report.order, report.generation
    news.reported[RELAY] = relay_level(report, holds_money=meter.holds_money)
    if report.shown_fen is not None:
        meter.shown_fen = report.shown_fen
        news.reported[SHOW] = str(report.shown_fen)
    if report.parameters is not None:
        news.reported |= {parameter: parameters.as_text(parameter, value) for parameter, value in report.parameters}
    if report.balance_fen is not None:
        meter.balance_fen = report.balance_fen
    if report.purchase_count is not None:
        known = 0 if may_lower else meter.purchase_count or 0
        meter.purchase_count = max(report.purchase_count, known)


def relay_level(report: Report, *, holds_money: bool) -> str:
    """What a report says of our wish about the relay.

    A meter that holds its money opens and closes by itself, so the order it obeys is the answer; of others the
    relay's position is, except that a tenant who pressed the button of a permitted relay has not disobeyed.
    """
    if holds_money or (report.order, report.relay) == ("permitted", "closed"):
        return report.order
    return report.relay


def _is_compared(told: Told, message: Message) -> bool:
    """Whether its parameters are: each telemetry's would be too much, so it is each seventeenth, by the minute it was
    made in. A prime: no meter that reports all five or fifteen minutes is left out."""
    minute = int(told.at.timestamp()) // 60
    return not isinstance(message, Telemetry) or (told.meter.pk + minute) % COMPARED_EACH == 0


def _learn(news: News, answer: Answer, command: Command) -> None:
    """What an answer means for other tries."""
    if answer.error == "stale":
        _look_for_the_generation(news, answer.report, command)
    if command.kind in parameters.KINDS and answer.error in (None, "unsupported"):
        # They waited for it. After answers that may be repeated they wait on: else two would chase each other for ever.
        news.due.update(kind for kind in parameters.KINDS if kind != command.kind)
    if (command.kind, command.value, answer.error) == (Level.Kind.KEEP, parameters.OFF, None):
        news.due.add(Level.Kind.RELAY)  # which it has refused to open while it kept the supply on


def _look_for_the_generation(news: News, report: Report, command: Command) -> None:
    """The meter has obeyed a higher generation than we remember (a restored database): jump above it.

    The relay's is in its report. Those of the display and of parameters are not: they are looked for by doubling.
    """
    if command.kind == Command.Kind.RELAY and report.generation >= command.generation:
        news.due.add(command.kind)
    if command.kind in METERS and command.kind != Command.Kind.RELAY and command.generation < HIGHEST_GUESS:
        news.due.add(command.kind)
        news.floors[command.kind] = max(news.floors.get(command.kind, 0), command.generation * 2 + 100)


# One statement for all levels of the batch, so that they are locked in the order of their keys.
_LEVELS = """
with news as (
    select * from unnest(%s::bigint[], %s::text[], %s::text[], %s::timestamptz[], %s::boolean[], %s::bigint[])
        as n (meter_id, kind, reported, at, is_due, floor)
), touched as (
    select l.id, coalesce(n.reported, l.reported) as reported, coalesce(n.reported <> l.reported, false) as is_new,
           n.at, n.is_due, n.floor
      from meters_level l
      join news n on n.meter_id = l.meter_id and n.kind = l.kind
     where n.reported <> l.reported or n.is_due and l.wanted <> coalesce(n.reported, l.reported)
     order by l.id
       for update of l
)
update meters_level l
   set reported = t.reported,
       reported_at = case when t.is_new then t.at else l.reported_at end,
       agreed_at = case when l.wanted = t.reported then coalesce(l.agreed_at, %s) end,
       tries = case when l.wanted = t.reported then 0 else l.tries end,
       generation = greatest(l.generation, t.floor),
       next_try_at = case when t.is_due then least(l.next_try_at, %s) else l.next_try_at end
  from touched t
 where l.id = t.id
returning l.meter_id, l.kind, l.wanted = l.reported
"""
# Plan: the partial index levels_in_disagreement, in its order; it is small unless a network is broken.
_DISAGREEING = "select meter_id from meters_level where wanted <> reported order by next_try_at limit %s"
_DISAGREEING_OF = "select meter_id from meters_level where wanted <> reported and meter_id = any(%s)"
FEW = 1000  # so many are sooner read whole than looked up one by one


def store_levels(news: Collection[News], *, now: datetime) -> list[tuple[int, str, bool]]:
    """Writes what meters have into their levels; (meter, kind, agrees) of each that changed or is due again.

    A level that agrees has what its meter's row had; so of a meter whose row says the same again, only those are looked
    at that do not agree (also new ones, of which nothing was reported yet).
    """
    disagreeing = _disagreeing([one.meter.pk for one in news if one.is_unchanged()])
    concerned = [one for one in news if not one.is_unchanged() or one.meter.pk in disagreeing]
    rows = [
        (one.meter.pk, kind, reported, one.meter.reported_at, is_due, one.floors.get(kind, 0))
        for one in concerned
        for kind in (METERS if one.meter.holds_money else SERVERS)
        if (reported := one.reported.get(kind)) is not None or one.is_back or kind in one.due
        for is_due in (one.is_back or kind in one.due,)
    ]
    if not rows:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_LEVELS, [*_columns(rows), now, now])
        return sorted(cursor.fetchall())


def _disagreeing(meter_ids: list[int]) -> set[int]:
    """Of these meters at least all that have a level which disagrees."""
    if not meter_ids:
        return set()
    with connection.cursor() as cursor:
        if len(meter_ids) > FEW:
            cursor.execute(_DISAGREEING, [FEW + 1])
            found = {meter for (meter,) in cursor.fetchall()}
            if cursor.rowcount <= FEW:
                return found
        cursor.execute(_DISAGREEING_OF, [meter_ids])
        return {meter for (meter,) in cursor.fetchall()}


def _columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
