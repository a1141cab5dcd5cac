"""`manage.py gateway`: the process between the meters' broker and the database."""

from __future__ import annotations

import os
import signal
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from config.embedded.lease import ensure_broker

if TYPE_CHECKING:
    from meters.intake import Taken


class Command(BaseCommand):
    help = "Runs a gateway: readings in, commands out. Several may run, each under its own name."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--name", default="gateway-1", help="MQTT client id; the same after each restart")
        parser.add_argument(
            "--share",
            action="store_true",
            help="divide what meters say among all gateways that share; needs a broker such as Mosquitto or EMQX",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        from billing import blackouts, interruptions, outages, prepaid, rating
        from meters.gateway import Gateway, GatewayDiedError, Hooks, leave_the_heap_alone

        def follow_what_happened(taken: Taken) -> None:
            if taken.landed:
                prepaid.settle(now=timezone.now())
            if moved := {meter_id for meter_id, kind in taken.agreed if kind == "relay"} | set(taken.switched):
                interruptions.follow(meter_ids=moved, now=timezone.now())
            if taken.switched:
                blackouts.follow(meter_ids=taken.switched, now=timezone.now())

        def tell_what_stands(now: datetime) -> None:
            prepaid.settle(now=now)
            if gateway.is_connected():
                outages.gateway_is_connected(now=now)

        ensure_broker()
        gateway = Gateway(
            broker_url=settings.MQTT_URL or os.environ["MQTT_URL"],
            name=options["name"],
            listen_url=settings.DATABASE_LISTEN_URL or settings.DATABASE_URL,
            hooks=Hooks(
                after_intake=follow_what_happened,
                rate=lambda now: rating.work(now=now),
                regularly=tell_what_stands,
            ),
            ca_file=settings.MQTT_CA_FILE,
            shares=options["share"],
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: gateway.stop())
        leave_the_heap_alone()
        try:
            gateway.run()
        except GatewayDiedError as error:
            raise CommandError(f"the gateway died: {error}") from error
