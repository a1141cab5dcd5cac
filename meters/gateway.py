"""The process between the database and the broker, and the only file that knows paho.

Four threads besides the one that watches over them:

* paho's own: puts what arrives into a queue, and nothing else;
* the committer: takes what has gathered, stores it in one transaction, and only then acknowledges it, in the order of
  arrival (rumqttd cuts off who does not);
* the rater: rates what was stored, from the rows, when the committer rings; every few seconds also without that;
* the sender: listens to PostgreSQL, claims commands, commits, publishes; every few seconds also without being rung.

Whichever of them dies ends the process, and what starts processes starts it again: a gateway that only looks alive
would be worse than none. A message that was committed and not acknowledged comes again; storing it twice is no harm.
A command that was claimed and perhaps not published is published by the next, or runs out and is asked again.

Fixed client ids and a session that outlives the process: a gateway that dies without one takes its unacknowledged
messages with it.
"""

from __future__ import annotations

import gc
import json
import logging
import math
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as mqtt
from django.db import close_old_connections, connection
from django.utils import timezone
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from accounts.bell import Bell
from meters import commands, partitions, silence
from meters.commands import Outgoing
from meters.committer import BATCH_AT_MOST, Arrival, Committer
from meters.intake import Frame, Taken
from meters.rater import Rater
from meters.sender import NET_S, Sender
from meters.wire.base import ImpossibleCommand

logger = logging.getLogger(__name__)

SESSION_S = 3600  # the broker keeps for us what arrives while we restart
RECEIVE_AT_MOST = BATCH_AT_MOST  # unacknowledged at once; without it Mosquitto sends 20 and waits (rumqttd: 100)
KEEPALIVE_S = 20
CHORES_EVERY_S = 30.0
MONTHS_EVERY_S = 3600.0
JOIN_S = 10.0
SESSION_TAKEN_OVER = 142  # MQTT 5, 3.14.2.1

# Storing twice is no harm, so gateways that hear all are right, and those that share are quicker.
ALL = ("m/+/+/up", "m/+/+/ack", "m/+/+/status")
# Retained messages are not sent to shared subscriptions, so the presence of meters is heard by every gateway.
# A group for each filter: rumqttd (iotcore 0.4) knows groups by their name alone and serves one filter of them.
SHARED = ("$share/gateway-up/m/+/+/up", "$share/gateway-ack/m/+/+/ack", "m/+/+/status")


