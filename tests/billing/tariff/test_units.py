"""Wh, micro-fen and nano-fen: exact, and rounded once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.tariff import units


def test_a_thousand_watt_hours_at_a_yuan_are_a_hundred_fen() -> None:
    assert units.to_fen(1000 * units.price("1")) == 100


@given(st.integers(0, 999 * 10**8))
def test_prices_are_written_as_they_are_read(micro_fen: int) -> None:
    assert units.price(units.yuan(micro_fen)) == micro_fen


@given(st.integers(0, 10**12 - 1))
def test_energy_is_written_as_it_is_read(wh: int) -> None:
    assert units.energy_wh(units.kwh(wh)) == wh


@pytest.mark.parametrize(
    ("nano_fen", "fen"),
    [
        (0, 0),
        (499_999_999, 0),
        (500_000_000, 1),
        (1_499_999_999, 1),
        (-499_999_999, 0),
        (-500_000_000, 0),
        (-500_000_001, -1),
        (-1_500_000_000, -1),
    ],
)
def test_half_a_fen_is_rounded_up(nano_fen: int, fen: int) -> None:
    assert units.to_fen(nano_fen) == fen


@given(st.lists(st.integers(-(10**12), 10**12)))
def test_postings_add_up_to_the_total_rounded_once(steps: list[int]) -> None:
    posted_fen = total = 0

    for step in steps:
        total += step
        posted_fen += units.to_post(total_nano_fen=total, posted_fen=posted_fen)

    assert posted_fen == units.to_fen(total)


@given(st.integers(0, 10**15), st.integers(0, 10**15))
def test_energy_and_fee_shown_apart_are_the_total(energy: int, fee: int) -> None:
    shown = units.shown_apart(energy_nano_fen=energy, fee_nano_fen=fee)

    assert sum(shown) == units.to_fen(energy + fee)
    assert shown[1] == units.to_fen(fee)
    assert abs(shown[0] - units.to_fen(energy)) <= 1
