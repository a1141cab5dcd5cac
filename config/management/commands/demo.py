"""`manage.py demo`: everything started on this machine, and the main job played: two tenants get their power back."""

from __future__ import annotations

import json
import signal
import sys
import time
from types import FrameType
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone


class Interrupted(BaseException):
    """Ctrl-C, or SIGTERM."""


class Command(BaseCommand):
    help = "Starts everything (embedded servers, sandbox, meters), plays two recharges, and stays until Ctrl-C."
    requires_system_checks: list[str] = []  # noqa: RUF012 (Django's own way; the tables may not be there yet)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="play on throwaway data and end")
        parser.add_argument("--json", action="store_true", help="say nothing but one JSON object in the end")

    def handle(self, *_args: Any, **options: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _interrupt)
        self.is_quiet = options["json"]
        try:
            is_well = self.run(stay=not options["once"])
        except Interrupted:
            self.say("\nStopped. Nothing is left running.")
            sys.exit(130 if options["once"] else 0)
        sys.exit(0 if is_well else 1)

    def run(self, *, stay: bool) -> bool:
        from billing import audit as billing_audit
        from config.demo import seed
        from config.demo.story import Story
        from config.demo.town import NotAtWork, Town
        from config.management.commands.audit import CHECKS
        from sandbox.fleet import FleetClient
        from sandbox.keys import make_world

        town = Town()
        try:
            self.say("Making the tables and a property of 60 rooms …")
            call_command("migrate", verbosity=0, interactive=False)
            place = seed.seed(world=make_world(town.folder / "world"), secrets_folder=town.folder)
            self.say("Starting the sandbox, 60 meters, web, gateway, chaser and queue …")
            town.start()
            with FleetClient(town.fleet_url) as fleet:
                fleet.add(seed.definitions(place), connected_within_s=30)
            self.say_where(town, seed.STAFF, seed.password(town.folder))
            story = Story(town=town, place=place, tell=self.say_step)
            is_well = story.play()
            report = billing_audit.audit(checks=CHECKS, now=timezone.now())
            self.say(f"\n  audit: {report.summary()}\n")
            if self.is_quiet:
                steps = [step.as_json() for step in story.steps]
                self.stdout.write(json.dumps({"steps": steps, "audit": report.as_json()}, ensure_ascii=False))
            if stay:
                self.stay(town)
        except NotAtWork as error:
            self.stderr.write(f"meterpay: {error}")
            return False
        else:
            return is_well and report.is_clean()
        finally:
            town.end()

    def stay(self, town: Any) -> None:
        self.say("Everything keeps running. Ctrl-C ends it all; `make demo` continues with the same data.")
        while True:
            time.sleep(1)
            if name := town.dead():
                self.stderr.write(f"meterpay: {name} ended by itself: see {town.logs / name}.log")
                sys.exit(1)

    def say_where(self, town: Any, user: str, password: str) -> None:
        self.say(f"""
  admin       {town.web_url}/admin/       user {user}, password {password}
  API         {town.web_url}/api/docs/
  WeChat      {town.wechat_url}/sandbox/trades       (sandbox)
  Alipay      {town.alipay_url}/sandbox/trades       (sandbox)
  meters      {town.fleet_url}/       (sandbox)
  logs        {town.logs}
""")

    def say_step(self, step: Any) -> None:
        self.say(
            f"  {'ok  ' if step.ok else 'FAIL'} {step.ms:>6} ms  {step.name}{'  ' + step.error if step.error else ''}"
        )

    def say(self, text: str) -> None:
        if not self.is_quiet:
            self.stdout.write(text)
            self.stdout.flush()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # ending takes a moment and is not to be interrupted
    raise Interrupted
