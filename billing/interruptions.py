"""Power that is off: since when, and how long it took to come back. The restore clock.

Of what we switched everything follows from the relay's level, a row: what is wanted of it since when, and when the
meter agreed; of a meter that goes by money of its own, from its relay and the top-ups on their way into it. A sweep
looks at what is off, and a gateway at once when a relay moves; both may do it at the same time. `seconds` counts from
the wish to restore (the payment's own transaction), or the top-up, to the relay that reported itself closed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Avg, Count, Max, Q
from django.utils.translation import gettext as _

from billing.facts import CUT_FOR_MONEY
from billing.models import Interruption, SupplyPolicy
from meters.models import Command, Installation, Level, Relay, TopUp
from notifications import worklist

SLOW: Final = "slow_restore"  # a kind of work item
BY_ITSELF: Final = "meter"  # the cause, of a meter that goes by money of its own
FOR_MONEY: Final = [*map(str, CUT_FOR_MONEY), BY_ITSELF]  # causes that a payment ends
LIMIT_S: Final = 60  # where a property has laid nothing down
State = Interruption.State
STANDING: Final = (State.ORDERED, State.OFF, State.RESTORING)
MOVES: Final[dict[str, frozenset[str]]] = {
    State.ORDERED: frozenset({State.OFF, State.VOID}),
    State.OFF: frozenset({State.RESTORING, State.OVER}),  # over without a clock: nobody had to be restored
    State.RESTORING: frozenset({State.OFF, State.OVER}),
    State.OVER: frozenset(),
    State.VOID: frozenset(),
}

# Plan: levels that are wanted open, by a partial index as they are few; one standing row a meter by its unique index.
_BEGIN = """
insert into billing_interruption (property_id, room_id, meter_id, purse_id, state, cause, ordered_at)
select i.property_id, i.room_id, l.meter_id, p.id, 'ordered', left(l.reason, 16), l.wanted_at
  from meters_level l
  join meters_installation i on i.meter_id = l.meter_id and i.ends_at is null
  left join accounts_tenancy t on t.room_id = i.room_id and t.starts_at <= %(now)s
       and (t.ends_at is null or t.ends_at > %(now)s)
  left join billing_purse p on p.tenancy_id = t.id
 where l.kind = 'relay' and l.wanted = 'open' and (%(meters)s::bigint[] is null or l.meter_id = any(%(meters)s))
   and not exists (select from billing_interruption b
                    where b.meter_id = l.meter_id and b.state not in ('over', 'void'))
 order by l.meter_id
on conflict do nothing
"""

# Plan: the given meters by key, or one pass over those that hold their money; one standing row a meter.
_BEGIN_BY_ITSELF = """
insert into billing_interruption (property_id, room_id, meter_id, purse_id, state, cause, ordered_at, off_at)
select i.property_id, i.room_id, m.id, p.id, 'off', 'meter', m.reported_at, m.reported_at
  from meters_meter m
  join meters_metermodel k on k.id = m.model_id and k.balance_held_by = 'meter'
  join meters_installation i on i.meter_id = m.id and i.ends_at is null
  left join accounts_tenancy t on t.room_id = i.room_id and t.starts_at <= %(now)s
       and (t.ends_at is null or t.ends_at > %(now)s)
  left join billing_purse p on p.tenancy_id = t.id
 where m.relay = 'open' and m.reported_at is not null and (%(meters)s::bigint[] is null or m.id = any(%(meters)s))
   and not exists (select from meters_level l where l.meter_id = m.id and l.kind = 'relay' and l.wanted = 'open')
   and not exists (select from billing_interruption b where b.meter_id = m.id and b.state not in ('over', 'void'))
 order by m.id
on conflict do nothing
"""

# Plan: what stands, by its partial index; meter, level, installation and top-ups of each by index. Only those that move
# are locked, so that a thousand homes in the dark hold up nobody whose light is coming.
_TO_FOLLOW = """
select b.id
  from billing_interruption b
  join meters_meter m on m.id = b.meter_id
  left join meters_level l on l.meter_id = b.meter_id and l.kind = 'relay'
  left join billing_supplypolicy y on y.property_id = b.property_id
 where b.state not in ('over', 'void') and (
       not exists (select from meters_installation i
                    where i.meter_id = b.meter_id and i.room_id = b.room_id and i.ends_at is null)
    or (b.cause = 'meter' and (m.relay <> 'open' or l.wanted = 'open' or exists (
           select from meters_topup u
            where u.meter_id = b.meter_id and u.state <> 'cancelled'
              and (u.landed_at is null or u.landed_at >= b.off_at))))
    or (b.cause <> 'meter' and (
           l.id is null
        or (l.wanted = 'open' and (b.state = 'restoring' or (b.state = 'ordered' and l.agreed_at is not null)))
        or (l.wanted <> 'open' and (
               b.state = 'off' or l.agreed_at is not null
            or (b.state = 'ordered' and (l.reported = 'open' or exists (
                   select from meters_command c
                    where c.meter_id = b.meter_id and c.kind = 'relay' and c.value = 'open' and c.state = 'done'
                      and c.answered_at >= b.ordered_at)))))))
    or (b.state = 'restoring'
        and b.restore_ordered_at + coalesce(y.restore_limit_s, %(limit_s)s) * interval '1 second' < %(now)s
        and not exists (select from notifications_workitem n
                         where n.key = %(slow)s || ':' || b.meter_id and n.state = 'open')))
 order by (b.state = 'restoring') desc, b.id
 limit %(limit)s
