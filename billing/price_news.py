"""Homes are told of other prices some days before they hold, once, and also when they do not come after all.

What is announced stands in rows (PriceChange); a round compares them with the tariffs in force for the days ahead, home
by home, in batches. Two rounds at once write each row once; a tariff that changes meanwhile is seen by the next round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from billing import tariffs
from billing.models import PriceChange, PriceSlot, SupplyPolicy, TariffVersion
from billing.tariff import units
from billing.tariff.civil import civil_date, instant
from notifications import languages, outbox
from notifications.outbox import Left

KIND: Final = "price_change"  # of a message
DAY: Final = timedelta(days=1)
A_BATCH: Final = 500  # homes

# Plan: what begins or ends in the days ahead is little; assignments and versions are few a property.
_CONCERNED = """
with place as (
    select p.id, %(today)s + coalesce(y.price_notice_days, %(days)s) as until_date
      from accounts_property p
      left join billing_supplypolicy y on y.property_id = p.id
)
select id from place
 where exists (select from billing_tariffassignment a
                where a.property_id = place.id and (a.starts_date > %(today)s and a.starts_date <= until_date
                                                    or a.ends_date > %(today)s and a.ends_date <= until_date))
    or exists (select from billing_tariffversion v
                 join billing_tariff t on t.id = v.tariff_id and t.property_id = place.id
                where v.state = 'published' and v.starts_date > %(today)s and v.starts_date <= until_date)
    or exists (select from billing_pricechange c
                 join billing_purse u on u.id = c.purse_id and u.property_id = place.id
                where c.withdrawn_at is null and c.starts_date > %(today)s)
 order by id
"""
# Plan: the property's open tenancies, their purses and installations by index.
_HOMES = """
select p.id, p.tenancy_id, t.ends_at, array_agg(i.id order by i.id)
  from accounts_tenancy t
  join billing_purse p on p.tenancy_id = t.id
  join meters_installation i on i.room_id = t.room_id and i.ends_at is null
 where t.property_id = %(place)s and t.starts_at <= %(now)s and (t.ends_at is null or t.ends_at > %(now)s)
   and p.id > %(after)s
 group by p.id, t.id
 order by p.id
 limit %(limit)s
