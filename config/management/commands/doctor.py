"""`manage.py doctor`: says what is wrong with this installation and how to mend it. Exit status 1 if anything is."""

from __future__ import annotations

import os
import queue
import secrets
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as mqtt
from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from config.ailment import Ailment
from config.doctor import EXAMINATIONS
from config.embedded.lease import ensure_broker

PATIENCE_S = 5.0


class Command(BaseCommand):
    help = "Examines settings, keys, certificates' dates, clocks, database and broker; exits 1 if anything is wrong."

    def handle(self, *_args: Any, **_options: Any) -> None:
        ailments = [ailment for examine in EXAMINATIONS for ailment in examine(timezone.now())]
        ailments += broker()
        for ailment in ailments:
            degree = "warning" if ailment.is_warning else "WRONG"
            self.stdout.write(f"{degree}  {ailment}")
        if any(not ailment.is_warning for ailment in ailments):
            sys.exit(1)
        self.stdout.write(f"Nothing is wrong; {len(ailments)} warnings." if ailments else "All is well.")


def broker() -> Iterator[Ailment]:
    """Connects with MQTT 5 and tries the gateway's rights by their effect: brokers acknowledge what they then drop."""
    ensure_broker()
    url = settings.MQTT_URL or os.environ["MQTT_URL"]
    try:
        heard = _round_trip(url)
    except (OSError, ValueError) as error:
        yield Ailment("MQTT_URL", str(error), "start the broker, or mend the address, the user or the password")
        return
    for topic, arrived in heard.items():
        if not arrived:
            yield Ailment(
                "MQTT_URL",
                f"what is published to {topic} does not arrive",
                "give the gateway's user the rights of deploy/mosquitto.acl",
            )


def _round_trip(url: str) -> dict[str, bool]:
    """Which of the gateway's topics work: its own status, and hearing a meter that does not exist."""
    parts, mark = urlsplit(url), secrets.token_hex(8)
    topics = {f"gateway/doctor-{mark}/status": False, f"m/doctor/{mark}/cmd": False}
    inbox: queue.Queue[str] = queue.Queue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"doctor-{mark}", protocol=MQTTProtocolVersion.MQTTv5)
    if parts.username:
        client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
    if parts.scheme == "mqtts":
        client.tls_set(ca_certs=settings.MQTT_CA_FILE or None)
    connected: queue.Queue[str] = queue.Queue()
    client.on_connect = lambda _c, _u, _f, code, _p: connected.put("" if not code.is_failure else str(code))
    client.on_message = lambda _c, _u, message: inbox.put(message.topic)
    client.connect(parts.hostname or "", parts.port or (8883 if parts.scheme == "mqtts" else 1883))
    client.loop_start()
    try:
        if refusal := _within(connected):
            raise ValueError(refusal)
        for topic in topics:
            client.subscribe(topic, qos=1)
            client.publish(topic, b"{}", qos=1)
        while not all(topics.values()) and (topic := _within(inbox)):
            topics[topic] = True
        return topics
    finally:
        client.disconnect()
        client.loop_stop()


def _within(box: queue.Queue[str]) -> str:
    try:
        return box.get(timeout=PATIENCE_S)
    except queue.Empty:
        return ""
