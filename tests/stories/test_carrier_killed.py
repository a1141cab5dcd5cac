"""The carrier dies by SIGKILL, wherever it is, or its vendor hangs: nothing is sent twice, and nothing is forgotten."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from subprocess import Popen

import pytest
from django.conf import settings
from django.db.models import F
from django.utils import timezone

from config.embedded.children import end, spawn
from notifications import outbox
from notifications.models import Delivery, Message
from sandbox.server import running
from sandbox.sms import SmsBox
from sandbox.world import World
from tests.gateways import database_url, wait_until
from tests.notifications.post import Box, a_home, a_template, sms_settings
from tests.stories.database import backends

PROJECT = Path(__file__).resolve().parents[2]
LONGER_THAN_ANY_LEASE = timedelta(minutes=4)
AT_LAST = ("handed", "delivered")


class Carriers:
    """Starts carriers as an operator does, and kills them as the kernel does."""

    def __init__(self, world: World, sms: Box, folder: Path) -> None:
        self.sms, self._folder = sms, folder
        self._env = os.environ | sms_settings(world, sms.url) | {
            "DATABASE_URL": database_url(),
            "DATABASE_LISTEN_URL": database_url(),
            "SECRET_KEY": settings.SECRET_KEY,
            "PYTHONPATH": str(PROJECT),
            "VENDOR_TIMEOUT_S": "5",
        }  # fmt: skip
        self.alive: list[Popen[bytes]] = []
        self._started = 0

    def start(self) -> Popen[bytes]:
        self._started += 1  # the database still has connections of those that were killed: each has its own name
        name = f"carrier-{self._folder.name[-40:]}-{self._started}"
        env = self._env | {"PGAPPNAME": f"town-{name}"}
        process = spawn([sys.executable, "manage.py", "carrier"], env=env, log=self._folder / "carrier.log")
        self.alive.append(process)
        wait_until(lambda: backends(name), within_s=40)
        return process

    def kill(self, process: Popen[bytes]) -> None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.alive.remove(process)


@pytest.fixture
def carriers(world: World, tmp_path: Path, transactional_db) -> Iterator[Carriers]:
    with a_post(world, tmp_path) as carriers:
        yield carriers


@contextmanager
def a_post(world: World, folder: Path) -> Iterator[Carriers]:
    with running(SmsBox(world, speed=300)) as url:
        carriers = Carriers(world, Box(url), folder)
        try:
            yield carriers
        finally:
            end(*carriers.alive, patience_s=20)


def leave(count: int) -> None:
    a_template("cut_notice")
    for n in range(count):
        home = a_home()
        outbox.leave(
            key=f"notice:{n}",
            kind="cut_notice",
            tenancy_id=home.pk,
            property_id=home.property_id,
            context={"available_fen": -120, "hours": 24},
            now=timezone.now(),
        )


def hours_pass() -> None:
    """For what a dead carrier left behind: its claims run out, and vendors have been asked for long enough."""
    Delivery.objects.filter(state="claimed").update(claimed_at=F("claimed_at") - LONGER_THAN_ANY_LEASE)
    Delivery.objects.filter(state="unknown").update(
        claimed_at=F("claimed_at") - LONGER_THAN_ANY_LEASE, next_at=timezone.now()
    )


def are_all_sent(count: int) -> bool:
    return Delivery.objects.filter(channel="sms_aliyun", state__in=AT_LAST).count() == count


def check_each_was_told_once(sms: Box, count: int) -> None:
    sent = Counter(one["to"] for one in sms.sent())
    assert Message.objects.filter(state="carried").count() == count
    assert len(sent) == count
    assert set(sent.values()) == {1}
    assert Delivery.objects.filter(channel="sms_aliyun").count() == count


@pytest.mark.parametrize("has_taken_it", [False, True], ids=["before the vendor took it", "after the vendor took it"])
def test_killed_while_a_vendor_is_answering(carriers: Carriers, *, has_taken_it: bool) -> None:
    leave(20)
    slow = {"match": "SendSms", "delay_ms": 1500, "times": 8, "work_done": has_taken_it}
    carriers.sms.spoil(answers=[slow])
    first = carriers.start()
    wait_until(lambda: Delivery.objects.filter(state="claimed").count() == 20, within_s=20)
    time.sleep(0.5)

    carriers.kill(first)
    time.sleep(1.5)  # the vendor does not know that nobody listens any more
    hours_pass()
    carriers.start()

    wait_until(lambda: are_all_sent(20), within_s=60)
    check_each_was_told_once(carriers.sms, 20)


def test_killed_again_and_again_at_any_point(carriers: Carriers) -> None:
    count = 120
    leave(count)
    dice = random.Random(4)
    carriers.sms.spoil(answers=[{"match": "SendSms", "delay_ms": 40, "work_done": True, "times": 10_000}])
    for _ in range(6):
        process = carriers.start()
        time.sleep(dice.uniform(0.0, 0.6))
        carriers.kill(process)
        time.sleep(0.1)
        hours_pass()
    carriers.start()

    wait_until(lambda: are_all_sent(count), within_s=90)

    check_each_was_told_once(carriers.sms, count)


def test_two_carriers_share_the_work_and_double_nothing(carriers: Carriers) -> None:
    leave(150)

    carriers.start()
    carriers.start()

    wait_until(lambda: are_all_sent(150), within_s=60)
    check_each_was_told_once(carriers.sms, 150)


def test_a_carrier_that_is_told_to_end_sends_what_it_claimed_or_gives_it_back(carriers: Carriers) -> None:
    leave(40)
    carriers.sms.spoil(answers=[{"match": "SendSms", "delay_ms": 300, "work_done": True, "times": 10_000}])
    process = carriers.start()
    wait_until(lambda: Delivery.objects.filter(state="claimed").exists(), within_s=20)

    process.terminate()
    assert process.wait(timeout=20) == 0
    carriers.alive.remove(process)

    assert not Delivery.objects.filter(state__in=["claimed", "unknown"]).exists()
    carriers.start()
    wait_until(lambda: are_all_sent(40), within_s=60)
    check_each_was_told_once(carriers.sms, 40)


def test_a_vendor_that_hangs_keeps_the_other_channels_waiting_no_more_than_a_moment(carriers: Carriers) -> None:
    leave(30)
    hangs = {"match": "SendSms", "delay_ms": 4000, "drop": True, "times": 10_000}
    asks = {"match": "QuerySendDetails", "delay_ms": 4000, "drop": True, "times": 10_000}
    carriers.sms.spoil(answers=[hangs, asks])
    carriers.start()
    wait_until(lambda: Delivery.objects.filter(state="unknown").exists(), within_s=40)

    now = timezone.now()
    Delivery.objects.filter(state="unknown").update(next_at=now)
    wait_until(lambda: Delivery.objects.filter(state="unknown", next_at__gt=now).exists(), within_s=20)  # being asked

    home = a_home()
    outbox.leave(
        key="back", kind="power_back", tenancy_id=home.pk, property_id=home.property_id,
        context={"at": now.isoformat()}, now=timezone.now(),
    )  # fmt: skip
    told = Delivery.objects.filter(message__key="back", channel="console", state="handed")
    wait_until(told.exists, within_s=2.5)
