"""Who moves pays for what they used up to the register, once, and takes the rest along."""

from __future__ import annotations

import random
import threading
from datetime import date, timedelta

import pytest
from django.db import connection

from accounts.models import Member, Tenancy
from billing import draws as drawing
from billing import ledger, prepaid
from billing.models import Draw, Household, JournalEntry, Operation, Purse, TariffAssignment, UsageDay
from billing.moves import homes
from billing.moves.asked import Asked, MoveRefused
from billing.rating import accrue, careful, days, disputing
from meters.models import Installation, Reading
from tests import makers
from tests.billing.books import all_adds_up
from tests.billing.rating import world
from tests.billing.rating.world import HOUR, NOW, START

pytestmark = pytest.mark.django_db

PRICED = {**world.ONE_PRICE, "fee_yuan": "0.03"}
NOON = START + 12 * HOUR


@pytest.fixture
def draw() -> Draw:
    draw = world.a_draw(world.a_version(PRICED))
    assert draw.tenancy
    Member.objects.create(tenancy=draw.tenancy, user=makers.a_user(), role="holder", joined_at=START)
    prepaid.top_up(
        key="paid", kind="recharge", purse_id=draw.purse_id, amount_fen=5_000, source=prepaid.Source("cash", "desk"),
        happened_at=START, trace="", now=START,
    )  # fmt: skip
    return draw


@pytest.fixture
def clerk():
    return makers.a_user()


def asked(clerk, *, key="form-1", at=NOON, reason="lease ended") -> Asked:
    return Asked(key=key, by=clerk, reason=reason, at=at)


def tell(draw, *told, now=NOW):
    world.tell([(draw.meter, START + h * HOUR, wh) for h, wh in told], stored_at=now)
    settle(now)


def settle(now=NOW):
    accrue.accrue(now=now)
    careful.work(now=now)
    days.close(now=now)


def paid(tenancy) -> int:
    return Purse.objects.get(tenancy=tenancy).paid_fen


def test_who_moves_out_is_billed_to_the_register_and_told_what_is_left(draw, clerk):
    tell(draw, (6, 100_600), now=START + 7 * HOUR)

    done = homes.move_out(asked(clerk), tenancy_id=draw.tenancy_id, told={draw.meter_id: 101_200}, now=NOON + HOUR)

    assert done.registers == [{"meter": draw.meter.serial, "import_wh": 101_200, "role": "before"}]
    assert done.outcome == {
        "paid_fen": 5_000 - 64,
        "subsidy_fen": 0,
        "in_transit_fen": 0,
        "in_meter_fen": 0,
        "unbilled_fen": 0,
        "is_billed": True,
    }
    assert Tenancy.objects.get(pk=draw.tenancy_id).ends_at == NOON
    assert Reading.objects.get(meter=draw.meter_id, read_at=NOON).source == Reading.Source.STAFF
    assert (done.done_by, done.reason, done.room_id) == (clerk, "lease ended", draw.room_id)
    all_adds_up()


def test_the_same_form_sent_twice_is_done_once(draw, clerk):
    first = homes.move_out(asked(clerk), tenancy_id=draw.tenancy_id, told={draw.meter_id: 101_200}, now=NOON)

    again = homes.move_out(asked(clerk), tenancy_id=draw.tenancy_id, told={draw.meter_id: 101_200}, now=NOON)

    assert again == first
    with pytest.raises(MoveRefused):
        homes.move_out(asked(clerk, key="form-2"), tenancy_id=draw.tenancy_id, told={}, now=NOON + HOUR)
    with pytest.raises(MoveRefused):
        homes.move_in(asked(clerk), room_id=draw.room_id, told={}, now=NOON + HOUR)
    assert Operation.objects.count() == 1


@pytest.mark.parametrize(
    ("wh", "told"), [(99_000, "100.0 kWh before"), (900_000, "100.0 kWh before"), (101_900, "101.8 kWh after")]
)
def test_a_register_that_cannot_be_right_is_refused_and_changes_nothing(draw, clerk, wh, told):
    tell(draw, (18, 101_800))

    with pytest.raises(MoveRefused, match=told):
        homes.move_out(asked(clerk), tenancy_id=draw.tenancy_id, told={draw.meter_id: wh}, now=NOW)

    assert Tenancy.objects.get(pk=draw.tenancy_id).ends_at is None
    assert not Operation.objects.exists()
    assert Reading.objects.count() == 1