def leave_the_heap_alone() -> None:
    """What is loaded by now stays; a batch makes thousands of values that live as long as it does. Looking through them
    again and again costs as much as all the rest of Python's part in storing readings."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


class GatewayDiedError(Exception):
    """A thread of the gateway ended by itself; why stands in the log and in the cause."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What floors above want done. Their faults never stop the intake.

    `after_intake`: after each stored batch, in the committer's own thread, so only what is quick. `rate`: in a thread
    of its own, after batches with new readings and every few seconds; says how much it did, and is called until that
    is 0. `regularly`: twice a minute.
    """

    after_intake: Callable[[Taken], object] = lambda _taken: None
    rate: Callable[[datetime], int] = lambda _now: 0
    regularly: Callable[[datetime], object] = lambda _now: None


class Gateway:
    """`run()` it in the main thread; `stop()` may be called from a signal handler.

    `broker_url` is mqtt://user:password@host:port or mqtts://…, `name` the MQTT client id: one of its own for each
    gateway, the same after a restart. `listen_url` is a direct connection to the database. `shares`: the uplinks are
    divided among the gateways that do (shared subscriptions). Not on rumqttd: its router dies of a publish for a
    group whose only member went away with messages unacknowledged.
    """

    def __init__(
        self,
        *,
        broker_url: str,
        name: str,
        listen_url: str,
        hooks: Hooks | None = None,
        ca_file: str = "",
        shares: bool = False,
        net_s: float = NET_S,
    ) -> None:
        self.name = name
        self._hooks = hooks or Hooks()
        self._url = urlsplit(broker_url)
        self._subscriptions = SHARED if shares else ALL
        self._connection = 0
        self._connection_lock = threading.Lock()
        self._is_stopping = False
        self._stopped = threading.Event()
        self._failure: BaseException | None = None
        self._client = self._new_client(ca_file)
        self._bell = Bell(listen_url, commands.CHANNEL)
        self._rater = Rater(rate=self._hooks.rate, stopped=self._stopped, net_s=net_s)
        self._committer = Committer(acknowledge=self._acknowledge, after=self._after_intake, stopped=self._stopped)
        self._sender = Sender(
            bell=self._bell,
            publish=self._publish,
            is_connected=self.is_connected,
            stopped=self._stopped,
            net_s=net_s,
        )

    # ---- life ----

    def run(self) -> None:
        """Works until `stop()`. Raises GatewayDiedError when one of its threads ends before that."""
        works = {"committer": self._committer.run, "sender": self._sender.run, "rater": self._rater.run}
        threads = [self._started(name, work) for name, work in works.items()]
        try:
            self._watch(self._connecting())
        finally:
            self._stopped.set()
            self._bell.pull()
            self._rater.ring()
            for thread in threads:
                thread.join(timeout=JOIN_S)
            self._say_goodbye()
            connection.close()
        if self._failure is not None:
            raise GatewayDiedError(str(self._failure)) from self._failure

    def stop(self) -> None:
        """Lets `run()` end cleanly. Only a flag: a signal handler may call it wherever it interrupts."""
        self._is_stopping = True

    def is_connected(self) -> bool:
        return self._client.is_connected()

    def _watch(self, paho: threading.Thread | None) -> None:
        chores = {self._look_after_rows: CHORES_EVERY_S, self._make_months: MONTHS_EVERY_S}
        due = dict.fromkeys(chores, 0.0)
        while not self._is_stopping and not self._stopped.wait(0.2):
            if paho is None or not paho.is_alive():
                self._fail(RuntimeError("the thread of paho has ended"))
            for chore, every_s in chores.items():
                if time.monotonic() >= due[chore]:
                    due[chore] = time.monotonic() + every_s
                    _do(chore)

    def _started(self, name: str, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=self._guarded, args=(work,), name=f"{self.name}-{name}", daemon=True)
        thread.start()
        return thread

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            logger.exception("a thread of the gateway died")
            self._fail(error)
        finally:
            connection.close()

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._stopped.set()

    def _after_intake(self, taken: Taken) -> None:
        if taken.batch_id is not None:
            self._rater.ring()
        self._hooks.after_intake(taken)

    def _look_after_rows(self) -> None:
        now = timezone.now()
        silence.look(now=now)
        self._hooks.regularly(now)

    def _make_months(self) -> None:
        for name in partitions.make_months(now=timezone.now()):
            logger.info("made %s", name)

    # ---- to the broker ----

    def _publish(self, outgoing: Outgoing) -> None:
        trace = {"trace": outgoing.trace}
        try:
            topic, payload = commands.encode(outgoing)
        except ImpossibleCommand:
            logger.exception("command %s cannot be said; it runs out", outgoing.id, extra=trace)
            return
        seconds = max(math.ceil((outgoing.expires_at - timezone.now()).total_seconds()), 1)
        expiring = _properties(PacketTypes.PUBLISH, MessageExpiryInterval=seconds)
        self._client.publish(topic, payload, qos=1, properties=expiring)
        logger.info("%s %s goes to meter %s", outgoing.kind, outgoing.value, outgoing.serial, extra=trace)

    def _acknowledge(self, batch: Sequence[Arrival]) -> None:
        for arrival in batch:
            with self._connection_lock:
                if arrival.connection == self._connection:
                    self._client.ack(arrival.mid, 1)

    # ---- paho ----

    def _new_client(self, ca_file: str) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=self.name, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True
        )
        if self._url.username:
            client.username_pw_set(unquote(self._url.username), unquote(self._url.password or ""))
        if self._url.scheme == "mqtts":
            client.tls_set(ca_certs=ca_file or None)
        client.will_set(*self._status(is_online=False), qos=1, retain=True)
        client.reconnect_delay_set(min_delay=1, max_delay=10)
        client.max_inflight_messages_set(100)
        client.on_socket_open = _without_delay
        client.on_connect = self._on_connect
        client.on_connect_fail = lambda *_: logger.warning("the broker cannot be reached; trying again")
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = lambda client, *_: _acknowledge_quickly(client)
        return client

    def _connecting(self) -> threading.Thread | None:
        """Starts paho's thread, which connects and connects again; the thread, to be watched."""
        self._client.connect_async(
            self._url.hostname or "",
            self._url.port or (8883 if self._url.scheme == "mqtts" else 1883),
            keepalive=KEEPALIVE_S,
            clean_start=False,
            properties=_properties(
                PacketTypes.CONNECT, SessionExpiryInterval=SESSION_S, ReceiveMaximum=RECEIVE_AT_MOST
            ),
        )
        self._client.loop_start()
        name = f"paho-mqtt-client-{self.name}"
        return next((thread for thread in threading.enumerate() if thread.name == name), None)

    def _status(self, *, is_online: bool) -> tuple[str, str]:
        return f"gateway/{self.name}/status", json.dumps({"v": 1, "type": "status", "online": is_online})

    def _say_goodbye(self) -> None:
        if self._client.is_connected():
            farewell = self._client.publish(*self._status(is_online=False), qos=1, retain=True)
            try:
                farewell.wait_for_publish(2)
            except (RuntimeError, ValueError):
                logger.info("the broker did not hear our goodbye")
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self, client: mqtt.Client, _data: Any, flags: mqtt.ConnectFlags, reason: ReasonCode, _properties: Any
    ) -> None:
        if reason.is_failure:
            logger.error("the broker refuses us: %s", reason)
            return
        logger.info("connected to the broker (session %s)", "kept" if flags.session_present else "new")
        client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in self._subscriptions])
        client.publish(*self._status(is_online=True), qos=1, retain=True)
        self._bell.pull()

    def _on_subscribe(
        self, _client: mqtt.Client, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self._fail(RuntimeError(f"the broker refuses our subscriptions: {', '.join(map(str, reasons))}"))

    def _on_disconnect(
        self, _client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        with self._connection_lock:
            self._connection += 1
        if not self._is_stopping:
            logger.warning("the broker is away: %s", reason)
        if reason.value == SESSION_TAKEN_OVER:
            self._fail(RuntimeError(f"another gateway runs under the name {self.name}"))

    def _on_message(self, client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        _acknowledge_quickly(client)
        frame = Frame(message.topic, bytes(message.payload), timezone.now(), retained=message.retain)
        self._committer.put(Arrival(frame, message.mid, self._connection))


def _do(chore: Callable[[], None]) -> None:
    close_old_connections()
    try:
        chore()
    except Exception:
        logger.exception("a chore of the gateway failed; it comes again")
        connection.close()


def _properties(packet: int, **values: int) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def _without_delay(_client: mqtt.Client, _data: Any, opened: Any) -> None:
    """Nagle's algorithm and delayed acknowledgements together cost 45 ms an exchange."""
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _acknowledge_quickly(client: mqtt.Client) -> None:
    """For brokers whose own side is not ours to set. Linux forgets it, so it is said again with each packet."""
    opened: Any = client.socket()
    if opened is not None and hasattr(socket, "TCP_QUICKACK"):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
