"""`manage.py queue_watch`: runs django-q2's cluster, and starts it again when it is dead or deaf."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from config.rounds import Rounds

LOOK_EVERY_S = 5.0


class Command(BaseCommand):
    help = "Runs the queue of schedules and long jobs (qcluster) under a watch. One a database."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--silence-s",
            type=int,
            help="work may wait for so many seconds; default: the longest task and a minute",
        )
        parser.add_argument("--look-every-s", type=float, default=LOOK_EVERY_S)

    def handle(self, *_args: Any, **options: Any) -> None:
        from config.queue_watch import QueueWatch

        silence = timedelta(seconds=options["silence_s"]) if options["silence_s"] else None
        watch = QueueWatch(silence=silence)
        try:
            Rounds({watch.look: options["look_every_s"]}).run()
        finally:
            watch.stop()
