"""Yuan as people and files write it, and fen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import money
from billing.money import NotAnAmount


@pytest.mark.parametrize(
    ("text", "fen"),
    [
        ("50", 5000),
        ("50.5", 5050),
        ("50.00", 5000),
        ("0.05", 5),
        ("0", 0),
        ("-0.05", -5),
        ("-3", -300),
        ("-0.00", 0),
        ("9999999999999.99", 999_999_999_999_999),
    ],
)
def test_yuan_are_read_as_fen(text: str, fen: int) -> None:
    assert money.from_yuan(text) == fen


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ".5", "5.", "050", "+5", "--5", "1,000", "1e3", "0x10", "NaN", "inf", "¥5", "5 ", "5\n", "\uff15",
        "\u0665", "1_000", "50.005", "50.000", "12345678901234", "5.0.0",
    ],
)  # fmt: skip
def test_nothing_else_is_an_amount(text: str) -> None:
    with pytest.raises(NotAnAmount):
        money.from_yuan(text)


def test_what_is_finer_than_a_fen_is_refused_and_says_so() -> None:
    with pytest.raises(NotAnAmount, match="finer than a fen"):
        money.from_yuan("0.001")


def test_an_amount_that_is_none_is_a_value_error() -> None:
    assert issubclass(NotAnAmount, ValueError)


@pytest.mark.parametrize(
    ("fen", "written", "shown"),
    [
        (0, "0.00", "¥0.00"),
        (5, "0.05", "¥0.05"),
        (-5, "-0.05", "-¥0.05"),
        (123450, "1234.50", "¥1,234.50"),
        (-100_000_000, "-1000000.00", "-¥1,000,000.00"),
    ],
)
def test_fen_are_written_for_files_and_shown_to_people(fen: int, written: str, shown: str) -> None:
    assert money.to_yuan(fen) == written
    assert money.shown(fen) == shown


@given(st.integers(-(10**15) + 1, 10**15 - 1))
def test_what_is_written_reads_back_the_same(fen: int) -> None:
    assert money.from_yuan(money.to_yuan(fen)) == fen
