"""Meters that stammer, answer late, in the wrong order or not at all: what was paid arrives once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import F, QuerySet
from django.utils import timezone

from meters import commands, silence
from meters.models import Command
from notifications.models import WorkItem
from tests.gateways import faults
from tests.stories.homes import Home
from tests.stories.town import Town

pytestmark = pytest.mark.django_db(transaction=True)
BOTH = pytest.mark.parametrize("held_by", ["server", "meter"])
LATE = timedelta(minutes=11)  # later than a meter may be silent before staff are told


@BOTH
def test_answers_given_twice_count_once(village: Town, held_by):
    home = village.home(held_by=held_by)
    phone = village.phone_when_heard(home)
    faults(village.fleet, home.meter, duplicate_answers=20)

    village.recharge(home, phone)
    village.recharge(home, phone, "20.00")

    village.until_power_is_back(home, fen=7000, recharges=2)
    assert village.findings() == []


@BOTH
def test_answers_in_the_wrong_order_end_in_the_right_state(village: Town, held_by):
    home = village.home(held_by=held_by, ttl_s=1)
    phone = village.phone_when_heard(home)
    faults(village.fleet, home.meter, out_of_order=2)

    village.recharge(home, phone)
    village.recharge(home, phone, "20.00")

    village.until_power_is_back(home, fen=7000, recharges=2)
    assert village.findings() == []


@BOTH
def test_an_answer_after_the_deadline_still_counts_and_nothing_is_done_twice(quiet_village: Town, held_by):
    village = quiet_village
    home = village.home(held_by=held_by, ttl_s=1)
    phone = village.phone_when_heard(home)
    faults(village.fleet, home.meter, answer_late_ms=3500)  # a command lives for 1 s, its answer may travel for 2

    village.recharge(home, phone)

    village.until_power_is_back(home, fen=5000)
    answered = Command.objects.filter(meter=home.meter, kind="top_up" if held_by == "meter" else "relay", state="done")
    assert answered.filter(answered_at__gt=F("expires_at") + commands.GRACE).exists()
    assert village.moves_of(home) == ["closed"]
    assert village.findings() == []


@BOTH
def test_a_command_that_is_reached_after_its_deadline_is_refused_and_asked_again(quiet_village: Town, held_by):
    village = quiet_village
    home = village.home(held_by=held_by, ttl_s=1)
    phone = village.phone_when_heard(home)
    faults(village.fleet, home.meter, slow_ms=1500)

    village.recharge(home, phone)
    refused = Command.objects.filter(meter=home.meter, error="expired")
    village.until(refused.exists, "the meter refuses it")
    assert village.there(home)["relay"] == "open"
    faults(village.fleet, home.meter, slow_ms=0)

    village.until_power_is_back(home, fen=5000)
    assert village.findings() == []


@BOTH
def test_a_meter_that_never_answers_is_shown_to_staff_tried_again_and_taken_off_when_it_answers(
    quiet_village: Town, held_by
):
    village = quiet_village
    home = village.home(held_by=held_by, ttl_s=1)
    phone = village.phone_when_heard(home)
    village.until(lambda: home.agrees("auto" if held_by == "meter" else "open"), "all is settled before")
    faults(village.fleet, home.meter, deaf=True)
    village.recharge(home, phone)
    tries = Command.objects.filter(meter=home.meter, trace=trace_of(home))
    village.until(lambda: tries.count() >= 2, "it is tried again")

    silence.look(now=timezone.now() + LATE)

    items = WorkItem.objects.filter(kind=silence.KIND, property=home.meter.property)
    assert home.meter.serial in {item.detail["meter"] for item in items.filter(state="open")}
    before = tries.count()
    village.until(lambda: tries.count() > before, "it is still tried")

    faults(village.fleet, home.meter, deaf=False)
    village.until_power_is_back(home, fen=5000)
    village.until(lambda: is_taken_off(items), "it is off the work list")  # the display may answer after the relay
    assert village.findings() == []


def is_taken_off(items: QuerySet[WorkItem]) -> bool:
    silence.look(now=timezone.now())
    return set(items.values_list("state", flat=True)) == {"resolved"}


def trace_of(home: Home) -> str:
    return home.tenancy.orders.get().trace
