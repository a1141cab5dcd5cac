"""Workdays, weekends and holidays, as the State Council announced them."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

import pytest

from billing.tariff.calendar import china, day_type, missing_years
from billing.tariff.holidays_cn import NOTICES

CHINA = {day.on: day.day_type for day in china()}


@pytest.mark.parametrize(
    ("on", "kind"),
    [
        (date(2026, 9, 30), "workday"),
        (date(2026, 10, 1), "holiday"),
        (date(2026, 10, 3), "holiday"),  # a Saturday of the break
        (date(2026, 10, 10), "workday"),  # a Saturday that is worked
        (date(2026, 10, 11), "weekend"),
        (date(2025, 1, 26), "workday"),
        (date(2025, 1, 28), "holiday"),
        (date(2024, 2, 9), "workday"),  # the eve of 2024, which was not a holiday
        (date(2024, 2, 10), "holiday"),
    ],
)
def test_a_day_is_what_the_notice_says_or_else_its_weekday(on: date, kind: str) -> None:
    assert day_type(on, CHINA) == kind


def test_the_breaks_have_the_lengths_of_the_notices() -> None:
    """Days off and days worked instead: 2024 has 28 and 8, 2025 has 28 and 5, 2026 has 33 and 6."""
    counted = Counter((day.on.year, day.day_type) for day in china())

    assert {year: (counted[year, "holiday"], counted[year, "workday"]) for year in (2024, 2025, 2026)} == {
        2024: (28, 8),
        2025: (28, 5),
        2026: (33, 6),
    }


def test_only_weekends_are_worked_instead() -> None:
    assert {day.on.isoweekday() for day in china() if day.day_type == "workday"} == {6, 7}


def test_a_day_is_named_once_with_its_notice() -> None:
    days = china()

    assert len({day.on for day in days}) == len(days)
    assert next(day for day in days if day.on == date(2026, 5, 9)).name == "劳动节补班"
    assert {day.notice for day in days} == {notice.number for notice in NOTICES}


def test_staff_may_call_any_day_anything() -> None:
    monday = date(2026, 11, 23)

    assert day_type(monday, {}) == "workday"
    assert day_type(monday, {monday: "weekend"}) == "weekend"
    assert day_type(monday + timedelta(days=5), {}) == "weekend"


def test_a_year_without_holidays_is_missing() -> None:
    span = {"first_date": date(2025, 12, 31), "last_date": date(2028, 1, 1)}

    assert missing_years(CHINA, **span) == (2027, 2028)
    assert missing_years({**CHINA, date(2027, 1, 1): "holiday"}, **span) == (2028,)
    assert missing_years({**CHINA, date(2027, 1, 2): "workday"}, **span) == (2027, 2028)
