"""The fleet on real brokers, heard and told by the product's own codec."""

import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from config.embedded import broker
from meters.wire import json_v1, topics
from meters.wire.base import Answer, Event, ReadCommand, RelayCommand, Status, Telemetry, TopUpCommand
from sandbox.fleet import Fleet, FleetClient
from sandbox.fleet.client import FleetError
from sandbox.fleet.control import listening
from sandbox.fleet.reactor import Reactor, StoppedError

PROJECT = Path(__file__).resolve().parents[2]
_properties = count(1)


# A newcomer's machine has no mosquitto; wherever it is installed, both must do.
KINDS = ["mosquitto", "iotcore"] if broker.mosquitto() else ["iotcore"]


@pytest.fixture(scope="session", params=KINDS)
def broker_url(request, tmp_path_factory):
    return broker.lease(tmp_path_factory.mktemp(request.param), kind=request.param)


class Server:
    """What the gateway is to a meter: hears all of one property, tells any of it."""

    def __init__(self, url, property_code):
        self.property_code = property_code
        self.heard = []  # (serial, uplink, retained)
        self._moved = threading.Condition()
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=f"server-{uuid.uuid4()}", protocol=MQTTv5)
        self._client.on_socket_open = lambda _c, _u, line: line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.on_publish = lambda *_: self._acknowledge_quickly()
        parts = urlsplit(url)
        self._client.connect(parts.hostname, parts.port, clean_start=True)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def _on_connect(self, client, *_):
        client.subscribe([(f"m/{self.property_code}/+/{leaf}", 1) for leaf in ("up", "status", "ack")])

    def _acknowledge_quickly(self):
        if hasattr(socket, "TCP_QUICKACK"):
            self._client.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _on_message(self, _client, _userdata, message):
        self._acknowledge_quickly()
        address = topics.parse(message.topic)
        uplink = json_v1.decode(address.leaf, message.payload)
        with self._moved:
            self.heard.append((address.serial, uplink, bool(message.retain)))
            self._moved.notify_all()

    def tell(self, serial, command, *, lives_s=30, id=None, generation=0, **arguments):
        now = datetime.now(UTC)
        command = command(
            id=id or uuid.uuid4(),
            generation=generation,
            issued_at=now,
            expires_at=now + timedelta(seconds=lives_s),
            trace="t",
            **arguments,
        )
        payload = json_v1.encode(command)
        self._client.publish(topics.command_topic(self.property_code, serial), payload, qos=1).wait_for_publish(10)
        return command

    def said(self, serial, kind):
        return [uplink for of, uplink, _ in self.heard if of == serial and isinstance(uplink, kind)]

    def wait_for(self, serial, kind, which=lambda _: True, *, times=1, timeout_s=10):
        """The first `times` of the kind that are such."""

        def found():
            return [uplink for uplink in self.said(serial, kind) if which(uplink)]

        with self._moved:
            assert self._moved.wait_for(lambda: len(found()) >= times, timeout_s), self.heard
            return found()[:times]

    def answers_to(self, serial, command, *, times=1):
        return self.wait_for(serial, Answer, lambda answer: answer.command == command.id, times=times)

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def controlled(url, **options):
    with Fleet(url, **options) as fleet:
        server = listening(fleet)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            with FleetClient(f"http://127.0.0.1:{server.server_port}") as client:
                yield client
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.fixture
def fleet(broker_url):
    with controlled(broker_url, relay_ms=5, report_every_s=0) as client:
        yield client


@pytest.fixture
def garden(broker_url):
    server = Server(broker_url, f"garden-{next(_properties)}")
    yield server
    server.close()


def meters(garden, *serials, **definition):
    return [{"property": garden.property_code, "serial": s, "kind": "server"} | definition for s in serials]


def online(status):
    return status.online


