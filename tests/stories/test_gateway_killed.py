"""The gateway is killed at each of its bad moments. After its restart each recharge is one step of the meter's count,
every relay stands where it is wanted, and the money is where the meter is.

The moments are made with real means: a wire to the broker that holds what goes one way, or a lock in the database.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.utils import timezone

from billing import parameters, prepaid
from billing.models import Purse, SupplyPolicy
from meters import parameters as meters_parameters
from meters.models import Command, Level, Meter, MeterModel, TopUp
from sandbox.fleet import Fleet
from tests.gateways import Wire, database_url, faults, hang, there, wait_until
from tests.makers import a_policy, a_room, a_tenancy

pytestmark = [pytest.mark.kill, pytest.mark.django_db(transaction=True)]

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_S = 40
HOLDERS = pytest.mark.parametrize("held_by", ["server", "meter"])


class Home:
    """A purse and its meter, whose power is off. Recharges of 10.00 yuan."""

    def __init__(self, fleet: Fleet, *, held_by: str, ttl_s: int = 2) -> None:
        room = a_room()
        self.fleet, self.recharges = fleet, 0
        self.tenancy = a_tenancy(room=room)
        self.purse_id = prepaid.purse_of(self.tenancy).pk
        order = "auto" if held_by == "meter" else "open"
        self.meter: Meter = hang(fleet, held_by=held_by, ttl_s=ttl_s, room=room, relay="open", order=order)
        wait_until(lambda: Meter.objects.get(pk=self.meter.pk).is_online, within_s=PATIENCE_S)

    def recharge(self) -> None:
        self.recharges += 1
        now = timezone.now()
        prepaid.top_up(
            key=f"payment:{self.purse_id}:{self.recharges}",
            kind="payment",
            purse_id=self.purse_id,
            amount_fen=1000,
            source=prepaid.Source("clearing", "test"),
            happened_at=now,
            trace=f"t{self.recharges}",
            now=now,
        )

    def commands(self, **of) -> list[Command]:
        return list(Command.objects.filter(meter=self.meter, **of).order_by("pk"))

    def are_all(self, state: str) -> bool:
        """Of the two commands that a first recharge makes."""
        return [command.state for command in self.commands()] == [state, state]

    def has_obeyed(self) -> bool:
        """The meter has done what was asked, whatever we know of it."""
        meter = there(self.fleet, self.meter)
        is_told = meter["purchase_count"] == self.recharges or meter["shown_fen"] == 1000 * self.recharges
        return bool(is_told and meter["relay"] == "closed")

    def is_well(self) -> bool:
        """The meter has everything once, and we know."""
        meter, purse, fen = there(self.fleet, self.meter), Purse.objects.get(pk=self.purse_id), 1000 * self.recharges
        agreed = Level.objects.filter(meter=self.meter, agreed_at__isnull=True).count() == 0
        if self.meter.holds_money():
            once_each = {str(number): 1 for number in range(1, self.recharges + 1)}
            settled = TopUp.objects.filter(meter=self.meter, state="landed", settled_at__isnull=False).count()
            is_in = (meter["applied"], meter["balance_fen"], purse.in_meter_fen) == (once_each, fen, fen)
            return agreed and self.has_obeyed() and is_in and settled == self.recharges
        return agreed and self.has_obeyed() and purse.paid_fen == fen

    def must_become_well(self) -> None:
        try:
            wait_until(self.is_well, within_s=PATIENCE_S)
        except AssertionError:
            rows = [(c.kind, c.value, c.state, c.error) for c in self.commands()]
            raise AssertionError(f"{there(self.fleet, self.meter)}, {rows}") from None


class Process:
    """`manage.py gateway`, to be killed."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._running: subprocess.Popen[bytes] | None = None

    def start(self, broker_url: str) -> None:
        env = os.environ | {
            "DATABASE_URL": database_url(),
            "DATABASE_LISTEN_URL": database_url(),
            "MQTT_URL": broker_url,
            "SECRET_KEY": settings.SECRET_KEY,
            "LOG_LEVEL": "INFO",
        }
        words = [sys.executable, "manage.py", "gateway", "--name", "gateway-1"]
        before = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._running = subprocess.Popen(words, cwd=PROJECT, env=env, stdout=log, stderr=log)
        wait_until(lambda: b"connected to the broker" in self._log.read_bytes()[before:], within_s=PATIENCE_S)

    def end(self, how: int) -> int:
        if self._running is None:
            return 0
        process, self._running = self._running, None
        process.send_signal(how)
        return process.wait(PATIENCE_S)

    def kill(self) -> None:
        assert self.end(signal.SIGKILL) == -signal.SIGKILL


