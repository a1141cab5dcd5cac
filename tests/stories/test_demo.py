"""`manage.py demo --once` plays the main job on a machine of which it knows nothing, and leaves it as it was."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from config.embedded.children import command_line
from tests.processes import marked

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_S = 150  # of a machine that does other things as well; on a quiet one it takes some fifteen seconds
# What would lead it astray, were it not to forget all of it.
ASTRAY = {
    "METERPAY_ENV": "production",
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
    "DATABASE_LISTEN_URL": "not a URL",
    "MQTT_URL": "mqtt://127.0.0.1:1",
    "WECHAT_PAY_URL": "https://api.mch.weixin.qq.com",
    "WEB_POOL": "callbacks",
    "LOG_FORMAT": "none",
    "DJANGO_SETTINGS_MODULE": "nobodys.settings",
}

pytestmark = [pytest.mark.kill, pytest.mark.timeout(2 * PATIENCE_S)]


@pytest.fixture
def folder() -> Iterator[Path]:
    """The demo's temporary folder, and the mark of its processes. Not pytest's own: PostgreSQL does not run as root."""
    folder = Path(tempfile.mkdtemp(prefix="mp-demo-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def start(folder: Path, *words: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "demo", "--once", *words],
        cwd=PROJECT,
        env=os.environ | ASTRAY | env | {"TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def nothing_is_left(folder: Path) -> bool:
    return marked(str(folder)) == [] and list(folder.iterdir()) == []


def test_it_plays_the_main_job_and_says_so_in_one_json_object(folder):
    demo = start(folder, "--json")
    out, err = demo.communicate(timeout=PATIENCE_S)

    told = json.loads(out)
    assert demo.returncode == 0, (told, err)
    assert out.count("\n") == 1
    assert set(told) == {"steps", "audit"}
    assert all(set(step) == {"name", "ok", "ms"} and step["ok"] for step in told["steps"])
    assert all(isinstance(step["ms"], int) for step in told["steps"])
    names = [step["name"] for step in told["steps"]]
    for provider in ("wechat", "alipay"):
        assert f"{provider}: the signed callback arrives, the purse is credited" in names
        assert f"{provider}: the meter closes its relay" in names
    assert told["audit"]["ok"] is True
    assert told["audit"]["findings"] == []
    assert nothing_is_left(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing_behind(folder, number):
    demo = start(folder)
    told = []
    for line in demo.stdout:
        told.append(line)
        if "wechat: " in line:  # everything runs by now
            break
    assert len(marked(str(folder))) > 10, told

    demo.send_signal(number)
    demo.communicate(timeout=60)

    assert demo.returncode == 130
    assert nothing_is_left(folder)


def test_interrupted_at_its_very_beginning_it_leaves_nothing_behind(folder):
    demo = start(folder, "--json")
    until = time.monotonic() + 60
    while not list(folder.glob("*/postgres")):
        assert time.monotonic() < until
        time.sleep(0.05)

    demo.send_signal(signal.SIGINT)
    out, _err = demo.communicate(timeout=60)

    assert demo.returncode == 130
    assert json.loads(out)["steps"][-1]["ok"] is False
    assert nothing_is_left(folder)


def test_a_step_that_fails_says_why_and_where_the_logs_are(folder):
    """A broker that does not exist on this machine, however it is set up."""
    demo = start(folder, "--json", METERPAY_BROKER="none")
    out, _err = demo.communicate(timeout=PATIENCE_S)

    told = json.loads(out)
    failed = told["steps"][-1]
    assert demo.returncode == 1
    assert [step["ok"] for step in told["steps"]].count(False) == 1
    assert "METERPAY_BROKER" in failed["error"]
    assert Path(failed["logs"]).is_dir()
    assert told["audit"] == {}
    assert marked(str(folder)) == []
    assert [entry.name for entry in folder.iterdir()] == [Path(failed["logs"]).name]


def test_it_stays_until_it_is_told_to_go_and_goes_on_with_the_same_data(folder):
    with staying(folder) as demo:
        told = until_it_stays(demo)
        first = re.findall(r"meter (\d+)", told)
        (gateway,) = [pid for pid in marked(str(folder)) if " gateway " in command_line(pid)]

        os.kill(gateway, signal.SIGKILL)

        assert "gateway ended with status -9 and was started again" in demo.stdout.readline()
        assert "a demo runs already" in refused(folder)
    assert demo.returncode == 0
    assert marked(str(folder)) == []

    with staying(folder) as demo:
        second = re.findall(r"meter (\d+)", until_it_stays(demo))
    assert demo.returncode == 0
    assert marked(str(folder)) == []
    assert len(first) == len(second) == 2
    assert not set(first) & set(second)  # the power of the first two is on


@contextmanager
def staying(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`make demo` with a var/ of its own, until Ctrl-C."""
    demo = subprocess.Popen(
        [sys.executable, "manage.py", "demo"],
        cwd=PROJECT,
        env=of_nobody() | {"METERPAY_VAR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield demo
    finally:
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)


def until_it_stays(demo: subprocess.Popen[str]) -> str:
    assert demo.stdout is not None
    told = ""
    for line in demo.stdout:
        told += line
        if "stays up" in line:
            return told
    raise AssertionError(told)


def refused(folder: Path) -> str:
    """What a second demo on the same data is told."""
    return subprocess.run(
        [sys.executable, "manage.py", "demo"],
        cwd=PROJECT,
        env=of_nobody() | {"METERPAY_VAR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    ).stderr


def of_nobody() -> dict[str, str]:
    """An environment that names no server."""
    return {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "MQTT_URL")}


def test_in_production_it_does_not_touch_anything():
    env = os.environ | {"METERPAY_ENV": "production"}
    answer = subprocess.run(
        [sys.executable, "manage.py", "demo"], cwd=PROJECT, env=env, capture_output=True, text=True, check=False
    )

    assert answer.returncode == 1
    assert answer.stderr.startswith("meterpay: ")
    assert len(answer.stderr.splitlines()) == 1
