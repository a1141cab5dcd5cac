"""What a purchase count proves about a top-up that was sent under number 7."""

from __future__ import annotations

import pytest

from meters.evidence import OK, Evidence, weigh


def verdict(*, doubt: str = "", **evidence) -> tuple[str, str]:
    """It was sent once and may be in, unless told otherwise."""
    found, note = weigh(number=7, doubt=doubt, evidence=Evidence(**({"count": None, "chances": 1} | evidence)))
    return found.name.lower(), note


@pytest.mark.parametrize(
    ("count", "answer", "expected"),
    [
        (7, OK, ("landed", "")),
        (None, OK, ("landed", "")),
        (9, OK, ("landed", "")),  # and somebody else's came after it
        (6, OK, ("read_back", "contradiction")),
        (7, "duplicate", ("landed", "")),
        (9, "duplicate", ("stuck", "count_jumped")),
        (None, "duplicate", ("read_back", "duplicate")),
        (6, "duplicate", ("read_back", "duplicate")),
        (5, "count", ("renumber", "count")),
        (6, "count", ("read_back", "count")),
        (None, "count", ("read_back", "count")),
        (7, "count", ("stuck", "count_jumped")),
        (6, "expired", ("again", "expired")),
        (7, "expired", ("landed", "")),  # an earlier sending was in time
        (6, "failed", ("read_back", "failed")),
        (7, "failed", ("landed", "")),
        (6, "unsupported", ("read_back", "unsupported")),
    ],
)
def test_an_answer_is_believed_as_far_as_the_count_bears_it_out(count, answer, expected):
    assert verdict(count=count, answer=answer) == expected


def test_a_count_that_reached_the_number_after_the_sending_proves_that_it_is_in():
    assert verdict(count=7) == ("landed", "")


def test_a_count_beyond_the_number_was_lifted_by_somebody_else_and_a_person_must_look():
    assert verdict(count=8) == ("stuck", "count_jumped")


def test_a_count_below_the_number_proves_nothing_while_the_command_may_still_be_on_its_way():
    assert verdict(count=6) == ("nothing", "")


@pytest.mark.parametrize(
    ("count", "doubt", "expected"),
    [
        (6, "", ("again", "not_applied")),
        (4, "", ("renumber", "not_applied")),
        (7, "failed", ("landed", "")),
        (6, "failed", ("stuck", "failed")),
        (None, "", ("stuck", "no_count")),
    ],
)
def test_a_count_that_was_read_back_decides(count, doubt, expected):
    assert verdict(count=count, doubt=doubt, is_read_back=True) == expected


def test_a_number_that_is_taken_before_it_was_ever_sent_is_for_a_person():
    assert verdict(chances=0, count=7) == ("stuck", "number_taken")
    assert verdict(chances=0, count=6) == ("nothing", "")


@pytest.mark.parametrize("count", [5, 6, 7, 9, None])
def test_a_duplicate_of_nothing_that_may_be_in_was_somebody_elses(count):
    assert verdict(chances=0, count=count, answer="duplicate") == ("stuck", "number_taken")


@pytest.mark.parametrize(
    "evidence", [{"answer": "expired"}, {"is_read_back": True}, {"is_read_back": True, "doubt": "x"}]
)
def test_what_was_refused_outright_is_not_in_whoever_lifted_the_count(evidence):
    assert verdict(chances=0, count=7, **evidence) == ("stuck", "number_taken")


@pytest.mark.parametrize("count", [*range(12), None])
@pytest.mark.parametrize("answer", [None, OK, "duplicate", "count", "expired", "failed"])
@pytest.mark.parametrize("is_read_back", [False, True])
@pytest.mark.parametrize("chances", [0, 1, 2])
def test_it_is_never_sent_again_when_the_count_says_that_it_may_be_in(count, answer, is_read_back, chances):
    found, _ = verdict(count=count, answer=answer, is_read_back=is_read_back, chances=chances)

    if found in ("again", "renumber"):
        assert count is None or count < 7
    if found == "landed":
        assert count is None or count >= 7
        assert chances or answer == OK
