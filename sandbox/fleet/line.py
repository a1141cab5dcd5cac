"""The MQTT connection of one virtual meter: MQTT 5, no session, last will, driven by the fleet's one loop."""

import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from sandbox.fleet.frames import WILL, Said
from sandbox.fleet.meter import VirtualMeter

KEEPALIVE_S = 30
CONNECT_TIMEOUT_S = 2.0
QUICKACK = getattr(
    socket, "TCP_QUICKACK", None
)  # Linux: brokers that are not ours to set delay their packets otherwise


@dataclass(frozen=True)
class Broker:
    """Where the meters connect."""

    host: str
    port: int
    username: str | None
    password: str | None

    @classmethod
    def at(cls, url: str) -> "Broker":
        """`mqtt://[user:password@]host[:port]`; virtual meters stay on this machine and speak no TLS."""
        parts = urlsplit(url)
        if parts.scheme != "mqtt" or not parts.hostname:
            raise ValueError("the broker must be mqtt://host[:port]")
        return cls(parts.hostname, parts.port or 1883, parts.username, parts.password)


class Line:
    """Connects one meter.

    `heard` is called with each payload, from within paho; `served` after paho has returned. Only then may anything be
    published: paho's callbacks hold a lock that writing to a broken socket takes again.
    """

    def __init__(
        self,
        meter: VirtualMeter,
        broker: Broker,
        selector: selectors.BaseSelector,
        *,
        heard: Callable[[bytes], None],
        served: Callable[["Line"], None],
    ) -> None:
        self.meter, self.refusal = meter, ""
        self.is_up = self.has_greeted = False
        self._selector, self._heard, self._served = selector, heard, served
        self._topic = f"m/{meter.name}"
        self._mask = selectors.EVENT_READ
        self._client = client = Client(
            CallbackAPIVersion.VERSION2, client_id=meter.name.replace("/", ":"), protocol=MQTTv5
        )
        if broker.username is not None:
            client.username_pw_set(broker.username, broker.password)
        client.will_set(f"{self._topic}/status", WILL, qos=1, retain=True)
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.on_socket_open, client.on_socket_close = self._on_socket_open, self._on_socket_close
        client.on_connect, client.on_subscribe = self._on_connect, self._on_subscribe
        client.on_disconnect, client.on_message = self._on_disconnect, self._on_message
        client.connect_async(broker.host, broker.port, KEEPALIVE_S, clean_start=True)

    @property
    def has_socket(self) -> bool:
        return self._socket() is not None

    def connect(self) -> None:
        """Opens the socket and sends CONNECT. Raises OSError when nobody listens."""
        self._client.reconnect()

    def ready(self, mask: int) -> None:
        """The socket can be read or written."""
        if not self.has_socket:  # it went by what was served in this same turn
            return
        if mask & selectors.EVENT_WRITE:
            self._client.loop_write()
        if mask & selectors.EVENT_READ:
            self._client.loop_read()
            self._acknowledge_quickly()
        self._flush()
        self._served(self)

    def tick(self) -> None:
        """Pings, and gives up on a silent broker."""
        self._client.loop_misc()
        self._flush()

    def say(self, said: Said) -> None:
        """Publishes at least once."""
        self._client.publish(f"{self._topic}/{said.leaf}", said.payload(), qos=1, retain=said.leaf == "status")
        self._flush()

    def cut(self) -> None:
        """Ends the connection as a torn cable does: no DISCONNECT, so that the broker speaks the last will."""
        line = self._socket()
        if line is not None:
            with suppress(OSError):  # the broker was quicker
                line.shutdown(socket.SHUT_RDWR)
            while self.has_socket:  # what had already arrived is read to its end
                self._client.loop_read()

    def goodbye(self) -> None:
        """Says that it goes, and goes."""
        if self.is_up:
            self._client.publish(f"{self._topic}/status", WILL, qos=1, retain=True)
        if self.has_socket:
            self._client.disconnect()
            self._flush()

    def _flush(self) -> None:
        """Sends now what paho only queued while it was in a callback; waits for the socket where that would block."""
        if self._client.want_write():
            self._client.loop_write()
        line = self._socket()
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._client.want_write() else 0)
        if line is not None and mask != self._mask:
            self._selector.modify(line, mask, self)
            self._mask = mask

    def _socket(self) -> socket.socket | None:
        return cast("socket.socket | None", self._client.socket())  # paho knows other transports too

    def _acknowledge_quickly(self) -> None:
        line = self._socket()
        if line is not None and QUICKACK is not None:
            line.setsockopt(socket.IPPROTO_TCP, QUICKACK, 1)

    # paho's callbacks, all on the fleet's thread

    def _on_socket_open(self, _client: Client, _userdata: Any, line: Any) -> None:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._mask = selectors.EVENT_READ
        self._selector.register(line, self._mask, self)

    def _on_socket_close(self, _client: Client, _userdata: Any, line: Any) -> None:
        self._selector.unregister(line)

    def _on_connect(self, client: Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self.refusal = str(reason) if reason.is_failure else ""
        if not reason.is_failure:
            client.subscribe(f"{self._topic}/cmd", qos=1)

    def _on_subscribe(self, _client: Client, _userdata: Any, _mid: int, _reasons: Any, _properties: Any) -> None:
        """Only now a command would reach it, so only now it says that it is there."""
        self.is_up = True

    def _on_disconnect(self, _client: Client, _userdata: Any, _flags: Any, _reason: Any, _properties: Any) -> None:
        self.is_up = self.has_greeted = False

    def _on_message(self, _client: Client, _userdata: Any, message: Any) -> None:
        self._heard(message.payload)
