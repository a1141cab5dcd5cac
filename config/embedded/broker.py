"""The embedded MQTT broker, for trying out, developing and testing, when no MQTT_URL is set.

Mosquitto where the machine has it, else iotcore (rumqttd) from PyPI. Both listen on 127.0.0.1 only, to anybody on this
machine: not for production.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Literal

from config.embedded import holding
from config.embedded.children import die_with_parent
from config.embedded.holding import EmbeddedServerError

Kind = Literal["auto", "mosquitto", "iotcore"]

HOST = "127.0.0.1"
SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")  # Debian's is not on a normal user's PATH
PORTS = range(20_000, 30_000)  # below the ports that systems give to outgoing connections
TRIES = 50

# max_queued_messages is 1000 by default: of 5,000 messages for an absent gateway, all acknowledged, 1,000 were kept.
MOSQUITTO_CONF = """\
listener {port} {host}
allow_anonymous true
persistence true
persistence_location {folder}/
autosave_interval 5
set_tcp_nodelay true
max_queued_messages 0
max_inflight_messages 0
log_dest stderr
log_type error
log_type warning
log_type notice
connection_messages false
"""

# iotcore's own command line offers MQTT 3.1.1 on all interfaces; version 5 needs a file. Larger payloads than
# max_payload_size cut the sender off, so it is generous.
IOTCORE_TOML = """\
id = 0
[router]
id = 0
max_connections = 10010
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = "v5-1"
listen = "{host}:{port}"
next_connection_delay_ms = 0
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 1048576
max_inflight_count = 100
dynamic_filters = true
"""


def lease(folder: Path, *, kind: Kind = "auto") -> str:
    """Hold the broker of `folder` until this process dies; `mqtt://127.0.0.1:<port>`, MQTT 5.

    It starts when nobody runs it yet and stops when the last lease goes. Its port stays the same over restarts while
    nobody else takes it. "auto" joins whichever runs, else starts Mosquitto, else iotcore. Raises EmbeddedServerError.
    """
    if kind != "auto":
        return holding.hold(folder, kind)
    kinds = ("mosquitto", "iotcore") if mosquitto() else ("iotcore", "mosquitto")
    return holding.hold(folder, *kinds)


class Broker(ABC):
    """A broker as its keeper sees it."""

    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.port = 0

    @abstractmethod
    def command(self) -> list[str]:
        """Write its configuration for `self.port`; the words that start it."""

    def start(self) -> subprocess.Popen[bytes]:
        """Start it on the port of last time or a free one; if somebody is quicker it exits, and we are called again."""
        self.port = choose_port(self.folder / "port")
        self.url = f"mqtt://{HOST}:{self.port}"
        return subprocess.Popen(  # noqa: S603 - a known broker
            self.command(),
            env={"PATH": os.defpath, "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent(self.stop_signal),  # noqa: PLW1509 - a keeper has one thread
        )

    def answers(self) -> bool:
        """Whether it accepts connections."""
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
        except OSError:
            return False
        return True


class Mosquitto(Broker):
    """Keeps sessions, queues and retained messages over a stop; kill -9 loses what came after its last save."""

    def command(self) -> list[str]:
        """See mosquitto.conf(5)."""
        program = mosquitto()
        if program is None:
            raise EmbeddedServerError("mosquitto is not installed: install it, or use iotcore, or set MQTT_URL")
        conf = self.folder / "mosquitto.conf"
        as_root = "user root\n" if os.geteuid() == 0 else ""  # else it becomes `mosquitto`, who cannot write here
        conf.write_text(as_root + MOSQUITTO_CONF.format(host=HOST, port=self.port, folder=self.folder))
        return [program, "-c", str(conf)]


class IotCore(Broker):
    """Keeps nothing on disk."""

    def command(self) -> list[str]:
        """Below CRITICAL it logs an error for each packet."""
        toml = self.folder / "iotcore.toml"
        toml.write_text(IOTCORE_TOML.format(host=HOST, port=self.port))
        return [sys.executable, "-m", "iotcore", "--config", str(toml), "--log-level", "CRITICAL"]


def mosquitto() -> str | None:
    """Where Mosquitto is on this machine."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=os.pathsep.join(SYSTEM_FOLDERS))


def choose_port(memory: Path) -> int:
    """The port written in `memory` if it is free, else another, written there."""
    remembered = memory.read_text() if memory.exists() else ""
    if remembered.isdigit() and is_free(int(remembered)):
        return int(remembered)
    for _ in range(TRIES):
        port = PORTS[secrets.randbelow(len(PORTS))]
        if is_free(port):
            memory.write_text(str(port))
            return port
    raise EmbeddedServerError(f"no free port between {PORTS[0]} and {PORTS[-1]}")


def is_free(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as brokers do: old connections do not count
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
