"""What we ask of meters: the only writer of Command (with the SQL functions of migrations/0003_wishes.py).

The states and the moves between them:

    queued      -> sent (claimed by the gateway), superseded (a newer wish took its place before anybody sent it)
    sent        -> done, refused (the meter answered), expired (it did not in time, or connected anew without it)
    expired     -> done, refused (it answered after all)
    done, refused, superseded: final. A second answer changes nothing; the report inside it is used all the same.

A command is claimed, committed, then published: a gateway that dies in between has sent nothing. Which those were
nobody knows, so a gateway that starts says again what is still unanswered, with the same id, generation and deadline:
to the meter that is a double, as MQTT makes them too. Top-ups are never said again before the count has been read back;
they run out like those that the meter did not answer. It errs towards asking again, never towards acting twice: levels
carry a generation, top-ups a purchase number, all of them an expiry.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypedDict, cast

from django.db import connection, transaction
from django.db.models import Q

from meters import parameters
from meters.models import Command, Meter, TopUp
from meters.wire import base, json_v1, topics

State = Command.State
Kind = Command.Kind

MOVES: dict[str, frozenset[str]] = {
    State.QUEUED: frozenset({State.SENT, State.SUPERSEDED}),
    State.SENT: frozenset({State.DONE, State.REFUSED, State.EXPIRED}),
    State.EXPIRED: frozenset({State.DONE, State.REFUSED}),
    State.DONE: frozenset(),
    State.REFUSED: frozenset(),
    State.SUPERSEDED: frozenset(),
}
ANSWERED = frozenset({State.DONE, State.REFUSED})
CODECS: dict[str, base.Codec] = {"json_v1": json_v1}
CHANNEL = "meterpay_commands"
GRACE = timedelta(seconds=2)  # an answer given in the last moment still has to travel
BACK_OFF_AT_MOST_S = 900

_CLAIM = """
with due as (
    select c.id, p.code, m.serial, k.codec, k.command_ttl_s
      from meters_command c
      join meters_meter m on m.id = c.meter_id
      join meters_metermodel k on k.id = m.model_id
      join accounts_property p on p.id = c.property_id
     where c.state = 'queued' and m.is_online and WHICH
     order by c.queued_at, c.id
     limit %(limit)s
       for update of c skip locked
)
update meters_command c
   set state = 'sent', sent_at = %(now)s, expires_at = %(now)s + make_interval(secs => due.command_ttl_s)
  from due
 where c.id = due.id
returning c.id, due.code, due.serial, due.codec, c.kind, c.value, c.generation, c.trace, c.queued_at, c.sent_at,
          c.expires_at
"""
_URGENT = "c.kind <> all(%(parameters)s)"
# One a meter, and none while anything else is on its way there: a meter reads its commands one after the other.
_PARAMETER = """c.kind = any(%(parameters)s)
       and not exists (select from meters_command o
                        where o.meter_id = c.meter_id and o.state = 'queued' and o.id <> c.id
                          and (o.kind <> all(%(parameters)s) or (o.queued_at, o.id) < (c.queued_at, c.id)))
       and not exists (select from meters_command o
                        where o.meter_id = c.meter_id and o.state = 'sent' and o.expires_at > %(now)s)"""
# A level is said again only while it is still what is wanted. Plan: commands_unanswered, then by primary keys.
_UNANSWERED = """
select c.id, p.code, m.serial, k.codec, c.kind, c.value, c.generation, c.trace, c.queued_at, c.sent_at, c.expires_at
  from meters_command c
  join meters_meter m on m.id = c.meter_id
  join meters_metermodel k on k.id = m.model_id
  join accounts_property p on p.id = c.property_id
 where c.state = 'sent' and c.expires_at > %(now)s and m.is_online
   and (c.kind = 'read' or exists (
        select from meters_level l where l.meter_id = c.meter_id and l.kind = c.kind and l.wanted = c.value))
 order by c.kind = any(%(parameters)s), c.queued_at, c.id
 limit %(limit)s
"""
_EXPIRE = """
update meters_command set state = 'expired'
 where id in (select id from meters_command
               where state = 'sent' and kind <> 'top_up' and expires_at <= %s
               order by id limit %s for update skip locked)
   and state = 'sent'
"""


class _Common(TypedDict):
    id: uuid.UUID
    generation: int
    issued_at: datetime
    expires_at: datetime
    trace: str


class IllegalMoveError(Exception):
    """Ours to fix: a state was to change in a way that its table does not know."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A claimed command, with all that the wire needs. `value` and `generation` mean what they do in Command."""

    id: uuid.UUID
    property_code: str
    serial: str
    codec: str
    kind: str
    value: str
    generation: int
    trace: str
    queued_at: datetime
    sent_at: datetime
    expires_at: datetime


def claim(*, now: datetime, limit: int = 200) -> list[Outgoing]:
    """Takes the oldest queued commands of meters that are online, and commits them as sent; the caller publishes.

    All but parameters. Several gateways may claim at once: each gets other rows. Nothing is sent twice; what dies here
    runs out.
    """
    return _claim(_URGENT, now=now, limit=limit)


def claim_parameters(*, now: datetime, limit: int) -> list[Outgoing]:
    """As `claim`, of what can wait: one parameter a meter, where nothing else is queued or unanswered."""
    return _claim(_PARAMETER, now=now, limit=limit)


