"""The queue of top-ups of one meter that holds its money: in order, one out at a time, each with the meter's number.

The states and the moves between them:

    waiting    -> sent (it got its number and a command), cancelled, stuck (the number that it would get was used
                  before, and the meter says so again), landed (a late report proves it), unknown (a report
                  contradicts what we know: read back first)
    sent       -> landed (answered, or seen in the count), unknown (no answer, or lost), waiting (proven not to be in),
                  stuck, cancelled (while its command was still queued)
    unknown    -> landed, waiting, stuck: by the count that was read back, and by nothing else
    stuck      -> waiting, landed, cancelled: by a person
    landed, cancelled: final

Nothing is sent again before the count has been read back, and then under the same number with the same amount, so
that a copy that comes late is a duplicate to the meter. What is stuck does not hold up the ones behind it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from meters import commands, numbers
from meters.models import Command, Installation, TopUp
from notifications import worklist
from notifications.models import WorkItem

State = TopUp.State

MOVES: dict[str, frozenset[str]] = {
    State.WAITING: frozenset({State.SENT, State.CANCELLED, State.STUCK, State.LANDED, State.UNKNOWN}),
    State.SENT: frozenset({State.LANDED, State.UNKNOWN, State.WAITING, State.STUCK, State.CANCELLED}),
    State.UNKNOWN: frozenset({State.LANDED, State.WAITING, State.STUCK}),
    State.STUCK: frozenset({State.WAITING, State.LANDED, State.CANCELLED}),
    State.LANDED: frozenset(),
    State.CANCELLED: frozenset(),
}
ON_THEIR_WAY = (State.WAITING, State.SENT, State.UNKNOWN)
OUT = (State.SENT, State.UNKNOWN)

# Unknown ones ask for the count. A waiting one goes when nothing else is out, it is the first of its meter, and the
# meter still hangs with those who paid: nobody's money goes to whoever moved in behind it. One that may not go any more
# does not hold up theirs.
_DUE = """
with may_go as (
    select t.id, t.meter_id
      from meters_topup t
     where t.state = 'waiting'
       and (t.tenancy_id is null or exists (
            select from accounts_tenancy y
              join meters_installation i on i.room_id = y.room_id and i.meter_id = t.meter_id and i.ends_at is null
             where y.id = t.tenancy_id and (y.ends_at is null or y.ends_at > %(now)s)))
)
select t.id
  from meters_topup t
  join meters_meter m on m.id = t.meter_id
 where t.state in ('waiting', 'unknown') and t.next_try_at <= %(now)s and m.is_online
   and (t.state = 'unknown' or (
        t.id = (select min(o.id) from may_go o where o.meter_id = t.meter_id)
        and not exists (select from meters_topup o where o.meter_id = t.meter_id and o.state in ('sent', 'unknown'))))
 order by t.id
 limit %(limit)s
   for update of t skip locked
"""
_SETTLE = """
with unsettled as (
    select id from meters_topup
     where id = any(%s) and state in ('landed', 'cancelled') and settled_at is null
     order by id for update
)
update meters_topup t set settled_at = %s from unsettled where t.id = unsettled.id
returning t.id
"""


def queue(
    *, key: str, meter_id: int, amount_fen: int, trace: str, now: datetime, tenancy_id: int | None = None
) -> None:
    """A recharge joins its meter's queue, in the caller's transaction. The same key again is an answer.

    It goes into the meter only while that hangs in the tenancy's room and the tenancy lasts (always, without one).
    """
    values: list[str | int | datetime | None] = [key, meter_id, tenancy_id, amount_fen, trace, now]
    with connection.cursor() as cursor:
        cursor.execute("select meters_queue_top_up(%s, %s, %s, %s, %s, %s)", values)


def dispatch(*, now: datetime, limit: int = 200) -> int:
    """Gives the first top-up of each online meter its number and a command, or asks for the count where it must.

    Returns how many commands were made. Several gateways may do so at once: each holds other rows.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_DUE, {"now": now, "limit": limit})
            due = [top_up for (top_up,) in cursor.fetchall()]
        rows = TopUp.objects.filter(pk__in=due).select_related("meter__model").order_by("pk")
        return sum(_next_step(top_up, now=now) for top_up in rows)


