"""A month's bill is told when all of its days are closed, once."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from billing.models import Draw
from billing.rating import accrue, careful, days
from notifications.models import Message
from tests import makers
from tests.billing.rating import world
from tests.billing.rating.test_days import PRICED
from tests.billing.rating.test_revisions import tell
from tests.billing.rating.world import HOUR, START
from tests.racing import race

pytestmark = pytest.mark.django_db
END = 21 * 24  # hours from START to the first of December
DECEMBER = START + END * HOUR


@pytest.fixture
def draw() -> Draw:
    draw = world.a_draw(world.a_version(PRICED))
    tell(draw, (12, 101_000), (36, 102_000), now=START + 36 * HOUR)
    return draw


def told() -> list[Message]:
    return list(Message.objects.filter(kind="monthly_bill").order_by("pk"))


def test_it_is_told_when_the_last_day_is_closed_and_not_before(draw):
    tell(draw, (END - 1, 103_000), now=DECEMBER)
    assert told() == []

    tell(draw, (END + 1, 103_100), now=DECEMBER + HOUR)

    (message,) = told()
    assert (message.key, message.tenancy_id) == (f"bill:{draw.purse_id}:2026-11", draw.tenancy_id)
    assert message.context == {"month": "2026-11", "energy_wh": 3_050, "amount_fen": 162}


def test_closing_further_days_or_the_same_again_tells_nothing_new(draw):
    tell(draw, (END + 1, 103_100), now=DECEMBER + HOUR)

    tell(draw, (END + 30, 103_200), now=DECEMBER + 30 * HOUR)
    tell(draw, (40, 102_100), now=DECEMBER + 31 * HOUR)  # late: the month is closed anew

    assert len(told()) == 1


def test_a_month_in_which_nothing_was_used_is_no_news():
    draw = world.a_draw(world.a_version(PRICED))

    tell(draw, (END + 1, 100_000), now=DECEMBER + HOUR)

    assert (draw.closed_until.month, told()) == (12, [])


def test_a_month_that_is_closed_long_after_is_history(draw):
    late = DECEMBER + timedelta(days=41)

    tell(draw, (END + 1, 103_100), now=late)

    assert told() == []


def test_a_second_meter_whose_days_are_open_keeps_the_bill_back(draw):
    silent = makers.a_meter(room=draw.room)
    hung = silent.installations.get()
    copy = {field.attname: getattr(draw, field.attname) for field in Draw._meta.concrete_fields if field.name != "id"}
    Draw.objects.create(**copy | {"meter_id": silent.pk, "installation_id": hung.pk, "last_at": START})

    tell(draw, (END + 1, 103_100), now=DECEMBER + HOUR)

    assert told() == []


def test_who_moves_out_within_a_month_is_told_when_the_last_day_is_closed(draw):
    out = START + 48 * HOUR
    tenancy = draw.tenancy
    tenancy.ends_at = out
    tenancy.save()
    Draw.objects.filter(pk=draw.pk).update(ends_at=out, is_current=False)

    tell(draw, (48, 102_500), now=out + HOUR)

    (message,) = told()
    assert message.context["month"] == "2026-11"
    assert message.context["energy_wh"] == 2_500


@pytest.mark.django_db(transaction=True)
def test_several_who_close_at_once_tell_it_once(draw):
    now = DECEMBER + HOUR
    world.tell([(draw.meter, now, 103_100)], stored_at=now)
    accrue.accrue(now=now)
    careful.work(now=now)

    race([partial(days.close, now=now)] * 4)

    assert len(told()) == 1