def _claim(which: str, *, now: datetime, limit: int) -> list[Outgoing]:
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM.replace("WHICH", which), {"now": now, "limit": limit, "parameters": parameters.KINDS})
        claimed = [Outgoing(*row) for row in cursor.fetchall()]
    return sorted(claimed, key=lambda command: (command.queued_at, command.id))


def unanswered(*, now: datetime, limit: int = 1000) -> list[Outgoing]:
    """Levels and reads that were claimed, by whomever, and may be answered yet, oldest first, parameters last.

    Changes nothing. What is above the limit runs out, and is asked again.
    """
    with connection.cursor() as cursor:
        cursor.execute(_UNANSWERED, {"now": now, "limit": limit, "parameters": parameters.KINDS})
        return [Outgoing(*row) for row in cursor.fetchall()]


def encode(outgoing: Outgoing) -> tuple[str, bytes]:
    """Topic and payload for the broker. Raises ImpossibleCommand when no meter could be told this."""
    codec = CODECS.get(outgoing.codec)
    if codec is None:
        raise base.ImpossibleCommand(f"no codec {outgoing.codec!r}")
    common: _Common = {
        "id": outgoing.id,
        "generation": outgoing.generation,
        "issued_at": outgoing.sent_at,
        "expires_at": outgoing.expires_at,
        "trace": outgoing.trace,
    }
    said: base.Command
    match outgoing.kind:
        case Kind.RELAY:
            said = base.RelayCommand(position=cast(base.Order, outgoing.value), **common)
        case Kind.SHOW:
            said = base.ShowCommand(balance_fen=int(outgoing.value), **common)
        case Kind.TOP_UP:
            said = base.TopUpCommand(number=outgoing.generation, amount_fen=int(outgoing.value), **common)
        case kind if kind in parameters.KINDS:
            parameter, value = parameters.value_of(kind, outgoing.value)
            said = base.SetCommand(parameter=parameter, value=value, **common)
        case _:
            said = base.ReadCommand(**common)
    return topics.command_topic(outgoing.property_code, outgoing.serial), codec.encode(said)


def issue(
    *, meter: Meter, kind: str, value: str = "", generation: int = 0, top_up: TopUp | None, trace: str, now: datetime
) -> bool:
    """Queues a top-up or a read (levels are issued by SQL). False when one of that kind is queued for it already."""
    command = Command(
        id=uuid.uuid4(),
        meter_id=meter.pk,
        property_id=meter.property_id,
        kind=kind,
        value=value,
        generation=generation,
        top_up=top_up,
        trace=trace,
        queued_at=now,
    )
    with transaction.atomic():
        Command.objects.bulk_create([command], ignore_conflicts=True)  # one_queued_command_a_kind
        return Command.objects.filter(pk=command.pk).exists()


def expire(*, now: datetime, limit: int = 1000) -> int:
    """Gives up on what went unanswered. Top-ups are given up by topups.expire, which must then read back."""
    with connection.cursor() as cursor:
        cursor.execute(_EXPIRE, [now - GRACE, limit])
        return int(cursor.rowcount)


def answer(command: Command, *, error: str, now: datetime) -> bool:
    """Records what the meter answered (`error` is empty for "done"). False when it changes nothing.

    The caller holds the row. An answer to what was never sent, or a second one, is no news.
    """
    to = State.REFUSED if error else State.DONE
    if to not in MOVES[command.state]:
        return False
    move(command, to, answered_at=now, error=error[:16])
    return True


def give_up(command: Command, *, now: datetime) -> None:
    """It was sent to a meter that has connected anew since, and keeps no session: nobody will read it any more.

    The caller holds the row. A top-up's is over now, for the count to be read back. Of a level the deadline stays: had
    it been obeyed all the same, meters_want must not trust an older report.
    """
    move(command, State.EXPIRED)
    if command.kind == Kind.TOP_UP:
        Command.objects.filter(pk=command.pk, expires_at__gt=now).update(expires_at=now)


def withdraw(command: Command) -> bool:
    """Takes back a queued command. False when it was claimed in the meantime: then it goes out, and is refused."""
    return Command.objects.filter(pk=command.pk, state=State.QUEUED).update(state=State.SUPERSEDED) == 1


def move(command: Command, to: str, *, answered_at: datetime | None = None, error: str = "") -> None:
    """The guarded step from one state to the next. Raises IllegalMoveError and changes nothing when there is none."""
    if to not in MOVES[command.state]:
        raise IllegalMoveError(f"command {command.pk}: {command.state} to {to}")
    changed = Command.objects.filter(pk=command.pk, state=command.state).update(
        state=to, answered_at=answered_at, error=error
    )
    if changed != 1:
        raise IllegalMoveError(f"command {command.pk} is no longer {command.state}")
    command.state, command.answered_at, command.error = to, answered_at, error


def live(*, now: datetime) -> Q:
    """Commands that are on their way: queued, or sent and still within their life."""
    return Q(state=State.QUEUED) | Q(state=State.SENT, expires_at__gt=now)


def back_off(ttl_s: int, tries: int) -> timedelta:
    """How long to wait after the n-th try: as meters_issue does, first by the command's life, then more slowly."""
    return timedelta(seconds=min(ttl_s * 2 ** min(tries, 6), BACK_OFF_AT_MOST_S))


def wake() -> None:
    """Tells the gateways that there is something to send, when this transaction commits."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_notify(%s, '')", [CHANNEL])