"""


def sweep(*, now: datetime, limit: int = 1000) -> int:
    """Follows every relay that we hold open or are closing again. Returns how many rows moved on."""
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN, {"now": now, "meters": None})
        cursor.execute(_TO_FOLLOW, {"now": now, "limit_s": LIMIT_S, "slow": SLOW, "limit": limit})
        due = [pk for (pk,) in cursor.fetchall()]
    return sum(_follow(pk, now) for pk in due)


def sweep_own(*, now: datetime) -> int:
    """Notes the meters that went off by money of their own and that no gateway told of. Returns how many."""
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN_BY_ITSELF, {"now": now, "meters": None})
        return int(cursor.rowcount)


def order(*, meter_ids: Iterable[int], now: datetime) -> None:
    """Notes that their relays are wanted open from now on, in the transaction that wishes so: who pays before anybody
    has looked was in the dark all the same."""
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN, {"now": now, "meters": sorted(set(meter_ids))})


def follow(*, meter_ids: Iterable[int], now: datetime) -> int:
    """As the sweeps do, for these meters at once: their relays have just answered, or moved."""
    meters = sorted(set(meter_ids))
    order(meter_ids=meters, now=now)
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN_BY_ITSELF, {"now": now, "meters": meters})
    standing = Interruption.objects.filter(state__in=STANDING, meter__in=meters).order_by("pk")
    return sum(_follow(pk, now) for pk in standing.values_list("pk", flat=True))


def _follow(pk: int, now: datetime) -> bool:
    """One step, or several, of one interruption; whoever comes second finds nothing to do."""
    with transaction.atomic():
        row = Interruption.objects.select_for_update().filter(pk=pk, state__in=STANDING).first()
        if row is None:
            return False
        before = _step(row)
        hung = Installation.objects.filter(meter=row.meter_id, room=row.room_id)
        level = Level.objects.filter(meter=row.meter_id, kind=Level.Kind.RELAY).first()
        if not hung.filter(ends_at=None).exists():
            _taken_down(row, hung.aggregate(at=Max("ends_at"))["at"] or now)
        elif row.cause == BY_ITSELF:
            _by_itself(row, level)
        elif level is None:
            _move(row, State.VOID if row.state == State.ORDERED else State.OVER)
        elif level.wanted == Relay.OPEN:
            _still_off(row, level)
        else:
            _coming_back(row, level)
        if has_moved := _step(row) != before:
            row.save()
        _list(row, now)
    return has_moved


def _step(row: Interruption) -> tuple[str, str, datetime | None]:
    return row.state, row.cause, row.restore_ordered_at


def _taken_down(row: Interruption, at: datetime) -> None:
    """The meter hangs there no more: whoever is in the dark now, it is not by this one."""
    if row.state == State.ORDERED:
        _move(row, State.VOID)
        return
    _move(row, State.OVER)
    row.restore_ordered_at, row.on_at = None, max(at, row.off_at or at)


def _by_itself(row: Interruption, level: Level | None) -> None:
    """A meter that goes by money of its own comes back when a top-up has lifted it above nothing."""
    if level is not None and level.wanted == Relay.OPEN:
        _wait_no_more(row)
        row.cause = level.reason[:16]  # ours to bring back now
        return
    paid_at = _paid_at(row)
    if row.meter.relay != Relay.OPEN:
        at = row.meter.reported_at or row.ordered_at
        _move(row, State.OVER)
        row.restore_ordered_at, row.on_at = paid_at, max(at, paid_at or at)
        row.seconds = (row.on_at - paid_at).total_seconds() if paid_at else None
    elif paid_at is None:
        _wait_no_more(row)
    else:
        if row.state == State.OFF:
            _move(row, State.RESTORING)
        row.restore_ordered_at = paid_at


def _paid_at(row: Interruption) -> datetime | None:
    """Since when the newest top-up is on its way that may bring it back: one that has landed and left the meter without
    money did not."""
    since_at = row.off_at or row.ordered_at
    theirs = TopUp.objects.exclude(state=TopUp.State.CANCELLED).filter(meter=row.meter_id)
    newest = theirs.filter(Q(landed_at=None) | Q(landed_at__gte=since_at)).order_by("-pk").first()
    if newest is None:
        return None
    is_in_vain = newest.landed_at is not None and row.meter.relay == Relay.OPEN and (row.meter.balance_fen or 0) <= 0
    return None if is_in_vain else max(newest.queued_at, since_at)


def _wait_no_more(row: Interruption) -> None:
    if row.state == State.RESTORING:
        _move(row, State.OFF)
        row.restore_ordered_at = None


def _still_off(row: Interruption, level: Level) -> None:
    _wait_no_more(row)
    if row.state == State.ORDERED and level.agreed_at is not None:
        _move(row, State.OFF)
        row.off_at = level.agreed_at


def _coming_back(row: Interruption, level: Level) -> None:
    if row.state == State.ORDERED:
        row.off_at = _went_off_at(row, level)
        if row.off_at is not None:
            _move(row, State.OFF)
        elif level.agreed_at is not None and level.reported == Relay.CLOSED:
            _move(row, State.VOID)  # paid before the meter had switched off, as far as anybody can tell
    if row.state == State.OFF:
        _move(row, State.RESTORING)
        row.restore_ordered_at = max(level.wanted_at, row.off_at or level.wanted_at)
    if row.state == State.RESTORING and level.agreed_at is not None and row.restore_ordered_at is not None:
        _move(row, State.OVER)
        row.on_at = max(level.agreed_at, row.restore_ordered_at)
        row.seconds = (row.on_at - row.restore_ordered_at).total_seconds()


def _went_off_at(row: Interruption, level: Level) -> datetime | None:
    """Since when the meter was off, although it is wanted closed by now: it says so, or has answered so in between.

    Plan: the commands of one meter, by index.
    """
    if level.reported == Relay.OPEN:
        return level.reported_at
    obeyed = Command.objects.filter(
        meter=row.meter_id,
        kind=Command.Kind.RELAY,
        value=Relay.OPEN,
        state=Command.State.DONE,
        answered_at__gte=row.ordered_at,
    )
    return obeyed.order_by("answered_at").values_list("answered_at", flat=True).first()


def _move(row: Interruption, to: str) -> None:
    if to not in MOVES[row.state]:
        raise ValueError(f"an interruption that is {row.state} does not become {to}")
    row.state = to


# ---- what takes long ----


def _list(row: Interruption, now: datetime) -> None:
    key = f"{SLOW}:{row.meter_id}"
    if row.state in (State.OVER, State.OFF):
        took = f"{row.seconds:.0f} s" if row.seconds is not None else _("It is not waited for any more.")
        worklist.resolve(key=key, by=None, resolution=took, now=now)
    elif row.state == State.RESTORING and row.restore_ordered_at is not None:
        waited = now - row.restore_ordered_at
        if waited > timedelta(seconds=_limit_s(row.property_id)):
            about: dict[str, Any] = {"meter": row.meter.serial, "since": row.restore_ordered_at.isoformat()}
            worklist.raise_item(key=key, kind=SLOW, property_id=row.property_id, detail=about, trace="", now=now)


def _limit_s(property_id: int) -> int:
    laid_down = SupplyPolicy.objects.filter(property=property_id).values_list("restore_limit_s", flat=True).first()
    return LIMIT_S if laid_down is None else laid_down


# ---- figures ----


@dataclass(frozen=True, slots=True)
class Clock:
    """How fast power came back: how often, the median, what 99 of 100 waited at most, and the mean, in seconds."""

    times: int
    median_s: float | None
    p99_s: float | None
    mean_s: float | None


# Plan: the interruptions of a property that ended within the time. What staff held off is none that a payment ends.
_PERCENTILES = """
select percentile_cont(0.5) within group (order by seconds), percentile_cont(0.99) within group (order by seconds)
  from billing_interruption
 where property_id = %s and on_at >= %s and on_at < %s and state = 'over' and cause = any(%s)
"""


def clock(*, property_id: int, from_at: datetime, to_at: datetime) -> Clock:
    """The restore clock of a property over a time, from payment to light."""
    over = Interruption.objects.filter(property=property_id, state=State.OVER, on_at__gte=from_at, on_at__lt=to_at)
    sums = over.filter(cause__in=FOR_MONEY).aggregate(times=Count("seconds"), mean=Avg("seconds"))
    with connection.cursor() as cursor:
        cursor.execute(_PERCENTILES, [property_id, from_at, to_at, FOR_MONEY])
        median_s, p99_s = cursor.fetchone()
    return Clock(sums["times"], median_s, p99_s, sums["mean"])
