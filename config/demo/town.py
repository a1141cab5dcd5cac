"""The processes of the demo: the product's own as an operator would start them, the vendors and sixty meters."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import requests
from django.utils import timezone

from config.demo.ground import Ground
from config.demo.narration import until
from config.embedded.broker import choose_port, is_free
from config.embedded.children import end, spawn
from config.embedded.lease import BASE_DIR
from sandbox import certificates

START_S = 60.0
PATIENCE_S = 10.0
SPEED = "60"  # callbacks that were refused come again after a second and not after a minute
HOST = "127.0.0.1"
WEB_PORT = 8000  # where people look first
REPORT_EVERY_S = "60"
UNAUTHORIZED = 401
# What they say when they listen. To ask their address would not do: another demo may have been quicker there.
LISTENS = {"web": b"Listening at: ", "wechat": b'"ready"', "alipay": b'"ready"', "sms": b'"ready"', "fleet": b'"ready"'}
LAST = ("gateway", "chaser", "carrier", "queue")  # they hear the meters' goodbyes, and finish what is under way


class Addresses(NamedTuple):
    """Of what listens. They stay the same over restarts: a callback address is given to the vendor with each order."""

    web: str
    wechat: str
    alipay: str
    sms: str
    fleet: str


class Town:
    """Starts processes and ends all of them. To be used from the main thread: children end with their thread."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        ground.logs.mkdir(parents=True, exist_ok=True)
        self.at = Addresses(*(f"http://{HOST}:{_port(ground, name)}" for name in Addresses._fields))
        self.world_folder = ground.folder / "world"
        self.started_at = timezone.now()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._log_begins: dict[str, int] = {}
        self._fleet_memory = ""

    # ---- what to run ----

    def words(self, name: str) -> list[str]:
        """The command line of a process."""
        folder, at = self.ground.folder, self.at
        manage = str(BASE_DIR / "manage.py")
        vendor = ["--world", str(self.world_folder), "--speed", SPEED, "--state"]
        commands = {
            "wechat": ["-m", "sandbox.wechat", *vendor, str(folder / "wechat.json"), "--port", port_of(at.wechat)],
            "alipay": ["-m", "sandbox.alipay", *vendor, str(folder / "alipay.json"), "--port", port_of(at.alipay)],
            "sms": ["-m", "sandbox.sms", *vendor, str(folder / "sms.json"), "--port", port_of(at.sms)],
            "fleet": [
                "-m", "sandbox.fleet", "--broker", os.environ.get("MQTT_URL", ""), "--control-port", port_of(at.fleet),
                "--state", self._fleet_memory, "--report-every-s", REPORT_EVERY_S,
            ],
            "web": [
                "-m", "gunicorn", "config.wsgi", "--chdir", str(BASE_DIR), "--bind", f"{HOST}:{port_of(at.web)}",
                "--worker-class", "gthread", "--workers", "2", "--threads", "4", "--preload",
                "--graceful-timeout", "3", "--no-control-socket",
            ],
            "gateway": [manage, "gateway", "--name", "gateway-1"],
            "chaser": [manage, "chaser"],
            "carrier": [manage, "carrier"],
            "queue": [manage, "queue_watch"],
        }  # fmt: skip
        return [sys.executable, *commands[name]]

    def settings(self) -> dict[str, str]:
        """What an operator would set. The keys are named, not held."""
        world = json.loads((self.world_folder / "world.json").read_text())
        wechat, alipay = world["wechat"], world["alipay"]["key"]
        app_id, official = wechat["direct"]["appid"], wechat["official"]["appid"]
        sms = world["sms"]
        return {
            "PUBLIC_URL": self.at.web,
            "ALLOWED_HOSTS": f"{HOST},localhost",
            "WECHAT_API_URL": self.at.wechat,
            "WECHAT_PAY_URL": self.at.wechat,
            "WECHAT_OAUTH_URL": self.at.wechat,
            "WECHAT_MINI_APP_ID": app_id,
            "WECHAT_MINI_SECRET_REF": f"file:{wechat['apps'][app_id]['secret_file']}",
            "WECHAT_OFFICIAL_APP_ID": official,
            "WECHAT_OFFICIAL_SECRET_REF": f"file:{wechat['apps'][official]['secret_file']}",
            "WECHAT_OFFICIAL_TOKEN_REF": f"file:{wechat['events'][official]['token_file']}",
            "WECHAT_MINI_TOKEN_REF": f"file:{wechat['events'][app_id]['token_file']}",
            "ALIYUN_SMS_URL": self.at.sms,
            "ALIYUN_SMS_KEY_ID": sms["aliyun"]["key_id"],
            "ALIYUN_SMS_SECRET_REF": f"file:{sms['aliyun']['secret_file']}",
            "ALIYUN_SMS_SIGN_NAME": sms["sign_name"],
            "TENCENT_SMS_URL": self.at.sms,
            "TENCENT_SMS_SECRET_ID": sms["tencent"]["secret_id"],
            "TENCENT_SMS_SECRET_KEY_REF": f"file:{sms['tencent']['secret_key_file']}",
            "TENCENT_SMS_APP_ID": sms["tencent"]["app_id"],
            "TENCENT_SMS_SIGN_NAME": sms["sign_name"],
            "RECEIPTS_SECRET_REF": f"file:{self.receipts_secret()}",
            "ALIPAY_GATEWAY_URL": f"{self.at.alipay}/gateway.do",
            "ALIPAY_APP_ID": alipay["app_id"],
            "ALIPAY_PRIVATE_KEY_REF": f"file:{alipay['app_private_key_file']}",
            "ALIPAY_PUBLIC_KEY_REF": f"file:{alipay['alipay_public_key_file']}",
            "LOG_LEVEL": "INFO",
            "LOG_FORMAT": "json",
        }

    def receipts_secret(self) -> Path:
        """A part of the address that SMS vendors report to, made once."""
        file = self.ground.folder / "receipts_secret"
        if not file.exists():
            certificates.write_secret(file, secrets.token_hex(16).encode())
        return file

    # ---- life ----

    def start(self, *names: str) -> None:
        """Starts processes; it does not wait for them."""
        env = dict(os.environ)
        if (self.world_folder / "world.json").exists():
            env |= self.settings()
        for name in names:
            log = self.log_of(name)
            self._log_begins[name] = log.stat().st_size if log.exists() else 0
            self._running[name] = spawn(self.words(name), env=env, log=log)

    def start_fleet(self, *, since: datetime) -> None:
        """`since` is when the property came into being: its meters remember what no other database knows."""
        self._fleet_memory = str(self.ground.folder / f"meters-{since:%Y%m%d%H%M%S%f}.sqlite")
        self.start("fleet")

    def wait_for(self, *names: str) -> None:
        """Until they listen; the web server until it answers. Raises TimeoutError, ChildProcessError."""
        for name in names:
            until(partial(self._listens, name), f"{name} listens", within_s=START_S)

    def mind(self) -> list[str]:
        """Starts again what ended by itself, as systemd would; what to tell about it."""
        ended = {name: child for name, child in self._running.items() if child.poll() is not None}
        for name, child in ended.items():
            end(child, patience_s=0)  # the rest of its group
            self.start(name)
        return [
            f"  {name} ended with status {child.returncode} and was started again; see {self.log_of(name)}"
            for name, child in ended.items()
        ]

    def stop(self) -> None:
        """Ends everything, politely at first."""
        early = [child for name, child in self._running.items() if name not in LAST]
        end(*early, patience_s=PATIENCE_S)
        end(*(child for name, child in self._running.items() if name in LAST), patience_s=PATIENCE_S)
        self._running.clear()

    def log_of(self, name: str) -> Path:
        return self.ground.logs / f"{name}.log"

    def check_alive(self) -> None:
        """Raises ChildProcessError that names what ended, with its last words."""
        for name, child in self._running.items():
            if (status := child.poll()) is not None:
                last = self.log_of(name).read_text(errors="replace").strip().splitlines()[-1:]
                raise ChildProcessError(f"{name} ended with status {status}: {' '.join(last)[:300]}")

    def _listens(self, name: str) -> bool:
        self.check_alive()
        said = self.log_of(name).read_bytes()[self._log_begins[name] :]
        return LISTENS[name] in said and (name != "web" or _answers(self.at.web))


def port_of(url: str) -> str:
    return url.rpartition(":")[2]


def _port(ground: Ground, name: str) -> int:
    """The one of last time where it is free."""
    memory = ground.folder / f"{name}.port"
    if name == "web" and not ground.is_throwaway and not memory.exists() and is_free(WEB_PORT):
        memory.write_text(str(WEB_PORT))
    return choose_port(memory)


def _answers(url: str) -> bool:
    """Whether the product does: a stranger is refused."""
    with requests.Session() as http, suppress(requests.RequestException):
        http.trust_env = False
        return http.get(f"{url}/api/v1/homes", timeout=5).status_code == UNAUTHORIZED
    return False
