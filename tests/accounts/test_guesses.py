from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from accounts.guesses import Limit, TooManyGuessesError, spend
from accounts.models import Guesses
from tests.accounts.racing import at_once

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
THREE_AN_HOUR = Limit(kind="test", times=3, window=timedelta(hours=1))


@pytest.mark.django_db
def test_the_fourth_guess_of_an_hour_is_one_too_many():
    for minute in range(3):
        spend(THREE_AN_HOUR, who="user:1", now=NOON + timedelta(minutes=minute))

    with pytest.raises(TooManyGuessesError) as refused:
        spend(THREE_AN_HOUR, who="user:1", now=NOON + timedelta(minutes=59))

    assert refused.value.again_at == NOON + timedelta(hours=1)


@pytest.mark.django_db
def test_an_hour_later_guessing_begins_anew():
    for _ in range(3):
        spend(THREE_AN_HOUR, who="user:1", now=NOON)

    spend(THREE_AN_HOUR, who="user:1", now=NOON + timedelta(hours=1))

    assert Guesses.objects.get().count == 1


@pytest.mark.django_db
def test_somebody_elses_guesses_are_their_own():
    for _ in range(3):
        spend(THREE_AN_HOUR, who="user:1", now=NOON)

    spend(THREE_AN_HOUR, who="user:2", now=NOON)


@pytest.mark.django_db(transaction=True)
def test_guesses_made_at_once_are_all_counted():
    outcomes = at_once([lambda: spend(THREE_AN_HOUR, who="user:1", now=NOON)] * 6)

    assert sum(outcome is None for outcome in outcomes) == 3
    assert sum(isinstance(outcome, TooManyGuessesError) for outcome in outcomes) == 3


@pytest.mark.django_db(transaction=True)
def test_guesses_made_at_once_when_the_window_has_passed_are_all_counted():
    Guesses.objects.create(kind="test", who="user:1", window_began_at=NOON - timedelta(hours=2), count=3)

    outcomes = at_once([lambda: spend(THREE_AN_HOUR, who="user:1", now=NOON)] * 6)

    assert sum(outcome is None for outcome in outcomes) == 3
