"""Days are closed by the engine when their readings are there, once, whoever closes and however often."""

from __future__ import annotations

import threading
from datetime import date, timedelta

import pytest
from django.db import connection

from billing import draws as drawing
from billing.models import Backlog, Draw, JournalEntry, Purse, UsageDay, UsageMonth
from billing.rating import accrue, careful, days
from meters.models import Installation
from notifications.models import WorkItem
from tests import makers
from tests.billing.rating import world
from tests.billing.rating.world import HOUR, NOW, START

pytestmark = pytest.mark.django_db

PRICED = {**world.ONE_PRICE, "fee_yuan": "0.03"}


def a_home(definition=PRICED, **more) -> Draw:
    return world.a_draw(world.a_version(definition), **more)


def use(draw: Draw, told: list[tuple[float, int]], *, now=NOW) -> None:
    """The meter tells its register so many hours after START, and it is rated."""
    world.tell([(draw.meter, START + hours * HOUR, wh) for hours, wh in told], stored_at=now)
    accrue.accrue(now=now)
    careful.work(now=now)
    draw.refresh_from_db()


def test_a_day_whose_midnight_was_read_over_is_kept_with_its_registers_and_paid():
    draw = a_home()
    use(draw, [(6, 101_000), (23, 102_000), (25, 102_400), (30, 103_000)])
    total_nano = draw.total_nano

    assert days.close(now=NOW) == 1

    day = UsageDay.objects.get()
    assert (day.usage_date, day.opens_wh, day.closes_wh, day.energy_wh) == (START.date(), 100_000, 102_400, 2_200)
    assert (day.cost_nano, day.fee_nano, day.posted_fen) == (2_200 * 50_000_000, 2_200 * 3_000_000, 117)
    assert sum(day.slot_wh) == 2_200
    draw.refresh_from_db()
    assert (draw.total_nano, draw.closed_nano, draw.posted_fen) == (total_nano, 2_200 * 53_000_000, 117)
    assert draw.closed_until == date(2026, 11, 11)
    assert Purse.objects.get(pk=draw.purse_id).paid_fen == -117
    month = UsageMonth.objects.get()
    assert (month.days, month.energy_wh, month.cost_nano) == (1, 2_200, 110_000_000_000)
    assert not WorkItem.objects.exists()


def test_closing_again_does_nothing_and_the_next_day_goes_on_from_there():
    draw = a_home()
    use(draw, [(25, 102_400)])
    assert days.close(now=NOW) == 1
    assert days.close(now=NOW) == 0
    use(draw, [(49, 104_800)], now=NOW + HOUR)

    assert days.close(now=NOW + HOUR) == 1

    assert sum(UsageDay.objects.values_list("energy_wh", flat=True)) == 2_304 + 2_396
    draw.refresh_from_db()
    assert draw.posted_fen == sum(UsageDay.objects.values_list("posted_fen", flat=True))
    assert UsageMonth.objects.get().days == 2


def test_days_without_energy_are_days_too():
    draw = a_home()
    use(draw, [(72, 100_000)], now=NOW + 25 * HOUR)

    assert days.close(now=NOW + 25 * HOUR) == 3
    assert (UsageMonth.objects.get().days, UsageMonth.objects.get().period_wh) == (3, {})


def test_a_silent_meters_day_stays_open():
    use(a_home(), [(20, 102_000)])

    assert days.close(now=NOW) == 0
    assert not UsageDay.objects.exists()


def test_a_day_with_something_in_the_backlog_stays_open():
    draw = a_home()
    use(draw, [(25, 102_400)])
    Backlog.objects.create(
        installation=draw.installation, property=draw.property, from_at=START, reasons=["late"], next_try_at=NOW
    )

    assert days.close(now=NOW) == 0


def test_readings_that_are_stored_and_not_rated_wait_and_are_counted_once():
    draw = a_home()
    use(draw, [(25, 102_400)])
    world.tell([(draw.meter, START + 26 * HOUR, 102_500)])

    assert days.close(now=NOW) == 0
    accrue.accrue(now=NOW)

    assert days.close(now=NOW) == 1
    draw.refresh_from_db()
    assert draw.total_nano == 2_500 * 53_000_000