@pytest.mark.parametrize(
    "wrong", [{"reason": " "}, {"at": NOW + HOUR}, {"at": START}], ids=["no reason", "to come", "before they came"]
)
def test_what_makes_no_sense_is_refused(draw, clerk, wrong):
    with pytest.raises(MoveRefused):
        homes.move_out(asked(clerk, **wrong), tenancy_id=draw.tenancy_id, told={}, now=NOW)


def test_a_meter_of_another_room_is_refused(draw, clerk):
    elsewhere = makers.a_meter(room=makers.a_room(place=draw.property))

    with pytest.raises(MoveRefused):
        homes.move_out(asked(clerk), tenancy_id=draw.tenancy_id, told={elsewhere.pk: 5}, now=NOW)


def test_without_a_register_the_last_bill_waits_for_the_next_reading(draw, clerk):
    tell(draw, (6, 100_600), now=START + 7 * HOUR)

    done = homes.move_out(asked(clerk), tenancy_id=draw.tenancy_id, told={}, now=NOON)

    assert (done.outcome["is_billed"], done.outcome["unbilled_fen"]) == (False, 32)
    tell(draw, (18, 101_800))
    assert paid(draw.tenancy) == 5_000 - 64
    all_adds_up()


def test_nobody_is_kept_from_moving_out_because_no_price_is_known(draw, clerk):
    TariffAssignment.objects.all().delete()

    done = homes.move_out(asked(clerk), tenancy_id=draw.tenancy_id, told={draw.meter_id: 101_200}, now=NOON)

    assert not done.outcome["is_billed"]


def test_one_moves_out_the_room_stands_empty_and_the_next_moves_in_and_each_pays_their_own(draw, clerk):
    tell(draw, (6, 100_600), now=START + 7 * HOUR)
    homes.move_out(asked(clerk), tenancy_id=draw.tenancy_id, told={draw.meter_id: 101_200}, now=NOON)
    tell(draw, (20, 101_300), now=START + 20 * HOUR)
    in_at = START + 24 * HOUR
    come = homes.move_in(
        asked(clerk, key="form-2", at=in_at, reason="new lease"),
        room_id=draw.room_id,
        told={draw.meter_id: 101_500},
        now=in_at,
    )
    tell(draw, (36, 103_000), (48, 104_500))

    assert come.tenancy
    assert come.tenancy.starts_at == in_at
    assert paid(draw.tenancy) == 5_000 - 64  # 1,200 Wh
    assert Purse.objects.get(tenancy=None).paid_fen == -16  # 300 Wh
    assert paid(come.tenancy) == -159  # 3,000 Wh
    assert sum(UsageDay.objects.values_list("energy_wh", flat=True)) == 4_500
    with pytest.raises(MoveRefused):
        homes.move_in(asked(clerk, key="form-3", at=NOW - HOUR), room_id=draw.room_id, told={}, now=NOW)
    all_adds_up()


def test_what_was_on_its_way_into_a_meter_is_called_back(clerk):
    home = makers.a_tenancy(starts_at=START)
    purse = makers.a_purse(tenancy=home)
    model = makers.a_meter(place=home.property).model
    model.balance_held_by = "meter"
    model.save()
    meter = makers.a_meter(place=home.property)
    meter.model = model
    meter.save()
    Installation.objects.create(property=home.property, room=home.room, meter=meter, starts_at=START, starts_wh=0)
    prepaid.top_up(
        key="paid", kind="recharge", purse_id=purse.pk, amount_fen=5_000, source=prepaid.Source("cash", "desk"),
        happened_at=START, trace="", now=START,
    )  # fmt: skip
    assert Purse.objects.get(pk=purse.pk).in_transit_fen == 5_000

    done = homes.move_out(asked(clerk), tenancy_id=home.pk, told={meter.pk: 0}, now=NOON)

    assert (done.outcome["paid_fen"], done.outcome["in_transit_fen"]) == (5_000, 0)