def test_a_meter_says_that_it_is_there_and_obeys_its_relay(fleet, garden):
    fleet.add(meters(garden, "1", relay="open", import_wh=1200))
    [status] = garden.wait_for("1", Status, online)
    assert (status.report.relay, status.report.import_wh) == ("open", 1200)

    command = garden.tell("1", RelayCommand, generation=1, position="closed")
    [answer] = garden.answers_to("1", command)

    assert answer.ok
    assert answer.report.relay == "closed"
    state = fleet.state(garden.property_code, "1")
    assert (state["relay"], state["connected"]) == ("closed", True)
    assert [entry["outcome"] for entry in state["commands"]] == ["done"]
    assert [move["to"] for move in state["relay_moves"]] == ["closed"]


def test_a_late_gateway_finds_the_retained_status(fleet, garden, broker_url):
    fleet.add(meters(garden, "1"), connected_within_s=10)
    garden.wait_for("1", Status, online)

    late = Server(broker_url, garden.property_code)
    late.wait_for("1", Status, online)
    late.close()

    assert late.heard[0][2] is True


def test_a_cut_cable_is_the_last_will_and_loses_the_commands_of_that_time(fleet, garden):
    fleet.add(meters(garden, "1", relay="open"))
    garden.wait_for("1", Status, online)

    fleet.faults(garden.property_code, "1", offline=True)
    garden.wait_for("1", Status, lambda status: not status.online)
    garden.tell("1", RelayCommand, generation=1, position="closed")
    fleet.report(garden.property_code, "1")
    fleet.faults(garden.property_code, "1", offline=False)
    garden.wait_for("1", Status, online, times=2)
    [telemetry] = garden.wait_for("1", Telemetry)
    read = garden.tell("1", ReadCommand)
    [answer] = garden.answers_to("1", read)

    assert answer.report.relay == "open"  # it keeps no session: nothing waited for it at the broker
    assert len(telemetry.readings) == 2  # collected offline, and the present state
    assert [entry["kind"] for entry in fleet.state(garden.property_code, "1")["commands"]] == ["read"]


def test_a_meter_that_holds_its_money_takes_top_ups_once_and_cuts_itself(fleet, garden):
    fleet.add(meters(garden, "1", kind="meter", price_micro_fen_per_kwh=60_000_000))
    garden.wait_for("1", Status, online)

    first = garden.tell("1", TopUpCommand, number=1, amount_fen=60)
    [landed] = garden.answers_to("1", first)
    second = garden.tell("1", TopUpCommand, number=1, amount_fen=60)
    [refused] = garden.answers_to("1", second)
    state = fleet.consume(garden.property_code, "1", 5000)
    garden.wait_for("1", Event, lambda event: event.event == "balance_cut")
    [telemetry] = garden.wait_for("1", Telemetry)

    assert (landed.report.relay, landed.report.balance_fen, landed.report.purchase_count) == ("closed", 60, 1)
    assert refused.error == "duplicate"
    assert (state["used_wh"], state["relay"], state["applied"]) == (984, "open", {"1": 1})
    assert telemetry.readings[-1].relay == "open"


def test_a_repeated_command_is_answered_twice_and_obeyed_once(fleet, garden):
    fleet.add(meters(garden, "1", kind="meter"))
    garden.wait_for("1", Status, online)
    name = uuid.uuid4()

    for _ in range(2):
        command = garden.tell("1", TopUpCommand, id=name, number=1, amount_fen=100)
    answers = garden.answers_to("1", command, times=2)

    assert [answer.error for answer in answers] == [None, None]
    assert fleet.state(garden.property_code, "1")["applied"] == {"1": 1}


def test_a_sleeping_meter_obeys_only_the_newest_wish_when_it_wakes(fleet, garden):
    fleet.add(meters(garden, "1", relay="closed"))
    garden.wait_for("1", Status, online)
    fleet.faults(garden.property_code, "1", sleep=True)

    trip = garden.tell("1", RelayCommand, generation=1, position="open")
    close = garden.tell("1", RelayCommand, generation=2, position="closed")
    fleet.wait(garden.property_code, "1", lambda state: state["waiting"] == 2)
    fleet.report(garden.property_code, "1")
    fleet.faults(garden.property_code, "1", sleep=False)

    assert garden.answers_to("1", trip)[0].error == "stale"
    assert garden.answers_to("1", close)[0].ok
    assert len(garden.wait_for("1", Telemetry)[0].readings) == 2
    assert fleet.state(garden.property_code, "1")["relay_moves"] == []


