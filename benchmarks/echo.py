"""The reference of `restore`: one publishes, the other answers, and nothing else happens. Two bare paho clients."""

from __future__ import annotations

import queue
import socket
import time
from contextlib import ExitStack
from typing import Any, Self
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

ASK, ANSWER = "bench/ask", "bench/answer"
PATIENCE_S = 10.0
PAUSE_S = 0.02


class Echo:
    """A pair of clients on one broker, QoS 1, without Nagle's delay, as our gateway and the virtual meters speak."""

    def __init__(self, broker_url: str) -> None:
        self._heard: queue.SimpleQueue[bytes | bytearray] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._open = ExitStack()
        url = urlsplit(broker_url)
        self._asker = self._client(url.hostname or "", url.port or 1883, ANSWER)
        self._answerer = self._client(url.hostname or "", url.port or 1883, ASK)
        self._asker.on_message = lambda _client, _data, message: self._heard.put(message.payload)
        self._answerer.on_message = _answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()

    def round_trips(self, count: int) -> list[float]:
        """How long each took, in ms."""
        took = []
        for n in range(count):
            begun = time.perf_counter()
            self._asker.publish(ASK, str(n), qos=1)
            self._heard.get(timeout=PATIENCE_S)
            took.append((time.perf_counter() - begun) * 1000)
            time.sleep(PAUSE_S)
        return took

    def _client(self, host: str, port: int, topic: str) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        client.on_socket_open = _without_delay
        client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        client.on_subscribe = lambda *_: self._ready.put(None)
        client.connect(host, port)
        client.loop_start()
        self._open.callback(client.loop_stop)
        self._open.callback(client.disconnect)
        self._ready.get(timeout=PATIENCE_S)
        return client


def _answer(client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
    client.publish(ANSWER, message.payload, qos=1)


def _without_delay(_client: mqtt.Client, _data: Any, opened: Any) -> None:
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
