"""The embedded brokers: MQTT 5, started by whoever needs one, stopped by nobody in particular."""

from __future__ import annotations

import os
import queue
import socket
import stat
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from config.embedded import broker, holding
from config.embedded.children import command_line
from config.embedded.holding import EmbeddedServerError
from tests.config.embedded_users import User, keeper_of, kill, processes_of, server_of, using, within

pytestmark = pytest.mark.kill
PATIENCE_S = 10


@pytest.fixture(params=["mosquitto", "iotcore"])
def kind(request):
    return request.param


@contextmanager
def client(url, name, *topics):
    """A connected MQTT 5 client with a session that outlives its connection, and what it receives."""
    inbox, connected = queue.Queue(), queue.Queue()
    session = Properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = 3600
    it = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
    it.on_connect = lambda _c, _u, _f, reason, _p: connected.put(reason)
    it.on_message = lambda _c, _u, message: inbox.put(message)
    it.on_subscribe = lambda *_: connected.put("subscribed")
    it.connect("127.0.0.1", urlsplit(url).port, clean_start=False, properties=session)
    it.loop_start()
    try:
        assert connected.get(timeout=PATIENCE_S) == "Success"
        for topic in topics:
            it.subscribe(topic, qos=1)
            assert connected.get(timeout=PATIENCE_S) == "subscribed"
        yield it, inbox
    finally:
        it.disconnect()
        it.loop_stop()


def say(it, topic, text, *, retain=False):
    it.publish(topic, text, qos=1, retain=retain).wait_for_publish(PATIENCE_S)


def test_it_speaks_version_5_with_large_messages_and_properties(folder, kind):
    properties = Properties(PacketTypes.PUBLISH)
    properties.MessageExpiryInterval = 60
    properties.UserProperty = ("trace", "42")
    with using(kind, folder) as url, client(url, "gateway-1", "$share/gateway/m/+/+/up") as (it, inbox):
        it.publish("m/north/1/up", b"x" * 65_536, qos=1, properties=properties)

        message = inbox.get(timeout=PATIENCE_S)

    assert len(message.payload) == 65_536
    assert message.properties.UserProperty == [("trace", "42")]
    assert 0 < message.properties.MessageExpiryInterval <= 60


def test_more_waits_for_an_absent_gateway_than_mosquitto_keeps_by_default(folder, kind):
    with using(kind, folder) as url:
        with client(url, "gateway-1", "m/+/+/up"):
            pass
        with client(url, "meter") as (meter, _):
            sent = [meter.publish("m/north/1/up", str(number), qos=1) for number in range(1500)]
            sent[-1].wait_for_publish(PATIENCE_S)
        with client(url, "gateway-1") as (_, inbox):
            received = [int(inbox.get(timeout=PATIENCE_S).payload) for _ in sent]

    assert sorted(received) == list(range(1500))


def test_six_processes_starting_at_once_share_one_broker(folder, kind):
    users = [User(kind, folder) for _ in range(6)]
    urls = {user.url() for user in users}

    assert len(urls) == 1
    assert len(processes_of(folder)) == 2  # keeper and broker
    for user in users:
        user.leave()


def test_it_leaves_within_a_second_of_its_last_user_who_was_killed(folder, kind):
    user = User(kind, folder)
    user.url()
    user.kill()

    assert within(1.0, lambda: not processes_of(folder))


def test_it_listens_to_this_machine_alone(folder, kind):
    with using(kind, folder) as url:
        port = urlsplit(url).port
        listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        addresses = {words[1] for words in listening if words[1].endswith(f":{port:04X}") and words[3] == "0A"}

    assert addresses == {f"0100007F:{port:04X}"}


def test_a_killed_broker_is_replaced_at_the_same_port_while_somebody_uses_it(folder, kind):
    with using(kind, folder) as url:
        first = server_of(folder)
        kill(first)
        assert within(10, lambda: server_of(folder) != first and (folder / "ready").exists())

        with using(kind, folder) as newcomer, client(newcomer, "gateway-1", "t") as (it, inbox):
            say(it, "t", "hello")
            assert inbox.get(timeout=PATIENCE_S).payload == b"hello"
            assert newcomer == url


def test_after_a_killed_keeper_the_next_user_gets_a_broker_at_the_same_port(folder, kind):
    with using(kind, folder) as url:
        kill(keeper_of(folder))

        with using(kind, folder) as newcomer, client(newcomer, "gateway-1"):
            assert newcomer == url
            assert len(processes_of(folder)) == 2


def test_a_killed_keeper_leaves_nothing_behind(folder, kind):
    with using(kind, folder):
        kill(keeper_of(folder))

        assert within(3, lambda: not processes_of(folder))


def test_a_port_that_somebody_took_meanwhile_is_not_fought_for(folder, kind):
    with using(kind, folder) as url:
        pass
    assert within(2, lambda: not processes_of(folder))

    with socket.create_server(("127.0.0.1", urlsplit(url).port)), using(kind, folder) as elsewhere:
        assert elsewhere != url
        with client(elsewhere, "gateway-1"):
            pass


def test_mosquitto_keeps_sessions_queues_and_retained_messages_over_a_stop(folder):
    with using("mosquitto", folder) as url:
        with client(url, "gateway-1", "m/+/+/up"):
            pass
        with client(url, "meter") as (meter, _):
            say(meter, "m/north/1/up", "queued")
            say(meter, "m/north/1/status", "online", retain=True)
    assert within(2, lambda: not processes_of(folder))

    with using("mosquitto", folder) as again, client(again, "gateway-1", "m/+/+/status") as (_, inbox):
        assert again == url
        assert {inbox.get(timeout=PATIENCE_S).payload for _ in range(2)} == {b"queued", b"online"}


def test_what_mosquitto_wrote_is_for_its_owner_alone(folder):
    with using("mosquitto", folder):
        pass
    assert within(2, lambda: not processes_of(folder))

    assert stat.S_IMODE((folder / "mosquitto.db").stat().st_mode) & 0o007 == 0


def test_whoever_does_not_mind_which_broker_joins_the_one_that_runs(folder):
    with using("iotcore", folder) as url, using("auto", folder) as joined:
        assert joined == url
        with pytest.raises(EmbeddedServerError, match="is in use by iotcore, not mosquitto: use another folder"):
            broker.lease(folder, kind="mosquitto")


def test_mosquitto_is_found_where_it_is_not_on_the_path(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")

    assert os.access(broker.mosquitto(), os.X_OK)


def test_without_mosquitto_the_newcomer_gets_iotcore(folder, monkeypatch):
    monkeypatch.setattr(broker, "SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", "/nowhere")

    url = broker.lease(folder)
    lease = holding._held.pop(folder)
    with client(url, "gateway-1"):
        assert "-m iotcore" in command_line(server_of(folder))
    os.close(lease)

    assert broker.mosquitto() is None
    with pytest.raises(EmbeddedServerError, match="mosquitto is not installed"):
        broker.Mosquitto(folder).command()