def test_answers_get_lost_doubled_late_and_out_of_order_on_request(fleet, garden):
    fleet.add(meters(garden, "1"))
    garden.wait_for("1", Status, online)

    fleet.faults(garden.property_code, "1", lose_answers=1)
    lost = garden.tell("1", ReadCommand)
    fleet.wait(garden.property_code, "1", lambda state: [entry["outcome"] for entry in state["commands"]] == ["done"])
    fleet.faults(garden.property_code, "1", duplicate_answers=1, answer_late_ms=50)
    doubled = garden.tell("1", ReadCommand)
    copies = garden.answers_to("1", doubled, times=2)
    fleet.faults(garden.property_code, "1", answer_late_ms=0, out_of_order=2)
    first, second = garden.tell("1", ReadCommand), garden.tell("1", ReadCommand)
    garden.answers_to("1", first)

    assert copies[0].id == copies[1].id
    assert [answer.command for answer in garden.said("1", Answer)[-2:]] == [second.id, first.id]
    assert lost.id not in {answer.command for answer in garden.said("1", Answer)}
    assert fleet.state(garden.property_code, "1")["faults"]["out_of_order"] == 0


def test_somebody_presses_the_button(fleet, garden):
    fleet.add(meters(garden, "1", relay="permitted"))
    garden.wait_for("1", Status, online)

    state = fleet.press(garden.property_code, "1")

    assert state["relay"] == "closed"
    garden.wait_for("1", Event, lambda event: event.event == "button_pressed")


def test_what_happens_while_offline_is_told_afterwards(fleet, garden):
    fleet.add(meters(garden, "1", kind="meter", balance_fen=1, price_micro_fen_per_kwh=60_000_000))
    garden.wait_for("1", Status, online)
    fleet.faults(garden.property_code, "1", offline=True)

    fleet.consume(garden.property_code, "1", 100)
    fleet.clear_faults(garden.property_code, "1")

    garden.wait_for("1", Event, lambda event: event.event == "balance_cut")


def test_a_meter_taken_down_says_goodbye(fleet, garden):
    fleet.add(meters(garden, "1"))
    garden.wait_for("1", Status, online)

    fleet.remove(garden.property_code, "1")

    garden.wait_for("1", Status, lambda status: not status.online)
    with pytest.raises(FleetError, match="404"):
        fleet.state(garden.property_code, "1")


def test_reports_come_by_themselves(broker_url, garden):
    with controlled(broker_url, report_every_s=0.2) as fleet:
        fleet.add(meters(garden, "1", power_w=3_600_000))
        reports = garden.wait_for("1", Telemetry, times=5)

    assert reports[-1].readings[-1].import_wh > reports[0].readings[-1].import_wh


def test_three_hundred_meters_in_one_process(broker_url, garden):
    serials = [f"{number:04d}" for number in range(300)]
    with controlled(broker_url, relay_ms=0) as fleet:
        fleet.add(meters(garden, *serials, relay="open"), connected_within_s=60)
        commands = {
            serial: garden.tell(serial, RelayCommand, generation=1, position="closed", lives_s=60) for serial in serials
        }
        for serial, command in commands.items():
            assert garden.answers_to(serial, command)[0].report.relay == "closed"
        overview = fleet.overview()

    assert (overview["count"], overview["connected"]) == (300, 300)
    assert {meter["relay"] for meter in overview["meters"]} == {"closed"}
    for serial in serials:
        garden.wait_for(serial, Status, lambda status: not status.online)


