"""What a fair cut needs and is known to be down: a payment provider, the broker, a property's meters. While one stands,
and for a quarter of an hour after, nobody concerned is cut (`stands`).

Rows, one a thing while it is down. Those who know note it: payments of its providers, a round of its own looks for the
broker and the telemetry.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from django.core.cache import cache
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from billing.models import Outage
from notifications import worklist

DOWN: Final = "outage"  # a kind of work item
GATEWAY: Final = "gateway-is-connected"
MISSED: Final = "gateway-is-missed"  # since when
AFTERWARDS: Final = timedelta(minutes=15)  # what was late comes in then: callbacks, readings
SILENT_FOR: Final = timedelta(seconds=90)  # gateways say every half minute that they are connected
SILENT_PERCENT: Final = 30
METERS_AT_LEAST: Final = 3  # fewer are a meter's own trouble

# Plan: one pass over the meters that hang, every half minute.
_SILENT = """
select m.property_id,
       count(*) filter (where m.last_seen_at < %(now)s - make_interval(secs => coalesce(y.fresh_for_s, 7200))),
       count(*)
  from meters_meter m
  join meters_installation i on i.meter_id = m.id and i.ends_at is null
  left join billing_supplypolicy y on y.property_id = m.property_id
 where m.last_seen_at > %(now)s - interval '1 day'
 group by m.property_id
"""


def note(*, kind: str, ref: str, property_id: int | None, is_down: bool, detail: str, now: datetime) -> bool:
    """Says that something is down, or is not. True when that is new. Again it is an answer."""
    standing = Outage.objects.filter(kind=kind, ref=ref, ended_at=None)
    with transaction.atomic():
        if not is_down:
            ended = standing.update(ended_at=now, seen_at=now)
            if ended:
                worklist.resolve(key=_key(kind, ref), by=None, resolution="it is back", now=now)
            return ended > 0
        if standing.update(seen_at=now):
            return False
        Outage.objects.bulk_create(
            [Outage(kind=kind, ref=ref, property_id=property_id, began_at=now, seen_at=now, detail=detail[:200])],
            ignore_conflicts=True,
        )
        about: dict[str, Any] = {"of": kind, "ref": ref, "since": now.isoformat(), "why": detail[:200]}
        worklist.raise_item(key=_key(kind, ref), kind=DOWN, property_id=property_id, detail=about, trace="", now=now)
    return True


def _key(kind: str, ref: str) -> str:
    return f"{DOWN}:{kind}:{ref}"


def stands(*, property_id: int, now: datetime) -> bool:
    """Whether nobody of this property may be cut for its sake; also for a while after it has ended."""
    theirs = Outage.objects.filter(Q(property=None) | Q(property=property_id))
    return theirs.filter(Q(ended_at=None) | Q(ended_at__gt=now - AFTERWARDS)).exists()


def gateway_is_connected(*, now: datetime) -> None:
    """What a gateway says of itself while it is connected to the broker."""
    cache.set(GATEWAY, now.isoformat(), timeout=None)


def look(*, now: datetime) -> None:
    """The round: whether any gateway is connected, and whether a property's meters have fallen silent together."""
    said = cache.get(GATEWAY)
    detail = f"no gateway is connected since {said or 'ever'}"
    is_down = _is_missed(said)
    note(kind=Outage.Kind.BROKER, ref="gateways", property_id=None, is_down=is_down, detail=detail, now=now)
    look_at_telemetry(now=now)


def _is_missed(said: str | None) -> bool:
    """Missed twice, a minute and a half apart: when everything is started at once, a gateway may come after us."""
    now = timezone.now()
    if said is not None and now - datetime.fromisoformat(said) <= SILENT_FOR:
        cache.delete(MISSED)
        return False
    cache.add(MISSED, now.isoformat(), timeout=None)
    return now - datetime.fromisoformat(cache.get(MISSED, now.isoformat())) > SILENT_FOR


def look_at_telemetry(*, now: datetime) -> int:
    """A property is dark where a good part of the meters that told something within a day are silent. How many are."""
    with connection.cursor() as cursor:
        cursor.execute(_SILENT, {"now": now})
        found = cursor.fetchall()
    dark = {place: (silent, all_) for place, silent, all_ in found if _is_dark(silent, all_)}
    for place, (silent, all_) in dark.items():
        detail = f"{silent} of {all_} meters are silent"
        note(kind=Outage.Kind.TELEMETRY, ref=str(place), property_id=place, is_down=True, detail=detail, now=now)
    standing = Outage.objects.filter(kind=Outage.Kind.TELEMETRY, ended_at=None)
    # A whole day of silence leaves nobody who was heard within it: that is no recovery.
    heard = {place for place, _silent, _all in found}
    for outage in standing.exclude(property__in=dark).filter(property__in=heard):
        note(kind=outage.kind, ref=outage.ref, property_id=outage.property_id, is_down=False, detail="", now=now)
    return len(dark)


def _is_dark(silent: int, all_: int) -> bool:
    return all_ >= METERS_AT_LEAST and silent * 100 > all_ * SILENT_PERCENT
