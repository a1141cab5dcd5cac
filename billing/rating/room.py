"""A room rated anew: its meters' chains, and what its draws owe since their days were last closed. One room at a time.

The caller holds the room's purses and draws. Everything is computed from the set of readings and written absolutely, so
it does not matter in which order, how often or how late the readings came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final

from django.db.models import Sum

from billing import holidays, tariffs
from billing.models import Draw, TariffVersion, UsageDay
from billing.models import Household as People
from billing.rating import chain, counting, doubts
from billing.rating.chain import Folded, Point, Rule, Span
from billing.rating.counting import Counter, Counts, Priced, Used
from billing.tariff.civil import civil_date, instant
from billing.tariff.split import Slice, Term
from billing.tariff.tiers import NOBODY_SPECIAL, Household
from billing.tariff.version import Tariff
from meters.models import Installation, Reading

AHEAD: Final = timedelta(minutes=10)  # no clock of a stored reading is further ahead (meters/clocks.py)


class NoTariffError(Exception):
    """No version holds for an installation on a day that it used energy on."""


@dataclass(frozen=True, slots=True)
class Hanging:
    """An installation of the room: its chain, the versions that hold for it, whether a reading waits for a person."""

    installation: Installation
    start: Point
    folded: Folded
    terms: tuple[Term, ...]
    in_doubt: bool


@dataclass(frozen=True, slots=True)
class Room:
    """The draws of a room, by id, the first day that any of them has open, and who lives there how many."""

    draws: list[Draw]
    since_date: date
    people: dict[int, list[tuple[date, int]]]

    def draw_at(self, installation_id: int, at: datetime) -> Draw | None:
        """Whose energy it is that an installation lets through from an instant on."""
        for draw in self.draws:
            is_begun = draw.installation_id == installation_id and draw.starts_at <= at
            if is_begun and (draw.ends_at is None or at < draw.ends_at):
                return draw
        return None

    def household(self, draw: Draw, on: date) -> Household:
        if draw.tenancy is None:
            return NOBODY_SPECIAL
        known = [persons for starts_date, persons in self.people.get(draw.tenancy.pk, []) if starts_date <= on]
        return Household(known[-1] if known else 1, civil_date(draw.tenancy.starts_at))


@dataclass(frozen=True, slots=True)
class Rated:
    """A room with its chains, the energy of its open days with its price, and the counts of tiers after it.

    `odd`: by installation, the spans whose period registers were not believed.
    """

    room: Room
    hanging: tuple[Hanging, ...]
    priced: list[Priced]
    counts: Counts
    odd: Mapping[int, list[Span]]


def rated(draws: Sequence[Draw], *, now: datetime) -> Rated:
    """Folds and prices the open days of a room's draws, which the caller holds, and writes doubts down.

    Raises NoTariffError, and what the tariff engine raises for a version that it cannot read.
    """
    found = seen(draws, now=now)
    return replace(found, hanging=tuple(_with_doubts_written(one, now) for one in found.hanging))


def _with_doubts_written(one: Hanging, now: datetime) -> Hanging:
    written = doubts.found(installation=one.installation, after_at=one.start.at, doubts=one.folded.doubts, now=now)
    return replace(one, in_doubt=written)


def seen(draws: Sequence[Draw], *, now: datetime) -> Rated:
    """As rated, and nothing is held or written: for those who only look."""
    room = _room(draws)
    hanging = tuple(_hanging(room, now))
    counts = Counts(before=lambda used, from_date: _before(room, used, from_date))
    odd: dict[int, list[Span]] = {}
    priced = counting.price(_used(room, hanging, odd), counts)
    return Rated(room, hanging, priced, counts, odd)


def _room(draws: Sequence[Draw]) -> Room:
    open_dates = [
        draw.closed_until for draw in draws if draw.ends_at is None or instant(draw.closed_until) < draw.ends_at
    ]
    rows = People.objects.filter(tenancy__in={draw.tenancy_id for draw in draws if draw.tenancy_id})
    people: dict[int, list[tuple[date, int]]] = {}
    for tenancy_id, starts_date, persons in rows.order_by("starts_date").values_list(
        "tenancy_id", "starts_date", "persons"
    ):
        people.setdefault(tenancy_id, []).append((starts_date, persons))
    since_date = min(open_dates, default=max(draw.closed_until for draw in draws))
    return Room(list(draws), since_date, people)


# ---- chains ----


def _hanging(room: Room, now: datetime) -> Iterator[Hanging]:
    installations = Installation.objects.select_related("meter__model").order_by("pk")
    found = installations.filter(pk__in={draw.installation_id for draw in room.draws})
    in_force = tariffs.in_force(
        installation_ids=[one.pk for one in found],
        from_date=room.since_date,
        to_date=civil_date(now) + timedelta(days=400),
    )
    for installation in found:
        start = _start(room, installation)
        folded = chain.fold(
            _points(installation, start, now),
            start=start,
            rulings=doubts.rulings(installation.pk),
            rule=rule_of(installation),
        )
        in_doubt = any(one.is_open for one in folded.doubts)
        yield Hanging(installation, start, folded, _terms(room, start, folded, in_force[installation.pk]), in_doubt)


def rule_of(installation: Installation) -> Rule:
    model = installation.meter.model
    return Rule(installation.max_power_w or model.max_power_w, installation.ct_ratio, model.register_wraps_wh)


def _start(room: Room, installation: Installation) -> Point:
    """A reading that was accepted for good: where the last closed day opened, else where the meter was hung."""
    theirs = {draw.pk: draw for draw in room.draws if draw.installation_id == installation.pk}
    days = UsageDay.objects.filter(draw__in=theirs, usage_date__lt=room.since_date).order_by("-usage_date")
    for day in days.iterator(chunk_size=32):
        ends_at = theirs[day.draw_id].ends_at
        if ends_at is None or instant(day.usage_date) < ends_at:  # else it was emptied: the draw ends earlier now
            return Point(day.opens_at, day.opens_wh)
    return Point(installation.starts_at, installation.starts_wh)


def _points(installation: Installation, start: Point, now: datetime) -> list[Point]:
    """Plan: the key of the months from start on."""
    until_at = min(installation.ends_at or now + AHEAD, now + AHEAD)
    rows = Reading.objects.filter(meter=installation.meter_id, read_at__gt=start.at, read_at__lte=until_at)
    points = [
        Point(read_at, import_wh, tuple(period_wh) if period_wh else None, source)
        for read_at, import_wh, period_wh, source in rows.values_list("read_at", "import_wh", "period_wh", "source")
    ]
    if installation.ends_at and installation.ends_wh is not None and start.at < installation.ends_at <= until_at:
        points = [point for point in points if point.at != installation.ends_at]
        points.append(Point(installation.ends_at, installation.ends_wh, source=Reading.Source.STAFF))
    return points


@lru_cache(maxsize=1024)
def tariff_of(version_id: int) -> Tariff:
    """A published definition stays as it is, so it is read once."""
    return tariffs.read(TariffVersion.objects.get(pk=version_id))


def _terms(room: Room, start: Point, folded: Folded, in_force: Iterable[tariffs.Span]) -> tuple[Term, ...]:
    """Raises NoTariffError where the open days with energy have a day without a price."""
    end_date = civil_date(folded.end.at)
    terms: list[Term] = []
    for span in in_force:
        if span.version_id is not None:
            terms.append(Term(instant(span.from_date), span.version_id, tariff_of(span.version_id)))
        elif span.from_date <= end_date and folded.end.at > instant(room.since_date) and folded.spans:
            raise NoTariffError(f"no price holds from {span.from_date} on")
    if terms and start.at < terms[0].from_at:  # what lies before is closed, or begins within the first day
        terms[0] = Term(start.at, terms[0].version, terms[0].tariff)
    return tuple(terms)


# ---- prices ----


def _used(room: Room, hanging: Iterable[Hanging], odd: dict[int, list[Span]]) -> Iterator[Used]:
    """The energy of all open days, by whose it is."""
    since_at = instant(room.since_date)
    for one in hanging:
        installation = one.installation
        spans = [span for span in one.folded.spans if span.b.at > since_at]
        if not spans:
            continue
        cuts = [draw.starts_at for draw in room.draws if draw.installation_id == installation.pk]
        special_days = holidays.special_days(property_id=installation.property_id)
        theirs = odd.setdefault(installation.pk, [])
        for piece in counting.slices(
            spans, terms=one.terms, special_days=special_days, cuts=[*cuts, since_at], odd=theirs
        ):
            draw = room.draw_at(installation.pk, piece.from_at)
            if draw and piece.from_at >= since_at:
                yield _as_used(room, one, draw, piece)


def _as_used(room: Room, one: Hanging, draw: Draw, piece: Slice) -> Used:
    tariff = tariff_of(piece.version)
    household = room.household(draw, civil_date(piece.from_at))
    return Used(draw.pk, one.installation.pk, piece, tariff, household, counter(draw, piece.version, tariff))


def counter(draw: Draw, version_id: int, tariff: Tariff) -> Counter:
    restarts = tariff.ladder is not None and tariff.ladder.restarts_with_tenancy
    return _tariff_id(version_id), draw.tenancy_id if restarts else None


@lru_cache(maxsize=4096)
def _tariff_id(version_id: int) -> int:
    return TariffVersion.objects.values_list("tariff_id", flat=True).get(pk=version_id)


def _before(room: Room, used: Used, from_date: date) -> int:
    """What the count had before the open days. Plan: the key of the draws' closed days."""
    tariff_id, tenancy_id = used.counter
    draws = [draw.pk for draw in room.draws if tenancy_id is None or draw.tenancy_id == tenancy_id]
    versions = TariffVersion.objects.filter(tariff=tariff_id).values_list("pk", flat=True)
    days = UsageDay.objects.filter(draw__in=draws, usage_date__gte=from_date, usage_date__lt=room.since_date)
    days = days.filter(lines__0__version__in=list(versions))
    return days.aggregate(wh=Sum("energy_wh"))["wh"] or 0
