"""`manage.py carrier`: sends the messages that were left for tenants and staff."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from config.rounds import end_on_signals


class Command(BaseCommand):
    help = "Runs the carrier: messages by SMS, WeChat and Alipay, and what became of them."

    def handle(self, *_args: Any, **_options: Any) -> None:
        from notifications import channels
        from notifications.carrier import Carrier

        carrier = Carrier(channels=channels.set_up(), listen_url=settings.DATABASE_LISTEN_URL)
        end_on_signals(carrier)
        carrier.go_on()