def test_a_day_on_which_a_tenant_moves_in_is_paid_by_both():
    draw = a_home()
    Draw.objects.all().delete()
    draw.tenancy.starts_at = START + 12 * HOUR
    draw.tenancy.save(update_fields=["starts_at"])
    assert drawing.align(room_ids=[draw.room_id], now=NOW) == 2
    world.tell([(draw.meter, START + hours * HOUR, 100_000 + 100 * hours) for hours in (10, 14, 20, 26)])
    accrue.accrue(now=NOW)
    careful.work(now=NOW)

    assert days.close(now=NOW) == 2

    empty, let = Draw.objects.order_by("starts_at")
    assert empty.purse == Purse.objects.get(property=draw.property, tenancy=None)
    assert (empty.days.get().energy_wh, let.days.get().energy_wh) == (1_200, 1_200)
    assert (empty.posted_fen, let.posted_fen) == (64, 64)
    assert (empty.is_current, let.is_current) == (False, True)


def test_several_meters_of_a_home_pay_from_one_purse_and_fill_its_tiers_together():
    tiers = {**world.ONE_PRICE, "tiers": {"cycle": {"months": 12}, "limits": [{"kwh": [1]}]}}
    tiers["prices"] = [{"yuan": "0.50", "surcharge_yuan": ["0.30"]}]
    draw = a_home(tiers)
    second = makers.a_meter(place=draw.property)
    Installation.objects.create(property=draw.property, room=draw.room, meter=second, starts_at=START, starts_wh=0)
    drawing.align(room_ids=[draw.room_id], now=NOW)
    world.tell([(draw.meter, START + 24 * HOUR, 101_000), (second, START + 24 * HOUR, 1_000)])
    accrue.accrue(now=NOW)
    careful.work(now=NOW)

    days.close(now=NOW)

    assert UsageDay.objects.count() == 2
    assert Purse.objects.get(pk=draw.purse_id).paid_fen == -(50 + 80)


def test_what_sql_accrued_otherwise_follows_the_engine_and_is_reported():
    draw = a_home()
    use(draw, [(25, 102_400)])
    Draw.objects.update(total_nano=7)

    days.close(now=NOW)

    draw.refresh_from_db()
    assert draw.total_nano == 2_400 * 53_000_000
    assert WorkItem.objects.get().kind == "rating_differs"


@pytest.mark.django_db(transaction=True)
def test_two_who_close_at_once_post_once():
    homes = [a_home() for _ in range(4)]
    for draw in homes:
        use(draw, [(25, 102_400)])
    ready, closed = threading.Barrier(2), []

    def one() -> None:
        try:
            ready.wait()
            closed.append(days.close(now=NOW))
        finally:
            connection.close()

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(closed) == 4
    assert UsageDay.objects.count() == JournalEntry.objects.count() == 4
    assert {month.days for month in UsageMonth.objects.all()} == {1}


def test_nothing_is_left_half_done_when_closing_fails():
    draw = a_home()
    use(draw, [(25, 102_400)])
    with connection.cursor() as cursor:
        cursor.execute("alter table billing_usagemonth add constraint never check (days < 0) not valid")

    assert days.close(now=NOW) == 0

    assert not UsageDay.objects.exists()
    assert not JournalEntry.objects.exists()
    with connection.cursor() as cursor:
        cursor.execute("alter table billing_usagemonth drop constraint never")
    assert days.close(now=NOW + timedelta(seconds=10)) == 1


def test_registers_that_do_not_belong_to_the_total_are_put_before_a_person_and_time_decides():
    draw = a_home(world.PERIODS_AND_TIERS)
    for hours, wh, registers in ((1, 100_400, [0, 400, 0, 0, 0]), (25, 110_000, [0, 0, 0, 0, 0])):  # one was reset
        world.tell([(draw.meter, START + hours * HOUR, wh)], period_wh=registers)
    while accrue.accrue(now=NOW).batches or careful.work(now=NOW):
        pass

    assert days.close(now=NOW) == 1

    item = WorkItem.objects.get(kind="registers_differ")
    assert (item.detail["meter"], item.property) == (draw.meter.serial, draw.property)
    assert UsageDay.objects.get().energy_wh == 9_600
