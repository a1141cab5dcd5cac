"""Power that we switched off: since when, and how long it took to come back. The restore clock.

Everything follows from the relay's level, a row: what is wanted of it since when, and when the meter agreed. A sweep
looks at what is off, and a gateway at once when a relay answers; both may do it at the same time. `seconds` counts from
the wish to restore (the payment's own transaction) to the relay that reported itself closed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Avg, Count

from billing.models import Interruption, SupplyPolicy
from meters.models import Command, Level, Relay
from notifications import worklist

SLOW: Final = "slow_restore"  # a kind of work item
LIMIT_S: Final = 60  # where a property has laid nothing down
State = Interruption.State
STANDING: Final = (State.ORDERED, State.OFF, State.RESTORING)
MOVES: Final[dict[str, frozenset[str]]] = {
    State.ORDERED: frozenset({State.OFF, State.VOID}),
    State.OFF: frozenset({State.RESTORING}),
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


def sweep(*, now: datetime, limit: int = 1000) -> int:
    """Follows every relay that we hold open or are closing again. Returns how many rows moved on."""
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN, {"now": now, "meters": None})
    standing = Interruption.objects.filter(state__in=STANDING).order_by("pk").values_list("pk", flat=True)
    return sum(_follow(pk, now) for pk in list(standing[:limit]))


def order(*, meter_ids: Iterable[int], now: datetime) -> None:
    """Notes that their relays are wanted open from now on, in the transaction that wishes so: who pays before anybody
    has looked was in the dark all the same."""
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN, {"now": now, "meters": sorted(set(meter_ids))})


def follow(*, meter_ids: Iterable[int], now: datetime) -> int:
    """As the sweep does, for these meters at once: their relays have just answered."""
    meters = sorted(set(meter_ids))
    order(meter_ids=meters, now=now)
    standing = Interruption.objects.filter(state__in=STANDING, meter__in=meters).order_by("pk")
    return sum(_follow(pk, now) for pk in standing.values_list("pk", flat=True))


def _follow(pk: int, now: datetime) -> bool:
    """One step, or several, of one interruption; whoever comes second finds nothing to do."""
    with transaction.atomic():
        row = Interruption.objects.select_for_update().filter(pk=pk, state__in=STANDING).first()
        if row is None:
            return False
        level = Level.objects.filter(meter=row.meter_id, kind=Level.Kind.RELAY).first()
        before = row.state
        if level is None:
            _move(row, State.OVER if row.state == State.RESTORING else _ended(row))
        elif level.wanted == Relay.OPEN:
            _still_off(row, level)
        else:
            _coming_back(row, level)
        if row.state != before:
            row.save()
        _list(row, now)
    return row.state != before


def _ended(row: Interruption) -> str:
    """A meter that has no relay level any more, or was never switched off."""
    return State.VOID if row.state == State.ORDERED else State.RESTORING


def _still_off(row: Interruption, level: Level) -> None:
    if row.state == State.RESTORING:
        _move(row, State.OFF)
        row.restore_ordered_at = None
    elif row.state == State.ORDERED and level.agreed_at is not None:
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
    if row.state == State.OVER:
        worklist.resolve(key=key, by=None, resolution=f"{row.seconds:.0f} s", now=now)
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


# Plan: the interruptions of a property that ended within the time.
_PERCENTILES = """
select percentile_cont(0.5) within group (order by seconds), percentile_cont(0.99) within group (order by seconds)
  from billing_interruption
 where property_id = %s and on_at >= %s and on_at < %s and state = 'over'
"""


def clock(*, property_id: int, from_at: datetime, to_at: datetime) -> Clock:
    """The restore clock of a property over a time."""
    over = Interruption.objects.filter(property=property_id, state=State.OVER, on_at__gte=from_at, on_at__lt=to_at)
    sums = over.aggregate(times=Count("pk"), mean=Avg("seconds"))
    with connection.cursor() as cursor:
        cursor.execute(_PERCENTILES, [property_id, from_at, to_at])
        median_s, p99_s = cursor.fetchone()
    return Clock(sums["times"], median_s, p99_s, sums["mean"])
