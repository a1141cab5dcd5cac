"""Days of a draw move money: whatever the days are, all postings together are the running total, rounded once."""

from __future__ import annotations

import random
from datetime import date, timedelta
from fractions import Fraction

import pytest
from django.db import transaction

from billing.ledger import Line, account, post, purse_account
from billing.models import JournalEntry, Purse, Transfer
from billing.rating.posting import CORRECTED, DayMoney, post_days
from tests.billing.rating import world

pytestmark = pytest.mark.django_db

FIRST = date(2026, 11, 10)


def give(purse: Purse, kind: str, fen: int) -> None:
    lines = [Line(account("suspense", "test"), purse_account(kind, purse.pk), fen)]
    post(
        key=f"gift:{purse.pk}:{kind}",
        kind="gift",
        lines=lines,
        property_id=None,
        happened_at=world.NOW,
        trace="",
        actor_id=None,
        reason="",
        now=world.NOW,
    )


def posted(draw, days, *, fee_before_nano=0) -> int:
    with transaction.atomic():
        return post_days(draw=draw, days=days, fee_before_nano=fee_before_nano, now=world.NOW)


def service_fen(property_id: int) -> int:
    service = account("revenue", f"property:{property_id}:service")
    taken = sum(Transfer.objects.filter(credit=service).values_list("amount_fen", flat=True))
    return taken - sum(Transfer.objects.filter(debit=service).values_list("amount_fen", flat=True))


def rounded(nano: int) -> int:
    """Half a fen up, by fractions."""
    return int((Fraction(nano, 10**9) + Fraction(1, 2)) // 1)


@pytest.mark.parametrize("seed", range(6))
def test_after_each_day_the_purse_has_paid_the_running_total_in_fen_and_the_service_its_own(seed):
    dice = random.Random(seed)
    draw = world.a_draw()
    subsidy = dice.choice([1, 40, 5_000])
    give(draw.purse, "subsidy", subsidy)
    cost = fee = 0
    for nth in range(40):
        day = DayMoney(
            FIRST + timedelta(days=nth),
            1,
            dice.choice([0, 1, 499_999_999, 500_000_000, dice.randint(0, 10**11)]),
            dice.choice([0, 500_000_000, dice.randint(0, 10**9)]),
        )
        posted(draw, [day], fee_before_nano=fee)
        cost, fee = cost + day.cost_nano, fee + day.fee_nano
        purse = Purse.objects.get(pk=draw.purse_id)
        taken = rounded(cost + fee)

        assert (draw.posted_fen, draw.closed_nano) == (taken, cost + fee)
        assert purse.paid_fen + purse.subsidy_fen == subsidy - taken
        assert purse.subsidy_fen == max(0, subsidy - taken)
        assert service_fen(draw.property_id) == rounded(fee)


def test_a_day_that_costs_less_than_half_a_fen_has_no_entry_and_the_next_one_pays_for_it():
    draw = world.a_draw()

    assert posted(draw, [DayMoney(FIRST, 1, 400_000_000, 0)]) == 0
    assert not JournalEntry.objects.exists()

    assert posted(draw, [DayMoney(FIRST + timedelta(days=1), 1, 200_000_000, 0)]) == 1
    assert JournalEntry.objects.get().key == f"usage:{draw.pk}:2026-11-11:1"


def test_what_a_corrected_day_gives_back_goes_to_what_was_paid_first_and_then_to_the_subsidy():
    draw = world.a_draw()
    give(draw.purse, "subsidy", 100)
    posted(draw, [DayMoney(FIRST, 1, 130 * 10**9, 0)])
    draw.purse.refresh_from_db()
    assert (draw.purse.paid_fen, draw.purse.subsidy_fen) == (-30, 0)

    assert posted(draw, [DayMoney(FIRST, 2, -50 * 10**9, 0, CORRECTED)]) == -50

    draw.purse.refresh_from_db()
    assert (draw.purse.paid_fen, draw.purse.subsidy_fen) == (0, 20)
    assert JournalEntry.objects.get(key=f"usage:{draw.pk}:2026-11-10:2").kind == "usage_corrected"


def test_what_a_meter_counts_down_itself_is_shown_and_not_posted():
    draw = world.a_draw(counted_by="meter")

    assert posted(draw, [DayMoney(FIRST, 1, 130 * 10**9, 0)]) == 0

    assert draw.closed_nano == 130 * 10**9
    assert not JournalEntry.objects.exists()
