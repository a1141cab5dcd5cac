"""Tariffs are published, replaced and withdrawn here; and here is said which version holds where on which day.

A version holds from its first midnight until the next published one of its tariff begins. Whatever of it concerns time
that has passed goes through the backlog: days are rated anew, and what was charged is adjusted.
Lock order: the tariff, its versions, the backlog.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from accounts.models import User
from billing import backlog, markups, slots
from billing.markups import Above, MarkUpRefused
from billing.models import MarkUp, TariffAssignment, TariffVersion, UsageDay
from billing.models import Tariff as NamedTariff
from billing.tariff import parse
from billing.tariff.civil import civil_date, instant
from billing.tariff.errors import DefinitionError
from billing.tariff.version import Tariff
from billing.tariff_words import wrong
from meters.models import Installation

State = TariffVersion.State
_Place = tuple[str, int]
_PATHS: Final = {"meter": "meter", "room": "room", "building": "room__building", "property": "property"}

MOVES: Final[dict[str, frozenset[str]]] = {
    State.DRAFT: frozenset({State.PUBLISHED}),
    State.PUBLISHED: frozenset({State.REPLACED, State.WITHDRAWN}),
    State.REPLACED: frozenset(),
    State.WITHDRAWN: frozenset(),
}


class TariffRefused(Exception):
    """It cannot be done as asked; nothing was changed. The text is for the person who asked."""


class DefinitionRefused(TariffRefused):
    """The definition cannot be a tariff; the text begins with the place in it."""


def read(version: TariffVersion) -> Tariff:
    """The prices of a version, for `billing.tariff`. Raises DefinitionRefused."""
    try:
        return parse.tariff(version.definition)
    except DefinitionError as error:
        raise DefinitionRefused(wrong(error)) from error


def publish(*, version_id: int, by: User | None, reason: str, now: datetime, mark_up: str = "") -> TariffVersion:
    """From its first day on, the draft's prices hold where its tariff is assigned.

    `mark_up` is the reason for charging more than the property itself pays; it is kept with what exceeds. A draft that
    replaces a version takes its place from the same day on, and what was charged is adjusted. Raises
    DefinitionRefused, MarkUpRefused, or TariffRefused for what is no draft, for a day that has prices already, and for
    prices that would change the past without replacing the version that holds there.
    """
    with transaction.atomic():
        version = _locked(version_id)
        _refuse_days_taken(version, now)
        found = above(version)
        if not mark_up.strip():
            markups.refuse(found)
        if version.replaces:
            _move(version.replaces, State.REPLACED)
        version.reason, version.published_at, version.published_by = reason.strip(), now, by
        _move(version, State.PUBLISHED)
        if found:
            _allow(version, found, reason=mark_up.strip(), by=by, now=now)
        _take_effect(version, now=now)
    return version


def withdraw(*, version_id: int, by: User | None, reason: str, now: datetime) -> TariffVersion:
    """The version no longer holds, and the one before it does. Raises TariffRefused once a day was charged by it."""
    with transaction.atomic():
        version = _locked(version_id)
        if is_charged(version):
            raise TariffRefused(_("Days have been charged by this version. Publish one that replaces it."))
        version.reason = f"{version.reason} / {by or ''} {reason}".strip()[:255]
        _move(version, State.WITHDRAWN)
        _take_effect(version, now=now)
    return version


def is_charged(version: TariffVersion) -> bool:
    """Whether a closed day names it. Plan: days_of_a_property, in the months since it began."""
    days = UsageDay.objects.filter(property=version.tariff.property_id, usage_date__gte=version.starts_date)
    return days.filter(lines__contains=[{"version": version.pk}]).exists()


def _locked(version_id: int) -> TariffVersion:
    """The version, under its tariff's lock: versions of one tariff are published one after the other."""
    tariff_id = TariffVersion.objects.values_list("tariff_id", flat=True).get(pk=version_id)
    NamedTariff.objects.select_for_update(no_key=True).get(pk=tariff_id)
    rows = TariffVersion.objects.select_related("tariff", "replaces").select_for_update(no_key=True, of=("self",))
    return rows.get(pk=version_id)