"""
_TELL = """
insert into billing_pricechange (purse_id, starts_date, version_id, told_at)
select purse, starts, version, %s from unnest(%s::bigint[], %s::date[], %s::bigint[]) as c(purse, starts, version)
on conflict do nothing
returning id, purse_id, starts_date, version_id
"""
_WITHDRAW = """
update billing_pricechange set withdrawn_at = %s where id = any(%s) and withdrawn_at is null
returning id, purse_id, starts_date
"""


@dataclass(frozen=True, slots=True)
class _Home:
    purse_id: int
    tenancy_id: int
    ends_at: datetime | None
    installation_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """A property, today, the last day of which other prices are announced now, and the last that was announced."""

    property_id: int
    today: date
    until_date: date
    told_until: date


def announce(*, now: datetime) -> int:
    """The round: announces what changes in the days ahead, and takes back what does not. Returns how many homes' news.

    A batch of homes a transaction; whoever dies in between leaves the rest to the next round.
    """
    today, usual = civil_date(now), SupplyPolicy().price_notice_days
    with connection.cursor() as cursor:
        cursor.execute(_CONCERNED, {"today": today, "days": usual})
        places = [place for (place,) in cursor.fetchall()]
    days = dict(SupplyPolicy.objects.filter(property__in=places).values_list("property_id", "price_notice_days"))
    return sum(_announce_in(_place(one, today, days.get(one, usual)), now) for one in places)


def _place(property_id: int, today: date, days: int) -> _Place:
    standing = PriceChange.objects.filter(purse__property=property_id, withdrawn_at=None, starts_date__gt=today)
    until_date = today + days * DAY
    told_until = standing.aggregate(last=Max("starts_date"))["last"] or until_date
    return _Place(property_id, today, until_date, max(told_until, until_date))


def _announce_in(place: _Place, now: datetime) -> int:
    described, after, news = cache(_described), 0, 0
    while homes := _homes(place, after, now):
        with transaction.atomic():
            news += _announce_to(homes, place, described, now)
        after = homes[-1].purse_id
    return news


def _homes(place: _Place, after: int, now: datetime) -> list[_Home]:
    about: dict[str, Any] = {"place": place.property_id, "now": now, "after": after, "limit": A_BATCH}
    with connection.cursor() as cursor:
        cursor.execute(_HOMES, about)
        return [_Home(purse, tenancy, ends_at, tuple(ids)) for purse, tenancy, ends_at, ids in cursor.fetchall()]


_Change = tuple[int, date, int]  # purse, first day, version
_Described = Callable[[int, date], Mapping[str, Any]]


def _announce_to(homes: Sequence[_Home], place: _Place, described: _Described, now: datetime) -> int:
    expected, in_force = _expected(homes, place)
    rows = PriceChange.objects.filter(
        purse__in=[home.purse_id for home in homes], withdrawn_at=None, starts_date__gt=place.today
    )
    standing: dict[_Change, int] = {(row.purse_id, row.starts_date, row.version_id): row.pk for row in rows}
    gone = _withdrawn([standing[change] for change in standing.keys() - expected], now)
    told = _told([one for one in sorted(expected - standing.keys()) if one[1] <= place.until_date], now)
    coming = {(purse_id, on) for purse_id, on, _version in expected}
    by_purse = {home.purse_id: home for home in homes}
    left = [_left(pk, by_purse[purse], on, version, described) for pk, purse, on, version in told]
    for pk, purse, on in gone:
        was_told = not outbox.withdraw(key=f"{KIND}:{pk}", now=now)
        version_id = in_force.get((purse, on))
        if was_told and version_id is not None and (purse, on) not in coming:
            left.append(_left(pk, by_purse[purse], on, version_id, described, suffix=":back"))
    outbox.leave_all(kind=KIND, property_id=place.property_id, messages=left, now=now)
    return len(told) + len(gone)


def _left(pk: int, home: _Home, on: date, version_id: int, described: _Described, *, suffix: str = "") -> Left:
    context = {"starts_on": on.isoformat(), "is_taken_back": bool(suffix), **described(version_id, on)}
    return Left(key=f"{KIND}:{pk}{suffix}", tenancy_id=home.tenancy_id, context=context)


def _expected(homes: Sequence[_Home], place: _Place) -> tuple[set[_Change], dict[tuple[int, date], int]]:
    """What changes for each home from tomorrow on, and which version holds on each such or announced day."""
    every = [pk for home in homes for pk in home.installation_ids]
    spans = tariffs.in_force(installation_ids=every, from_date=place.today, to_date=place.told_until + DAY)
    definitions = _definitions({span.version_id for each in spans.values() for span in each if span.version_id})
    expected: set[_Change] = set()
    in_force: dict[tuple[int, date], int] = {}
    for home in homes:
        for pk in home.installation_ids:
            expected |= {(home.purse_id, *change) for change in _changes(spans[pk], definitions, home)}
            in_force |= {(home.purse_id, on): version for on, version in _by_day(spans[pk], place)}
    return expected, in_force


def _changes(
    spans: Sequence[tariffs.Span], definitions: Mapping[int, object], home: _Home
) -> Iterable[tuple[date, int]]:
    """A version that says the same as the one before it changes nothing; nor does one for who has moved out by then."""
    for before, span in pairwise(spans):
        had = definitions.get(before.version_id) if before.version_id else None
        is_theirs = home.ends_at is None or home.ends_at > instant(span.from_date)
        if span.version_id is not None and is_theirs and definitions[span.version_id] != had:
            yield span.from_date, span.version_id


def _by_day(spans: Sequence[tariffs.Span], place: _Place) -> Iterable[tuple[date, int]]:
    for n in range((place.told_until - place.today).days + 1):
        on = place.today + n * DAY
        version_id = next((span.version_id for span in reversed(spans) if span.from_date <= on), None)
        if version_id is not None:
            yield on, version_id


def _definitions(version_ids: set[int]) -> dict[int, object]:
    return dict(TariffVersion.objects.filter(pk__in=version_ids).values_list("pk", "definition"))


def _told(changes: Sequence[_Change], now: datetime) -> list[tuple[int, int, date, int]]:
    """Those of them that nobody else has told meanwhile."""
    if not changes:
        return []
    purses, days, versions = zip(*changes, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(_TELL, [now, list(purses), list(days), list(versions)])
        return sorted(cursor.fetchall())


def _withdrawn(pks: Sequence[int], now: datetime) -> list[tuple[int, int, date]]:
    if not pks:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_WITHDRAW, [now, sorted(pks)])
        return sorted(cursor.fetchall())


def _described(version_id: int, on: date) -> dict[str, Any]:
    """The tariff's name, and the lowest and highest price of that day with the fee in it; of tiers, all of them."""
    version = TariffVersion.objects.select_related("tariff").get(pk=version_id)
    slots = PriceSlot.objects.filter(version=version, usage_date=on).values_list("prices", "fee")
    prices = [price + fee for row, fee in slots for price in row]
    about: dict[str, Any] = {"tariff": version.tariff.name, "version": version_id}
    if not prices:
        return about | {"prices": languages.in_each(lambda: "")}
    low, high = min(prices), max(prices)
    return about | {
        "prices": languages.in_each(lambda: _in_words(low, high)),
        "lowest_micro_fen": low,
        "highest_micro_fen": high,
    }


def _in_words(low: int, high: int) -> str:
    if low == high:
        return _("%(price)s yuan per kWh") % {"price": units.yuan(low)}
    return _("%(low)s to %(high)s yuan per kWh") % {"low": units.yuan(low), "high": units.yuan(high)}
