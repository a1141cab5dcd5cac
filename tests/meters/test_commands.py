"""Commands are claimed once, expire, and are answered; their states move through one table."""

from __future__ import annotations

import itertools
import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from meters import commands, topups
from meters.models import Command, Level, Meter, TopUp
from meters.wire.base import ImpossibleCommand
from tests.makers import a_meter
from tests.meters.at_once import at_once

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 1, 4, tzinfo=UTC)
State = Command.State


def a_command(*, meter: Meter | None = None, **kwargs) -> Command:
    meter = meter or a_meter(is_online=True)
    times = {"sent_at": NOW, "expires_at": NOW + timedelta(seconds=30)} if kwargs.get("state") == "sent" else {}
    made = {"id": uuid.uuid4(), "meter": meter, "property": meter.property, "kind": "read", "queued_at": NOW}
    return Command.objects.create(**made | times | kwargs)


def test_what_is_claimed_is_sent_and_expires_after_its_models_lifetime():
    command = a_command(kind="relay", value="closed", generation=3, trace="t1")

    (outgoing,) = commands.claim(now=NOW)

    command.refresh_from_db()
    assert command.state == "sent"
    assert command.expires_at == outgoing.expires_at == NOW + timedelta(seconds=30)
    assert (outgoing.property_code, outgoing.serial) == (command.property.code, command.meter.serial)
    assert commands.claim(now=NOW) == []


def test_the_oldest_go_first_and_no_more_than_asked_for():
    newer = a_command(queued_at=NOW)
    older = a_command(queued_at=NOW - timedelta(minutes=1))

    assert [one.id for one in commands.claim(now=NOW, limit=1)] == [older.pk]
    assert [one.id for one in commands.claim(now=NOW, limit=1)] == [newer.pk]


def test_a_sleeping_meters_commands_wait_for_it():
    command = a_command(meter=a_meter(is_online=False))

    assert commands.claim(now=NOW) == []

    Meter.objects.filter(pk=command.meter_id).update(is_online=True)
    assert len(commands.claim(now=NOW)) == 1


def test_an_unanswered_command_runs_out_after_its_time_and_a_moment():
    command = a_command(state="sent")

    assert commands.expire(now=NOW + timedelta(seconds=31)) == 0
    assert commands.expire(now=NOW + timedelta(seconds=32)) == 1

    command.refresh_from_db()
    assert command.state == "expired"


def a_sent_level(*, wanted: str = "closed", meter: Meter | None = None, **kwargs) -> Command:
    """Told to close; `wanted` is what we want of it by now."""
    command = a_command(meter=meter, state="sent", kind="relay", value="closed", generation=3, **kwargs)
    Level.objects.create(
        meter=command.meter, kind="relay", wanted=wanted, reason="test", wanted_at=NOW, generation=3, next_try_at=NOW
    )
    return command


def test_what_is_unanswered_is_said_again_as_it_was_said_first():
    level = a_sent_level(trace="t1")
    read = a_command(state="sent", queued_at=NOW + timedelta(seconds=1))

    again = commands.unanswered(now=NOW + timedelta(seconds=29))

    assert [one.id for one in again] == [level.pk, read.pk]
    assert (again[0].value, again[0].generation, again[0].trace) == ("closed", 3, "t1")
    assert (again[0].sent_at, again[0].expires_at) == (NOW, NOW + timedelta(seconds=30))
    assert again[0].serial == level.meter.serial
    assert set(Command.objects.values_list("state", flat=True)) == {"sent"}


def test_a_level_that_is_wanted_no_more_is_not_said_again():
    a_sent_level(wanted="open")

    assert commands.unanswered(now=NOW) == []


def test_a_top_up_is_not_said_again():
    meter = a_meter(held_by="meter", is_online=True)
    topups.queue(key="payment:1", meter_id=meter.pk, amount_fen=100, trace="", now=NOW)
    a_command(meter=meter, state="sent", kind="top_up", value="100", generation=1, top_up=TopUp.objects.get())

    assert commands.unanswered(now=NOW) == []


