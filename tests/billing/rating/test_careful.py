"""The backlog is worked off: what is late, in doubt, shared or failing, each home for itself."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from billing.models import Backlog, Doubt, Draw, Review, TariffAssignment
from billing.models import Household as People
from billing.rating import accrue, careful, doubts
from meters.models import Installation
from notifications.models import WorkItem
from tests import makers
from tests.billing.rating import world
from tests.billing.rating.world import HOUR, NOW, PERIODS_AND_TIERS, QUARTER, START

pytestmark = pytest.mark.django_db


def rate(now=NOW) -> int:
    accrue.accrue(now=now)
    return careful.work(now=now)


def worth(draw: Draw) -> int:
    """Wh at 0.50 yuan a kWh."""
    draw.refresh_from_db()
    return draw.total_nano // 50_000_000


def test_a_late_reading_moves_nothing_but_what_lies_around_it():
    draw = world.a_draw()
    world.tell([(draw.meter, START + 2 * QUARTER, 100_600)])
    rate()
    world.tell([(draw.meter, START + QUARTER, 100_500)])

    assert rate() == 1

    assert worth(draw) == 600
    assert draw.is_plain
    assert not Backlog.objects.exists()
    assert rate() == 0


def test_a_reading_in_doubt_holds_back_what_is_behind_it_and_asks_a_person():
    draw = world.a_draw()
    world.tell([(draw.meter, START + n * QUARTER, wh) for n, wh in ((1, 100_300), (2, 200_000), (3, 200_100))])

    rate()

    assert worth(draw) == 300
    assert (draw.is_plain, draw.why_not) == (False, "doubt")
    found = Doubt.objects.order_by("read_at")
    assert [(one.import_wh, one.reason, one.state) for one in found] == [
        (200_000, "jump", "open"),
        (200_100, "jump", "open"),
    ]
    assert WorkItem.objects.get(state="open").kind == doubts.KIND


@pytest.mark.parametrize(("ruling", "charged"), [("believed", 100_100), ("rebased", 400), ("rejected", 300)])
def test_what_staff_decide_is_charged_as_if_it_had_been_known(ruling, charged):
    draw = world.a_draw()
    world.tell([(draw.meter, START + n * QUARTER, wh) for n, wh in ((1, 100_300), (2, 200_000), (3, 200_100))])
    rate()
    first = Doubt.objects.order_by("read_at")[0]

    doubts.decide(doubt_id=first.pk, as_=ruling, by=makers.a_user(), note="looked at the meter", now=NOW)
    rate()

    assert worth(draw) == charged
    is_clear = ruling != "rejected"  # without the first of the run, the second still cannot follow
    assert draw.is_plain == is_clear
    assert WorkItem.objects.filter(state="open").exists() != is_clear
    doubts.undo(doubt_id=first.pk, by=makers.a_user(), note="the wrong meter", now=NOW)
    rate()
    assert worth(draw) == 300


def test_a_glitch_that_healed_stays_on_record_and_asks_nobody():
    draw = world.a_draw()
    world.tell([(draw.meter, START + n * QUARTER, wh) for n, wh in ((1, 100_300), (2, 3), (3, 100_900))])

    rate()

    assert worth(draw) == 900
    assert Doubt.objects.get().state == "cleared"
    assert draw.is_plain
    assert not WorkItem.objects.exists()


def test_a_cycle_begins_with_care_and_goes_on_fast():
    monthly = PERIODS_AND_TIERS | {"tiers": {"cycle": {"months": 1}, "limits": [{"kwh": [1, 2]}]}}
    version = world.a_version(monthly)
    draw = world.a_draw(version)
    december = START.replace(month=12, day=1)
    steps = [START + 20 * timedelta(days=1), december + QUARTER, december + 2 * QUARTER]
    wh = [105_000, 105_300, 105_500]
    outcomes = []
    for at, register_wh in zip(steps, wh, strict=True):
        world.tell([(draw.meter, at, register_wh)], stored_at=at)
        outcomes.append(accrue.accrue(now=at).done)
        careful.work(now=at)

    draw.refresh_from_db()
    assert outcomes == [1, 0, 1]
    assert (draw.cycle_date, draw.is_plain) == (date(2026, 12, 1), True)
    assert draw.cycle_wh <= 500


def test_two_meters_of_a_room_fill_the_same_tiers_and_are_never_plain():
    version = world.a_version(PERIODS_AND_TIERS | {"tiers": {"cycle": {"months": 12}, "limits": [{"kwh": [1, 2]}]}})
    first = world.a_draw(version)
    meter = makers.a_meter(place=first.property)
    hung = Installation.objects.create(
        property=first.property, room=first.room, meter=meter, starts_at=START, starts_wh=100_000
    )
    values = {
        field.attname: getattr(first, field.attname) for field in Draw._meta.concrete_fields if field.name != "id"
    }
    second = Draw.objects.create(**values | {"meter_id": meter.pk, "installation_id": hung.pk})
    careful.leave(installation_ids=[first.installation_id, hung.pk], from_at=START, reason="shared", now=NOW)
    careful.work(now=NOW)
    world.tell([(one.meter, START + HOUR, 101_500) for one in (first, second)])

    rate()

    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.why_not, second.why_not) == ("shared", "shared")
    valley, fee = 28_800_003, 3_000_000
    # One hour of one period is one slice each: the first takes tier 1 and half of tier 2, the second what is left.
    assert first.total_nano == 1_000 * (valley + fee) + 500 * (valley + fee + 5_000_000)
    assert second.total_nano == 500 * (valley + fee + 5_000_000) + 1_000 * (valley + fee + 30_000_000)


def test_a_household_that_grows_is_plain_until_it_does():
    draw = world.a_draw(world.a_version(PERIODS_AND_TIERS))
    People.objects.create(tenancy=draw.tenancy, starts_date=date(2026, 11, 11), persons=5)
    careful.leave(installation_ids=[draw.installation_id], from_at=START, reason="people", now=NOW)

    careful.work(now=NOW)

    draw.refresh_from_db()
    assert (draw.is_plain, draw.plain_until_at) == (True, START + timedelta(days=1))


def test_without_a_price_readings_wait_and_with_one_they_are_charged():
    draw = world.a_draw()
    TariffAssignment.objects.all().delete()
    world.tell([(draw.meter, START + QUARTER, 100_400), (draw.meter, START + 2 * QUARTER, 10_000)])
    now = NOW
    for _ in range(3):
        rate(now)
        now += HOUR
    assert worth(draw) == 0
    assert "NoTariffError" in Backlog.objects.get().error
    assert WorkItem.objects.get(kind=careful.FAILED).detail["meters"] == [draw.meter.serial]

    TariffAssignment.objects.create(
        property=draw.property, tariff=draw.version.tariff, starts_date=date(2026, 1, 1), assigned_at=NOW
    )
    rate(now)

    assert worth(draw) == 400
    assert not WorkItem.objects.filter(kind=careful.FAILED, state="open").exists()


def test_what_waits_for_a_price_is_not_hurried_by_more_readings_and_fills_no_log(caplog):
    draw = world.a_draw(is_plain=False)
    TariffAssignment.objects.all().delete()
    world.tell([(draw.meter, START + QUARTER, 100_400)])
    rate()
    waits_until = Backlog.objects.get().next_try_at
    world.tell([(draw.meter, START + 2 * QUARTER, 100_500)])

    accrue.accrue(now=NOW)

    assert Backlog.objects.get().next_try_at == waits_until > NOW
    assert not caplog.records


def test_a_poisoned_tariff_holds_up_its_own_meters_and_raises_one_work_item():
    good = world.a_draw()
    poisoned = world.a_version(written={"prices": "none"})
    bad = [world.a_draw(poisoned), world.a_draw(poisoned)]
    draws = [good, *bad]
    world.tell([(draw.meter, START + 2 * QUARTER, 100_600) for draw in draws])
    accrue.accrue(now=NOW)
    world.tell([(draw.meter, START + QUARTER, 100_400) for draw in draws])
    now = NOW
    done = []
    for _ in range(4):
        done.append(rate(now))
        now += HOUR

    assert done == [1, 0, 0, 0]
    assert [worth(draw) for draw in draws] == [600, 600, 600]  # what was accrued stands; what is late waits
    assert {row.installation_id for row in Backlog.objects.all()} == {draw.installation_id for draw in bad}
    item = WorkItem.objects.get()
    assert (item.kind, sorted(item.detail["meters"])) == (careful.FAILED, sorted(one.meter.serial for one in bad))
    world.tell([(good.meter, START + HOUR, 100_900)])
    assert accrue.accrue(now=now).done == 1


def test_what_comes_meanwhile_is_done_once_more():
    draw = world.a_draw()
    careful.leave(installation_ids=[draw.installation_id], from_at=START, reason="late", now=NOW)
    held = Backlog.objects.get()
    careful.leave(installation_ids=[draw.installation_id], from_at=START + HOUR, reason="again", now=NOW)

    assert Backlog.objects.filter(pk=held.pk, bumps=held.bumps).count() == 0
    now_held = Backlog.objects.get()
    assert (now_held.from_at, now_held.reasons) == (START, ["late", "again"])
    assert careful.work(now=NOW) == 1


def test_a_meter_without_a_draw_waits_for_one_and_is_not_forgotten():
    draw = world.a_draw()
    Draw.objects.all().delete()
    world.tell([(draw.meter, START + QUARTER, 100_400)])

    assert rate() == 0
    assert Backlog.objects.get().next_try_at == NOW + careful.WITHOUT_DRAW


def test_a_purse_whose_usage_changed_is_looked_at():
    draw = world.a_draw()
    world.tell([(draw.meter, START + QUARTER, 100_400)])
    Draw.objects.update(is_plain=False)

    rate()

    assert Review.objects.get().purse_id == draw.purse_id


def test_after_a_closed_day_the_count_and_the_open_days_go_on_from_it():
    draw = world.a_draw(world.a_version(PERIODS_AND_TIERS))
    midnight = START + timedelta(days=1)
    world.tell([(draw.meter, midnight - HOUR, 100_900), (draw.meter, midnight + HOUR, 101_100)])
    Draw.objects.update(is_plain=False)
    rate()
    draw.refresh_from_db()
    whole, cycle_wh = draw.total_nano, draw.cycle_wh
    open_nano = draw.day_nano
    world.a_closed_day(
        draw, START.date(), opens=(START, 100_000), closes=(midnight + HOUR, 101_100), energy_wh=1_000,
        cost_nano=whole - open_nano,
    )  # fmt: skip

    careful.leave(installation_ids=[draw.installation_id], from_at=midnight + 2 * HOUR, reason="late", now=NOW)
    assert careful.work(now=NOW) == 1

    draw.refresh_from_db()
    assert (draw.total_nano, draw.cycle_wh, draw.day_nano) == (whole, cycle_wh, open_nano)
    assert cycle_wh == 1_100
