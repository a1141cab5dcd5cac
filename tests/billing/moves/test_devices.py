"""A meter is replaced, a reading put right: what was used is charged as it was in truth."""

from __future__ import annotations

from datetime import timedelta

import pytest

from billing import draws as drawing
from billing import holds, prepaid
from billing.models import Doubt, Draw, Operation, Purse, UsageDay
from billing.moves import devices
from billing.moves.asked import Asked, MoveRefused
from billing.moves.devices import Hung, TakenDown
from billing.rating import accrue, careful, days
from meters.models import Installation, Level, TopUp
from tests import makers
from tests.billing.books import all_adds_up
from tests.billing.rating import world
from tests.billing.rating.world import HOUR, NOW, START

pytestmark = pytest.mark.django_db

NOON = START + 12 * HOUR


@pytest.fixture
def draw() -> Draw:
    return world.a_draw(world.a_version())


@pytest.fixture
def clerk():
    return makers.a_user()


def asked(clerk, *, key="form-1", at=NOON) -> Asked:
    return Asked(key=key, by=clerk, reason="verified until last month", at=at)


def tell(meter, *told, now=NOW):
    world.tell([(meter, START + h * HOUR, wh) for h, wh in told], stored_at=now)
    accrue.accrue(now=now)
    careful.work(now=now)
    days.close(now=now)


def test_a_replaced_meters_energy_is_charged_to_its_last_register_and_the_new_one_goes_on(draw, clerk):
    tell(draw.meter, (6, 100_600), now=START + 7 * HOUR)
    new = makers.a_meter(place=draw.property)

    done = devices.replace_meter(
        asked(clerk),
        installation_id=draw.installation_id,
        old=TakenDown(import_wh=101_200),
        new=Hung(meter_id=new.pk, import_wh=7, ct_ratio=2),
        now=NOON,
    )
    tell(new, (24, 407), (48, 907))

    assert [(one["meter"], one["import_wh"], one["role"]) for one in done.registers] == [
        (draw.meter.serial, 101_200, "before"),
        (new.serial, 7, "after"),
    ]
    old = Installation.objects.get(pk=draw.installation_id)
    assert (old.ends_at, old.ends_wh) == (NOON, 101_200)
    assert sum(UsageDay.objects.values_list("energy_wh", flat=True)) == 1_200 + 2 * 900
    assert Purse.objects.get(pk=draw.purse_id).paid_fen == -150
    assert Draw.objects.get(is_current=True).meter == new
    assert (
        devices.replace_meter(
            asked(clerk),
            installation_id=draw.installation_id,
            old=TakenDown(import_wh=101_200),
            new=Hung(meter_id=new.pk, import_wh=7, ct_ratio=2),
            now=NOW,
        )
        == done
    )
    all_adds_up()


def test_a_meter_that_hangs_elsewhere_or_is_another_propertys_is_refused(draw, clerk):
    elsewhere = makers.a_meter(room=makers.a_room(place=draw.property))
    for meter in (elsewhere, makers.a_meter()):
        with pytest.raises(MoveRefused):
            devices.replace_meter(
                asked(clerk),
                installation_id=draw.installation_id,
                old=TakenDown(import_wh=101_200),
                new=Hung(meter_id=meter.pk, import_wh=0),
                now=NOW,
            )
    assert Installation.objects.get(pk=draw.installation_id).ends_at is None


