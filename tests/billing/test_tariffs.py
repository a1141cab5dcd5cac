"""Publishing, replacing and withdrawing versions; and which of them holds where on which day."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from django.db import DatabaseError, transaction

from billing import tariffs
from billing.markups import MarkUpRefused
from billing.models import Backlog, MarkUp, PriceSlot, TariffVersion, UsageDay
from billing.tariff.civil import instant
from billing.tariffs import DefinitionRefused, Span, TariffRefused
from meters.models import Installation
from tests.makers import (
    a_meter,
    a_property,
    a_published_version,
    a_room,
    a_supply_price,
    a_tariff,
    a_user,
    a_version,
    an_assignment,
)
from tests.racing import race

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
TODAY = date(2026, 11, 23)
DEARER = {"prices": [{"yuan": "0.70"}]}


def publish(version, **kwargs):
    return tariffs.publish(**{"version_id": version.pk, "by": None, "reason": "", "now": NOW} | kwargs)


def an_installation(place=None):
    return Installation.objects.get(meter=a_meter(room=a_room(place=place)))


def held(installation, *, from_date=date(2026, 11, 1), to_date=date(2026, 12, 31)):
    spans = tariffs.in_force(installation_ids=[installation.pk], from_date=from_date, to_date=to_date)
    return [(span.from_date, span.version_id) for span in spans[installation.pk]]


def test_a_published_version_is_laid_out_and_says_who_published_it_when_and_why():
    place, boss = a_property(), a_user()
    a_supply_price(place)
    draft = a_tariff(place=place)

    version = publish(draft, by=boss, reason="council of tenants, 3 May")

    version.refresh_from_db()
    assert (version.state, version.published_by, version.published_at) == ("published", boss, NOW)
    assert version.reason == "council of tenants, 3 May"
    assert PriceSlot.objects.filter(version=version).exists()


def test_a_definition_that_is_no_tariff_is_refused_with_the_place_where_it_is_wrong():
    draft = a_tariff(definition={"prices": [{"yuan": {"sharp": "1.2"}}]})

    with pytest.raises(DefinitionRefused, match=r"^prices\[0\]"):
        publish(draft)

    draft.refresh_from_db()
    assert draft.state == "draft"


def test_a_price_above_what_the_property_pays_is_refused():
    place = a_property()
    a_supply_price(place, yuan="0.60")
    draft = a_tariff(place=place)

    with pytest.raises(MarkUpRefused, match=r"pays 0\.6 yuan per kWh; tier 1, flat costs tenants 0\.62"):
        publish(draft)

    assert not PriceSlot.objects.exists()


def test_a_price_above_it_is_published_when_somebody_answers_for_it():
    place, boss = a_property(), a_user()
    a_supply_price(place, yuan="0.60")

    version = publish(a_tariff(place=place), by=boss, mark_up="losses in the lines, notice 12/2026")

    kept = MarkUp.objects.get(version=version)
    assert (kept.reason, kept.approved_by) == ("losses in the lines, notice 12/2026", boss)
    assert kept.excess[0]["cells"][0]["price_micro_fen_per_kwh"] == 62_000_000


def test_a_price_is_held_against_every_price_that_the_property_pays_in_its_time():
    place = a_property()
    a_supply_price(place, yuan="0.65")
    a_supply_price(place, yuan="0.61", starts_date=date(2026, 7, 1))

    with pytest.raises(MarkUpRefused, match="From 2026-07-01"):
        publish(a_tariff(place=place))


def test_without_a_word_on_what_the_property_pays_nothing_is_allowed():
    place = a_property()
    a_supply_price(place, starts_date=date(2026, 7, 1))

    with pytest.raises(MarkUpRefused, match="has not been recorded"):
        publish(a_tariff(place=place))


@pytest.mark.parametrize("to", TariffVersion.State.values)
@pytest.mark.parametrize("state", TariffVersion.State.values)
def test_states_move_by_the_table_alone(state, to):
    version = a_tariff()
    TariffVersion.objects.filter(pk=version.pk).update(state=state, published_at=NOW)
    version.refresh_from_db()

    if to in tariffs.MOVES[state]:
        tariffs._move(version, to)
    else:
        with pytest.raises(TariffRefused):
            tariffs._move(version, to)

    version.refresh_from_db()
    assert version.state == (to if to in tariffs.MOVES[state] else state)


@pytest.mark.django_db(transaction=True)
def test_of_two_who_publish_at_once_one_does_it():
    place = a_property()
    a_supply_price(place)
    draft = a_tariff(place=place)

    results = race([lambda: publish(draft)] * 4)

    assert [type(result) for result in results if isinstance(result, Exception)] == [TariffRefused] * 3
    assert PriceSlot.objects.filter(version=draft).count() == 49 * 24


def test_what_is_published_stays_as_it_is():
    version = a_published_version(now=NOW)

    with pytest.raises(DatabaseError, match="stays as it is"), transaction.atomic():
        TariffVersion.objects.filter(pk=version.pk).update(definition=DEARER)


def test_a_final_price_takes_the_place_of_a_provisional_one_and_everybody_is_rated_anew_from_its_first_day():
    provisional = a_published_version(now=NOW, is_provisional=True, starts_date=date(2026, 10, 1))
    home = an_installation(provisional.tariff.property)
    final = a_version(provisional.tariff, definition=DEARER, starts_date=date(2026, 10, 1), replaces=provisional)

    publish(final)

    provisional.refresh_from_db()
    assert provisional.state == "replaced"
    assert not PriceSlot.objects.filter(version=provisional).exists()
    assert held(home) == [(date(2026, 11, 1), final.pk)]
    left = Backlog.objects.get(installation=home)
    assert (left.from_at, left.reasons) == (instant(date(2026, 10, 1)), ["repriced"])


def test_homes_under_another_tariff_are_left_alone():
    version = a_published_version(now=NOW)
    other = an_installation(a_published_version(now=NOW).tariff.property)

    publish(a_version(version.tariff, definition=DEARER, starts_date=TODAY))

    assert not Backlog.objects.filter(installation=other).exists()


def test_prices_to_come_are_looked_at_from_now_on():
    version = a_published_version(now=NOW)
    home = an_installation(version.tariff.property)

    publish(a_version(version.tariff, definition=DEARER, starts_date=date(2026, 12, 1)))

    assert Backlog.objects.get(installation=home).from_at == NOW


def test_the_past_is_not_priced_anew_without_saying_what_is_replaced():
    version = a_published_version(now=NOW)

    with pytest.raises(TariffRefused, match="Prices held then"):
        publish(a_version(version.tariff, definition=DEARER, starts_date=date(2026, 11, 1)))
    with pytest.raises(TariffRefused, match="Another version begins"):
        publish(a_version(version.tariff, definition=DEARER))


def test_only_a_version_of_the_same_tariff_and_day_can_be_replaced():
    version = a_published_version(now=NOW)

    with pytest.raises(TariffRefused, match="same tariff"):
        publish(a_version(version.tariff, starts_date=TODAY, replaces=version))


def test_a_withdrawn_version_leaves_its_days_to_the_one_before():
    first = a_published_version(now=NOW)
    home = an_installation(first.tariff.property)
    second = publish(a_version(first.tariff, definition=DEARER, starts_date=date(2026, 12, 1)))

    tariffs.withdraw(version_id=second.pk, by=None, reason="a slip", now=NOW)

    assert held(home) == [(date(2026, 11, 1), first.pk)]
    assert PriceSlot.objects.filter(version=first, usage_date=date(2026, 12, 24)).exists()
    assert not PriceSlot.objects.filter(version=second).exists()


def test_a_version_that_charged_a_day_is_not_withdrawn():
    version = a_published_version(now=NOW)
    UsageDay.objects.create(
        draw_id=1, usage_date=TODAY, property=version.tariff.property, purse_id=1, opens_at=NOW, opens_wh=0,
        closes_at=NOW, closes_wh=1, cycle_before_wh=0, energy_wh=1, cost_nano=1, fee_nano=0, slot_wh=[1],
        lines=[{"version": version.pk, "tier": 1}],
    )  # fmt: skip

    with pytest.raises(TariffRefused, match="have been charged"):
        tariffs.withdraw(version_id=version.pk, by=None, reason="a slip", now=NOW)


def test_the_closest_assignment_wins_meter_room_building_property():
    place = a_property()
    versions = [a_published_version(now=NOW, place=place)]
    home = an_installation(place)
    for where in ({"building": home.room.building}, {"room": home.room}, {"meter": home.meter}):
        draft = a_tariff(place=place)
        versions.append(publish(draft))
        an_assignment(draft.tariff, **where)

        assert held(home) == [(date(2026, 11, 1), versions[-1].pk)]


def test_an_assignment_that_ends_leaves_the_rest_to_the_wider_one():
    place = a_property()
    wide = a_published_version(now=NOW, place=place)
    home = an_installation(place)
    narrow = publish(a_tariff(place=place))
    an_assignment(narrow.tariff, room=home.room, starts_date=date(2026, 11, 5), ends_date=date(2026, 11, 20))
    next_one = publish(a_version(wide.tariff, definition=DEARER, starts_date=date(2026, 12, 1)))

    assert held(home) == [
        (date(2026, 11, 1), wide.pk),
        (date(2026, 11, 5), narrow.pk),
        (date(2026, 11, 20), wide.pk),
        (date(2026, 12, 1), next_one.pk),
    ]


def test_a_place_without_a_tariff_has_no_price_and_says_so():
    home = an_installation()

    assert tariffs.in_force(installation_ids=[home.pk], from_date=TODAY, to_date=date(2026, 12, 1)) == {
        home.pk: [Span(TODAY, None)]
    }
    assert tariffs.in_force(installation_ids=[], from_date=TODAY, to_date=date(2026, 12, 1)) == {}


def test_neighbours_homes_are_resolved_together_without_a_query_each(django_assert_num_queries):
    place = a_property()
    version = a_published_version(now=NOW, place=place)
    homes = [an_installation(place).pk for _ in range(5)]

    with django_assert_num_queries(3):
        spans = tariffs.in_force(installation_ids=homes, from_date=TODAY, to_date=date(2026, 12, 1))

    assert spans == {pk: [Span(TODAY, version.pk)] for pk in homes}