def _move(version: TariffVersion, to: str) -> None:
    """The guarded step from one state to the next. Raises TariffRefused and changes nothing when there is none."""
    is_legal = to in MOVES[version.state]
    fields = {name: getattr(version, name) for name in ("reason", "published_at", "published_by")}
    rows = TariffVersion.objects.filter(pk=version.pk, state=version.state)
    if not is_legal or rows.update(state=to, **fields) != 1:
        raise TariffRefused(_("A version that is %(state)s cannot become %(to)s.") % _states(version.state, to))
    version.state = to


def _states(state: str, to: str) -> dict[str, str]:
    return {"state": str(State(state).label), "to": str(State(to).label)}


def _refuse_days_taken(version: TariffVersion, now: datetime) -> None:
    others = TariffVersion.objects.filter(tariff=version.tariff_id, state=State.PUBLISHED)
    if version.replaces:
        if version.replaces.tariff_id != version.tariff_id or version.replaces.starts_date != version.starts_date:
            raise TariffRefused(_("It can only replace a version of the same tariff that begins on the same day."))
        return
    if others.filter(starts_date=version.starts_date).exists():
        raise TariffRefused(_("Another version begins on this day. Say that this one replaces it."))
    if version.starts_date < civil_date(now) and others.filter(starts_date__lt=version.starts_date).exists():
        raise TariffRefused(_("Prices held then. Begin today or later, or replace the version that held."))


def above(version: TariffVersion) -> list[Above]:
    """Where it costs tenants more than the property pays. Raises DefinitionRefused."""
    return markups.above(
        tariff=read(version),
        property_id=version.tariff.property_id,
        starts_date=version.starts_date,
        ends_date=ends_date(version),
    )


def ends_date(version: TariffVersion) -> date | None:
    """The day on which the next published version of its tariff begins."""
    rows = TariffVersion.objects.filter(tariff=version.tariff_id, state=State.PUBLISHED)
    later = rows.filter(starts_date__gt=version.starts_date).order_by("starts_date")
    return later.values_list("starts_date", flat=True).first()


def _allow(version: TariffVersion, found: list[Above], *, reason: str, by: User | None, now: datetime) -> None:
    if by is None:
        raise MarkUpRefused(_("Somebody has to answer for a mark-up."))
    excess = [each.kept() for each in found]
    MarkUp.objects.create(version=version, excess=excess, reason=reason[:255], approved_by=by, approved_at=now)


def _take_effect(version: TariffVersion, *, now: datetime) -> None:
    """Lays the tariff out anew, and has everybody under it rated anew from where the version begins, or from now on."""
    slots.lay_out(tariff_id=version.tariff_id, now=now)
    backlog.leave(
        installation_ids=under(tariff_id=version.tariff_id, since=version.starts_date),
        from_at=min(instant(version.starts_date), now),
        reason="repriced",
        now=now,
    )


def under(*, tariff_id: int, since: date) -> list[int]:
    """Installations that a tariff is assigned to on or after a day, or would be if none lay closer to them."""
    rows = TariffAssignment.objects.filter(tariff=tariff_id).filter(Q(ends_date=None) | Q(ends_date__gt=since))
    return installations_of(list(rows), since=since)


def installations_of(assignments: Iterable[TariffAssignment], *, since: date) -> list[int]:
    """Installations at the places of these assignments that hang on that day or later."""
    at: dict[str, set[int]] = {place: set() for place in _PATHS}
    for each in assignments:
        place, pk = _place(each)
        at[place].add(pk)
    there = Q()
    for place, pks in at.items():
        there |= Q(**{f"{_PATHS[place]}__in": pks})
    hanging = Q(ends_at=None) | Q(ends_at__gt=instant(since))
    return list(Installation.objects.filter(hanging, there).values_list("pk", flat=True))


@dataclass(frozen=True, slots=True)
class Span:
    """From a date until the next span begins a version holds; None: no price is known."""

    from_date: date
    version_id: int | None


