"""The doctor says when energy is used that has no price, or soon will have none."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from billing import draws
from billing.models import Draw, SpecialDay, TariffVersion
from billing.tariff.civil import civil_date
from config.prices_known import prices
from tests import makers
from tests.billing.rating import world

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)


def test_a_year_without_holidays_is_a_warning():
    SpecialDay.objects.filter(on_date__gte=date(2027, 1, 1)).delete()

    (found,) = prices(NOW)

    assert "2027" in found.what
    assert found.is_warning


def test_meters_without_a_tariff_are_counted_by_property():
    SpecialDay.objects.create(on_date=date(2027, 1, 1), kind="holiday", name="元旦", source="announced")
    room = makers.a_room()
    makers.a_meter(room=room)
    draws.align(room_ids=[room.pk], now=NOW)
    Draw.objects.update(why_not="no_tariff")

    (found,) = prices(NOW)

    assert room.property.code in found.where
    assert found.what.startswith("1 meters")


def test_prices_that_are_no_longer_laid_out_are_wrong():
    world.a_draw()
    SpecialDay.objects.create(on_date=date(2027, 1, 1), kind="holiday", name="元旦", source="announced")
    TariffVersion.objects.update(slots_until_date=civil_date(NOW) + timedelta(days=3))

    (found,) = prices(NOW)

    assert "2026-11-26" in found.what
    assert not found.is_warning