@pytest.fixture
def gateway(tmp_path) -> Iterator[Process]:
    process = Process(tmp_path / "gateway.log")
    yield process
    process.end(signal.SIGKILL)


@pytest.fixture
def fleet(broker_url) -> Iterator[Fleet]:
    with Fleet(broker_url, relay_ms=10) as fleet:
        yield fleet


@pytest.fixture
def wire(broker_url) -> Iterator[Wire]:
    with Wire(broker_url) as wire:
        yield wire


@HOLDERS
def test_killed_between_commit_and_publish(broker_url, gateway: Process, fleet: Fleet, wire: Wire, held_by: str):
    """What it claimed never reached the broker: it runs out, and is asked again."""
    gateway.start(wire.url)
    home = Home(fleet, held_by=held_by)
    wire.hold("up")
    home.recharge()
    wait_until(lambda: home.are_all("sent"))
    time.sleep(0.2)

    gateway.kill()
    wire.cut()
    assert there(fleet, home.meter)["commands"] == []
    gateway.start(broker_url)

    home.must_become_well()


def test_killed_between_commit_and_publish_the_next_says_it_at_once(broker_url, gateway: Process, fleet: Fleet, wire):
    """The meter stays connected, and its commands live for a minute: nobody waits for that."""
    gateway.start(wire.url)
    home = Home(fleet, held_by="server", ttl_s=60)
    wire.hold("up")
    home.recharge()
    wait_until(lambda: home.are_all("sent"))

    gateway.kill()
    wire.cut()
    assert there(fleet, home.meter)["commands"] == []
    gateway.start(broker_url)

    wait_until(home.is_well, within_s=PATIENCE_S)


def test_killed_while_a_sleeping_meter_has_its_commands_it_doubles_them_and_they_are_obeyed_once(
    broker_url, gateway: Process, fleet: Fleet
):
    """The next cannot know that they were published."""
    gateway.start(broker_url)
    home = Home(fleet, held_by="server", ttl_s=60)
    faults(fleet, home.meter, sleep=True)
    home.recharge()
    wait_until(lambda: len(there(fleet, home.meter)["commands"]) == 2)

    gateway.kill()
    gateway.start(broker_url)
    wait_until(lambda: told(home, "relay")[:1] == told(home, "show")[:1] == [2])
    faults(fleet, home.meter, sleep=False)

    home.must_become_well()
    assert [move["to"] for move in there(fleet, home.meter)["relay_moves"]] == ["closed"]


def test_killed_with_a_top_up_that_may_be_out_it_is_not_said_again_before_it_was_read_back(
    broker_url, gateway: Process, fleet: Fleet
):
    gateway.start(broker_url)
    home = Home(fleet, held_by="meter", ttl_s=2)
    faults(fleet, home.meter, deaf=True)
    home.recharge()
    wait_until(lambda: told(home, "top_up") == [1])

    gateway.kill()
    gateway.start(broker_url)
    wait_until(lambda: told(home, "read"), within_s=PATIENCE_S)
    assert told(home, "top_up") == [1]
    faults(fleet, home.meter, deaf=False)

    home.must_become_well()


def told(home: Home, kind: str) -> list[int]:
    """How often the meter has received each command of a kind."""
    ids = [one["id"] for one in there(home.fleet, home.meter)["commands"] if one["kind"] == kind]
    return [ids.count(one) for one in dict.fromkeys(ids)]


@HOLDERS
def test_killed_between_publish_and_answer(broker_url, gateway: Process, fleet: Fleet, wire: Wire, held_by: str):
    """The meter did it and said so to nobody: nothing is done a second time."""
    gateway.start(wire.url)
    home = Home(fleet, held_by=held_by)
    wire.hold("down")
    home.recharge()
    wait_until(home.has_obeyed)
    assert not home.are_all("done")

    gateway.kill()
    wire.cut()
    gateway.start(broker_url)

    home.must_become_well()
    assert len(home.commands(kind="top_up")) == (held_by == "meter")


