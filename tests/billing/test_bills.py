"""A month's bill says what was used at which price, what was posted, and what was put right of months before."""

from __future__ import annotations

from datetime import date

import pytest

from billing.bills import bills
from billing.models import Draw, Purse, UsageDay, UsageMonth
from billing.rating import accrue, careful, days
from billing.usage_audit import CHECKS
from tests.billing.rating import world
from tests.billing.rating.test_revisions import tell
from tests.billing.rating.world import HOUR, NOW, PERIODS_AND_TIERS, START

pytestmark = pytest.mark.django_db
NOVEMBER = date(2026, 11, 1)


@pytest.fixture
def draw() -> Draw:
    draw = world.a_draw(world.a_version(PERIODS_AND_TIERS))
    tell(draw, (12, 101_200), (36, 103_600), (48, 104_800))
    return draw


def test_its_lines_are_the_energy_at_each_price_and_add_up_to_what_was_posted(draw):
    (bill,) = bills(property_ids=[draw.property_id], month_date=NOVEMBER)

    (meter,) = bill.meters
    assert (bill.purse_id, bill.tenancy_id, bill.put_right_fen) == (draw.purse_id, draw.tenancy_id, 0)
    assert (meter.days, meter.opens_wh, meter.closes_wh, bill.energy_wh) == (2, 100_000, 104_800, 4_800)
    assert {(line.period, line.tier) for line in meter.lines} == {("peak", 1), ("valley", 1)}
    assert sum(line.energy_wh for line in meter.lines) == 4_800
    assert sum(line.cost_nano for line in meter.lines) == meter.cost_nano
    assert sum(bill.shown_fen()) == bill.posted_fen == -Purse.objects.get(pk=draw.purse_id).paid_fen


def test_a_day_that_was_revised_is_in_its_lines_as_it_is_now(draw):
    tell(draw, (24, 103_000), now=NOW + HOUR)

    (bill,) = bills(property_ids=[draw.property_id], month_date=NOVEMBER)

    assert sum(line.energy_wh for line in bill.meters[0].lines) == 4_800
    assert abs(sum(bill.shown_fen()) - bill.posted_fen) <= 1
    assert [finding for check in CHECKS for finding in check(NOW)] == []


def test_what_was_put_right_of_a_month_before_stands_on_the_bill_of_the_month_in_which_it_was(draw):
    later = NOW + 30 * 24 * HOUR
    world.tell([(draw.meter, later - 24 * HOUR, 140_000), (draw.meter, later, 141_000)], stored_at=later)
    accrue.accrue(now=later)
    careful.work(now=later)
    days.close(now=later)
    world.tell([(draw.meter, START + 40 * HOUR, 104_700)], stored_at=later)
    before = posted_for_two_days(draw)
    accrue.accrue(now=later)
    careful.work(now=later)
    days.close(now=later)
    assert posted_for_two_days(draw) != before

    (bill,) = bills(property_ids=[draw.property_id], month_date=date(2026, 12, 1))

    assert bill.put_right_fen == posted_for_two_days(draw) - before
    (november,) = bills(property_ids=[draw.property_id], month_date=NOVEMBER)
    assert november.put_right_fen == 0


def posted_for_two_days(draw: Draw) -> int:
    return sum(
        UsageDay.objects.filter(draw=draw, usage_date__lte=date(2026, 11, 11)).values_list("posted_fen", flat=True)
    )


def test_another_propertys_homes_are_not_in_it(draw):
    other = world.a_draw()
    tell(other, (24, 102_400))

    assert [bill.purse_id for bill in bills(property_ids=[draw.property_id], month_date=NOVEMBER)] == [draw.purse_id]
    assert UsageMonth.objects.count() == 2
