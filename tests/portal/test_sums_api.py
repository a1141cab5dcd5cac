"""Sums of what was used, by price period and tier, and beside the time before: like with like."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from accounts.models import Member, Tenancy
from billing.models import Draw, UsageDay, UsageMonth
from billing.tariff.civil import CIVIL, instant
from portal import compared, hours, usage
from tests import makers
from tests.billing.rating import world
from tests.billing.rating.world import HOUR, NOW, PERIODS_AND_TIERS, START
from tests.portal.test_usage_api import tell

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
SMALL_TIERS = PERIODS_AND_TIERS | {"tiers": {"cycle": {"months": 12}, "limits": [{"kwh": [10, 4800]}]}}


@pytest.fixture
def draw(monkeypatch) -> Draw:
    draw = world.a_draw(world.a_version(SMALL_TIERS))
    assert draw.tenancy
    Member.objects.create(tenancy=draw.tenancy, user=makers.a_user(), role="holder", joined_at=START)
    monkeypatch.setattr("portal.sums_api.timezone.now", lambda: NOW)
    tell(draw, *((h, 100_000 + 500 * h) for h in (0.25, 6, 12, 18, 24, 30, 36)))
    return draw


@pytest.fixture
def tenant(draw):
    return makers.a_login(draw.tenancy.members.get().user)


def get(client, draw, headers, **query):
    headers = {"Accept-Language": "en"} | headers
    return client.get(f"/api/v1/homes/{draw.tenancy_id}/usage", query, headers=headers).json()


def a_day(draw, on: date, wh: int, *, nano: int | None = None, tier: int = 1) -> UsageDay:
    """A closed day of the home, all of it in the valley: a fen a kilowatt-hour, unless told otherwise."""
    nano = wh * 1_000_000 if nano is None else nano
    line = {
        "version": draw.version_id, "tier": tier, "period": "valley", "energy_wh": wh, "price": 0, "fee": 0,
        "cost_nano": nano, "fee_nano": 0,
    }  # fmt: skip
    return UsageDay.objects.create(
        draw=draw, usage_date=on, property=draw.property, purse=draw.purse, opens_at=instant(on), opens_wh=0,
        closes_at=instant(on + DAY), closes_wh=wh, cycle_before_wh=0, energy_wh=wh, cost_nano=nano, fee_nano=0,
        slot_wh=[wh // 24] * 24, lines=[line],
    )  # fmt: skip


def a_month(draw, on: date, wh: int) -> None:
    UsageMonth.objects.create(
        draw=draw, month_date=on, property=draw.property, purse=draw.purse, days=30, energy_wh=wh,
        cost_nano=wh * 1_000_000, fee_nano=0, line_wh={f"{draw.version_id}:1:valley:1000000:0": wh},
    )  # fmt: skip


@pytest.fixture
def old_home() -> Draw:
    """Somebody has lived there for two years; all days before today are closed, as the tests say."""
    draw = world.a_draw(world.a_version(PERIODS_AND_TIERS))
    long_ago = datetime(2024, 12, 1, tzinfo=CIVIL)
    Tenancy.objects.update(starts_at=long_ago)
    Draw.objects.update(starts_at=long_ago, closed_until=date(2026, 11, 12), last_at=NOW)
    draw.refresh_from_db()
    return draw


def compare(draw, by, from_date, to_date, *, now=NOW):
    asked = {"tenancy": draw.tenancy, "by": by, "from_date": from_date, "to_date": to_date, "now": now}
    return compared.compared(usage.sums(**asked), **asked)


@pytest.mark.parametrize("by", ["day", "month", "year"])
def test_periods_and_tiers_add_up_to_the_whole(client, draw, tenant, by):
    told = get(client, draw, tenant, by=by)

    summary = told["summary"]
    for parts in (summary["by_period"], summary["by_tier"]):
        assert sum(float(one["energy_kwh"]) for one in parts) == float(summary["energy_kwh"]) == 18
        assert abs(sum(float(one["amount"]) for one in parts) - float(summary["amount"])) < 0.015
    assert [one["tier"] for one in summary["by_tier"]] == [1, 2]
    assert {one["name"] for one in summary["by_period"]} == {"peak", "valley"}
    assert sum(float(one["energy_kwh"]) for each in told["usage"] for one in each["tiers"]) == 18
    assert summary["before"] is None


def test_a_month_costs_by_tier_what_its_days_do(client, draw, tenant):
    by_day, by_month = (get(client, draw, tenant, by=by)["summary"] for by in ("day", "month"))

    assert by_month == by_day


def test_hours_say_their_period_and_the_cheap_ones_are_marked(client, draw, tenant):
    hours = get(client, draw, tenant, by="hour", **{"from": "2026-11-10", "to": "2026-11-10"})["usage"]

    told = {datetime.fromisoformat(one["from_at"]).hour: (one["period"], one["is_cheap"]) for one in hours}
    assert told[7] == ("valley", True)
    assert told[8] == ("", False)  # until half past eight the valley, then the peak
    assert told[9] == ("peak", False)
    assert told[23] == ("valley", True)


def hours_by(*definitions):
    """The hours of a day that meters of one home used under tariffs of their own."""
    place = makers.a_property()
    versions = [makers.a_tariff(place=place, definition=definition) for definition in definitions]
    rows = [UsageDay(usage_date=START.date(), lines=[{"version": version.pk}]) for version in versions]
    return hours.of_days(rows, property_id=place.pk)


def test_with_one_price_no_hour_is_cheap():
    assert set(hours_by(world.ONE_PRICE).values()) == {hours.Hour("flat", is_cheap=False)}


def test_a_tariff_that_can_no_longer_be_read_has_no_hours():
    assert hours_by({"prices": "?"}) == {}


def test_where_the_meters_of_a_home_disagree_an_hour_has_no_period():
    both = hours_by(SMALL_TIERS, world.ONE_PRICE)

    assert set(both.values()) == {hours.Hour("", is_cheap=False)}


class TestTheSpanBefore:
    def test_is_told_with_the_change_in_percent(self, client, draw, tenant):
        Tenancy.objects.update(starts_at=START - 9 * DAY)
        a_day(draw, date(2026, 11, 9), 10_000)

        (before, this) = (
            get(client, draw, tenant, by="day", compare="true", **{"from": day, "to": day})["summary"]["before"]
            for day in ("2026-11-09", "2026-11-10")
        )

        assert (before["energy_kwh"], before["energy_percent"]) == ("0.000", None)
        assert (this["from_at"], this["to_at"], this["compared_until"]) == (
            *("2026-11-09T00:00:00+08:00", "2026-11-10T00:00:00+08:00"),
            "2026-11-11T00:00:00+08:00",
        )
        assert (this["energy_kwh"], this["amount"], this["energy_percent"]) == ("10.000", "0.10", 20)
        assert this["amount_percent"] > 1000

    def test_has_as_many_days_and_today_counts_on_neither_side(self, old_home):
        for day in range(1, 9):
            a_day(old_home, date(2026, 11, day), 1000 * day)

        found = compare(old_home, "day", date(2026, 11, 5), date(2026, 11, 8), now=instant(date(2026, 11, 8)) + HOUR)

        assert (found.this.energy_wh, found.before.energy_wh) == (5000 + 6000 + 7000, 1000 + 2000 + 3000)
        assert found.energy_percent() == 200
        assert found.cost_percent() == 200

    def test_of_a_month_that_is_not_over_is_as_much_of_the_one_before(self, old_home):
        a_month(old_home, date(2026, 10, 1), 31_000)
        for day in range(1, 32):
            a_day(old_home, date(2026, 10, day), 1000)
        a_month(old_home, date(2026, 11, 1), 22_000)
        for day in range(1, 12):
            a_day(old_home, date(2026, 11, day), 2000)

        found = compare(old_home, "month", date(2026, 11, 1), date(2026, 11, 12))

        assert (found.this.energy_wh, found.before.energy_wh) == (22_000, 11_000)
        assert found.before.to_at == instant(date(2026, 10, 12))

    def test_of_a_month_that_is_over_is_the_whole_one_before(self, old_home):
        a_month(old_home, date(2026, 9, 1), 10_000)
        a_month(old_home, date(2026, 10, 1), 5_000)

        found = compare(old_home, "month", date(2026, 10, 5), date(2026, 10, 31))

        assert (found.this.energy_wh, found.before.energy_wh) == (5_000, 10_000)
        assert (found.energy_percent(), found.before.from_at) == (-50, instant(date(2026, 9, 1)))

    def test_of_a_year_that_is_not_over_is_as_much_of_the_year_before(self, old_home):
        for year in (2025, 2026):
            for month in range(1, 12):
                a_month(old_home, date(year, month, 1), 1000 * (year - 2024))
        for year in (2025, 2026):
            for day in range(1, 12):
                a_day(old_home, date(year, 11, day), 10)

        found = compare(old_home, "year", date(2026, 1, 1), date(2026, 12, 31))

        assert found.this.to_at == instant(date(2026, 11, 12))
        assert (found.this.energy_wh, found.before.energy_wh) == (10 * 2000 + 110, 10 * 1000 + 110)

    def test_within_a_day_is_as_many_hours_of_the_day_before(self, draw):
        Tenancy.objects.update(starts_at=START - 9 * DAY)

        found = compare(draw, "hour", date(2026, 11, 11), date(2026, 11, 11), now=START + 30 * HOUR)

        assert (found.this.energy_wh, found.before.energy_wh) == (3000, 3000)
        assert (found.energy_percent(), found.cost_percent()) == (0, None)

    @pytest.mark.parametrize("by", ["hour", "day", "month", "year"])
    def test_is_not_told_where_they_did_not_live_there_yet(self, draw, by):
        assert compare(draw, by, START.date(), START.date()) is None

    def test_is_not_told_of_a_day_that_is_not_over(self, old_home):
        assert compare(old_home, "day", NOW.date(), NOW.date()) is None
        assert compare(old_home, "hour", NOW.date(), NOW.date()) is None


def test_a_comparison_that_is_neither_asked_for_nor_not_is_refused(client, draw, tenant):
    assert get(client, draw, tenant, compare="perhaps")["status"] == 400
