"""The reference of `ingest_mqtt`: a queue at the broker, filled once for two sessions, and a client that counts it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

COUNTER = "bench-counter"
UPLINKS = "m/+/+/up"
SESSION_S = 3600
RECEIVE_AT_MOST = 5000
SENT_AT_ONCE = 30_000
PATIENCE_S = 120.0
QUIET_S = 0.5


class Drain:
    """Sessions on one broker: the counter's own, and whichever are named."""

    def __init__(self, broker_url: str) -> None:
        url = urlsplit(broker_url)
        self._host, self._port = url.hostname or "", url.port or 1883
        self.keep_a_session(COUNTER)

    def keep_a_session(self, name: str) -> None:
        """Subscribes as this client and goes away: the broker keeps for it what arrives from now on, and nothing of a
        run that failed before."""
        subscribed = threading.Event()
        client = self._client(name)
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_connect = lambda client, *_: client.subscribe(UPLINKS, qos=1)
        self._visit(client, lambda: subscribed.wait(PATIENCE_S), clean_start=True)

    def publish(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """All of them, QoS 1, until the broker has acknowledged each."""
        client = self._client("bench-publisher")
        client.max_inflight_messages_set(1000)

        def send() -> None:
            """Some at a time: a packet has 16 bits for its number, and paho refuses one that is still in use."""
            left = iter(messages)
            while some := list(islice(left, SENT_AT_ONCE)):
                for sent in [client.publish(topic, payload, qos=1) for topic, payload in some]:
                    sent.wait_for_publish(PATIENCE_S)

        self._visit(client, send)

    def count(self, expected: int) -> float:
        """Seconds from the first message to the last of so many. Raises RuntimeError when they do not come."""
        heard, done = [0, 0.0, 0.0], threading.Event()

        def one_more(_client: mqtt.Client, _data: Any, _message: mqtt.MQTTMessage) -> None:
            heard[0] += 1
            if heard[0] == 1:
                heard[1] = time.perf_counter()
            if heard[0] == expected:
                heard[2] = time.perf_counter()
                done.set()

        client = self._client(COUNTER)
        client.on_message = one_more
        self._visit(client, lambda: done.wait(PATIENCE_S))
        if not done.is_set():
            raise RuntimeError(f"{heard[0]} of {expected} messages came")
        return heard[2] - heard[1]

    def left_over(self, name: str) -> int:
        """How many messages the broker still holds for this session. They stay there."""
        heard: list[str] = []
        client = self._client(name, manual_ack=True)
        client.on_message = lambda _client, _data, message: heard.append(message.topic)
        self._visit(client, lambda: time.sleep(QUIET_S))
        return len([topic for topic in heard if topic.endswith("/up")])

    def _client(self, name: str, *, manual_ack: bool = False) -> mqtt.Client:
        return mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=manual_ack
        )

    def _visit(self, client: mqtt.Client, until: Callable[[], object], *, clean_start: bool = False) -> None:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_S
        properties.ReceiveMaximum = RECEIVE_AT_MOST
        client.connect(self._host, self._port, clean_start=clean_start, properties=properties)
        client.loop_start()
        try:
            until()
        finally:
            client.disconnect()
            client.loop_stop()