def in_force(*, installation_ids: Iterable[int], from_date: date, to_date: date) -> dict[int, list[Span]]:
    """Which version holds for each installation from from_date up to, not including, to_date.

    The first span begins on from_date, the last ends with to_date, neighbours differ. The closest assignment wins:
    meter, room, building, property.
    """
    hung = Installation.objects.filter(pk__in=list(installation_ids))
    places = list(hung.values_list("pk", "property_id", "room__building_id", "room_id", "meter_id"))
    assignments = _assignments(places, from_date, to_date)
    starts = _starts({each.tariff_id for each in assignments}, to_date)
    by_place: dict[_Place, list[TariffAssignment]] = {}
    for each in assignments:
        by_place.setdefault(_place(each), []).append(each)
    resolved: dict[tuple[int, ...], list[Span]] = {}
    spans: dict[int, list[Span]] = {}
    for pk, property_id, building_id, room_id, meter_id in places:
        keys: list[_Place] = [
            ("meter", meter_id),
            ("room", room_id),
            ("building", building_id),
            ("property", property_id),
        ]
        layers = [by_place[key] for key in keys if key in by_place]
        known = tuple(each.pk for layer in layers for each in layer)
        if known not in resolved:
            resolved[known] = _spans(layers, starts, from_date, to_date)
        spans[pk] = resolved[known]
    return spans


def _place(each: TariffAssignment) -> _Place:
    if each.meter_id:
        return "meter", each.meter_id
    if each.room_id:
        return "room", each.room_id
    return ("building", each.building_id) if each.building_id else ("property", each.property_id)


def _assignments(
    places: Iterable[tuple[int, int, int, int, int]], from_date: date, to_date: date
) -> list[TariffAssignment]:
    """Those of the places themselves, and no others': a property may have one for every room."""
    columns = list(zip(*places, strict=True))
    if not columns:
        return []
    _pks, properties, buildings, rooms, meters = (set(column) for column in columns)
    rows = TariffAssignment.objects.filter(property__in=properties, starts_date__lt=to_date)
    return list(
        rows.filter(Q(ends_date=None) | Q(ends_date__gt=from_date)).filter(
            Q(building=None, room=None, meter=None)
            | Q(building__in=buildings)
            | Q(room__in=rooms)
            | Q(meter__in=meters)
        )
    )


def _starts(tariff_ids: set[int], to_date: date) -> dict[int, list[tuple[date, int]]]:
    """Published versions by tariff: when each begins, in order."""
    rows = TariffVersion.objects.filter(tariff__in=tariff_ids, state=State.PUBLISHED, starts_date__lt=to_date)
    starts: dict[int, list[tuple[date, int]]] = {}
    for tariff_id, starts_date, pk in rows.order_by("starts_date").values_list("tariff_id", "starts_date", "pk"):
        starts.setdefault(tariff_id, []).append((starts_date, pk))
    return starts


def _spans(
    layers: list[list[TariffAssignment]],
    starts: dict[int, list[tuple[date, int]]],
    from_date: date,
    to_date: date,
) -> list[Span]:
    """`layers` are assignments, the closest place first."""
    edges = {from_date}
    for each in (each for layer in layers for each in layer):
        edges |= {each.starts_date, each.ends_date or to_date, *(on for on, _pk in starts.get(each.tariff_id, ()))}
    spans: list[Span] = []
    for edge in sorted(edge for edge in edges if from_date <= edge < to_date):
        version_id = _version_on(edge, layers, starts)
        if not spans or spans[-1].version_id != version_id:
            spans.append(Span(edge, version_id))
    return spans


def _version_on(
    on: date, layers: list[list[TariffAssignment]], starts: dict[int, list[tuple[date, int]]]
) -> int | None:
    """A tariff that has no version yet on that day does not hold there, and the next place's does."""
    for layer in layers:
        for each in layer:
            if each.starts_date <= on and (each.ends_date is None or on < each.ends_date):
                begun = [pk for starts_date, pk in starts.get(each.tariff_id, ()) if starts_date <= on]
                if begun:
                    return begun[-1]
    return None