@pytest.mark.parametrize("state", ["queued", "done", "refused", "expired", "superseded"])
def test_what_was_not_sent_or_is_over_is_not_said_again(state):
    a_command(state=state, sent_at=NOW, expires_at=NOW + timedelta(seconds=30))

    assert commands.unanswered(now=NOW) == []


def test_nothing_is_said_again_after_its_time_or_to_a_meter_that_is_away():
    a_sent_level()
    a_sent_level(meter=a_meter(is_online=False))

    assert commands.unanswered(now=NOW + timedelta(seconds=30)) == []
    assert len(commands.unanswered(now=NOW)) == 1


@pytest.mark.parametrize("state", ["sent", "expired"])
@pytest.mark.parametrize(("error", "expected"), [("", "done"), ("failed", "refused")])
def test_an_answer_closes_a_command_even_when_it_comes_late(state, error, expected):
    command = a_command(state=state)

    assert commands.answer(command, error=error, now=NOW)

    command.refresh_from_db()
    assert (command.state, command.error, command.answered_at) == (expected, error, NOW)


@pytest.mark.parametrize("state", ["done", "refused", "superseded", "queued"])
def test_a_second_answer_or_one_to_what_was_never_sent_changes_nothing(state):
    command = a_command(state=state)

    if state == "queued":
        assert not commands.answer(command, error="failed", now=NOW)
    assert not commands.answer(command, error="", now=NOW)

    command.refresh_from_db()
    assert (command.state, command.answered_at) == (state, None)


@pytest.mark.parametrize("to", State.values)
@pytest.mark.parametrize("state", State.values)
def test_states_move_as_the_table_says_and_in_no_other_way(state, to):
    command = a_command(state=state, sent_at=NOW, expires_at=NOW)

    if to in commands.MOVES[state]:
        commands.move(command, to)
    else:
        with pytest.raises(commands.IllegalMoveError):
            commands.move(command, to)

    command.refresh_from_db()
    assert command.state == (to if to in commands.MOVES[state] else state)


def test_a_move_that_somebody_else_made_first_is_refused():
    command = a_command(state="sent")
    Command.objects.filter(pk=command.pk).update(state="expired")

    with pytest.raises(commands.IllegalMoveError):
        commands.move(command, State.EXPIRED)


def test_one_command_of_a_kind_is_queued_at_a_time():
    meter = a_meter()

    assert commands.issue(meter=meter, kind="read", top_up=None, trace="", now=NOW)
    assert not commands.issue(meter=meter, kind="read", top_up=None, trace="", now=NOW)

    assert Command.objects.filter(meter=meter).count() == 1


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        ("relay", "permitted", {"position": "permitted"}),
        ("show", "-120", {"balance_fen": -120}),
        ("read", "", {}),
    ],
)
def test_a_claimed_command_becomes_a_message(kind, value, told):
    command = a_command(kind=kind, value=value, generation=4, trace="t9")
    (outgoing,) = commands.claim(now=NOW)

    topic, payload = commands.encode(outgoing)

    said = json.loads(payload)
    assert topic == f"m/{command.property.code}/{command.meter.serial}/cmd"
    assert said["kind"] == kind
    assert (said["id"], said["generation"], said["trace"]) == (str(command.pk), 4, "t9")
    assert {name: said[name] for name in told} == told


def test_a_command_in_a_format_that_nobody_knows_is_ours_to_mend():
    command = a_command()
    command.meter.model.codec = "carrier-pigeon"
    command.meter.model.save(update_fields=["codec"])
    (outgoing,) = commands.claim(now=NOW)

    with pytest.raises(ImpossibleCommand):
        commands.encode(outgoing)


@pytest.mark.django_db(transaction=True)
def test_gateways_that_claim_at_once_send_each_command_once():
    for _ in range(60):
        a_command()

    def claim():
        mine = []
        while some := commands.claim(now=NOW, limit=5):
            mine += [one.id for one in some]
        return mine

    claimed = list(itertools.chain.from_iterable(at_once(6, claim)))

    assert len(claimed) == len(set(claimed)) == 60
