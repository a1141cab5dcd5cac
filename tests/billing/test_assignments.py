"""Where tariffs are assigned, and how many people a household counts: both are rated anew from their first day."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from billing import assignments, households, tariffs
from billing.assignments import AssignmentRefused, Place
from billing.models import Backlog, Household, PriceSlot, TariffAssignment
from billing.tariff.civil import instant
from billing.tariff.tiers import NOBODY_SPECIAL
from meters.models import Installation
from tests.makers import a_meter, a_property, a_published_version, a_room, a_tariff, a_tenancy, a_user
from tests.racing import race

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
TODAY = date(2026, 11, 23)


def an_installation(place):
    return Installation.objects.get(meter=a_meter(room=a_room(place=place)))


def another_tariff(place):
    return tariffs.publish(version_id=a_tariff(place=place).pk, by=None, reason="", now=NOW)


def assign(version, *, starts_date=TODAY, place=None, **part):
    return assignments.assign(
        tariff=version.tariff,
        place=Place(place or version.tariff.property, **part),
        starts_date=starts_date,
        by=a_user(),
        reason="lease",
        now=NOW,
    )


def test_what_is_assigned_anew_ends_what_held_there():
    first = a_published_version(now=NOW)
    home = an_installation(first.tariff.property)
    second = another_tariff(first.tariff.property)

    assign(second)

    spans = tariffs.in_force(installation_ids=[home.pk], from_date=date(2026, 11, 1), to_date=date(2026, 12, 1))
    assert [(span.from_date, span.version_id) for span in spans[home.pk]] == [
        (date(2026, 11, 1), first.pk),
        (TODAY, second.pk),
    ]
    assert Backlog.objects.get(installation=home).from_at == instant(TODAY)
    assert PriceSlot.objects.filter(version=second, usage_date=TODAY).exists()


def test_only_who_is_concerned_is_rated_anew():
    version = a_published_version(now=NOW)
    home, _neighbour = (an_installation(version.tariff.property) for _ in range(2))

    assign(another_tariff(version.tariff.property), room=home.room)

    assert list(Backlog.objects.values_list("installation_id", flat=True)) == [home.pk]


def test_a_place_of_another_property_is_refused():
    version, elsewhere = a_published_version(now=NOW), a_room()

    with pytest.raises(AssignmentRefused, match="different properties"):
        assign(version, room=elsewhere)
    with pytest.raises(AssignmentRefused, match="different properties"):
        assign(version, place=a_property())


def test_one_place_is_chosen_not_two():
    version = a_published_version(now=NOW)
    room = a_room(place=version.tariff.property)

    with pytest.raises(AssignmentRefused, match="not several"):
        assign(version, room=room, building=room.building)


def test_nothing_is_assigned_over_what_begins_later():
    version = a_published_version(now=NOW)
    assign(another_tariff(version.tariff.property), starts_date=date(2026, 12, 24))

    with pytest.raises(AssignmentRefused, match="this day or a later one"):
        assign(another_tariff(version.tariff.property))


def test_an_assignment_ends_and_the_wider_one_holds_again():
    wide = a_published_version(now=NOW)
    home = an_installation(wide.tariff.property)
    narrow = assign(another_tariff(wide.tariff.property), starts_date=date(2026, 11, 1), room=home.room)

    assignments.end(assignment_id=narrow.pk, ends_date=date(2026, 12, 1), now=NOW)

    spans = tariffs.in_force(installation_ids=[home.pk], from_date=TODAY, to_date=date(2027, 1, 1))[home.pk]
    assert spans[-1] == tariffs.Span(date(2026, 12, 1), wide.pk)
    with pytest.raises(AssignmentRefused, match="ends earlier"):
        assignments.end(assignment_id=narrow.pk, ends_date=date(2026, 12, 2), now=NOW)


def test_an_assignment_does_not_end_before_it_began():
    narrow = assign(a_published_version(now=NOW))

    with pytest.raises(AssignmentRefused, match="after it began"):
        assignments.end(assignment_id=narrow.pk, ends_date=TODAY, now=NOW)


def test_a_household_grows_from_a_day_on():
    tenancy = a_tenancy()
    home = Installation.objects.get(meter=a_meter(room=tenancy.room))

    households.record(
        household=Household(tenancy=tenancy, persons=6, starts_date=date(2026, 11, 1), proof="hukou"), now=NOW
    )

    assert households.on(tenancy=tenancy, on_date=date(2026, 10, 31)).people == 1
    assert households.on(tenancy=tenancy, on_date=date(2026, 11, 1)).people == 6
    assert households.on(tenancy=tenancy, on_date=TODAY).moved_in_date == date(2026, 1, 1)
    assert Backlog.objects.get(installation=home).from_at == instant(date(2026, 11, 1))


def test_an_empty_room_is_nobody_special():
    assert households.on(tenancy=None, on_date=TODAY) == NOBODY_SPECIAL


@pytest.mark.django_db(transaction=True)
def test_of_two_who_assign_a_place_from_the_same_day_on_one_does():
    first = a_published_version(now=NOW)
    place = first.tariff.property
    others, clerk = [another_tariff(place), another_tariff(place)], a_user()

    def assign_it(version):
        return lambda: assignments.assign(
            tariff=version.tariff, place=Place(place), starts_date=TODAY, by=clerk, reason="lease", now=NOW
        )

    answers = race([assign_it(version) for version in others])

    assert sorted(isinstance(answer, AssignmentRefused) for answer in answers) == [False, True]
    assert TariffAssignment.objects.filter(property=place, ends_date=None).count() == 1