def test_money_in_the_old_meter_goes_on_into_the_new_one(clerk):
    tenancy = makers.a_tenancy(starts_at=START)
    purse = makers.a_purse(tenancy=tenancy)
    old, new = makers.a_meter(place=tenancy.property), makers.a_meter(place=tenancy.property)
    for meter in (old, new):
        meter.model.balance_held_by = "meter"
        meter.model.save()
    hung = Installation.objects.create(
        property=tenancy.property, room=tenancy.room, meter=old, starts_at=START, starts_wh=0, starts_balance_fen=0
    )
    devices.draws.align(room_ids=[tenancy.room_id], now=START)
    prepaid.top_up(
        key="paid", kind="recharge", purse_id=purse.pk, amount_fen=5_000, source=prepaid.Source("cash", "desk"),
        happened_at=START, trace="", now=START,
    )  # fmt: skip
    TopUp.objects.update(state="landed", landed_at=START + HOUR, number=1)
    prepaid.settle(now=START + HOUR)
    assert Purse.objects.get(pk=purse.pk).in_meter_fen == 5_000

    devices.replace_meter(
        asked(clerk),
        installation_id=hung.pk,
        old=TakenDown(import_wh=0, balance_fen=5_000),
        new=Hung(meter_id=new.pk, import_wh=0),
        now=NOON,
    )

    purse.refresh_from_db()
    assert (purse.paid_fen, purse.in_transit_fen, purse.in_meter_fen) == (0, 5_000, 0)
    assert TopUp.objects.get(state="waiting").meter == new


def test_a_wrong_reading_is_put_right_and_the_closed_days_with_it(draw, clerk):
    tell(draw.meter, (12, 109_000), (24, 109_400), (48, 111_000))
    assert sum(UsageDay.objects.values_list("energy_wh", flat=True)) == 11_000
    posted_fen = Purse.objects.get(pk=draw.purse_id).paid_fen

    done = devices.correct_reading(asked(clerk), installation_id=draw.installation_id, right_wh=101_000, now=NOW)
    careful.work(now=NOW)
    days.close(now=NOW)

    assert [(one["import_wh"], one["role"]) for one in done.registers] == [(109_000, "before"), (101_000, "after")]
    by_hour = UsageDay.objects.get(usage_date=START.date()).slot_wh
    assert sum(by_hour[:12]) < 1_100
    assert Purse.objects.get(pk=draw.purse_id).paid_fen == posted_fen  # within the day: what was used stays
    with pytest.raises(MoveRefused):
        devices.correct_reading(asked(clerk, key="x", at=NOON + HOUR), installation_id=draw.installation_id,
                                right_wh=None, now=NOW)  # fmt: skip
    all_adds_up()


def test_the_last_reading_put_right_gives_back_what_it_took(draw, clerk):
    tell(draw.meter, (12, 101_000), (24, 111_000))
    assert Purse.objects.get(pk=draw.purse_id).paid_fen == -550

    devices.correct_reading(
        asked(clerk, at=START + 24 * HOUR), installation_id=draw.installation_id, right_wh=102_000, now=NOW
    )
    careful.work(now=NOW)
    days.close(now=NOW)

    assert Purse.objects.get(pk=draw.purse_id).paid_fen == -100
    assert Operation.objects.get().kind == "correct_reading"
    all_adds_up()


def test_a_recharge_that_waits_for_the_old_meter_goes_on_into_the_new_one(clerk):
    tenancy = makers.a_tenancy(starts_at=START)
    purse = makers.a_purse(tenancy=tenancy)
    old, new = (makers.a_meter(place=tenancy.property, held_by="meter") for _each in range(2))
    hung = Installation.objects.create(
        property=tenancy.property, room=tenancy.room, meter=old, starts_at=START, starts_wh=0, starts_balance_fen=0
    )
    drawing.align(room_ids=[tenancy.room_id], now=START)
    pay(purse)
    assert TopUp.objects.get().meter == old

    replace(clerk, hung, new)

    cancelled, waiting = TopUp.objects.order_by("pk")
    assert (cancelled.meter, cancelled.state) == (old, "cancelled")
    assert (waiting.meter, waiting.state, waiting.amount_fen) == (new, "waiting", 5_000)
    purse.refresh_from_db()
    assert (purse.paid_fen, purse.in_transit_fen) == (0, 5_000)
    all_adds_up()