def _next_step(top_up: TopUp, *, now: datetime) -> bool:
    """The row is held. True when a command was made."""
    count = top_up.meter.purchase_count
    if top_up.state == State.UNKNOWN or count is None:
        return _ask_for_the_count(top_up, now=now)
    if top_up.number is not None and count >= top_up.number:
        # It was sent before, proven not to be in, and now the count has moved: that proof was not one.
        move(top_up, State.UNKNOWN, note="count_moved", next_try_at=now)
        return _ask_for_the_count(top_up, now=now)
    return _send(top_up, number=count + 1, now=now)


def _ask_for_the_count(top_up: TopUp, *, now: datetime) -> bool:
    _try_again(top_up, now=now)
    reads = Command.objects.filter(meter_id=top_up.meter_id, kind=Command.Kind.READ)
    if reads.filter(commands.live(now=now)).exists():
        return False
    return commands.issue(meter=top_up.meter, kind="read", top_up=top_up, trace=top_up.trace, now=now)


def _try_again(top_up: TopUp, *, now: datetime) -> None:
    top_up.tries += 1
    top_up.next_try_at = now + commands.back_off(top_up.meter.model.command_ttl_s, top_up.tries - 1)
    top_up.save(update_fields=["tries", "next_try_at"])


def _send(top_up: TopUp, *, number: int, now: datetime) -> bool:
    went_back = numbers.went_back(top_up, number) and not _was_released(top_up)
    if went_back or numbers.is_held(top_up, number):
        return _doubt_the_count(top_up, number=number, now=now)
    if not numbers.take_over(top_up, number):
        return False
    move(top_up, State.SENT, number=number, sent_at=top_up.sent_at or now, note="")
    _try_again(top_up, now=now)
    amount = str(top_up.amount_fen)
    meter, trace = top_up.meter, top_up.trace
    if not commands.issue(
        meter=meter, kind="top_up", value=amount, generation=number, top_up=top_up, trace=trace, now=now
    ):
        raise commands.IllegalMoveError(f"meter {meter.pk} has a top-up queued beside {top_up.pk}")
    return True


def _was_released(top_up: TopUp) -> bool:
    """A waiting one that was before a person once has been released by one: there is no other way back."""
    return WorkItem.objects.filter(key=_item_key(top_up)).exists()


def _doubt_the_count(top_up: TopUp, *, number: int, now: datetime) -> bool:
    """The meter is asked before a person is: what we have of it may be an old report that came twice."""
    asked = Command.objects.filter(top_up=top_up).order_by("-queued_at", "-pk").first()
    if asked is None or (asked.kind, asked.state) != (Command.Kind.READ, Command.State.DONE):
        return _ask_for_the_count(top_up, now=now)
    stick(top_up, note="number_used", count=number - 1, now=now)
    return False


def expire(*, now: datetime, limit: int = 500) -> int:
    """Top-ups that got no answer in time: whether they are in is unknown until the count has been read back."""
    silent = Command.objects.filter(kind="top_up", state="sent", expires_at__lte=now - commands.GRACE)
    with transaction.atomic():
        found = list(silent.order_by("top_up_id").values_list("pk", "top_up_id")[:limit])
        rows = _held(TopUp.objects.filter(pk__in=[top_up for _, top_up in found]))
        for command in Command.objects.select_for_update().filter(pk__in=[pk for pk, _ in found]).order_by("pk"):
            if command.state == Command.State.SENT:
                commands.move(command, Command.State.EXPIRED)
        for top_up in rows:
            if top_up.state == State.SENT and not _has_live_command(top_up, now=now):
                move(top_up, State.UNKNOWN, next_try_at=now)
        return len(found)


def _held(rows: QuerySet[TopUp]) -> list[TopUp]:
    return list(rows.select_for_update().order_by("pk"))


def _has_live_command(top_up: TopUp, *, now: datetime) -> bool:
    return Command.objects.filter(commands.live(now=now - commands.GRACE), top_up=top_up, kind="top_up").exists()


def cancel(*, top_up_id: int, now: datetime) -> bool:
    """Takes back a top-up that cannot be in the meter: never sent, or proven by the count not to have arrived.

    False when it is out, in, or waits for a person. Its number is given up with it.
    """
    with transaction.atomic():
        top_up = TopUp.objects.select_for_update().get(pk=top_up_id)
        if top_up.state == State.SENT and not _take_back_queued_command(top_up):
            return False
        if top_up.state not in (State.WAITING, State.SENT):
            return False
        move(top_up, State.CANCELLED, note="cancelled", next_try_at=now)
        return True


def not_sent(*, tenancy_id: int) -> QuerySet[TopUp]:
    """A tenancy's top-ups that may still be called back, newest first; `cancel` says of each whether it could be."""
    return TopUp.objects.filter(tenancy_id=tenancy_id, state__in=(State.WAITING, State.SENT)).order_by("-pk")


