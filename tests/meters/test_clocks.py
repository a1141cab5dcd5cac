"""Which instants of a meter's clock are believed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from meters import clocks

NOW = datetime(2026, 11, 1, 4, tzinfo=UTC)
MS = timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("off_by", "wrong"),
    [
        (timedelta(), ""),
        (timedelta(minutes=10), ""),
        (timedelta(minutes=10) + MS, "ahead"),
        (timedelta(days=40_000), "ahead"),
        (-timedelta(days=400), ""),
        (-timedelta(days=400) - MS, "long_past"),
    ],
)
def test_a_clock_may_be_a_little_ahead_and_a_reading_a_year_old(off_by, wrong):
    assert clocks.verdict(at=NOW + off_by, received_at=NOW) == wrong


def test_instants_are_cut_to_the_millisecond_and_never_moved_ahead():
    at = datetime(2026, 11, 1, 4, 0, 0, 123_999, tzinfo=UTC)

    assert clocks.to_ms(at).isoformat() == "2026-11-01T04:00:00.123000+00:00"
    assert clocks.to_ms(clocks.to_ms(at)) == clocks.to_ms(at)
