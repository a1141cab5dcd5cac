"""Which readings follow one another: it depends on the set of readings alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.rating import chain
from billing.rating.chain import Point, Rule

START = datetime(2026, 11, 10, tzinfo=UTC)
RULE = Rule(max_w=13_200, ct=1, wraps_wh=1_000_000_000)
QUARTER = timedelta(minutes=15)


def at(quarters: int, wh: int) -> Point:
    return Point(START + quarters * QUARTER, wh)


BEFORE = at(0, 100_000)


def fold(*points: Point, start: Point = BEFORE, rule: Rule = RULE, **rulings: Any):
    """`rulings`: q5="rejected" is about the reading five quarters after the start."""
    by_instant = {START + int(key[1:]) * QUARTER: ruling for key, ruling in rulings.items()}
    return chain.fold(points, start=start, rulings=by_instant, rule=rule)


def energies(folded) -> list[int]:
    return [span.energy_wh for span in folded.spans]


def test_readings_that_rise_follow_one_another_whatever_order_they_are_given_in():
    folded = fold(at(3, 100_900), at(1, 100_300), at(2, 100_500))

    assert energies(folded) == [300, 200, 400]
    assert folded.clean == tuple(START + n * QUARTER for n in (1, 2, 3))
    assert (folded.end, folded.is_broken, folded.doubts) == (at(3, 100_900), False, ())


def test_a_register_that_runs_over_its_end_counts_on():
    folded = fold(at(1, 20), start=at(0, 999_999_990))

    assert energies(folded) == [30]
    assert folded.spans[0].rolled_over


def test_a_register_that_falls_to_zero_from_its_middle_has_not_rolled_over():
    folded = fold(at(1, 20), start=at(0, 900_000_000))

    assert [(one.reason, one.is_open) for one in folded.doubts] == [("decrease", True)]
    assert folded.is_broken


def test_the_transformer_multiplies_what_the_meter_saw_and_not_what_it_may_see():
    rule = Rule(max_w=13_200, ct=200, wraps_wh=1_000_000_000)

    assert chain.fits(at(0, 0), at(1, 3_300), rule=rule) == 660_000
    assert chain.fits(at(0, 0), at(1, 13_201 // 4 * 2), rule=rule) is None


def test_as_much_as_the_breaker_lets_through_in_the_time_is_believed_and_no_watt_hour_more():
    allowed_wh = 13_200 * 17 // 60 + 100  # a quarter of an hour and two minutes of play

    assert chain.fits(at(0, 0), at(1, allowed_wh), rule=RULE) == allowed_wh
    assert chain.fits(at(0, 0), at(1, allowed_wh + 1), rule=RULE) is None


def test_nothing_follows_within_no_time():
    assert chain.fits(at(1, 0), at(1, 0), rule=RULE) is None
    assert chain.fits(at(2, 0), at(1, 5), rule=RULE) is None


def test_a_glitch_is_healed_by_the_next_reading_and_stays_on_record():
    folded = fold(at(1, 100_300), at(2, 7), at(3, 100_800))

    assert energies(folded) == [300, 500]
    assert [(one.point, one.reason, one.is_open) for one in folded.doubts] == [(at(2, 7), "decrease", False)]
    assert not folded.is_broken


def test_a_wild_reading_does_not_poison_those_behind_it():
    folded = fold(at(1, 10**14), at(2, 100_800))

    assert energies(folded) == [800]
    assert [one.reason for one in folded.doubts] == ["jump"]


def test_a_jump_is_not_believed_because_time_went_by():
    """50 kWh at once; five hours later the breaker would have let as much through."""
    folded = fold(*(at(n, 150_000 + 100 * n) for n in range(1, 40)))

    assert folded.spans == ()
    assert len(folded.doubts) == 39
    assert folded.is_broken


def test_a_replaced_board_waits_until_a_person_says_that_it_begins_anew():
    readings = [at(1, 0), at(2, 40), at(3, 90)]

    assert fold(*readings).spans == ()

    decided = fold(*readings, q1="rebased")
    assert energies(decided) == [0, 40, 50]
    assert [span.is_rebased for span in decided.spans] == [True, False, False]
    assert not decided.is_broken


def test_a_believed_jump_is_charged_and_a_rejected_reading_is_skipped():
    assert energies(fold(at(1, 160_000), at(2, 160_100), q1="believed")) == [60_000, 100]
    assert energies(fold(at(1, 160_000), at(2, 100_100), q1="rejected")) == [100]
    assert fold(at(1, 160_000), q1="rejected").doubts == ()


def test_a_believed_decrease_has_rolled_over():
    folded = fold(at(1, 5), start=at(0, 700_000_000), q1="believed")

    assert energies(folded) == [300_000_005]
    assert folded.spans[0].rolled_over


HISTORIES = st.dictionaries(
    st.integers(1, 60),
    st.one_of(st.integers(0, 200), st.integers(99_000, 130_000), st.integers(999_999_000, 999_999_999)),
    max_size=14,
).map(lambda found: [at(quarters, wh) for quarters, wh in found.items()])
STARTS = st.sampled_from([at(0, 100_000), at(0, 999_999_500), at(0, 0)])
RULINGS = st.dictionaries(
    st.integers(1, 60).map(lambda quarters: START + quarters * QUARTER),
    st.sampled_from(["believed", "rebased", "rejected"]),
    max_size=3,
)


@given(HISTORIES, STARTS, RULINGS, st.randoms())
@settings(max_examples=400, deadline=None)
def test_any_order_of_arrival_gives_the_same(points, start, rulings, dice):
    shuffled = points.copy()
    dice.shuffle(shuffled)

    in_order = chain.fold(sorted(points, key=lambda one: one.at), start=start, rulings=rulings, rule=RULE)

    assert chain.fold(shuffled, start=start, rulings=rulings, rule=RULE) == in_order


@given(HISTORIES, STARTS, RULINGS)
@settings(max_examples=400, deadline=None)
def test_a_fold_may_start_anew_from_any_accepted_reading(points, start, rulings):
    whole = chain.fold(points, start=start, rulings=rulings, rule=RULE)

    for nth, span in enumerate(whole.spans, start=1):
        rest = chain.fold(points, start=span.b, rulings=rulings, rule=RULE)

        assert rest.spans == whole.spans[nth:]
        assert rest.doubts == tuple(one for one in whole.doubts if one.point.at > span.b.at)
        assert (rest.end, rest.is_broken) == (whole.end, whole.is_broken)


@given(HISTORIES, STARTS, RULINGS, st.randoms(), st.integers(1, 5))
@settings(max_examples=400, deadline=None)
def test_batches_late_and_twice_give_what_all_at_once_would_have_given(points, start, rulings, dice, size):
    """What careful does: the batch is added to what is stored, the fold restarts before its earliest reading."""
    dice.shuffle(points)
    batches = [points[first : first + size] for first in range(0, len(points), size)]
    batches += dice.sample(batches, k=len(batches) // 2)
    stored: dict[datetime, Point] = {}
    spans: list[chain.Span] = []
    doubts: tuple[chain.Doubtful, ...] = ()
    for batch in batches:
        stored |= {one.at: one for one in batch}
        from_at = min(one.at for one in batch)
        spans = [span for span in spans if span.b.at < from_at]
        anew = spans[-1].b if spans else start
        folded = chain.fold(stored.values(), start=anew, rulings=rulings, rule=RULE)
        spans += folded.spans
        doubts = (*(one for one in doubts if one.point.at < anew.at), *folded.doubts)

    whole = chain.fold(points, start=start, rulings=rulings, rule=RULE)

    assert (tuple(spans), doubts) == (whole.spans, whole.doubts)


@given(HISTORIES, STARTS, RULINGS)
@settings(max_examples=300, deadline=None)
def test_every_reading_is_accepted_in_doubt_or_rejected_and_none_is_lost(points, start, rulings):
    folded = chain.fold(points, start=start, rulings=rulings, rule=RULE)

    rejected = {point.at for point in points if rulings.get(point.at) == "rejected"}
    in_doubt = {one.point.at for one in folded.doubts}
    assert {*folded.clean} | in_doubt | rejected == {point.at for point in points}
    assert len(folded.clean) + len(in_doubt) + len(rejected) == len(points)
    ends = [start, *(span.b for span in folded.spans)]
    assert [span.a for span in folded.spans] == ends[:-1]