def test_who_changes_the_room_takes_people_and_money_along(draw, clerk):
    tell(draw, (6, 100_600), now=START + 7 * HOUR)
    ledger.post(
        key="gift", kind="gift", property_id=None, happened_at=START, trace="", actor_id=None, reason="", now=START,
        lines=[ledger.Line(ledger.account("subsidies", "t"), ledger.purse_account("subsidy", draw.purse_id), 10)],
    )  # fmt: skip
    there = makers.a_room(place=draw.property)
    meter = makers.a_meter(place=draw.property)
    Installation.objects.create(property=draw.property, room=there, meter=meter, starts_at=START, starts_wh=50)

    done = homes.change_room(
        asked(clerk, reason="a larger one"),
        tenancy_id=draw.tenancy_id,
        to_room_id=there.pk,
        told={draw.meter_id: 101_200},
        told_there={meter.pk: 50},
        now=NOON,
    )

    assert done.tenancy
    assert (done.tenancy.room, done.to_room) == (there, there)
    assert [member.role for member in done.tenancy.members.all()] == ["holder"]
    old, new = Purse.objects.get(tenancy=draw.tenancy), Purse.objects.get(tenancy=done.tenancy)
    assert (old.paid_fen, old.subsidy_fen) == (0, 0)
    assert (new.paid_fen, new.subsidy_fen) == (5_000 - 54, 0)
    assert JournalEntry.objects.get(kind="room_change").reason == "a larger one"
    all_adds_up()


def test_a_debt_moves_along_too(draw, clerk):
    prepaid.take_back(
        key="back", kind="refund", purse_id=draw.purse_id, amount_fen=6_000, target=prepaid.Source("cash", "desk"),
        happened_at=START, trace="", actor_id=None, reason="", now=START,
    )  # fmt: skip
    there = makers.a_room(place=draw.property)

    done = homes.change_room(
        asked(clerk), tenancy_id=draw.tenancy_id, to_room_id=there.pk, told={draw.meter_id: 100_000}, told_there={},
        now=NOON,
    )  # fmt: skip

    assert Purse.objects.get(tenancy=done.tenancy).paid_fen == -1_000
    assert paid(draw.tenancy) == 0
    all_adds_up()


def test_a_room_that_is_let_or_of_another_property_is_refused(draw, clerk):
    let = makers.a_tenancy(room=makers.a_room(place=draw.property), starts_at=START).room
    for room in (let, makers.a_room(), draw.room):
        with pytest.raises(MoveRefused):
            homes.change_room(
                asked(clerk), tenancy_id=draw.tenancy_id, to_room_id=room.pk, told={}, told_there={}, now=NOW
            )
    assert Tenancy.objects.get(pk=draw.tenancy_id).ends_at is None


def test_a_failure_half_way_leaves_everything_as_it_was(draw, clerk):
    there = makers.a_room(place=draw.property)
    with connection.cursor() as cursor:
        cursor.execute("alter table billing_operation add constraint never check (id < 0) not valid")

    with pytest.raises(Exception, match="never"):
        homes.change_room(
            asked(clerk), tenancy_id=draw.tenancy_id, to_room_id=there.pk, told={draw.meter_id: 101_200},
            told_there={}, now=NOON,
        )  # fmt: skip

    assert Tenancy.objects.count() == 1
    assert paid(draw.tenancy) == 5_000
    assert not Reading.objects.exists()
    with connection.cursor() as cursor:
        cursor.execute("alter table billing_operation drop constraint never")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", range(3))
