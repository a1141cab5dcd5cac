"""It decides about power: what brings it back, what may cut it, and every reason that keeps it on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.policy import NEVER_ABOVE, Facts, Rule, Verdict, Why, days_left, decide, earliest_cut
from billing.tariff.civil import instant

FEN = 1_000_000_000
NOON = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)  # a Tuesday, 12:00 in China
MIDNIGHT = instant(NOON.date(), minute=1440)
RULE = Rule(has_legal_basis=True, warn_percents=())
SPENT = Facts(
    available_nano=0, read_at=NOON - timedelta(minutes=15), is_notice_proven=True, notice_runs_until=NOON
)  # nothing is in the way of a cut

AGAINST: dict[Why, tuple[dict[str, Any], dict[str, Any], datetime | None]] = {
    Why.NO_LEGAL_BASIS: ({}, {"has_legal_basis": False}, None),
    Why.PROTECTED_ROOM: ({}, {"is_protected": True}, None),
    Why.MONEY_BEING_CONFIRMED: ({"cut_hold_until": NOON + timedelta(minutes=9)}, {}, NOON + timedelta(minutes=9)),
    Why.READING_IN_DOUBT: ({"is_in_doubt": True}, {}, None),
    Why.READING_STALE: ({"read_at": NOON - timedelta(hours=2, seconds=1)}, {}, None),
    Why.OUTAGE: ({"has_outage": True}, {}, None),
    Why.EXTREME_WEATHER: ({"has_extreme_weather": True}, {}, None),
    Why.PROTECTED_HOUR: ({}, {"protected_hours": ((11 * 60, 14 * 60),)}, NOON + timedelta(hours=2)),
    Why.PROTECTED_WEEKDAY: ({}, {"protected_weekdays": frozenset({1})}, MIDNIGHT),
    Why.HOLIDAY: ({"is_holiday": True}, {}, MIDNIGHT),
    Why.CUT_TODAY: ({"cuts_today": 1}, {}, MIDNIGHT),
    Why.NOTICE_NOT_PROVEN: ({"is_notice_proven": False}, {}, None),
    Why.NOTICE_RUNNING: ({"notice_runs_until": NOON + timedelta(hours=5)}, {}, NOON + timedelta(hours=5)),
}


def test_it_cuts_when_the_money_is_used_up_and_nothing_is_in_the_way() -> None:
    decision = decide(SPENT, rule=RULE, now=NOON)

    assert (decision.verdict, decision.wants, decision.why_not) == (Verdict.SPENT, "open", ())
    assert decision.alerts == {"used_up"}


def test_every_reason_is_tried() -> None:
    assert set(AGAINST) == set(Why)


@pytest.mark.parametrize("why", AGAINST)
def test_one_reason_is_enough_to_keep_the_power_on(why: Why) -> None:
    facts, rule, ends_at = AGAINST[why]

    decision = decide(replace(SPENT, **facts), rule=replace(RULE, **rule), now=NOON)

    assert (decision.verdict, decision.wants, decision.why_not) == (Verdict.SPARED, "closed", (why,))
    assert decision.look_at == ends_at


@pytest.mark.parametrize("first", AGAINST)
@pytest.mark.parametrize("second", AGAINST)
def test_it_names_every_reason_that_stands(first: Why, second: Why) -> None:
    if {first, second} == {Why.NOTICE_NOT_PROVEN, Why.NOTICE_RUNNING}:
        return  # a notice that is not proven does not run
    facts = AGAINST[first][0] | AGAINST[second][0]
    rule = AGAINST[first][1] | AGAINST[second][1]

    decision = decide(replace(SPENT, **facts), rule=replace(RULE, **rule), now=NOON)

    assert set(decision.why_not) == {first, second}
    ends = [ends_at for ends_at in (AGAINST[first][2], AGAINST[second][2]) if ends_at is not None]
    assert decision.look_at == min(ends, default=None)


@pytest.mark.parametrize(
    ("hours", "now", "ends_at"),
    [
        ((22 * 60, 8 * 60), instant(NOON.date(), minute=23 * 60), instant(NOON.date(), minute=1440 + 8 * 60)),
        ((22 * 60, 8 * 60), instant(NOON.date(), minute=7 * 60 + 59), instant(NOON.date(), minute=8 * 60)),
        ((22 * 60, 8 * 60), instant(NOON.date(), minute=8 * 60), None),
        ((22 * 60, 8 * 60), instant(NOON.date(), minute=22 * 60 - 1), None),
        ((0, 0), NOON, MIDNIGHT),
    ],
)
def test_protected_hours_run_across_midnight(hours: tuple[int, int], now: datetime, ends_at: datetime | None) -> None:
    facts = replace(SPENT, read_at=now, notice_runs_until=now)

    decision = decide(facts, rule=replace(RULE, protected_hours=(hours,)), now=now)

    assert decision.look_at == ends_at
    assert decision.wants == ("closed" if ends_at else "open")


def test_of_several_protected_hours_the_last_end_counts() -> None:
    rule = replace(RULE, protected_hours=((11 * 60, 13 * 60), (12 * 60, 16 * 60)))

    assert decide(SPENT, rule=rule, now=NOON).look_at == NOON + timedelta(hours=4)


@pytest.mark.parametrize(
    ("facts", "rule", "verdict"),
    [
        (replace(SPENT, available_nano=1), RULE, Verdict.PAID),
        (replace(SPENT, available_nano=-499 * FEN), replace(RULE, overdraft_fen=500), Verdict.CREDIT),
        (replace(SPENT, available_nano=-500 * FEN), replace(RULE, overdraft_fen=500), Verdict.SPENT),
        (replace(SPENT, available_nano=-300 * FEN, emergency_fen=301), RULE, Verdict.CREDIT),
        (replace(SPENT, available_nano=-300 * FEN, frozen_nano=301 * FEN), RULE, Verdict.CREDIT),
        (replace(SPENT, available_nano=-300 * FEN, frozen_nano=300 * FEN), RULE, Verdict.SPENT),
    ],
)
def test_what_may_be_used_below_zero_is_used_first(facts: Facts, rule: Rule, verdict: Verdict) -> None:
    assert decide(facts, rule=rule, now=NOON).verdict == verdict


@pytest.mark.parametrize(
    ("facts", "wants"),
    [
        (replace(SPENT, is_cut=True), "open"),
        (replace(SPENT, is_cut=True, available_nano=200 * FEN, paid_since_cut_fen=200), "open"),  # not above 2.00
        (replace(SPENT, is_cut=True, available_nano=200 * FEN + 1, paid_since_cut_fen=201), "closed"),
        (replace(SPENT, is_cut=True, available_nano=1), "closed"),  # nobody paid: it was cut for what was not so
        (replace(SPENT, is_cut=True, available_nano=101 * FEN, paid_since_cut_fen=100), "closed"),
        (replace(SPENT, is_cut=True, available_nano=-100 * FEN, emergency_fen=500), "closed"),
        (replace(SPENT, is_cut=True, available_nano=-500 * FEN, emergency_fen=500), "open"),
        (replace(SPENT, is_cut=True, is_notice_proven=False, has_outage=True), "open"),  # what is cut stays cut
    ],
)
def test_what_was_cut_comes_back_for_money_above_the_limit(facts: Facts, wants: str) -> None:
    assert decide(facts, rule=replace(RULE, restore_above_fen=200), now=NOON).wants == wants


@pytest.mark.parametrize(
    ("left_fen", "paid_fen", "overdraft_fen", "wants"),
    [
        (-4000, 1000, 5000, "open"),  # cut at -50.00, paid 10.00: what brings it back is money alone
        (-4000, 1000, 5001, "closed"),  # the property lets it go further by now than where it was cut
        (-5000, 0, 5000, "open"),
        (-5000, 0, 6000, "closed"),
        (-4500, 0, 5000, "closed"),  # 5.00 of what it had used was none of its
    ],
)
def test_what_was_cut_comes_back_where_the_cut_would_not_be_made_today(
    left_fen: int, paid_fen: int, overdraft_fen: int, wants: str
) -> None:
    facts = replace(SPENT, is_cut=True, available_nano=left_fen * FEN, paid_since_cut_fen=paid_fen)

    assert decide(facts, rule=replace(RULE, overdraft_fen=overdraft_fen), now=NOON).wants == wants


@pytest.mark.parametrize("left_fen", [-5000, 0, 100])
def test_a_protected_room_does_not_stay_dark(left_fen: int) -> None:
    facts = replace(SPENT, is_cut=True, available_nano=left_fen * FEN, paid_since_cut_fen=10_000)

    decision = decide(facts, rule=replace(RULE, is_protected=True, restore_above_fen=200), now=NOON)

    assert decision.wants == "closed"
    assert decision.why_not == ((Why.PROTECTED_ROOM,) if left_fen <= 0 else ())


@pytest.mark.parametrize("money_nano", [-(10**15), 0, 10**15])
@pytest.mark.parametrize(("hold", "verdict"), [("open", Verdict.HOLD_OPEN), ("closed", Verdict.HOLD_CLOSED)])
def test_a_hold_of_the_staff_is_stronger_than_money(money_nano: int, hold: str, verdict: Verdict) -> None:
    until = NOON + timedelta(hours=3)
    facts = replace(SPENT, available_nano=money_nano, hold=hold, hold_until=until)  # type: ignore[arg-type]

    decision = decide(facts, rule=RULE, now=NOON)

    assert (decision.verdict, decision.wants, decision.look_at) == (verdict, hold, until)


def test_it_warns_at_each_level_that_is_reached_and_waits_for_the_next() -> None:
    rule = replace(RULE, warn_fens=(1500,), warn_percents=(20, 10), warn_days=3)
    facts = replace(SPENT, last_recharge_fen=10_000, used_a_day_nano=300 * FEN)
    seen = {
        balance: decide(replace(facts, available_nano=balance * FEN), rule=rule, now=NOON)
        for balance in (2001, 2000, 1500, 1000, 900, 0)
    }

    assert [sorted(decision.alerts) for decision in seen.values()] == [
        [],
        ["percent:20"],
        ["fen:1500", "percent:20"],
        ["fen:1500", "percent:10", "percent:20"],
        ["days:3", "fen:1500", "percent:10", "percent:20"],
        ["days:3", "fen:1500", "percent:10", "percent:20", "used_up"],
    ]
    assert [decision.look_below_fen for decision in seen.values()] == [2001, 1501, 1001, 901, 1, NEVER_ABOVE]
    assert [decision.needs_notice for decision in seen.values()] == [False, True, True, True, True, True]


def test_a_level_of_the_homes_own_warns_and_announces_no_cut() -> None:
    rule = replace(RULE, warn_fens=(500,), warn_percents=(), own_fen=3000)

    above, below, near = (
        decide(replace(SPENT, available_nano=fen * FEN), rule=rule, now=NOON) for fen in (3001, 3000, 500)
    )

    assert (above.alerts, above.look_below_fen) == (frozenset(), 3001)
    assert (below.alerts, below.needs_notice, below.look_below_fen) == (frozenset({"own:3000"}), False, 501)
    assert (near.alerts, near.needs_notice) == (frozenset({"own:3000", "fen:500"}), True)


def test_it_says_for_how_many_whole_days_the_balance_lasts() -> None:
    facts = replace(SPENT, used_a_day_nano=300 * FEN)

    assert [days_left(replace(facts, available_nano=fen * FEN)) for fen in (-1, 0, 299, 300, 899)] == [0, 0, 0, 1, 2]
    assert days_left(SPENT) is None


@pytest.mark.parametrize(
    ("rule", "hours"),
    [
        ({}, 24),
        ({"notice_for": timedelta(0)}, 0),
        ({"protected_hours": ((11 * 60, 13 * 60),)}, 25),
        ({"protected_hours": ((11 * 60, 13 * 60), (13 * 60, 14 * 60))}, 26),
        ({"protected_weekdays": frozenset({(NOON.weekday() + 1) % 7})}, 36),
        ({"protected_weekdays": frozenset({(NOON.weekday() + 1) % 7}), "protected_hours": ((22 * 60, 8 * 60),)}, 44),
    ],
)
def test_the_earliest_cut_is_after_the_notice_and_at_no_protected_time(rule: dict[str, Any], hours: int) -> None:
    assert earliest_cut(replace(RULE, **rule), now=NOON) == NOON + timedelta(hours=hours)


def test_where_every_day_is_protected_the_earliest_cut_is_far_away() -> None:
    rule = replace(RULE, protected_weekdays=frozenset(range(7)))

    assert earliest_cut(rule, now=NOON) > NOON + timedelta(days=13)


def test_without_a_recharge_or_any_use_it_warns_of_amounts_alone() -> None:
    rule = replace(RULE, warn_fens=(500,), warn_percents=(20,), warn_days=3)

    assert decide(replace(SPENT, available_nano=400 * FEN), rule=rule, now=NOON).alerts == {"fen:500"}


FACTS = st.builds(
    Facts,
    available_nano=st.integers(-(10**13), 10**13),
    frozen_nano=st.integers(0, 10**12),
    emergency_fen=st.sampled_from([0, 500]),
    last_recharge_fen=st.sampled_from([None, 5000]),
    used_a_day_nano=st.integers(0, 10**12),
    hold=st.sampled_from(["", "open", "closed"]),
    is_cut=st.booleans(),
    is_cut_on_its_way=st.booleans(),
    paid_since_cut_fen=st.sampled_from([0, 200, 10**6]),
    cut_hold_until=st.sampled_from([None, NOON - timedelta(1), NOON + timedelta(1)]),
    read_at=st.sampled_from([None, NOON, NOON - timedelta(days=1)]),
    is_in_doubt=st.booleans(),
    has_outage=st.booleans(),
    has_extreme_weather=st.booleans(),
    is_holiday=st.booleans(),
    cuts_today=st.integers(0, 2),
    is_notice_proven=st.booleans(),
    notice_runs_until=st.sampled_from([None, NOON - timedelta(1), NOON + timedelta(1)]),
)
RULES = st.builds(
    Rule,
    has_legal_basis=st.booleans(),
    is_protected=st.booleans(),
    overdraft_fen=st.sampled_from([0, 1000]),
    restore_above_fen=st.sampled_from([0, 300]),
    protected_hours=st.sampled_from([(), ((0, 0),), ((0, 60),)]),
    protected_weekdays=st.sampled_from([frozenset(), frozenset({1})]),
)


@given(facts=FACTS, rule=RULES)
def test_nobody_is_cut_with_money_left_or_a_reason_standing(facts: Facts, rule: Rule) -> None:
    decision = decide(facts, rule=rule, now=NOON)

    if decision.wants == "open" and not facts.is_cut and facts.hold != "open":
        assert facts.available_nano + facts.frozen_nano + (rule.overdraft_fen + facts.emergency_fen) * FEN <= 0
        against = (facts.is_in_doubt, facts.has_outage, facts.has_extreme_weather, facts.cuts_today, rule.is_protected)
        assert not any(against)
        assert rule.has_legal_basis
        assert facts.is_notice_proven
        assert decision.why_not == ()
    if decision.verdict == Verdict.SPARED:
        assert decision.why_not


@given(facts=FACTS, rule=RULES, paid_fen=st.integers(1, 10**6))
def test_more_money_never_turns_the_power_off(facts: Facts, rule: Rule, paid_fen: int) -> None:
    before = decide(facts, rule=rule, now=NOON)

    after = decide(replace(facts, available_nano=facts.available_nano + paid_fen * FEN), rule=rule, now=NOON)

    assert (before.wants, after.wants) != ("closed", "open")
    assert after.alerts <= before.alerts


@given(facts=FACTS, rule=RULES)
def test_it_is_looked_at_again_before_the_next_level_is_passed_by_a_fen(facts: Facts, rule: Rule) -> None:
    decision = decide(facts, rule=rule, now=NOON)

    if decision.look_below_fen != NEVER_ABOVE:
        at = decide(replace(facts, available_nano=(decision.look_below_fen - 1) * FEN), rule=rule, now=NOON)
        assert at.alerts > decision.alerts
