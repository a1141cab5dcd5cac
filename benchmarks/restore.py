"""`restore`: from the moment the provider sends its callback to the meter's answer stored, 8 recharges a second.

Everything is a process of its own, as in production: the provider, gunicorn, PostgreSQL, the gateway, Mosquitto, the
meters. Every second home's meter holds its money itself, so relay commands and top-ups take turns. The relays of the
virtual meters move at once: what a relay takes is not ours to measure.

The reference is a bare publish and answer through the same broker.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from benchmarks.database import Server, folder
from benchmarks.load import Load, Sender
from benchmarks.result import Result

if TYPE_CHECKING:
    from benchmarks.homes import Home

NAME = "bench_restore"
PER_SECOND = 8
P50_MS, P99_MS = 100, 500
ECHOES = 50
PATIENCE_S = 30.0
PROJECT = Path(__file__).resolve().parents[1]


def run(*, quick: bool) -> Result:
    """Five interleaved runs of six seconds; `quick` does one of two. Raises RuntimeError when a meter does not answer,
    or a payment is not credited exactly once.
    """
    rounds, a_round = (1, 16) if quick else (5, 48)
    server = Server()
    server.open_fresh(NAME)
    from benchmarks import homes, web
    from benchmarks.echo import Echo
    from benchmarks.observer import Observer
    from config.embedded import broker
    from sandbox.world import load_world

    town = homes.Town(load_world(folder() / "sandbox"))
    broker_url = os.environ["MQTT_URL"] = broker.lease(folder() / "broker")
    warming_up = _mixed(town, 16)
    paid = [_mixed(town, a_round) for _ in range(rounds)]
    everybody = [*warming_up, *(home for homes in paid for home in homes)]
    runs, sent_at = [], dict[str, float]()
    with (
        Observer(os.environ["DATABASE_URL"]) as observer,
        Echo(broker_url) as echo,
        _gateway(),
        _fleet(broker_url, everybody),
        web.running(folder()) as port,
    ):
        _wait_until_known(len(everybody))
        _recharge(port, warming_up, observer)
        for some in paid:
            server.settle()
            sent = _recharge(port, some, observer)
            took = [_ms(sent[home.attempt], observer.stored_at[home.meter_id]) for home in some]
            runs.append({"ours": median(took), "reference": median(echo.round_trips(ECHOES))})
            sent_at |= sent
            homes.check_each_is_credited_once(some)
        stored_at = dict(observer.stored_at)
    return _result([home for some in paid for home in some], sent_at, stored_at, runs)


def _mixed(town: Any, count: int) -> list[Home]:
    pairs = zip(town.add(count // 2, held_by="server"), town.add(count // 2, held_by="meter"), strict=True)
    return [home for pair in pairs for home in pair]


def _recharge(port: int, some: Sequence[Home], observer: Any) -> dict[str, float]:
    from benchmarks.homes import AMOUNT_FEN, SLUG

    attempts, path = [home.attempt for home in some], f"/payments/notify/wechat/{SLUG}/"
    load = Load(str(folder() / "sandbox"), port, path, attempts, AMOUNT_FEN, per_second=PER_SECOND)
    with Sender(load) as sender:
        sent = sender.send()
    if sent.statuses != {"204": len(some)}:
        raise RuntimeError(f"not all callbacks were answered with 204: {sent.statuses}")
    observer.wait_for((home.meter_id for home in some), seconds=PATIENCE_S)
    return sent.sent_at


def _result(
    paid: Sequence[Home], sent_at: dict[str, float], stored_at: dict[int, float], runs: list[dict[str, float]]
) -> Result:
    took = {home: _ms(sent_at[home.attempt], stored_at[home.meter_id]) for home in paid}
    p50, p99 = _p50_p99(list(took.values()))
    reference = median(one["reference"] for one in runs)
    by_kind = {
        held_by: dict(
            zip(
                ("p50_ms", "p99_ms"),
                _p50_p99([ms for home, ms in took.items() if home.held_by == held_by]),
                strict=True,
            )
        )
        for held_by in ("server", "meter")
    }
    return Result(
        name="restore",
        unit="ms",
        ours=p50,
        reference=reference,
        ratio=median(one["ours"] / one["reference"] for one in runs),
        goal=f"p50 under {P50_MS} ms, p99 ({p99:.0f} ms now) under {P99_MS} ms",
        is_met=p50 < P50_MS and p99 < P99_MS,
        runs=runs,
        more={"p50_ms": p50, "p99_ms": p99, "by_kind": by_kind, "stages_ms": _stages(paid, sent_at, stored_at)},
    )


def _stages(
    paid: Sequence[Home], sent_at: dict[str, float], stored_at: dict[int, float]
) -> dict[str, dict[str, float]]:
    """Where the time goes, medians by kind of meter: until a command is queued (a relay's counts from the beginning of
    our view, a top-up's is made by the gateway), claimed, its answer taken in, and that committed.
    """
    from meters.models import Command

    commands = {
        command.meter_id: [instant.timestamp() for instant in (command.queued_at, command.sent_at, command.answered_at)]
        for command in Command.objects.filter(
            state="done", kind__in=["relay", "top_up"], meter__in=[h.meter_id for h in paid]
        )
        if command.sent_at is not None and command.answered_at is not None
    }
    names = ("until queued", "until claimed", "until answered", "until stored")
    stages: dict[str, dict[str, float]] = {}
    for held_by in ("server", "meter"):
        rows = [
            [sent_at[home.attempt], *commands[home.meter_id], stored_at[home.meter_id]]
            for home in paid
            if home.held_by == held_by
        ]
        steps = zip(*([_ms(a, b) for a, b in pairwise(row)] for row in rows), strict=True)
        stages[held_by] = {name: round(median(step), 2) for name, step in zip(names, steps, strict=True)}
    return stages


def _p50_p99(values: list[float]) -> tuple[float, float]:
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]


def _ms(begun: float, ended: float) -> float:
    return (ended - begun) * 1000


@contextmanager
def _gateway() -> Iterator[None]:
    from config.embedded.children import end, spawn

    words = [sys.executable, str(PROJECT / "manage.py"), "gateway", "--name", "gateway-1"]
    child = spawn(words, env=dict(os.environ), log=folder() / "gateway.log")
    try:
        yield
    finally:
        end(child, patience_s=10)


@contextmanager
def _fleet(broker_url: str, everybody: Sequence[Home]) -> Iterator[None]:
    """All meters connected, their relays open."""
    from config.embedded.children import end, spawn
    from sandbox.fleet import FleetClient

    log = folder() / "fleet.log"
    log.unlink(missing_ok=True)
    words = [sys.executable, "-m", "sandbox.fleet", "--broker", broker_url, "--relay-ms", "0"]
    child = spawn(words, env=dict(os.environ) | {"PYTHONPATH": str(PROJECT)}, log=log)
    try:
        with FleetClient(_said_ready(log)["url"]) as client:
            client.add((_meter(home) for home in everybody), connected_within_s=PATIENCE_S)
        yield
    finally:
        end(child, patience_s=10)


def _meter(home: Home) -> dict[str, str]:
    return {"property": home.property_code, "serial": home.serial, "kind": home.held_by, "relay": "open"}


def _said_ready(log: Path) -> dict[str, str]:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if line.startswith("{"):
                said: dict[str, str] = json.loads(line)
                return said
        time.sleep(0.05)
    raise RuntimeError(f"the virtual meters do not come up: see {log}")


def _wait_until_known(count: int) -> None:
    """Every meter's greeting has been taken in."""
    from meters.models import Meter

    deadline = time.monotonic() + PATIENCE_S
    while Meter.objects.filter(reported_at__isnull=False, is_online=True).count() < count:
        if time.monotonic() > deadline:
            raise RuntimeError("not all meters were heard of")
        time.sleep(0.1)
