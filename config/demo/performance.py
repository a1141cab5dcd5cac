"""One run of the demo: set up, play, look at the books, stay or go, and clear up whatever happens."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from django.core.management import call_command
from django.db import connection
from django.db.backends.postgresql.base import DatabaseWrapper
from django.utils import timezone, translation

from accounts.models import Property
from billing import audit
from config.demo import ground, messages, seed, staff
from config.demo.narration import Narrator, StepFailed, until
from config.demo.story import ALIPAY, WECHAT, Story
from config.demo.town import Town
from config.embedded import holding
from meters.models import Installation, Meter
from sandbox.fleet.client import FleetClient

ONLINE_WITHIN_S = 60.0
MIND_EVERY_S = 1.0


class Demo:
    """`run()` it once. Exit status 0 only if every step went well, the books add up and nobody interrupted."""

    def __init__(self, *, stays: bool, silent: bool, out: TextIO, checks: Sequence[audit.Check]) -> None:
        self.ground = ground.chosen()
        self.stays, self.checks = stays, checks
        self.narrator = Narrator(silent=silent, out=out)
        self.step, self.tell = self.narrator.step, self.narrator.tell
        self.audit: dict[str, Any] = {}
        self.status = 1
        self._lock = -1

    def run(self) -> int:
        """The exit status."""
        self._take_the_folder()
        town = Town(self.ground)
        try:
            self._perform(town)
        except StepFailed:
            self._keep_the_evidence()
        except KeyboardInterrupt:
            self.status = self.status and 128 + signal.SIGINT
        finally:
            self._clear_up(town)
        return self.status

    def as_json(self) -> dict[str, Any]:
        return {"steps": self.narrator.steps, "audit": self.audit}

    def _perform(self, town: Town) -> None:
        self.tell("meterpay: prepaid electricity, all of it in a box 预付费电费演示\n")
        place = self._set_up(town)
        self._say_where(town)
        with FleetClient(town.at.fleet) as fleet:
            story = Story(town, fleet, place, self.narrator)
            for cast, title in ((WECHAT, "WeChat Pay 微信支付"), (ALIPAY, "Alipay 支付宝")):
                self.tell(f"\n{title}")
                story.play(cast)
            self.tell("\nMessages 消息提醒")
            messages.Messages(town, fleet, place, self.narrator).play()
        self._look_at_the_books()
        self.status = 0
        if self.stays:
            self.tell("\nAll of it stays up. Ctrl-C ends it; `make demo` again goes on with the same data.")
            self._stay(town)

    # ---- setting up ----

    def _set_up(self, town: Town) -> Property:
        with self.step("PostgreSQL and the MQTT broker are there"):
            town.start("wechat", "alipay", "sms")  # they make keys meanwhile
            self.ground.start_servers()
        with self.step("the tables are made"):
            call_command("migrate", verbosity=0, interactive=False)
        with self.step("WeChat and Alipay are there, with keys of their own"):
            world = seed.read_world(town.world_folder)
            town.wait_for("wechat", "alipay", "sms")
        town.start("web", "gateway", "chaser", "carrier")
        with (
            self.step("a property: 3 buildings, 60 rooms, tenants, meters, merchants"),
            translation.override("zh-hans"),
        ):
            staff.enter(staff.ADMIN, self.ground.folder)
            place = seed.seed(world=world, now=timezone.now())
            messages.enter_templates(timezone.now())
            staff.give_roles(place, self.ground.folder)
        with self.step("web, gateway, chaser, carrier and queue are at work; 60 meters are online"):
            self._wait_for_everybody(town, place)
        with self.step("the front desk sees its own property in the admin, the administrator sees all") as said:
            for line in staff.compare(town.at.web, self.ground.folder):
                said(line)
        return place

    def _wait_for_everybody(self, town: Town, place: Property) -> None:
        town.start_fleet(since=place.created_at)
        town.wait_for("web", "fleet")
        with FleetClient(town.at.fleet) as fleet:
            fleet.add(seed.virtual_meters(), connected_within_s=ONLINE_WITHIN_S)
        town.start("queue")
        heard = Meter.objects.filter(property=place, is_online=True, last_seen_at__gte=town.started_at)
        count = len(list(seed.doors()))

        def all_are_heard() -> bool:
            town.check_alive()
            return heard.count() == count

        until(all_are_heard, "all meters are heard", within_s=ONLINE_WITHIN_S)

    def _say_where(self, town: Town) -> None:
        at, folder = town.at, self.ground.folder
        self.tell("\nWhere things are")
        for name, what in (
            ("admin 后台", f"{at.web}/admin/   {_told(staff.ADMIN, folder)}   (everything)"),
            ("", f"{at.web}/admin/   {_told(staff.FRONT_DESK, folder)}   (front desk of one property)"),
            ("scan 扫码", f"{at.web}/m/{_a_code()}/   (what the label on a meter leads to: recharge without a login)"),
            (
                "tenant 住户",
                f"{at.web}/login/   (13900000001 after the messages; codes: see SMS)",
            ),
            ("API", f"{at.web}/api/docs/"),
            ("WeChat", f"{at.wechat}/sandbox/callbacks   (sandbox; sandbox/README.md has its control API)"),
            ("Alipay", f"{at.alipay}/sandbox/callbacks"),
            ("SMS", f"{at.sms}/sandbox/messages"),
            ("meters", f"{at.fleet}/   over {os.environ['MQTT_URL']}"),
            ("database", os.environ["DATABASE_URL"]),
            ("logs", str(self.ground.logs)),
        ):
            self.tell(f"  {name:<10} {what}")

    # ---- the end ----

    def _look_at_the_books(self) -> None:
        self.tell("\nThe books 对账")
        with self.step("the audit recomputes everything, and it adds up") as said:
            report = audit.audit(checks=self.checks, now=timezone.now())
            self.audit = report.as_json()
            if not report.is_clean():
                raise AssertionError("; ".join(str(finding) for finding in report.findings)[:1000])
            said(report.summary())

    def _stay(self, town: Town) -> None:
        while True:
            time.sleep(MIND_EVERY_S)
            for news in town.mind():
                self.tell(news)

    def _keep_the_evidence(self) -> None:
        kept = str(self.ground.keep_logs())
        self.narrator.steps[-1]["logs"] = kept
        self.tell(f"\nIt ends here. The logs are in {kept}")

    def _clear_up(self, town: Town) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # it takes seconds, and a second Ctrl-C would leave half of it
        self.tell("\nEverything that was started ends …")
        town.stop()
        connection.close()
        if isinstance(connection, DatabaseWrapper):
            connection.close_pool()
        self.ground.leave()
        os.close(self._lock)

    def _take_the_folder(self) -> None:
        """Two demos on the same data would start the same gateway twice."""
        self.ground.folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.ground.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        if not holding.lock(self._lock, fcntl.LOCK_EX):
            raise SystemExit(f"meterpay: a demo runs already in {self.ground.folder}")


def _a_code() -> str:
    """Of the label on a meter in a home where somebody lives."""
    hanging = Installation.objects.filter(ends_at=None, room__tenancies__ends_at=None, room__tenancies__isnull=False)
    return hanging.order_by("pk").values_list("meter__code", flat=True)[0]


def _told(login: staff.Login, folder: Path) -> str:
    return f"{login.username} / {login.password(folder)}"