def test_a_round_trip_does_not_wait_for_delayed_acknowledgements(broker_url, garden):
    with controlled(broker_url, relay_ms=0) as fleet:
        fleet.add(meters(garden, "1"))
        garden.wait_for("1", Status, online)
        took_ms = []
        for generation in range(1, 21):
            began = time.perf_counter()
            garden.answers_to("1", garden.tell("1", RelayCommand, generation=generation, position="closed"))
            took_ms.append((time.perf_counter() - began) * 1000)

    assert sorted(took_ms)[10] < 35  # 40 ms and more when either side waits for the other's acknowledgement


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/meters", {"property": "p"}, 400),
        ("POST", "/meters", ["p"], 400),
        ("POST", "/meters", [{"property": "p", "serial": "1", "kind": "nobody"}], 400),
        ("POST", "/meters", [{"property": "p", "serial": "1"}], 400),
        ("GET", "/meters/p/none", None, 404),
        ("GET", "/nothing", None, 404),
        ("PUT", "/meters", None, 405),
        ("POST", "/meters/p/1/faults", ["offline"], 400),
        ("POST", "/meters/p/1/faults", {"offline": "yes"}, 400),
        ("POST", "/meters/p/1/consume", {"wh": -1}, 400),
        ("POST", "/meters/p/1/consume", {}, 400),
    ],
)
def test_the_control_api_refuses_what_makes_no_sense(fleet, method, path, content, status):
    fleet.add([{"property": "p", "serial": "1", "kind": "server"}])

    with pytest.raises(FleetError, match=f"{method} {path}: {status}"):
        fleet._ask(method, path, content)


def test_the_control_api_refuses_what_is_not_json(fleet):
    answer = fleet._session.post(f"{fleet._url}/meters", data=b"{")

    assert (answer.status_code, answer.json()) == (400, {"error": "not JSON"})


def test_adding_a_meter_again_keeps_what_it_has(fleet):
    definition = {"property": "p", "serial": "1", "kind": "server", "import_wh": 5}
    assert fleet.add([definition, {**definition, "serial": "2"}]) == {"added": 2, "kept": 0}
    fleet.consume("p", "1", 10)

    assert fleet.add([definition]) == {"added": 0, "kept": 1}
    assert fleet.state("p", "1")["import_wh"] == 15


def test_waiting_in_vain_says_what_there_is(fleet):
    fleet.add([{"property": "p", "serial": "1", "kind": "server", "relay": "open"}])

    with pytest.raises(FleetError, match="'relay': 'open'"):
        fleet.wait("p", "1", lambda state: state["relay"] == "closed", timeout_s=0.1)


def test_nobody_waits_for_a_fleet_that_has_stopped(broker_url):
    fleet = Fleet(broker_url)
    with fleet:
        pass

    with pytest.raises(StoppedError):
        fleet.overview()


@pytest.mark.parametrize("url", ["mqtts://127.0.0.1:1", "mqtt://", "127.0.0.1:1883"])
def test_a_broker_must_be_named_as_such(url):
    with pytest.raises(ValueError, match="mqtt://"):
        Fleet(url)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("kind", KINDS)
def test_meters_come_when_the_broker_does_and_again_when_it_comes_back(kind, tmp_path):
    server = {"mosquitto": broker.Mosquitto, "iotcore": broker.IotCore}[kind](tmp_path)
    server.port = free_port()
    command = server.command()
    definitions = [{"property": "p", "serial": serial, "kind": "server"} for serial in "123"]
    with controlled(f"mqtt://127.0.0.1:{server.port}") as fleet:
        fleet.add(definitions)
        with pytest.raises(FleetError, match="only 0 of 3"):
            fleet.add(definitions, connected_within_s=0.1)

        for _ in range(2):
            with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
                fleet.add(definitions, connected_within_s=20)
                process.kill()
            fleet.wait("p", "1", lambda state: not state["connected"])


def test_a_broker_that_refuses_is_named_in_the_overview():
    def refuse():
        line, _ = listener.accept()
        with line:
            line.recv(1000)
            line.sendall(b"\x20\x03\x00\x87\x00")  # CONNACK: not authorized
            while line.recv(1000):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=refuse, daemon=True).start()
        with controlled(f"mqtt://meter:secret@127.0.0.1:{listener.getsockname()[1]}") as fleet:
            fleet.add([{"property": "p", "serial": "1", "kind": "server"}])
            deadline = time.monotonic() + 10
            while not (refusal := fleet.overview()["meters"][0]["refusal"]) and time.monotonic() < deadline:
                time.sleep(0.02)

    assert refusal == "Not authorized"


@contextmanager
def fleet_process(url, *options):
    command = [sys.executable, "-m", "sandbox.fleet", "--broker", url, *options]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        try:
            ready = json.loads(process.stdout.readline())
            assert ready["ready"] == "fleet"
            with FleetClient(ready["url"]) as client:
                yield process, client
        finally:
            if process.poll() is None:
                process.kill()


