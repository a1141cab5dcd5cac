"""What is left to a home is what was posted less what was used since, to the nano-fen, in Python as in SQL."""

from __future__ import annotations

import pytest
from django.db import connection

from billing import supply
from billing.models import Draw
from tests.billing.rating import world

pytestmark = pytest.mark.django_db


def in_sql(purse) -> int:
    with connection.cursor() as cursor:
        cursor.execute("select billing_available_fen(%s)", [purse.pk])
        (available_fen,) = cursor.fetchone()
    return int(available_fen)


@pytest.mark.parametrize(
    ("total_nano", "posted_fen", "available_fen"),
    [(0, 0, 0), (1, 0, -1), (10**9, 0, -1), (10**9 + 1, 1, -1), (999_999_999, 1, 0), (5 * 10**17, 0, -(5 * 10**8))],
)
def test_what_was_used_and_not_posted_is_not_there_any_more(total_nano, posted_fen, available_fen):
    draw = world.a_draw(total_nano=total_nano, posted_fen=posted_fen)

    assert draw.purse.available_fen() == in_sql(draw.purse) == available_fen


def test_energy_that_a_meter_counts_down_itself_is_not_taken_from_the_server():
    draw = world.a_draw(total_nano=10**12, counted_by="meter")

    assert draw.purse.available_fen() == in_sql(draw.purse) == 0


def test_a_home_that_was_cut_is_told_what_it_owes_with_what_was_used_since():
    draw = world.a_draw(total_nano=1234 * 10**9)
    draw.meter.levels.create(kind="relay", wanted="open", reason="spent", wanted_at=world.NOW, next_try_at=world.NOW)

    assert "12.34" in supply.explain(tenancy=Draw.objects.get().tenancy, now=world.NOW).remedy
