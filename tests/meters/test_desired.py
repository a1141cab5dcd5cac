"""What we want of a meter, and what goes out while it has something else."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta

import pytest

from meters import commands, desired
from meters.models import Command, Level, Meter
from tests.makers import a_meter
from tests.meters.at_once import at_once_each

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 1, 4, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def wish(meter: Meter, wanted: str, *, kind: str = "relay", now: datetime = NOW) -> bool:
    return desired.want(meter_id=meter.pk, kind=kind, wanted=wanted, reason="test", trace="t1", now=now)


def an_online_meter(**kwargs) -> Meter:
    return a_meter(is_online=True, last_seen_at=NOW, **kwargs)


def reports(meter: Meter, relay: str) -> None:
    Level.objects.filter(meter=meter, kind="relay").update(reported=relay, reported_at=NOW)


def generations(meter: Meter, state: str) -> list[int]:
    rows = Command.objects.filter(meter=meter, state=state).order_by("generation")
    return list(rows.values_list("generation", flat=True))


def test_a_wish_that_the_meter_does_not_have_makes_a_command():
    meter = an_online_meter()

    assert wish(meter, "closed")

    command = Command.objects.get(meter=meter)
    assert (command.kind, command.value, command.generation, command.state) == ("relay", "closed", 1, "queued")
    assert command.trace == "t1"


def test_the_same_wish_again_makes_no_second_command():
    meter = an_online_meter()
    wish(meter, "closed")

    assert not wish(meter, "closed")

    assert generations(meter, "queued") == [1]


def test_a_newer_wish_takes_the_place_of_one_that_was_not_sent():
    meter = a_meter()  # asleep
    wish(meter, "open")

    wish(meter, "closed")

    assert generations(meter, "superseded") == [1]
    assert Command.objects.get(meter=meter, state="queued").value == "closed"


def test_a_wish_for_what_the_meter_has_takes_back_what_is_queued_and_sends_nothing():
    meter = a_meter()
    wish(meter, "closed")
    reports(meter, "closed")
    Command.objects.filter(meter=meter).update(state="done")
    wish(meter, "open", now=NOW + SECOND)

    assert not wish(meter, "closed", now=NOW + 2 * SECOND)

    assert generations(meter, "queued") == []


def test_a_wish_against_a_command_that_is_out_is_sent_after_it():
    meter = an_online_meter()
    wish(meter, "closed")
    reports(meter, "closed")
    Command.objects.filter(meter=meter).update(state="done")
    wish(meter, "open", now=NOW)
    commands.claim(now=NOW)

    assert wish(meter, "closed", now=NOW + SECOND)

    assert generations(meter, "sent") == [2]
    assert generations(meter, "queued") == [3]


def test_disagreement_is_tried_again_when_its_time_has_come_and_nothing_is_on_its_way():
    meter = an_online_meter()
    wish(meter, "closed")
    commands.claim(now=NOW)

    assert desired.reconcile(now=NOW + 29 * SECOND) == 0  # still on its way
    assert desired.reconcile(now=NOW + 30 * SECOND) == 1
    assert generations(meter, "queued") == [2]
    commands.claim(now=NOW + 31 * SECOND)
    assert desired.reconcile(now=NOW + 80 * SECOND) == 0  # not yet due: the second wait is longer
    assert desired.reconcile(now=NOW + 91 * SECOND) == 1


def test_tries_grow_rarer_but_never_end():
    meter = an_online_meter()
    wish(meter, "closed")
    gaps, last = [], NOW

    for minute in range(24 * 60):
        now = NOW + timedelta(minutes=minute)
        commands.claim(now=now)
        commands.expire(now=now + 35 * SECOND)
        if desired.reconcile(now=now + 36 * SECOND):
            gaps.append(now - last)
            last = now

    assert gaps == sorted(gaps[:6]) + gaps[6:]
    assert max(gaps) <= timedelta(minutes=17)
    assert len(gaps) > 80


def test_a_meter_that_is_asleep_or_agrees_is_left_alone():
    asleep, content = a_meter(), an_online_meter()
    for meter in (asleep, content):
        wish(meter, "closed")
        Command.objects.filter(meter=meter).update(state="expired")
    reports(content, "closed")

    assert desired.reconcile(now=NOW + timedelta(hours=1)) == 0


def test_a_meter_that_obeyed_a_higher_generation_is_jumped_over():
    meter = an_online_meter(relay_generation=41)

    wish(meter, "closed")

    assert generations(meter, "queued") == [42]


def test_a_level_is_overdue_when_it_has_disagreed_for_long():
    late, fresh, content = an_online_meter(), an_online_meter(), an_online_meter()
    wish(late, "closed", now=NOW - timedelta(minutes=11))
    wish(content, "closed", now=NOW - timedelta(minutes=11))
    reports(content, "closed")
    wish(fresh, "closed")

    overdue = desired.overdue(now=NOW, after=timedelta(minutes=10))

    assert [level.meter for level in overdue] == [late]


def test_a_meter_that_left_a_level_just_now_is_not_overdue_yet():
    meter = an_online_meter()
    wish(meter, "closed", now=NOW - timedelta(days=1))
    reports(meter, "open")  # somebody moved it by hand

    assert not desired.overdue(now=NOW, after=timedelta(minutes=10)).exists()
    assert desired.overdue(now=NOW + timedelta(minutes=11), after=timedelta(minutes=10)).exists()


@pytest.mark.django_db(transaction=True)
def test_many_who_wish_and_reconcile_at_once_leave_one_queued_command_for_the_newest_wish():
    meter = an_online_meter()

    def act(number: int):
        for step in range(5):
            now = NOW + timedelta(seconds=number + 100 * step)
            wish(meter, "open" if number % 2 else "closed", now=now)
            commands.claim(now=now)
            desired.reconcile(now=now + timedelta(hours=1))

    at_once_each(*[functools.partial(act, number) for number in range(12)])

    level = Level.objects.get(meter=meter)
    assert Command.objects.filter(meter=meter, state="queued").count() <= 1
    newest = Command.objects.filter(meter=meter).order_by("-generation").first()
    assert newest is not None
    assert (newest.value, newest.generation) == (level.wanted, level.generation)
    assert len(set(Command.objects.filter(meter=meter).values_list("generation", flat=True))) == level.generation


def test_a_trip_whose_answer_was_lost_is_followed_by_a_newer_wish():
    """The meter said "closed" before it was told to open and never answered: who knows where its relay is."""
    meter = an_online_meter()
    wish(meter, "closed")
    Command.objects.update(state="done")
    Level.objects.update(reported="closed", reported_at=NOW)
    wish(meter, "open")
    Command.objects.filter(value="open").update(state="expired", sent_at=NOW, expires_at=NOW + 30 * SECOND)

    assert wish(meter, "closed", now=NOW + 60 * SECOND)


def test_an_older_command_on_its_way_does_not_stand_for_a_newer_wish():
    meter = an_online_meter()
    out = {"state": "sent", "sent_at": NOW, "expires_at": NOW + 3600 * SECOND}
    for n, position in enumerate(("closed", "open")):
        wish(meter, position, now=NOW + n * SECOND)
        Command.objects.filter(state="queued").update(**out)

    assert wish(meter, "closed", now=NOW + 5 * SECOND)


@pytest.mark.parametrize("last", ["open", "closed"])
def test_a_wish_whose_clock_was_read_before_it_waited_is_still_the_newer_one(last):
    """Its command is the newest: the one before it does not stand for the wish that comes after both."""
    meter = an_online_meter()
    other = "closed" if last == "open" else "open"
    wish(meter, last, now=NOW + 2 * SECOND)
    commands.claim(now=NOW + 2 * SECOND)
    wish(meter, other, now=NOW + SECOND)
    commands.claim(now=NOW + 2 * SECOND)

    assert wish(meter, last, now=NOW + 5 * SECOND)

    (outgoing,) = commands.claim(now=NOW + 5 * SECOND)
    assert (outgoing.value, outgoing.generation) == (last, 3)
