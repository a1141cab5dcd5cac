"""Raters, careful workers and payments at the same time; a rater that is killed: nothing is lost or counted twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from datetime import timedelta

import pytest

from billing import prepaid, rating
from billing.models import Backlog, Doubt, Draw, Purse
from billing.rating import accrue, careful, doubts
from meters.models import Batch
from tests import makers
from tests.billing.rating import world
from tests.billing.rating.world import NOW, QUARTER, START
from tests.gateways import database_url, wait_until
from tests.racing import race

pytestmark = pytest.mark.django_db(transaction=True)

HOMES = 12
ROUNDS = 5


def told(draws: list[Draw], nth: int, *, stored_at) -> None:
    world.tell([(draw.meter, START + nth * QUARTER, 100_000 + 100 * nth) for draw in draws], stored_at=stored_at)


def until_done(call):
    """What a rater does: rounds until nothing is left; a lost race is a round that is come back to."""

    def run() -> int:
        rounds = 0
        while Batch.objects.exists() or Backlog.objects.exists():
            call()
            rounds += 1
            assert rounds < 500
        return rounds

    return run


def assert_all_is_counted_once() -> None:
    assert not Batch.objects.exists()
    assert not Backlog.objects.exists()
    assert set(Draw.objects.values_list("total_nano", "last_wh")) == {
        (ROUNDS * 100 * 50_000_000, 100_000 + ROUNDS * 100)
    }


def test_two_raters_share_batches_that_speak_of_the_same_meters():
    version = world.a_version()
    draws = [world.a_draw(version) for _ in range(HOMES)]
    for nth in range(1, ROUNDS + 1):
        told(draws, nth, stored_at=NOW + nth * timedelta(seconds=1))

    later = NOW + timedelta(minutes=1)
    found = race([until_done(lambda: (accrue.accrue(now=later, batches_at_most=1), careful.work(now=later)))] * 3)

    assert not [one for one in found if isinstance(one, Exception)]
    assert_all_is_counted_once()


def test_a_payment_and_a_rater_do_not_wait_for_one_another_for_ever():
    version = world.a_version()
    draws = [world.a_draw(version) for _ in range(HOMES)]
    Purse.objects.update(look_below_fen=10**9)  # every reading asks for a review
    for nth in range(1, ROUNDS + 1):
        told(draws, nth, stored_at=NOW + nth * timedelta(seconds=1))
    later = NOW + timedelta(minutes=1)

    def pay() -> None:
        for nth in range(ROUNDS):
            for draw in reversed(draws):
                prepaid.top_up(
                    key=f"test:{draw.pk}:{nth}",
                    kind="payment",
                    purse_id=draw.purse_id,
                    amount_fen=100,
                    source=prepaid.Source("clearing", "test"),
                    happened_at=NOW,
                    trace="",
                    now=NOW,
                )

    found = race(
        [pay, *[until_done(lambda: (accrue.accrue(now=later, batches_at_most=1), careful.work(now=later)))] * 2]
    )

    assert not [one for one in found if isinstance(one, Exception)]
    assert_all_is_counted_once()
    assert set(Purse.objects.values_list("paid_fen", flat=True)) == {100 * ROUNDS}


def test_late_readings_and_new_ones_at_once_are_all_counted():
    version = world.a_version()
    draws = [world.a_draw(version) for _ in range(HOMES)]
    told(draws, ROUNDS, stored_at=NOW)
    rating.work(now=NOW)
    for nth in range(1, ROUNDS):
        told(draws, nth, stored_at=NOW + nth * timedelta(seconds=1))
    later = NOW + timedelta(minutes=1)

    found = race([until_done(lambda: rating.work(now=later))] * 3)

    assert not [one for one in found if isinstance(one, Exception)]
    assert_all_is_counted_once()


_RATES_AND_WAITS = """
    import django
    django.setup()
    from datetime import datetime
    from django.db import transaction
    from billing.rating import accrue
    with transaction.atomic():
        print(accrue.accrue(now=datetime.fromisoformat("{now}")).done, flush=True)
        input()
"""


@pytest.mark.kill
def test_a_rater_killed_before_its_commit_leaves_the_batch_to_the_next():
    draw = world.a_draw()
    world.tell([(draw.meter, START + QUARTER, 100_400)])
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_RATES_AND_WAITS.format(now=NOW.isoformat()))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "DATABASE_URL": database_url()},
    ) as process:
        assert process.stdout.readline() == "1\n"
        assert accrue.accrue(now=NOW).batches == 0  # it is in somebody's hands
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert Batch.objects.exists()

    wait_until(lambda: rating.work(now=NOW))  # until the server has noticed

    draw.refresh_from_db()
    assert (draw.total_nano, draw.last_wh) == (400 * 50_000_000, 100_400)
    assert rating.work(now=NOW) == 0


def test_of_two_who_decide_about_a_reading_at_once_one_decides():
    draw = world.a_draw()
    world.tell([(draw.meter, START + QUARTER, 200_000)])
    accrue.accrue(now=NOW)
    careful.work(now=NOW)
    doubt, clerk = Doubt.objects.get(), makers.a_user()

    answers = race(
        [
            lambda: doubts.decide(doubt_id=doubt.pk, as_="believed", by=clerk, note="seen", now=NOW),
            lambda: doubts.decide(doubt_id=doubt.pk, as_="rejected", by=clerk, note="broken", now=NOW),
        ]
    )

    assert sorted(isinstance(answer, doubts.CannotDecideError) for answer in answers) == [False, True]
    doubt.refresh_from_db()
    assert (doubt.state, doubt.note) in {("believed", "seen"), ("rejected", "broken")}
    assert Backlog.objects.get().bumps == 1
