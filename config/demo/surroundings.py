"""Where a demo runs: its folder, servers, ports and keys. Before settings are read, so nothing here knows Django."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from config.embedded.lease import ensure_broker, ensure_database, var_folder

THROWAWAY = "METERPAY_DEMO_THROWAWAY"
OURS = ("DATABASE_", "MQTT_", "METERPAY_", "WECHAT_", "ALIPAY_")
OUR_NAMES = {"SECRET_KEY", "PUBLIC_URL", "ALLOWED_HOSTS", "WEB_POOL", "LOG_FORMAT", "LOG_LEVEL", "SECURE_SSL_REDIRECT"}
PORTS = {"web": 8000, "wechat": 8101, "alipay": 8102, "fleet": 8103}
LAST = 65_000


def arrange(arguments: list[str]) -> None:
    """Chooses servers, ports and the vendors' addresses of `manage.py demo`, and puts them into the environment.

    `--once` runs in a child with a folder of its own, whatever the environment says, and leaves nothing behind.
    """
    if os.environ.get("METERPAY_ENV") == "production" and "--once" not in arguments:
        sys.exit("meterpay: the demo plays with sandbox keys, which production refuses; unset METERPAY_ENV")
    if "--once" in arguments and THROWAWAY not in os.environ:
        sys.exit(_in_a_throwaway_folder())
    ensure_database(["demo-data"])
    ensure_broker()
    folder = demo_folder()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(_addresses(folder))


def demo_folder() -> Path:
    return var_folder() / "demo"


def _in_a_throwaway_folder() -> int:
    """Plays in a child, so that the servers' last lease is gone before the folder is."""
    folder = Path(tempfile.mkdtemp(prefix="meterpay-demo-"))
    folder.chmod(0o711)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(OURS) and k not in OUR_NAMES}
    clean |= {THROWAWAY: "1", "METERPAY_VAR": str(folder)}
    child = subprocess.Popen([sys.executable, *sys.argv], env=clean)  # noqa: S603 (ourselves)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: child.send_signal(signal.SIGTERM))
    try:
        return child.wait()
    finally:
        for server in ("postgres", "broker"):
            _wait_until_stopped(folder / server / "keeper")
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_stopped(keeper: Path, *, at_most_s: float = 10.0) -> None:
    if not keeper.exists():
        return
    over = time.monotonic() + at_most_s
    with keeper.open() as file:
        while time.monotonic() < over:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.05)
            else:
                return


def _addresses(folder: Path) -> dict[str, str]:
    """The same ports as last time where they are free: meters and open pages find us again."""
    from sandbox.keys import make_world

    kept = folder / "ports.json"
    before: dict[str, int] = json.loads(kept.read_text()) if kept.exists() else PORTS
    ports: dict[str, int] = {}
    for name, first in PORTS.items():
        ports[name] = _free_port(before.get(name, first), taken=set(ports.values()))
    kept.write_text(json.dumps(ports))
    return _settings(make_world(folder / "world"), {name: f"http://127.0.0.1:{port}" for name, port in ports.items()})


def _settings(world: dict[str, Any], urls: dict[str, str]) -> dict[str, str]:
    wechat, alipay = world["wechat"], world["alipay"]["key"]
    app_id = wechat["direct"]["appid"]
    return {
        "PUBLIC_URL": urls["web"],
        "WECHAT_API_URL": urls["wechat"],
        "WECHAT_PAY_URL": urls["wechat"],
        "WECHAT_MINI_APP_ID": app_id,
        "WECHAT_MINI_SECRET_REF": f"file:{wechat['apps'][app_id]['secret_file']}",
        "ALIPAY_GATEWAY_URL": f"{urls['alipay']}/gateway.do",
        "ALIPAY_APP_ID": alipay["app_id"],
        "ALIPAY_PRIVATE_KEY_REF": f"file:{alipay['app_private_key_file']}",
        "ALIPAY_PUBLIC_KEY_REF": f"file:{alipay['alipay_public_key_file']}",
        "METERPAY_DEMO_FLEET_URL": urls["fleet"],
    }


def _free_port(wanted: int, *, taken: set[int]) -> int:
    for port in range(wanted, LAST):
        if port in taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    sys.exit("meterpay: no free port between 8000 and 65000")
