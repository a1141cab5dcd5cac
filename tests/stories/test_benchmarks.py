"""Benchmarks run, and the money they move adds up. How fast is not for a test to say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from config.embedded.broker import mosquitto

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> Path:
    """A place that PostgreSQL may enter when we are root, which pytest's own folders are not; one for each test."""
    kind = getattr(request.node, "callspec", None)
    name = kind.params["name"] if kind else "confirm"
    made = Path(tempfile.gettempdir()) / f"meterpay-tests-{os.getuid()}" / f"benchmarks-{name}"
    made.mkdir(mode=0o711, parents=True, exist_ok=True)
    (made / "bench.jsonl").unlink(missing_ok=True)
    return made


@pytest.mark.timeout(300)  # two cores that other tests use as well
def test_a_quick_run_of_confirm_credits_each_payment_once_and_says_how_fast(folder: Path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "MQTT_"))}

    said = subprocess.run(
        [sys.executable, "-m", "benchmarks", "confirm", "--quick"],
        cwd=PROJECT,
        env=environment | {"METERPAY_VAR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.returncode == 0, said.stderr
    assert "all adds up" in said.stdout
    line = json.loads((folder / "bench.jsonl").read_text())
    assert line["name"] == "confirm"
    assert line["ours"] > 0
    assert line["reference"] > 0
    assert {"date", "machine", "commit", "goal", "ratio"} <= line.keys()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["ingest", "ingest_mqtt", "bills", "usage_api", "messages", "home"])
def test_a_quick_run_of_the_others_does_all_of_its_work(folder: Path, name: str):
    if name == "ingest_mqtt" and mosquitto() is None and os.environ.get("CI") != "true":
        pytest.skip("mosquitto is not installed: the queue that is drained is Mosquitto's")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("DATABASE_", "MQTT_"))}

    said = subprocess.run(
        [sys.executable, "-m", "benchmarks", name, "--quick"],
        cwd=PROJECT,
        env=environment | {"METERPAY_VAR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.returncode == 0, said.stderr
    line = json.loads((folder / "bench.jsonl").read_text())
    assert (line["name"], line["ours"] > 0, line["reference"] > 0) == (name, True, True)