def _take_back_queued_command(top_up: TopUp) -> bool:
    """True when its newest command had not been claimed yet: nobody will send it now."""
    out = Command.objects.select_for_update().filter(top_up=top_up, kind="top_up").order_by("-queued_at", "-pk").first()
    if out is None or out.state != Command.State.QUEUED:
        return False
    commands.move(out, Command.State.SUPERSEDED)
    return True


def release(*, top_up_id: int, to: str, note: str, now: datetime) -> bool:
    """A person's decision about a stuck top-up: "waiting" (send it, with a new number), "landed" or "cancelled".

    False when it is not stuck. Raises IllegalMoveError for any other state.
    """
    with transaction.atomic():
        top_up = TopUp.objects.select_for_update().get(pk=top_up_id)
        if top_up.state != State.STUCK:
            return False
        if to == State.WAITING:
            move(top_up, to, number=None, note=note, next_try_at=now)
            commands.wake()
        elif to == State.LANDED:
            move(top_up, to, number=top_up.number or numbers.no_meters_number(top_up), note=note, landed_at=now)
        else:
            move(top_up, to, note=note)
        return True


def settled(*, top_up_ids: Iterable[int], now: datetime) -> list[int]:
    """Marks landed and cancelled top-ups as settled in the ledger; returns those that this call marked.

    Whoever gets an id settles it in the same transaction; everybody else gets nothing.
    """
    with connection.cursor() as cursor:
        cursor.execute(_SETTLE, [list(top_up_ids), now])
        return sorted(top_up for (top_up,) in cursor.fetchall())


def overdue(*, now: datetime, after: timedelta) -> QuerySet[TopUp]:
    """Top-ups that have been on their way for longer than `after`, but for those that may not go any more."""
    return still_going(now=now).filter(queued_at__lte=now - after)


def still_going(*, now: datetime) -> QuerySet[TopUp]:
    """Top-ups on their way that may arrive yet."""
    return TopUp.objects.filter(state__in=ON_THEIR_WAY).exclude(for_nobody_since(now))


def for_nobody_since(long_ago: datetime) -> Q:
    """Waiting top-ups that _DUE has passed over for so long: the tenancy is over, or the meter hangs there no more."""
    there = Installation.objects.filter(meter=OuterRef("meter"), room=OuterRef("tenancy__room"))
    hangs = Exists(there.filter(Q(ends_at=None) | Q(ends_at__gt=long_ago)))
    return Q(state=State.WAITING, tenancy__isnull=False) & (Q(tenancy__ends_at__lte=long_ago) | ~Q(hangs))


def stick(top_up: TopUp, *, note: str, count: int | None, now: datetime) -> None:
    """A person must look. A number that the meter has not reached is free again."""
    number = top_up.number
    kept = number if number is not None and count is not None and count >= number else None
    move(top_up, State.STUCK, note=note, number=kept)
    _tell(top_up, key=_item_key(top_up), kind="top_up_stuck", now=now, number=number, count=count, why=note)


def contradicted(top_up: TopUp, *, why: str, now: datetime) -> None:
    """It is booked, in the meter or called back, and its meter says otherwise: only a person can put that right."""
    key = f"contradicted:{top_up.pk}"
    _tell(top_up, key=key, kind="top_up_contradicted", now=now, number=top_up.number, state=top_up.state, why=why)


def _item_key(top_up: TopUp) -> str:
    return f"top_up:{top_up.pk}"


def _tell(top_up: TopUp, *, key: str, kind: str, now: datetime, **more: object) -> None:
    detail = {"meter": top_up.meter.serial, "top_up": top_up.pk, "amount_fen": top_up.amount_fen, **more}
    worklist.raise_item(key=key, kind=kind, property_id=top_up.property_id, detail=detail, trace=top_up.trace, now=now)


def move(top_up: TopUp, to: str, **changes: object) -> None:
    """The guarded step to another state, with what else changes. Raises IllegalMoveError and changes nothing."""
    if to not in MOVES[top_up.state]:
        raise commands.IllegalMoveError(f"top-up {top_up.pk}: {top_up.state} to {to}")
    changed = TopUp.objects.filter(pk=top_up.pk, state=top_up.state).update(state=to, **changes)
    if changed != 1:
        raise commands.IllegalMoveError(f"top-up {top_up.pk} is no longer {top_up.state}")
    for name, value in {"state": to, **changes}.items():
        setattr(top_up, name, value)
