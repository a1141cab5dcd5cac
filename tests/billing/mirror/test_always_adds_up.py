"""Whatever a meter lives through: what was charged is what was bought less what is left, and the books are sound."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from billing import audit, mirror_audit
from billing.mirror import explained
from billing.models import Draw, JournalEntry, MirroredDay, Purse
from meters.models import Reading
from tests.billing.mirror.metered import DAY, Box, a_box, close, word
from tests.billing.rating import world
from tests.billing.rating.world import START

pytestmark = pytest.mark.django_db

STEP = timedelta(minutes=30)
DAYS = 3


def live(dice: random.Random, box: Box, *, second: Draw | None = None) -> None:
    """Three days in steps: used, bought, read or not read, paid elsewhere, taken out, mirrored now and then or late."""
    now = START
    for nth in range(DAYS * 48):
        now = START + (nth + 1) * STEP
        purse = second.purse if second and now > second.starts_at else box.draw.purse
        what = dice.random()
        box.use(dice.randint(0, 40) * 20 if what < 0.8 else 0)
        if what < 0.06:
            box.buy(dice.randint(1, 5_000), at=now, purse=purse)
        elif what < 0.09:
            bought_elsewhere(dice, box, now)
        elif what < 0.12:
            taken_out(dice, box, now)
        if what > 0.3 or nth % 48 == 47:  # lost, else
            box.tell(now + timedelta(milliseconds=1))
        if dice.random() < 0.03:
            close(now)
    box.use(20)
    box.tell(now + STEP)
    close(now + 2 * STEP)


def bought_elsewhere(dice, box: Box, now) -> None:
    fen = dice.randint(1, 3_000)
    is_counted, is_known = dice.random() < 0.7, dice.random() < 0.5
    box.balance_fen += fen
    box.count += is_counted
    box.bought_fen += fen
    number = box.count if is_counted and is_known else None
    explained.bought_elsewhere(word(box, at=now, key=f"e{now}"), amount_fen=fen, number=number, now=now)


def taken_out(dice, box: Box, now) -> None:
    fen = dice.randint(1, 500)
    box.balance_fen -= fen
    box.bought_fen -= fen
    explained.taken_out(word(box, at=now, key=f"t{now}"), amount_fen=fen, now=now)


def left_at_the_end(box: Box) -> int:
    """What the meter showed last before the midnight that ends the closed days."""
    told = Reading.objects.filter(meter=box.draw.meter_id, read_at__lte=START + DAYS * DAY)
    last = told.order_by("-read_at").first()
    assert last is not None
    assert last.balance_fen is not None
    return last.balance_fen


def assert_it_adds_up(box: Box) -> None:
    newest = MirroredDay.objects.filter(installation=box.draw.installation_id).order_by("-pk").first()
    assert newest is not None
    assert newest.usage_date == (START + (DAYS - 1) * DAY).date()
    charged = sum(MirroredDay.objects.values_list("charged_fen", flat=True))
    assert charged == newest.used_fen
    assert charged == bought_by(box, newest) - left_at_the_end(box)
    assert audit.audit(checks=(*audit.CHECKS, *mirror_audit.CHECKS), now=START + 30 * DAY).findings == ()
    posted = JournalEntry.objects.filter(kind__startswith="usage")
    assert posted.count() == MirroredDay.objects.exclude(charged_fen=0).count()


def bought_by(box: Box, newest: MirroredDay) -> int:
    """All that went in but what came after the newest mirrored reading."""
    assert newest.read_at is not None
    top_ups = box.draw.meter.top_ups.filter(number__lte=newest.purchase_count)
    explained_fen = sum(
        money.amount_fen
        for money in box.draw.installation.money.all()
        if (money.number is None and money.happened_at <= newest.read_at)
        or (money.number is not None and money.number <= (newest.purchase_count or 0))
    )
    return sum(top_ups.values_list("amount_fen", flat=True)) + explained_fen


@pytest.mark.parametrize("seed", range(12))
def test_a_meters_life_adds_up(seed):
    dice = random.Random(seed)
    box = a_box(fen_per_kwh=dice.choice([50, 50, 61, 500]))
    box.tell(START + timedelta(minutes=1))

    live(dice, box)

    assert_it_adds_up(box)
    assert Purse.objects.get().in_meter_fen == in_the_ledger(box)


@pytest.mark.parametrize("seed", range(4))
def test_two_tenants_of_a_meter_add_up_together(seed):
    dice = random.Random(100 + seed)
    box = a_box()
    box.tell(START + timedelta(minutes=1))
    moved = START + dice.randint(20, 60) * timedelta(hours=1)
    Draw.objects.filter(pk=box.draw.pk).update(ends_at=moved, plain_until_at=moved)
    second = world.another_draw(box.draw, starts_at=moved, ends_at=None)

    live(dice, box, second=second)

    assert_it_adds_up(box)


def in_the_ledger(box: Box) -> int:
    """What landed, less what was taken out, less what the meter took."""
    landed = sum(box.draw.meter.top_ups.values_list("amount_fen", flat=True))
    out = sum(money.amount_fen for money in box.draw.installation.money.filter(kind="taken_out"))
    return landed + out - sum(MirroredDay.objects.values_list("charged_fen", flat=True))
