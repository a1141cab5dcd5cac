"""Whatever a network does to commands and answers: each recharge is one step of the meter's count, in order."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from meters import commands, intake, topups
from meters.intake import Frame
from meters.models import Meter, TopUp
from notifications.models import WorkItem
from sandbox.fleet.frames import Said
from sandbox.fleet.meter import VirtualMeter
from sandbox.fleet.registers import Registers
from tests.makers import a_meter

START = datetime(2026, 11, 1, 4, tzinfo=UTC)
# Whole exchanges happen more often than each step by itself, or most examples would end before anything was sent.
DEEDS = (
    *("exchange", "exchange", "exchange, unheard", "exchange, unheard", "sweep", "work", "recharge"),
    *("report and hear", "report", "wait a moment", "wait long", "wait long"),
    *("deliver", "deliver twice", "lose", "hear", "hear twice", "miss"),
    *("clock back", "clock ahead", "clock right", "reconnect"),
)

# A meter with a slow clock takes the command after it answered the question that was asked when the command ran out.
OVERTAKEN = [
    *[("clock back", 0), ("sweep", 0), ("wait long", 0), ("sweep", 0)],
    *[("deliver", 1), ("work", 0), ("hear", 0)],
    *[("deliver", 0), ("work", 0), ("miss", 0), ("report and hear", 0)],
]


class World:
    """One meter, our queue for it, and a network that keeps what was said until somebody decides what becomes of it."""

    def __init__(self, count: int) -> None:
        self.now = START
        self.meter: Meter = a_meter(held_by="meter", is_online=True)
        registers = Registers.defined(
            {
                "property": self.meter.property.code,
                "serial": self.meter.serial,
                "kind": "meter",
                "purchase_count": count,
            }
        )
        self.there = VirtualMeter(registers, relay_ms=0)
        self.count = count
        self.down: list[bytes] = []
        self.up: list[Frame] = []
        self.recharges: list[TopUp] = []
        self.do("reconnect", "hear")

    def does(self, deed: str, choice: int) -> None:
        self.now += timedelta(milliseconds=1)  # no two things happen at once
        simple = {
            "exchange": lambda: self.do("sweep", "deliver", "work", "hear"),
            "exchange, unheard": lambda: self.do("sweep", "deliver", "work", "miss"),
            "report and hear": lambda: self.do("report", "hear"),
            "recharge": lambda: self.recharge(100 + len(self.recharges)),
            "sweep": self.sweep,
            "work": lambda: self.says(self.there.work(self.now)),
            "report": lambda: self.says([self.there.telemetry(self.now)]),
            "reconnect": self.reconnect,
        }
        if deed in simple:
            simple[deed]()
            return
        match deed.split():
            case ["wait", how_long]:
                self.now += timedelta(seconds=1 if how_long == "a" else 40)
            case ["deliver" | "lose", *twice] if self.down:
                self.carry(self.down, choice, arrives=deed != "lose", twice=bool(twice))
            case ["hear" | "miss", *twice] if self.up:
                self.carry(self.up, choice, arrives=deed != "miss", twice=bool(twice))
            case ["clock", how]:
                self.there.change_faults({"clock_off_s": {"back": -120, "ahead": 120, "right": 0}[how]})

    def do(self, *deeds: str) -> None:
        for deed in deeds:
            self.does(deed, 0)

    def recharge(self, amount_fen: int) -> None:
        key = f"payment:{self.meter.pk}:{amount_fen}"
        topups.queue(key=key, meter_id=self.meter.pk, amount_fen=amount_fen, trace="", now=self.now)
        self.recharges.append(TopUp.objects.get(key=key))

    def reconnect(self) -> None:
        """It keeps no session: what was on its way to it is gone."""
        self.down.clear()
        self.says([self.there.greeting(self.now)])

    def sweep(self) -> None:
        commands.expire(now=self.now)
        topups.expire(now=self.now)
        topups.dispatch(now=self.now)
        self.down += [commands.encode(outgoing)[1] for outgoing in commands.claim(now=self.now)]

    def says(self, said: list[Said]) -> None:
        where = f"m/{self.meter.property.code}/{self.meter.serial}"
        self.up += [Frame(f"{where}/{one.leaf}", one.payload(), self.now) for one in said]

    def carry(self, way: list[Any], choice: int, *, arrives: bool, twice: bool) -> None:
        """Any of what is under way, not only the oldest."""
        what = way[choice % len(way)] if twice else way.pop(choice % len(way))
        if not arrives:
            return
        if isinstance(what, bytes):
            self.there.receive(what, self.now)
        else:
            what = Frame(what.topic, what.payload, self.now)
            intake.take([what], now=self.now)

    def all_is_well(self) -> None:
        """The network is good again, and time passes."""
        self.do("clock right", "reconnect")
        for _ in range(80):
            while self.down:
                self.carry(self.down, 0, arrives=True, twice=False)
            self.does("work", 0)
            while self.up:
                self.carry(self.up, 0, arrives=True, twice=False)
            self.sweep()
            if not self.down and not TopUp.objects.filter(meter=self.meter, state__in=topups.ON_THEIR_WAY).exists():
                return
            self.now += timedelta(seconds=0.001 if self.down else 120)

    def applied(self) -> list[tuple[int, int]]:
        """(number, amount) as the meter took them; one that it received twice is one."""
        done = [one for one in self.there.received if one["kind"] == "top_up" and one["outcome"] == "done"]
        return list({one["id"]: (one["number"], one["amount_fen"]) for one in done}.values())


@pytest.mark.django_db
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    count=st.integers(0, 3),
    deeds=st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(0, 9)), max_size=40),
)
@example(count=3, deeds=OVERTAKEN)
def test_each_recharge_is_one_step_of_the_count_in_order_whatever_the_network_does(count, deeds):
    with transaction.atomic():
        world = World(count)
        world.recharge(99)
        for deed, choice in deeds:
            world.does(deed, choice)
            assert TopUp.objects.filter(meter=world.meter, state__in=topups.OUT).count() <= 1
        world.all_is_well()

        numbers = range(count + 1, count + 1 + len(world.recharges))
        assert world.applied() == list(zip(numbers, [one.amount_fen for one in world.recharges], strict=True))
        assert set(world.there.registers.applied.values()) == {1}
        landed = TopUp.objects.filter(meter=world.meter).order_by("pk")
        assert [(one.state, one.number) for one in landed] == [("landed", number) for number in numbers]
        assert not WorkItem.objects.exists()
        transaction.set_rollback(True)


@pytest.mark.django_db
def test_the_world_above_is_one_where_things_go_wrong():
    """A check of the test's own tools: a lost answer is found by reading back, and the meter acts once."""
    world = World(5)
    world.recharge(99)
    world.do("exchange, unheard", "wait long", "sweep", "sweep")

    assert TopUp.objects.get().state == "unknown"
    assert [json.loads(frame)["kind"] for frame in world.down] == ["read"]
    world.all_is_well()

    assert TopUp.objects.get().state == "landed"
    assert world.applied() == [(6, 99)]
