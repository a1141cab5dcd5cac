"""People who can be reached, texts at vendors, and a carrier that does its passes when a test says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import requests
from django.utils import timezone

from accounts.models import Tenancy
from notifications import carrier, outbox, routes, tracing
from notifications.carrier import Carrier, Lane
from notifications.channels.base import Carries
from notifications.kinds import TOLD
from notifications.models import Channel, Delivery, Message, Template
from sandbox.world import World
from tests import makers

SMS_TEMPLATE = "SMS_1000"
_numbers = iter(range(10_000_000, 99_999_999))


def a_phone() -> str:
    return f"138{next(_numbers)}"


def a_home(**kwargs: Any) -> Tenancy:
    """With a holder who has a phone number and nothing else."""
    return makers.a_tenancy(holder=makers.a_user(phone=a_phone()), **kwargs)


def a_template(kind: str = "low_balance", channel: str = Channel.SMS_ALIYUN, **kwargs: Any) -> Template:
    about = {"kind": kind, "channel": channel, "template_id": SMS_TEMPLATE, "changed_at": timezone.now()}
    return Template.objects.create(**about | kwargs)


def leave(
    tenancy: Tenancy, *, kind: str = "low_balance", key: str = "", now: datetime | None = None, **context: Any
) -> Message:
    key = key or f"{kind}:{tenancy.pk}"
    outbox.leave(
        key=key,
        kind=kind,
        tenancy_id=tenancy.pk,
        property_id=tenancy.property_id,
        context=context or {"available_fen": 420, "level": "fen:500"},
        now=now or timezone.now(),
    )
    return Message.objects.get(key=key)


def sms_settings(world: World, url: str) -> dict[str, str]:
    aliyun, tencent = world.info["sms"]["aliyun"], world.info["sms"]["tencent"]
    return {
        "ALIYUN_SMS_URL": url,
        "ALIYUN_SMS_KEY_ID": aliyun["key_id"],
        "ALIYUN_SMS_SECRET_REF": f"file:{aliyun['secret_file']}",
        "ALIYUN_SMS_SIGN_NAME": world.info["sms"]["sign_name"],
        "TENCENT_SMS_URL": url,
        "TENCENT_SMS_SECRET_ID": tencent["secret_id"],
        "TENCENT_SMS_SECRET_KEY_REF": f"file:{tencent['secret_key_file']}",
        "TENCENT_SMS_APP_ID": tencent["app_id"],
        "TENCENT_SMS_SIGN_NAME": world.info["sms"]["sign_name"],
    }


class Post:
    """A carrier without threads of its own: each pass when a test wants it."""

    def __init__(self, channels: Mapping[str, Carries]) -> None:
        self.channels = dict(channels)
        self._carrier = Carrier(channels=channels, listen_url="")
        self._lanes = [Lane(name, channel, self._carrier) for name, channel in channels.items()]

    def carry(self) -> None:
        """What waits is routed, and what is due is sent."""
        while routes.route(channels=self.channels, now=timezone.now()):
            pass
        routes.follow(channels=self.channels, now=timezone.now())
        with ThreadPoolExecutor(carrier.AT_ONCE) as senders:
            for lane in self._lanes:
                while lane.send_batch(senders) == carrier.CLAIM_AT_MOST:
                    pass

    def trace(self, *, after: timedelta = timedelta()) -> None:
        """Asks vendors about what nobody answered, so much later."""
        now = timezone.now() + after
        tracing.expire_claims(now=now)
        tracing.trace_orphans(channels=self.channels, now=now)
        for name, channel in self.channels.items():
            tracing.trace(channel=name, carries=channel, now=now)


class Box:
    """A vendor's control API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def sent(self, to: str = "") -> list[dict[str, Any]]:
        return list(self._ask("GET", f"/sandbox/messages?to={to}")["messages"])

    def spoil(self, **faults: Any) -> None:
        self._ask("POST", "/sandbox/faults", faults)

    def tell(self, path: str, **content: Any) -> dict[str, Any]:
        return self._ask("POST", path, content)

    def _ask(self, method: str, path: str, content: Any = None) -> dict[str, Any]:
        with requests.Session() as http:
            http.trust_env = False
            answer = http.request(method, self.url + path, json=content, timeout=10)
        answer.raise_for_status()
        return dict(answer.json())


def deliveries(message: Message) -> dict[str, Delivery]:
    return {one.channel: one for one in Delivery.objects.filter(message=message).order_by("pk")}


def states(message: Message) -> dict[str, str]:
    return {channel: one.state for channel, one in deliveries(message).items()}


@contextmanager
def at_kind(kind: str, **changes: Any) -> Iterator[None]:
    """A kind of message with other rules, for a test."""
    from dataclasses import replace

    before = TOLD[kind]
    TOLD[kind] = replace(before, **changes)
    try:
        yield
    finally:
        TOLD[kind] = before
