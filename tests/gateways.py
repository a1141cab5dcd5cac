"""A gateway in this process, meters on its broker, and a wire between both that can be held or cut."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from django.db import connection

from config.embedded import broker
from meters.gateway import Gateway, Hooks
from meters.models import Meter, MeterModel
from sandbox.fleet import Fleet
from tests.makers import a_meter

# A newcomer's machine has no Mosquitto; wherever it is installed, both must do.
KINDS = ["mosquitto", "iotcore"] if broker.mosquitto() else ["iotcore"]
NAME = "gateway-1"  # always the same: a session under another name would keep its share of what is said


def lease(kind: str, folder: Path) -> str:
    return broker.lease(folder, kind="mosquitto" if kind == "mosquitto" else "iotcore")


def database_url() -> str:
    """The test database, as a child process or LISTEN needs it."""
    at = connection.settings_dict
    host, port = quote(str(at["HOST"]), safe=""), f":{at['PORT']}" if at["PORT"] else ""
    password = f":{quote(at['PASSWORD'], safe='')}" if at["PASSWORD"] else ""
    return f"postgresql://{at['USER']}{password}@{host}{port}/{at['NAME']}"


def wait_until(holds: Callable[[], Any], *, within_s: float = 15) -> Any:
    """The first true value of `holds()`."""
    until = time.monotonic() + within_s
    while not (value := holds()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)
    return value


@contextmanager
def a_gateway(
    url: str, *, hooks: Hooks | None = None, net_s: float = 0.3, name: str = NAME, shares: bool = False
) -> Iterator[Gateway]:
    """Runs until the end of the block; connected when it begins. What it dies of is raised at the end."""
    gateway = Gateway(broker_url=url, name=name, listen_url=database_url(), hooks=hooks, net_s=net_s, shares=shares)
    died: list[BaseException] = []

    def run() -> None:
        try:
            gateway.run()
        except BaseException as error:  # noqa: BLE001 - raised again below, in the test's own thread
            died.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_until(lambda: gateway.is_connected() or died)
        yield gateway
    finally:
        gateway.stop()
        thread.join(30)
        assert not thread.is_alive()
    if died:
        raise died[0]


def hang(fleet: Fleet, *, held_by: str = "server", ttl_s: int = 30, room: Any = None, **registers: Any) -> Meter:
    """A meter in our tables and the same in the fleet, connected. `registers` are the virtual one's."""
    meter = a_meter(held_by=held_by, room=room)
    MeterModel.objects.filter(pk=meter.model_id).update(command_ttl_s=ttl_s)
    at_home = {"property": meter.property.code, "serial": meter.serial, "kind": held_by}
    fleet.add([at_home | registers])
    wait_until(lambda: there(fleet, meter)["connected"])
    return meter


def there(fleet: Fleet, meter: Meter) -> dict[str, Any]:
    """The virtual meter's own view."""
    return fleet.state(meter.property.code, meter.serial)


def faults(fleet: Fleet, meter: Meter, **wanted: Any) -> None:
    fleet.change_faults(meter.property.code, meter.serial, wanted)


class Wire:
    """A TCP proxy to a broker. Held, it takes bytes and passes none on; cut, they are gone with the connections."""

    def __init__(self, broker_url: str) -> None:
        parts = urlsplit(broker_url)
        self._broker = (parts.hostname or "", parts.port or 1883)
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://127.0.0.1:{self._door.getsockname()[1]}"
        self._passes = {"up": threading.Event(), "down": threading.Event()}
        self.carried = {"up": bytearray(), "down": bytearray()}  # what has passed, whole
        self._lines: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._is_closed = False
        self.release()
        self._begin(self._accept)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_closed = True
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)

    def hold(self, way: str) -> None:
        """`up` is from the gateway to the broker."""
        self._passes[way].clear()

    def release(self) -> None:
        for passes in self._passes.values():
            passes.set()

    def cut(self) -> None:
        """Breaks all connections; what was held is lost. New connections pass freely."""
        lines, self._lines = self._lines, []
        for line in lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()
        self.release()

    def _begin(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                gateway, _ = self._door.accept()
                server = socket.create_connection(self._broker, timeout=5)
            except OSError:
                continue
            server.settimeout(None)
            for line in (gateway, server):
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._lines += [gateway, server]
            self._begin(self._carry, gateway, server, "up")
            self._begin(self._carry, server, gateway, "down")

    def _carry(self, source: socket.socket, target: socket.socket, way: str) -> None:
        """Shutting down wakes whoever reads; closing alone would not."""
        with suppress(OSError):
            while data := source.recv(65536):
                self._passes[way].wait()
                target.sendall(data)
                self.carried[way] += data
        for line in (source, target):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
