"""`manage.py demo`: a property, the vendors and meters in a box, and the main job played on them (config/demo/)."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = "Starts everything with made-up vendors, meters and tenants, and plays two recharges. Ctrl-C ends it all."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="on throwaway data and servers; ends by itself")
        parser.add_argument("--json", action="store_true", help="with --once: one JSON object instead of the story")

    def handle(self, *_args: Any, **options: Any) -> None:
        from config.demo.performance import Demo
        from config.management.commands.audit import CHECKS

        is_json = options["once"] and options["json"]
        demo = Demo(stays=not options["once"], silent=is_json, out=sys.stdout, checks=CHECKS)
        status = demo.run()
        if is_json:
            self.stdout.write(json.dumps(demo.as_json(), ensure_ascii=False))
        sys.exit(status)
