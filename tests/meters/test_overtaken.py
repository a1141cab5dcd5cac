"""A gateway takes a command at the very moment when a newer wish takes its place.

At every interleaving: what has gone out is not forgotten, the newest wish has a command or needs none, and generations
rise. A trip that is out and marked as superseded would be obeyed, and nothing would follow it: the meter said "closed"
before, so that the payment's wish would seem to be fulfilled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.db import connection, transaction

from meters import commands, desired
from meters.commands import Outgoing
from meters.models import Command, Level, Meter
from tests.gateways import database_url, wait_until
from tests.makers import a_meter
from tests.racing import race

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 11, 1, 4, tzinfo=UTC)
SECOND = timedelta(seconds=1)

# Where a wish is stopped: before it has its level, or at a trigger. One that runs within a statement stops it when that
# has chosen its rows and not locked them yet.
BEFORE_IT_LOOKS = "before it looks"
MOMENTS = {
    BEFORE_IT_LOOKS: "",
    "after it looked": "before update on meters_command",
    "when the older one is taken back": "before insert on meters_command",
    "before it is committed": "after insert on meters_command",
}
WAIT_HERE = """
create function wait_here() returns trigger language plpgsql as $$
begin
    if current_setting('tests.is_stopped', true) = 'yes' then
        perform pg_advisory_xact_lock(4711);
    end if;
    return null;
end $$;
create trigger wait_here {moment} for each statement execute function wait_here();
"""


def wish(meter: Meter, wanted: str, *, now: datetime) -> bool:
    return desired.want(meter_id=meter.pk, kind="relay", wanted=wanted, reason="test", trace="t1", now=now)


def about_to_be_cut(*, reported: str = "closed") -> Meter:
    """Its power is on, as we know from itself or not (`reported` is empty), and a trip is queued that nobody sent."""
    meter = a_meter(is_online=True, last_seen_at=NOW)
    wish(meter, "closed", now=NOW)
    Command.objects.filter(meter=meter).update(state="done", sent_at=NOW, expires_at=NOW + 30 * SECOND)
    Level.objects.filter(meter=meter).update(reported=reported, reported_at=NOW)
    wish(meter, "open", now=NOW + SECOND)
    return meter


def paid(meter: Meter) -> bool:
    """The newer wish, in a transaction of its own as everywhere."""
    with transaction.atomic():
        return wish(meter, "closed", now=NOW + 2 * SECOND)


def claim(*, limit: int = 200) -> list[Outgoing]:
    return commands.claim(now=NOW + 3 * SECOND, limit=limit)


def must_hold(meter: Meter, gone_out: list[Outgoing]) -> None:
    """`gone_out` are the commands that the gateway took for this meter; what is queued follows it."""
    states = dict(Command.objects.filter(meter=meter).values_list("pk", "state"))
    assert [states[one.id] for one in gone_out] == ["sent"] * len(gone_out)
    queued = Command.objects.filter(meter=meter, state="queued")
    told = [(one.generation, one.value) for one in gone_out]
    told += queued.order_by("generation").values_list("generation", "value")
    level = Level.objects.get(meter=meter)
    assert [level.reported, *(value for _, value in told)][-1] == level.wanted == "closed"
    generations = [generation for generation, _ in told]
    assert generations == sorted(set(generations))
    given = list(Command.objects.filter(meter=meter).order_by("generation").values_list("generation", flat=True))
    assert given == list(range(1, level.generation + 1))


@contextmanager
def stopped(work: Callable[[], object], moment: str) -> Iterator[None]:
    """Runs `work` in a thread; the block begins when it waits at `moment`, and it goes on when the block ends."""
    said: list[object] = []

    def run() -> None:
        with connection.cursor() as cursor:
            cursor.execute("set tests.is_stopped to 'yes'")
            said.append(work())
            cursor.execute("set tests.is_stopped to 'no'")
        connection.close()

    thread = threading.Thread(target=run)
    with a_trigger(MOMENTS[moment]), psycopg.connect(database_url()) as red_light:
        if moment == BEFORE_IT_LOOKS:
            red_light.execute("select from meters_level for update")
        else:
            red_light.execute("select pg_advisory_xact_lock(4711)")
        thread.start()
        wait_until(lambda: is_waiting("transactionid" if moment == BEFORE_IT_LOOKS else "advisory"))
        yield
        red_light.rollback()
        thread.join(30)
    assert said, "it failed"


@contextmanager
def a_trigger(moment: str) -> Iterator[None]:
    if not moment:
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute(WAIT_HERE.format(moment=moment))
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("drop function wait_here cascade")


def is_waiting(event: str) -> bool:
    """Whether a connection to this database waits for such a lock of another."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_stat_clear_snapshot()")
        cursor.execute(
            "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
            " and wait_event = %s",
            [event],
        )
        return cursor.fetchone() is not None


@pytest.mark.parametrize("reported", ["closed", ""])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_command_taken_while_a_newer_wish_is_being_written_is_followed_by_it(moment, reported):
    meter = about_to_be_cut(reported=reported)
    if moment in ("when the older one is taken back", "before it is committed"):
        Level.objects.filter(meter=meter).update(reported="")  # else nothing is written for it

    with stopped(lambda: paid(meter), moment):
        gone_out = claim()

    assert len(gone_out) == (moment in (BEFORE_IT_LOOKS, "after it looked"))  # later it is taken back already
    must_hold(meter, gone_out)


@pytest.mark.parametrize("reported", ["closed", ""])
@pytest.mark.parametrize("lives", [True, False])
def test_a_wish_that_comes_while_a_gateway_takes_the_older_command_waits_for_what_becomes_of_that(reported, lives):
    """The gateway has not committed: it may die, and then nothing has gone out."""
    meter = about_to_be_cut(reported=reported)
    payment = threading.Thread(target=race, args=[[lambda: paid(meter)]])

    with transaction.atomic():
        gone_out = claim()
        payment.start()
        wait_until(lambda: is_waiting("transactionid"))
        transaction.set_rollback(not lives)
    payment.join(30)

    must_hold(meter, gone_out if lives else [])


@pytest.mark.parametrize("_round", range(4))
def test_gateways_that_take_what_payments_overtake_forget_nothing(_round):
    """No moment is chosen here: commands are taken a few at a time while their meters' payments come in."""
    meters = [about_to_be_cut(reported="closed" if number % 2 else "") for number in range(100)]

    def gateway() -> list[Outgoing]:
        return [one for some in iter(lambda: claim(limit=8), []) for one in some]

    def payments(mine: list[Meter]) -> list[Outgoing]:
        for meter in mine:
            paid(meter)
        return []

    took = race([gateway, lambda: payments(meters[::2]), lambda: payments(meters[1::2])])

    gone_out = sorted((one for some in took for one in some), key=lambda one: one.generation)
    for meter in meters:
        must_hold(meter, [one for one in gone_out if one.serial == meter.serial])
