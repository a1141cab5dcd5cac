"""Which period holds when."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

from hypothesis import given, settings

from billing.tariff import parse
from billing.tariff.calendar import china
from billing.tariff.civil import DAY_MINUTES
from billing.tariff.periods import Schedule, clock
from tests.billing.tariff.definitions import FIRST_DATE, schedules, special_days
from tests.billing.tariff.makers import one_price

CHINA = {day.on: day.day_type for day in china()}
ORDINARY = {"day": {"peak": ["10:00-12:00", "14:00-19:00"], "valley": ["22:00-08:00"], "flat": "rest"}}


def test_what_crosses_midnight_is_the_end_and_the_beginning_of_each_day() -> None:
    assert hours(schedule(ORDINARY), date(2026, 7, 1)) == [
        "00:00 valley",
        "08:00 flat",
        "10:00 peak",
        "12:00 flat",
        "14:00 peak",
        "19:00 flat",
        "22:00 valley",
    ]


def test_a_holiday_has_its_own_day_which_ends_at_its_midnight() -> None:
    """The valley of 30 September ends at 24:00, where the deep valley of 1 October begins."""
    holidays = {"when": {"day_types": ["holiday"]}, "day": {"deep_valley": ["00:00-24:00"]}}
    rules = schedule(ORDINARY, holidays)

    assert hours(rules, date(2026, 9, 30))[-1] == "22:00 valley"
    assert hours(rules, date(2026, 10, 1)) == ["00:00 deep_valley"]
    assert hours(rules, date(2026, 10, 10))[0] == "00:00 valley"  # a Saturday that is worked instead
    assert rules.needs_calendar
    assert not schedule(ORDINARY).needs_calendar


def test_a_season_may_cross_the_new_year() -> None:
    heating = {"when": {"dates": [["11-15", "03-15"]]}, "day": {"peak": ["08:00-20:00"], "valley": "rest"}}
    rules = schedule(ORDINARY, heating)

    assert [hours(rules, on)[1] for on in (date(2026, 11, 15), date(2027, 3, 15))] == ["08:00 peak", "08:00 peak"]
    assert [hours(rules, on)[1] for on in (date(2026, 11, 14), date(2027, 3, 16))] == ["08:00 flat", "08:00 flat"]


def test_a_weekday_may_have_a_rule() -> None:
    sundays = {"when": {"weekdays": ["Sunday"], "day_types": ["weekend"]}, "day": {"valley": ["00:00-24:00"]}}
    rules = schedule(ORDINARY, sundays)

    assert hours(rules, date(2026, 9, 13)) == ["00:00 valley"]
    assert hours(rules, date(2026, 9, 20))[1] == "08:00 flat"  # a Sunday that is worked instead
    assert hours(rules, date(2026, 9, 12))[1] == "08:00 flat"  # a Saturday


def test_neighbouring_hours_of_a_period_are_one_span() -> None:
    assert hours(schedule({"day": {"flat": ["00:00-06:00", "06:00-24:00"]}}), date(2026, 7, 1)) == ["00:00 flat"]


def test_midnight_may_be_written_as_the_end_of_a_day_or_the_beginning_of_the_next() -> None:
    written = [{"day": {"valley": [evening], "flat": "rest"}} for evening in ("22:00-24:00", "22:00-00:00")]

    assert [hours(schedule(rule), date(2026, 7, 1)) for rule in written] == [["00:00 flat", "22:00 valley"]] * 2


def test_a_tariff_without_periods_is_flat_all_day() -> None:
    assert hours(one_price().schedule, date(2026, 7, 1)) == ["00:00 flat"]


@settings(deadline=None)
@given(schedules(), special_days)
def test_every_minute_of_every_day_has_one_period(rules, special) -> None:
    spans = schedule(*rules).spans(FIRST_DATE, special)

    assert spans[0].start_minute == 0
    assert spans[-1].end_minute == DAY_MINUTES
    assert all(before.end_minute == after.start_minute for before, after in pairwise(spans))
    assert all(before.period != after.period for before, after in pairwise(spans))
    assert {span.period for span in spans} <= schedule(*rules).periods


def schedule(*rules) -> Schedule:
    names = {name for rule in rules for name in rule["day"]}
    return parse.tariff({"periods": list(rules), "prices": [{"yuan": dict.fromkeys(names, "1")}]}).schedule


def hours(rules: Schedule, on: date) -> list[str]:
    return [f"{clock(span.start_minute)} {span.period}" for span in rules.spans(on, CHINA)]