def test_a_recharge_that_waits_for_a_broken_meter_is_the_homes_where_the_server_holds_the_new_ones_money(clerk):
    tenancy = makers.a_tenancy(starts_at=START)
    purse = makers.a_purse(tenancy=tenancy)
    old, new = makers.a_meter(place=tenancy.property, held_by="meter"), makers.a_meter(place=tenancy.property)
    hung = Installation.objects.create(
        property=tenancy.property, room=tenancy.room, meter=old, starts_at=START, starts_wh=0, starts_balance_fen=0
    )
    drawing.align(room_ids=[tenancy.room_id], now=START)
    pay(purse)

    replace(clerk, hung, new)

    purse.refresh_from_db()
    assert (purse.paid_fen, purse.in_transit_fen, TopUp.objects.get().state) == (5_000, 0, "cancelled")
    all_adds_up()


def pay(purse: Purse) -> None:
    prepaid.top_up(
        key="paid", kind="recharge", purse_id=purse.pk, amount_fen=5_000, source=prepaid.Source("cash", "desk"),
        happened_at=START, trace="", now=START,
    )  # fmt: skip


def replace(clerk, hung: Installation, new) -> Operation:
    broken, fresh = TakenDown(import_wh=0), Hung(meter_id=new.pk, import_wh=0)
    return devices.replace_meter(asked(clerk), installation_id=hung.pk, old=broken, new=fresh, now=NOON)


def test_a_reading_of_another_room_is_not_corrected_here(draw, clerk):
    tell(draw.meter, (6, 100_600), (11, 101_100))
    new = makers.a_meter(place=draw.property)
    devices.replace_meter(
        asked(clerk, key="swap"), installation_id=draw.installation_id, old=TakenDown(import_wh=101_200),
        new=Hung(meter_id=new.pk, import_wh=0), now=NOON,
    )  # fmt: skip
    elsewhere = Installation.objects.create(
        property=draw.property, room=makers.a_room(place=draw.property), meter=draw.meter, starts_at=NOON + 2 * HOUR,
        starts_wh=101_200,
    )  # fmt: skip

    with pytest.raises(MoveRefused, match="does not hang there then"):
        devices.correct_reading(
            asked(clerk, at=START + 11 * HOUR), installation_id=elsewhere.pk, right_wh=100_900, now=NOW
        )

    assert not Operation.objects.filter(kind="correct_reading").exists()
    assert not Doubt.objects.exists()


def test_a_correction_to_nothing_used_is_in_the_trail(clerk):
    draw = world.a_draw(world.a_version(), last_wh=0)
    tell(draw.meter, (6, 600), (12, 5))

    done = devices.correct_reading(
        asked(clerk, at=START + 6 * HOUR), installation_id=draw.installation_id, right_wh=0, now=NOW
    )

    assert [(one["import_wh"], one["role"]) for one in done.registers] == [(600, "before"), (0, "after")]


def test_money_goes_on_into_the_new_meter_of_a_home_whose_end_is_known(clerk):
    tenancy = makers.a_tenancy(starts_at=START, ends_at=NOW + timedelta(days=200))
    purse = makers.a_purse(tenancy=tenancy)
    old, new = (makers.a_meter(place=tenancy.property, held_by="meter") for _each in range(2))
    hung = Installation.objects.create(
        property=tenancy.property, room=tenancy.room, meter=old, starts_at=START, starts_wh=0, starts_balance_fen=0
    )
    drawing.align(room_ids=[tenancy.room_id], now=START)
    pay(purse)

    done = replace(clerk, hung, new)

    assert done.tenancy == tenancy
    assert TopUp.objects.get(state="waiting").meter == new
    all_adds_up()


def test_a_hold_on_an_empty_room_is_the_new_meters_too(draw, clerk):
    tenancy = draw.tenancy
    tenancy.ends_at = START + HOUR
    tenancy.save()
    drawing.align(room_ids=[draw.room_id], now=NOW)
    holds.hold_room(room=draw.room, position="open", reason="gas", by=clerk, until=None, now=NOON)
    new = makers.a_meter(place=draw.property)

    devices.replace_meter(
        asked(clerk), installation_id=draw.installation_id, old=TakenDown(import_wh=100_000),
        new=Hung(meter_id=new.pk, import_wh=0), now=NOON,
    )  # fmt: skip

    level = Level.objects.get(meter=new, kind="relay")
    assert (level.wanted, level.reason) == ("open", "hold_open")
