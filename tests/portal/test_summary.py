"""Each morning the staff of a property are told of the day before."""

from __future__ import annotations

from datetime import date, timedelta
from functools import partial

import pytest

from accounts.models import Property
from billing.models import Alert, Blackout, Draw, Purse, UsageDay
from billing.tariff.civil import instant
from notifications import worklist
from notifications.models import Message
from payments.models import CounterReceipt, Payment
from portal import summary
from tests import makers
from tests.billing.rating import world
from tests.racing import race

pytestmark = pytest.mark.django_db
TODAY = date(2026, 11, 12)
YESTERDAY = TODAY - timedelta(days=1)
MORNING = instant(TODAY, minute=8 * 60 + 30)


@pytest.fixture
def draw() -> Draw:
    return world.a_draw()


def paid(purse: Purse, fen: int, *, hour: int, state: str = "credited") -> None:
    at = instant(YESTERDAY, minute=hour * 60)
    order = makers.an_order(purse=purse, amount_fen=fen)
    merchant = makers.a_merchant()
    Payment.objects.create(
        merchant=merchant,
        property=purse.property,
        provider_transaction=f"t{order.pk}",
        number=order.number,
        order=order,
        purse=purse,
        amount_fen=fen,
        paid_at=at,
        found_at=at,
        found_by="callback",
        state=state,
        suspicion="" if state == "credited" else "surplus",
        trace="t",
    )


def taken(purse: Purse, fen: int, **more: object) -> None:
    n = CounterReceipt.objects.count()
    about = {"number": f"r{n}", "form_digest": f"{n}", "property": purse.property, "purse": purse, "amount_fen": fen}
    taken = {"taken_at": instant(YESTERDAY, minute=600), "taken_by": makers.a_user(), "trace": "t"}
    CounterReceipt.objects.create(**about | taken | more)


def a_day(draw: Draw, *, energy_wh: int, on: date = YESTERDAY) -> None:
    opens, closes = (instant(on), 0), (instant(on + timedelta(days=1)), energy_wh)
    world.a_closed_day(draw, on, opens=opens, closes=closes, energy_wh=energy_wh)


def test_it_counts_money_light_energy_and_what_waits(draw):
    purse, place = draw.purse, draw.property
    paid(purse, 5000, hour=1)
    paid(purse, 2500, hour=23)
    paid(purse, 9900, hour=12, state="suspended")
    paid(purse, 100, hour=24)  # today
    taken(purse, 1000)
    taken(purse, 7000, corrected_at=MORNING, corrected_by=makers.a_user(), correction_reason="typing error")
    for level in ("percent:20", "percent:10"):
        Alert.objects.create(purse=purse, level=level, recharge=0, raised_at=MORNING, available_fen=0)
    Blackout.objects.create(purse=purse, cause="spent", began_at=MORNING)
    a_day(draw, energy_wh=4200)
    worklist.raise_item(key="k", kind="bad_frame", property_id=place.pk, detail={}, trace="", now=MORNING)

    assert summary.tell(now=MORNING) == 1

    message = Message.objects.get(kind="daily_summary")
    assert (message.tenancy_id, message.property_id) == (None, place.pk)
    figures = {name: value for name, value in message.context.items() if name != "summary"}
    assert figures == {
        "day": "2026-11-11",
        "recharges": 3,
        "recharged_fen": 8500,
        "homes": 1,
        "homes_low": 1,
        "homes_off": 1,
        "energy_wh": 4200,
        "work_items": 1,
    }
    assert message.context["summary"]["en"] == (
        "3 recharges, ¥85.00; 4.2 kWh; 1 homes, 1 low, 1 without power; 1 open on the work list"
    )


def test_it_comes_at_half_past_eight_and_once_a_day(draw):
    assert summary.tell(now=MORNING - timedelta(seconds=1)) == 0
    for minutes in (0, 10, 300):
        summary.tell(now=MORNING + timedelta(minutes=minutes))
    assert Message.objects.count() == 1

    summary.tell(now=MORNING + timedelta(days=1))

    assert Message.objects.count() == 2
    assert draw.property_id == Message.objects.first().property_id


def test_where_nobody_lives_nobody_is_told_and_others_have_their_own_figures(draw):
    makers.a_property()
    other = makers.a_purse(tenancy=makers.a_tenancy(room=makers.a_room()))
    paid(other, 300, hour=2)

    assert summary.tell(now=MORNING) == 2

    by_place = {one.property_id: one.context["recharged_fen"] for one in Message.objects.all()}
    assert by_place == {draw.property_id: 0, other.property_id: 300}
    assert Property.objects.count() > 2


@pytest.mark.django_db(transaction=True)
def test_several_who_tell_at_once_tell_it_once(draw):
    race([partial(summary.tell, now=MORNING)] * 4)

    assert Message.objects.count() == UsageDay.objects.count() + 1 == 1
    assert draw.pk
