"""Special days: the country's come with the product, a property's own overrule them, a missing year is a warning."""

from __future__ import annotations

import importlib
from datetime import UTC, date, datetime, timedelta

import pytest
from django.apps import apps

from billing import calendars, holidays, supply_prices, tariffs
from billing.models import Backlog, PriceSlot, SpecialDay
from billing.tariff.civil import instant
from meters.models import Installation
from notifications.models import WorkItem
from tests.billing.test_slots import BY_DAY_TYPE
from tests.makers import a_meter, a_property, a_published_version, a_room, a_supply_price, a_tariff, a_user

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
TODAY = date(2026, 11, 23)


@pytest.fixture(autouse=True)
def _shipped():
    """As the migration leaves it, also after tests that empty all tables."""
    SpecialDay.objects.all().delete()
    importlib.import_module("billing.migrations.0006_holidays").enter(apps, None)


def of_country(on_date, kind="holiday", **kwargs):
    return SpecialDay.objects.create(on_date=on_date, kind=kind, **kwargs)


def test_the_country_s_days_come_with_the_product():
    days = holidays.special_days(property_id=a_property().pk)

    assert days[date(2026, 10, 1)] == "holiday"
    assert days[date(2026, 10, 10)] == "workday"
    assert SpecialDay.objects.get(on_date=date(2026, 10, 1)).name == "国庆节"


def test_entering_them_again_leaves_what_staff_wrote():
    SpecialDay.objects.filter(on_date=date(2026, 10, 1)).update(kind="ordinary", entered_by=a_user())

    importlib.import_module("billing.migrations.0006_holidays").enter(apps, None)

    assert SpecialDay.objects.get(on_date=date(2026, 10, 1)).kind == "ordinary"


def test_a_property_overrules_the_country():
    place = a_property()
    SpecialDay.objects.create(property=place, on_date=date(2026, 10, 1), kind="ordinary")
    SpecialDay.objects.create(property=place, on_date=date(2026, 12, 24), kind="holiday")

    mine, others = (holidays.special_days(property_id=each.pk) for each in (place, a_property()))

    assert date(2026, 10, 1) not in mine
    assert mine[date(2026, 12, 24)] == "holiday"
    assert others[date(2026, 10, 1)] == "holiday"
    assert date(2026, 12, 24) not in others


@pytest.mark.parametrize(("now", "missing"), [(NOW, (2027,)), (NOW - timedelta(days=60), ())])
def test_a_coming_year_is_missed_from_october_on(now, missing):
    assert holidays.warn(now=now) == missing
    assert [item.key for item in WorkItem.objects.all()] == [f"holidays_missing:{year}" for year in missing]


def test_a_year_that_has_come_without_them_is_missed_all_the_more():
    assert holidays.missing_years(now=datetime(2027, 3, 1, tzinfo=UTC)) == (2027,)


def test_the_warning_ends_when_the_days_have_been_entered():
    holidays.warn(now=NOW)
    of_country(date(2027, 1, 1))

    assert holidays.warn(now=NOW) == ()

    assert WorkItem.objects.get(key="holidays_missing:2027").state == WorkItem.State.RESOLVED


def test_a_day_to_come_changes_prices_and_nothing_that_was_charged():
    version = a_published_version(definition=BY_DAY_TYPE, now=NOW)
    a_meter(room=a_room(place=version.tariff.property))
    of_country(date(2027, 1, 1))

    calendars.changed(property_id=None, on_date=date(2027, 1, 1), now=NOW)

    slots = PriceSlot.objects.filter(version=version, usage_date=date(2027, 1, 1))
    assert {slot.period for slot in slots} == {"deep_valley"}
    assert not Backlog.objects.exists()


def test_a_day_that_has_passed_is_rated_anew_where_prices_ask_what_day_it_is():
    version, simple = a_published_version(definition=BY_DAY_TYPE, now=NOW), a_published_version(now=NOW)
    home, other = (
        Installation.objects.get(meter=a_meter(room=a_room(place=each.tariff.property))) for each in (version, simple)
    )
    of_country(date(2026, 11, 2))

    calendars.changed(property_id=None, on_date=date(2026, 11, 2), now=NOW)

    left = Backlog.objects.get()
    assert (left.installation, left.from_at) == (home, instant(date(2026, 11, 2)))
    assert other.pk


def test_a_supply_price_that_falls_below_what_tenants_pay_is_put_before_a_person_until_it_is_mended():
    version = a_published_version(now=NOW)
    place = version.tariff.property
    lower = a_supply_price(place, yuan="0.5", starts_date=date(2026, 12, 1))

    assert supply_prices.changed(property_id=place.pk, now=NOW) == [version]

    item = WorkItem.objects.get(kind="mark_up")
    assert (item.property, item.state) == (place, WorkItem.State.OPEN)
    lower.delete()
    assert supply_prices.changed(property_id=place.pk, now=NOW) == []
    item.refresh_from_db()
    assert item.state == WorkItem.State.RESOLVED


def test_a_mark_up_that_somebody_answers_for_is_no_work_item():
    place = a_property()
    a_supply_price(place, yuan="0.5")
    tariffs.publish(version_id=a_tariff(place=place).pk, by=a_user(), reason="", mark_up="losses", now=NOW)

    assert supply_prices.changed(property_id=place.pk, now=NOW) == []


def test_a_mark_up_answers_for_what_it_named_and_for_no_more():
    place = a_property()
    a_supply_price(place, yuan="0.61")
    version = tariffs.publish(version_id=a_tariff(place=place).pk, by=a_user(), reason="", mark_up="losses", now=NOW)
    lower = a_supply_price(place, yuan="0.30", starts_date=date(2026, 12, 1))

    assert supply_prices.changed(property_id=place.pk, now=NOW) == [version]

    lower.delete()
    assert supply_prices.changed(property_id=place.pk, now=NOW) == []
