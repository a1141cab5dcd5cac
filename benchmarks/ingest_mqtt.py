"""`ingest_mqtt`: readings a second from a queue at the broker to what they cost, by one gateway process.

Mosquitto holds the same messages (QoS 1) for two sessions: the gateway's, and that of a paho subscriber that counts
them and does nothing else. One reading a message; one in a hundred comes twice, one in two thousand late. Ours counts
from the first batch that is stored to the last that is rated, everything committed and then acknowledged; the reference
from the first message to the last.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.database import Server, folder
from benchmarks.result import Result

if TYPE_CHECKING:
    from benchmarks.streets import Streets
    from meters.intake import Heard

GOAL, AIM = 0.35, 0.6
NAME = "bench_ingest_mqtt"
GATEWAY = "gateway-1"
PATIENCE_S = 120.0
LOOK_EVERY_S = 0.02
SIZES = {"small": (10_000, 4), "full": (100_000, 2)}
PROJECT = Path(__file__).resolve().parents[1]


def run(*, quick: bool) -> Result:
    """Five interleaved runs of both; `quick` does one tiny one. Raises RuntimeError when a meter is not rated to its
    register or the broker still holds something, and SystemExit when the audit finds anything.
    """
    rounds, (meters, quarters) = (1, (200, 2)) if quick else (5, SIZES[os.environ.get("SCALE", "small")])
    server = Server()
    server.open_fresh(NAME)
    from django.core.management import call_command
    from django.utils import timezone

    from benchmarks.drain import Drain
    from benchmarks.streets import Streets
    from config.embedded import broker
    from meters import partitions

    began_at = timezone.now().replace(microsecond=0) - timedelta(days=1)
    partitions.make_months(now=began_at)
    streets = Streets(begins_at=began_at)
    streets.add(meters)
    os.environ["MQTT_URL"] = broker.lease(folder() / "broker", kind="mosquitto")
    drain, dice = Drain(os.environ["MQTT_URL"]), random.Random(7)
    drain.keep_a_session(GATEWAY)
    runs = []
    for n in range(rounds + 1):
        said = [one for _ in range(quarters if n else 1) for one in streets.say(meters, dice=dice)]
        drain.publish((one.frame.topic, payload(one)) for one in said)
        server.settle()
        reference = len(said) / drain.count(len(said))
        ours = len(said) / _gateway_drains(streets, said)
        if n:  # the first ones load code and make files grow
            runs.append({"ours": ours, "reference": reference})
        if left := drain.left_over(GATEWAY):
            raise RuntimeError(f"{left} messages were never acknowledged")
    call_command("audit")
    return _result(runs)


def payload(heard: Heard) -> bytes:
    """The message as its meter says it (docs/schemas/telemetry.json)."""
    (report,) = heard.message.readings  # type: ignore[union-attr]
    return (
        f'{{"v":1,"id":"{heard.message.id}","type":"telemetry","readings":[{{"at":"{report.at:%Y-%m-%dT%H:%M:%SZ}",'
        f'"import_wh":{report.import_wh},"relay":"closed","order":"closed","generation":0}}]}}'
    ).encode()


def _gateway_drains(streets: Streets, said: list[Heard]) -> float:
    """Seconds from the first batch stored to the last one rated."""
    from benchmarks.streets import check_all_is_rated

    before = _newest_batch_at()
    with _gateway():
        _wait_until_rated(streets)
        ended_at = datetime.now().astimezone()
    began_at = _first_batch_after(before)
    check_all_is_rated(streets, said)
    return (ended_at - began_at).total_seconds()


def _newest_batch_at() -> datetime | None:
    return _instant("select max(received_at) from meters_reading", [])


def _first_batch_after(before: datetime | None) -> datetime:
    """A reading's `received_at` is when its batch began to be stored."""
    found = _instant(
        "select min(received_at) from meters_reading where received_at > coalesce(%s, '-infinity'::timestamptz)",
        [before],
    )
    if found is None:
        raise RuntimeError("the gateway has stored nothing")
    return found


def _instant(query: str, values: list[datetime | None]) -> datetime | None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(query, values)
        (found,) = cursor.fetchone()
    return found  # type: ignore[no-any-return]


def _wait_until_rated(streets: Streets) -> None:
    """Until every draw stands at its meter's newest register and nothing waits."""
    from django.db import connection

    due_wh = sum(streets.wh)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute(
                "select sum(last_wh) from billing_draw where is_current"
                " and not exists (select from meters_batch) and not exists (select from billing_backlog)"
            )
            (stands_wh,) = cursor.fetchone()
        if stands_wh == due_wh:
            return
        time.sleep(LOOK_EVERY_S)
    raise RuntimeError(f"the gateway did not come to an end: see {folder() / 'gateway.log'}")


@contextmanager
def _gateway() -> Iterator[None]:
    from config.embedded.children import end, spawn

    words = [sys.executable, str(PROJECT / "manage.py"), "gateway", "--name", GATEWAY]
    child = spawn(words, env=dict(os.environ), log=folder() / "gateway.log")
    try:
        yield
    finally:
        end(child, patience_s=20)


def _result(runs: list[dict[str, float]]) -> Result:
    ours, reference = (median(one[name] for one in runs) for name in ("ours", "reference"))
    ratio = median(one["ours"] / one["reference"] for one in runs)
    return Result(
        name="ingest_mqtt",
        unit="readings a second",
        ours=ours,
        reference=reference,
        ratio=ratio,
        goal=f"at least {GOAL}, aim {AIM}",
        is_met=ratio >= GOAL,
        runs=runs,
    )
