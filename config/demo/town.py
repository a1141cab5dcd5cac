"""The processes of a demo: the product's own, started as an operator starts them, and the outside world in its box."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import requests
from django.conf import settings

from config.demo.surroundings import demo_folder
from config.embedded.children import end, spawn

PATIENCE_S = 60.0
WEB = [
    "-m",
    "gunicorn",
    "config.wsgi",
    "--workers",
    "2",
    "--threads",
    "4",
    "--no-control-socket",
    "--log-level",
    "warning",
]


class NotAtWork(Exception):
    """A process did not come up; the message names it and its log."""


class Town:
    """Starts everything, and ends everything. Use from the main thread: children end with the thread that made them."""

    def __init__(self) -> None:
        self.folder = demo_folder()
        self.logs = self.folder / "logs"
        self.wechat_url = settings.WECHAT_PAY_URL
        self.alipay_url = settings.ALIPAY_GATEWAY_URL.removesuffix("/gateway.do")
        self.fleet_url = os.environ["METERPAY_DEMO_FLEET_URL"]
        self.web_url = settings.PUBLIC_URL
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._log_began: dict[str, int] = {}

    def start(self) -> None:
        """Raises NotAtWork."""
        self.logs.mkdir(parents=True, exist_ok=True)
        world = str(self.folder / "world")
        self._spawn("wechat", *self._box("sandbox.wechat", self.wechat_url, world))
        self._spawn("alipay", *self._box("sandbox.alipay", self.alipay_url, world))
        self._spawn(
            "fleet", "-m", "sandbox.fleet", "--broker", os.environ["MQTT_URL"], "--control-port", port(self.fleet_url),
            "--state", str(self.folder / "fleet.sqlite"),
        )  # fmt: skip
        self._spawn("web", *WEB, "--bind", urlsplit(self.web_url).netloc)
        self._spawn("gateway", "manage.py", "gateway")
        self._spawn("chaser", "manage.py", "chaser")
        self._spawn("queue", "manage.py", "queue_watch")
        homes = {"wechat": self.wechat_url, "alipay": self.alipay_url, "fleet": self.fleet_url, "web": self.web_url}
        for name, url in homes.items():
            self._until(name, partial(answers, url))
        self._until("gateway", lambda: b"connected to the broker" in self._log_since("gateway"))

    def end(self) -> None:
        """Ends what was started, in reverse; what does not go is killed."""
        end(*reversed(self._children.values()), patience_s=8)
        self._children.clear()

    def dead(self) -> str:
        """The name of a process that ended by itself, or nothing."""
        return next((name for name, child in self._children.items() if child.poll() is not None), "")

    @staticmethod
    def _box(module: str, url: str, world: str) -> list[str]:
        state = str(Path(world).parent / f"{module.removeprefix('sandbox.')}.json")
        return ["-m", module, "--world", world, "--port", port(url), "--speed", "60", "--state", state]

    def _spawn(self, name: str, *words: str) -> None:
        log = self.logs / f"{name}.log"
        self._log_began[name] = log.stat().st_size if log.exists() else 0
        env = {**os.environ, "PYTHONPATH": str(settings.BASE_DIR), "PYTHONUNBUFFERED": "1"}
        paths = [str(settings.BASE_DIR / word) if word == "manage.py" else word for word in words]
        self._children[name] = spawn([sys.executable, *paths], env=env, log=log)

    def _until(self, name: str, is_at_work: Callable[[], bool]) -> None:
        over = time.monotonic() + PATIENCE_S
        while not is_at_work():
            if self._children[name].poll() is not None or time.monotonic() > over:
                raise NotAtWork(f"{name} did not come up: see {self.logs / name}.log")
            time.sleep(0.05)

    def _log_since(self, name: str) -> bytes:
        return (self.logs / f"{name}.log").read_bytes()[self._log_began[name] :]


def port(url: str) -> str:
    return str(urlsplit(url).port)


def answers(url: str) -> bool:
    """Whether anybody is at home there; what they say does not matter."""
    try:
        requests.get(url, timeout=2)
    except requests.RequestException:
        return False
    return True