def test_moving_out_twice_while_readings_come_and_days_are_closed_bills_once(draw, clerk, seed):
    dice = random.Random(seed)
    out_at = START + 30 * HOUR
    ready, outcomes = threading.Barrier(4), []

    def leave(key):
        try:
            outcomes.append(
                homes.move_out(
                    asked(clerk, key=key, at=out_at), tenancy_id=draw.tenancy_id, told={draw.meter_id: 103_000}, now=NOW
                ).pk
            )
        except MoveRefused:
            outcomes.append(None)

    def readings():
        hours = [6, 12, 18, 25, 36, 42]
        dice.shuffle(hours)
        for hour in hours:
            world.tell([(draw.meter, START + hour * HOUR, 100_000 + 100 * hour)], stored_at=NOW)
            accrue.accrue(now=NOW)
            careful.work(now=NOW)

    def closing():
        for _ in range(8):
            days.close(now=NOW)

    acts = [lambda: leave("a"), lambda: leave("a" if seed else "b"), readings, closing]

    def one(act):
        try:
            ready.wait()
            act()
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.tell([(draw.meter, START + 48 * HOUR, 104_800)], stored_at=NOW)
    drawing.align(room_ids=[draw.room_id], now=NOW + timedelta(seconds=1))
    settle(NOW + timedelta(minutes=2))

    assert Operation.objects.count() == 1
    assert len({pk for pk in outcomes if pk}) == 1
    assert paid(draw.tenancy) == 5_000 - 159  # 3,000 Wh
    assert Purse.objects.get(tenancy=None).paid_fen == -95  # 1,800 Wh
    all_adds_up()


def test_who_has_left_does_not_come_along(draw, clerk):
    """Neither somebody who was sent out nor the holder of before, of whom there would be two."""
    Member.objects.update(left_at=START)
    user = makers.a_user()
    Member.objects.create(tenancy=draw.tenancy, user=makers.a_user(), role="sharer", joined_at=START, left_at=START)
    Member.objects.create(tenancy=draw.tenancy, user=user, role="holder", joined_at=START)
    there = makers.a_room(place=draw.property)

    done = homes.change_room(
        asked(clerk), tenancy_id=draw.tenancy_id, to_room_id=there.pk, told={draw.meter_id: 101_200}, told_there={},
        now=NOON,
    )  # fmt: skip

    assert [(one.user, one.role) for one in done.tenancy.members.all()] == [(user, "holder")]


def test_how_many_they_are_comes_along(draw, clerk):
    tenancy = draw.tenancy
    for on_date, persons in ((date(2026, 11, 1), 2), (date(2026, 11, 5), 5), (date(2026, 12, 1), 6)):
        Household.objects.create(tenancy=tenancy, starts_date=on_date, persons=persons, proof=f"{persons} names")
    room = makers.a_room(place=draw.property)
    makers.a_meter(room=room)

    done = homes.change_room(
        asked(clerk), tenancy_id=tenancy.pk, to_room_id=room.pk, told={draw.meter_id: 101_200}, told_there={}, now=NOON
    )

    moved = Household.objects.filter(tenancy=done.tenancy).order_by("starts_date")
    assert [(one.starts_date, one.persons, one.proof) for one in moved] == [
        (date(2026, 11, 10), 5, "5 names"),
        (date(2026, 12, 1), 6, "6 names"),
    ]


def test_money_for_what_is_in_dispute_stays_behind(draw, clerk):
    tell(draw, (6, 100_600), (11, 101_100), now=START + 11 * HOUR)
    claim = disputing.Claim(
        tenancy=draw.tenancy, by=draw.tenancy.members.get().user, read_at=START + 6 * HOUR, reason="away", key="k" * 9
    )
    dispute = disputing.open_dispute(claim, now=START + 11 * HOUR)
    there = makers.a_room(place=draw.property)

    done = homes.change_room(
        asked(clerk), tenancy_id=draw.tenancy_id, to_room_id=there.pk, told={draw.meter_id: 101_200}, told_there={},
        now=NOON,
    )  # fmt: skip
    stayed_fen = paid(draw.tenancy)
    disputing.decide(dispute_id=dispute.pk, as_="dismissed", by=clerk, note="it is right", now=NOW)
    settle()

    assert (stayed_fen, done.outcome["moved_paid_fen"]) == (64, 5_000 - 64)
    assert (paid(draw.tenancy), paid(done.tenancy)) == (0, 5_000 - 64)
    all_adds_up()
