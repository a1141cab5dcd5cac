"""Versions laid out over time: every hour, every change of period, no gap, and what the engine itself would say."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from billing import slots, tariffs
from billing.models import PriceSlot, SpecialDay, TariffVersion
from billing.tariff.civil import instant
from notifications.models import WorkItem
from tests.makers import (
    TIME_OF_USE_AND_TIERS,
    a_published_version,
    a_version,
)
from tests.racing import race

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
TODAY = date(2026, 11, 23)
BY_DAY_TYPE = {
    "periods": [
        {"day": {"peak": ["08:30-21:30"], "valley": "rest"}},
        {"when": {"day_types": ["holiday"]}, "day": {"deep_valley": "rest"}},
    ],
    "prices": [{"yuan": {"peak": "0.6", "valley": "0.3", "deep_valley": "0.1"}}],
}


def laid_out(version, on=TODAY):
    return list(PriceSlot.objects.filter(version=version, usage_date=on).order_by("starts_at"))


def test_a_version_is_laid_out_by_the_hour_from_three_days_ago_without_a_gap():
    version = a_published_version(definition=TIME_OF_USE_AND_TIERS, now=NOW)

    rows = list(PriceSlot.objects.filter(version=version).order_by("starts_at"))

    assert len(rows) == (3 + 1 + 45) * 24
    assert rows[0].starts_at == instant(TODAY - timedelta(days=3))
    assert rows[-1].ends_at == instant(TODAY + timedelta(days=46))
    assert all(one.ends_at == other.starts_at for one, other in pairwise(rows))
    version.refresh_from_db()
    assert version.slots_until_date == TODAY + timedelta(days=46)


def test_a_slot_says_what_every_tier_costs_and_where_it_ends():
    version = a_published_version(definition=TIME_OF_USE_AND_TIERS, now=NOW)

    night, day = laid_out(version)[7:9]

    assert (night.period, day.period) == ("valley", "peak")
    assert day.prices == [56_800_000, 61_800_000, 86_800_000]
    assert night.prices == [28_800_000, 33_800_000, 58_800_000]
    assert day.fee == 2_000_000
    assert day.limits_wh == [2_760_000, 4_800_000]
    assert day.cycle_date == date(2026, 1, 1)


def test_a_period_that_begins_within_an_hour_cuts_it():
    version = a_published_version(definition=BY_DAY_TYPE, now=NOW)

    rows = laid_out(version)

    assert len(rows) == 26
    assert [row.starts_at for row in rows if row.period == "peak"][:2] == [
        instant(TODAY, minute=8 * 60 + 30),
        instant(TODAY, minute=9 * 60),
    ]
    assert not any(row.limits_wh or row.cycle_date for row in rows)


def test_no_two_versions_of_a_tariff_hold_at_once():
    first = a_published_version(now=NOW)
    second = a_version(first.tariff, starts_date=date(2026, 12, 1))

    tariffs.publish(version_id=second.pk, by=None, reason="", now=NOW)

    assert PriceSlot.objects.filter(version=first).latest("starts_at").ends_at == instant(date(2026, 12, 1))
    assert PriceSlot.objects.filter(version=second).earliest("starts_at").starts_at == instant(date(2026, 12, 1))


def test_a_holiday_of_the_property_changes_its_slots_and_nobody_elses():
    mine, others = (
        a_published_version(definition=BY_DAY_TYPE, now=NOW),
        a_published_version(definition=BY_DAY_TYPE, now=NOW),
    )
    SpecialDay.objects.create(property=mine.tariff.property, on_date=date(2026, 12, 24), kind="holiday")

    slots.expand(now=NOW)

    assert {row.period for row in laid_out(mine, date(2026, 12, 24))} == {"deep_valley"}
    assert {row.period for row in laid_out(others, date(2026, 12, 24))} == {"peak", "valley"}


def test_the_daily_round_moves_the_window_on():
    version = a_published_version(now=NOW)

    slots.expand(now=NOW + timedelta(days=10))

    rows = PriceSlot.objects.filter(version=version)
    assert rows.count() == 49 * 24
    assert rows.earliest("starts_at").usage_date == TODAY + timedelta(days=7)


def test_a_tariff_that_can_no_longer_be_read_holds_up_nobody_else():
    broken, sound = a_published_version(now=NOW), a_published_version(now=NOW)
    poisoned = a_version(broken.tariff, definition={"prices": []}, starts_date=date(2026, 12, 1))
    TariffVersion.objects.filter(pk=poisoned.pk).update(state="published", published_at=NOW)

    slots.expand(now=NOW + timedelta(days=1))

    assert PriceSlot.objects.filter(version=sound, usage_date=TODAY + timedelta(days=46)).exists()
    assert PriceSlot.objects.filter(version=broken, usage_date=TODAY).exists()
    assert WorkItem.objects.get(kind="tariff_unreadable").property == broken.tariff.property


@pytest.mark.django_db(transaction=True)
def test_two_who_lay_out_the_same_tariff_do_it_one_after_the_other():
    version = a_published_version(now=NOW)

    written = race([lambda: slots.lay_out(tariff_id=version.tariff_id, now=NOW)] * 4)

    assert written == [49 * 24] * 4
    assert PriceSlot.objects.filter(version=version).count() == 49 * 24