@HOLDERS
def test_killed_before_the_answer_is_acknowledged(broker_url, gateway: Process, fleet: Fleet, wire: Wire, held_by: str):
    """It was stored, and the broker says it again: that changes nothing."""
    gateway.start(wire.url)
    home = Home(fleet, held_by=held_by, ttl_s=10)
    faults(fleet, home.meter, slow_ms=700)
    home.recharge()
    wait_until(lambda: home.are_all("sent") and len(there(fleet, home.meter)["commands"]) == len(home.commands()))
    wire.hold("up")
    wait_until(lambda: home.are_all("done"))
    before = home.commands()

    gateway.kill()
    wire.cut()
    wire.carried["down"].clear()
    gateway.start(wire.url)

    wait_until(lambda: wire.carried["down"].count(b'"type":"answer"') >= len(before))
    home.must_become_well()
    assert home.commands() == before


@HOLDERS
def test_killed_while_it_stores_the_answer(broker_url, gateway: Process, fleet: Fleet, held_by: str):
    """Neither stored nor acknowledged: the broker says it again to the next."""
    gateway.start(broker_url)
    home = Home(fleet, held_by=held_by, ttl_s=10)
    with psycopg.connect(database_url()) as blocker:
        blocker.execute("lock table meters_reading in access exclusive mode")
        home.recharge()
        wait_until(home.has_obeyed)
        time.sleep(0.2)
        gateway.kill()
        assert home.are_all("sent")
    before = home.commands()

    gateway.start(broker_url)

    home.must_become_well()
    assert home.commands() == before


@HOLDERS
def test_killed_again_and_again_while_recharges_come_in(broker_url, gateway: Process, fleet: Fleet, held_by: str):
    dice = random.Random(7)
    gateway.start(broker_url)
    home = Home(fleet, held_by=held_by, ttl_s=1)
    for _ in range(5):
        home.recharge()
        time.sleep(dice.uniform(0, 0.06))
        gateway.kill()
        home.recharge()
        gateway.start(broker_url)
        time.sleep(dice.uniform(0, 0.3))

    home.must_become_well()


def test_told_to_end_it_ends_cleanly(broker_url, gateway: Process, fleet: Fleet):
    gateway.start(broker_url)
    home = Home(fleet, held_by="server")
    home.recharge()
    home.must_become_well()

    assert gateway.end(signal.SIGTERM) == 0


def test_two_under_one_name_do_not_take_turns_for_ever(broker_url, gateway: Process, tmp_path):
    """The broker lets the newer one in; where it says why, the older one ends."""
    gateway.start(broker_url)
    newer = Process(tmp_path / "newer.log")
    try:
        newer.start(broker_url)
        if b"taken over" in wait_until((tmp_path / "gateway.log").read_bytes):
            assert gateway.end(0) != 0
    finally:
        newer.end(signal.SIGKILL)


def test_killed_again_and_again_while_a_policy_goes_out_the_meter_has_it_whole_and_no_recharge_is_lost(
    broker_url, gateway: Process, fleet: Fleet
):
    gateway.start(broker_url)
    home = Home(fleet, held_by="meter")
    MeterModel.objects.filter(pk=home.meter.model_id).update(parameters=meters_parameters.KINDS)
    policy = a_policy(home.meter.property, warn_fens=[2000, 500])
    for overdraft_fen in (100, 200, 300):
        SupplyPolicy.objects.filter(pk=policy.pk).update(overdraft_fen=overdraft_fen)
        parameters.push(now=timezone.now())
        home.recharge()
        time.sleep(random.uniform(0, 0.5))
        gateway.kill()
        gateway.start(broker_url)

    home.must_become_well()

    assert there(fleet, home.meter)["parameters"] == {
        "warn_1_fen": 2000,
        "warn_2_fen": 500,
        "overdraft_fen": 300,
        "keep_supply": False,
        "holidays": True,
    }