def test_two_fleets_do_not_share_one_memory(broker_url, tmp_path):
    state = tmp_path / "fleet.sqlite"
    with Fleet(broker_url, state=state):
        second = subprocess.run(
            [sys.executable, "-m", "sandbox.fleet", "--broker", broker_url, "--state", state],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    assert (second.returncode, second.stderr) == (1, f"fleet: {state} is in use by another fleet\n")


def test_a_memory_that_cannot_be_is_an_error(tmp_path):
    with pytest.raises(sqlite3.OperationalError):
        Fleet("mqtt://127.0.0.1:1", state=tmp_path / "nowhere" / "fleet.sqlite")
    (tmp_path / "letter").write_text("Dear fleet, this is no database, and long enough to be none. " * 20)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        Fleet("mqtt://127.0.0.1:1", state=tmp_path / "letter")


def test_when_the_thread_fails_nobody_waits_for_it(monkeypatch):
    raised, began, asked, failed = [], threading.Event(), threading.Event(), threading.Event()
    monkeypatch.setattr(threading, "excepthook", raised.append)

    def fail():
        began.set()
        asked.wait(10)
        raise ZeroDivisionError

    reactor = Reactor(at_end=lambda: None, on_failure=failed.set)
    reactor.after(0, fail)
    reactor.start()
    assert began.wait(10)
    threading.Timer(0.1, asked.set).start()
    with pytest.raises(StoppedError):
        reactor.call(lambda: "never")
    assert failed.wait(10)
    reactor.stop()

    assert raised[0].exc_type is ZeroDivisionError


def test_a_broker_that_reads_slowly_gets_everything_in_the_end():
    received = bytearray()

    def serve():
        line, _ = listener.accept()
        with line:
            line.recv(1000)
            line.sendall(b"\x20\x03\x00\x00\x00")  # CONNACK
            subscribe = line.recv(1000)
            line.sendall(b"\x90\x04" + subscribe[2:4] + b"\x00\x01")  # SUBACK
            go_on.wait(10)
            while part := line.recv(1 << 16):
                received.extend(part)

    go_on = threading.Event()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        broker_thread = threading.Thread(target=serve, daemon=True)
        broker_thread.start()
        with Fleet(f"mqtt://127.0.0.1:{listener.getsockname()[1]}", report_every_s=0) as fleet:
            fleet.add([{"property": "p", "serial": "1", "kind": "server"}])
            while not fleet.overview()["connected"]:
                time.sleep(0.01)
            fleet._lines["p/1"]._socket().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            for _ in range(15):
                fleet.change_faults("p", "1", {"sleep": True})
                for _ in range(199):
                    fleet.report("p", "1")
                fleet.change_faults("p", "1", {"sleep": False})
            go_on.set()
            while received.count(b'"type":"telemetry"') < 15:
                time.sleep(0.01)
        broker_thread.join(10)

    assert received.count(b'"at"') >= 15 * 200
    assert received.count(b'"online":false') == 1  # the goodbye


@pytest.mark.kill
def test_a_killed_fleet_comes_back_as_it_was(broker_url, garden, tmp_path):
    state = str(tmp_path / "fleet.sqlite")
    definitions = meters(garden, "1", kind="meter")
    with fleet_process(broker_url, "--state", state, "--relay-ms", "0") as (process, fleet):
        fleet.add(definitions)
        garden.wait_for("1", Status, online)
        garden.answers_to("1", garden.tell("1", TopUpCommand, number=1, amount_fen=700))
        process.kill()
        garden.wait_for("1", Status, lambda status: not status.online)

    with fleet_process(broker_url, "--state", state) as (process, fleet):
        assert fleet.add(definitions, connected_within_s=10) == {"added": 0, "kept": 1}
        before = fleet.state(garden.property_code, "1")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0

    assert (before["relay"], before["balance_fen"], before["applied"]) == ("closed", 700, {"1": 1})
    garden.wait_for("1", Status, lambda status: not status.online, times=2)
