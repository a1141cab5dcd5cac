"""`ingest`: readings stored and rated a second, from the decoded batch to the commit of what they cost.

As in a gateway: one thread stores batches of up to 5,000, another rates what is stored; the clock stops when nothing is
left, neither a batch nor a backlog. One in a hundred comes twice, one in two thousand late. Durably committed.

The reference copies the same rows, binary, into the same table (days before the meters hung), five times over (some
seconds apart), committed each 5,000. Both begin just after a checkpoint.

Three figures: 10,000 meters; 100,000; and 100,000 with 5 million readings stored (SCALE=full: 100,000 meters, 1,000,000
and 1,000,000 with 50 million). The ratio that counts is the lowest of the three. `flat` is the lowest of the larger two
over the first: how much is lost by growing. A rise is no gain of ours: it is COPY that loses more than we do once the
index of the partition has outgrown the memory.
"""

from __future__ import annotations

import os
import random
import threading
import time
from datetime import datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.database import Server
from benchmarks.result import Result

if TYPE_CHECKING:
    from benchmarks.streets import Streets
    from meters.intake import Heard

GOAL, AIM, FLAT = 0.04, 0.10, 0.7
NAME = "bench_ingest"
BATCH = 5000
COPIES = 5  # a fifth of a second is too short to measure
BEFORE = timedelta(days=5)  # so far before: nobody rates what was read before the meter hung
SIZES = {"small": (10_000, 100_000, 5_000_000), "full": (100_000, 1_000_000, 50_000_000)}

_COPY = """
copy meters_reading (meter_id, read_at, property_id, received_at, import_wh, power_w, balance_fen, relay, source)
from stdin (format binary)
"""
_FILL = """
insert into meters_reading (meter_id, read_at, property_id, received_at, import_wh, relay, source)
select m.id, %(from_at)s + n * interval '1 minute' + (m.id %% 60) * interval '1 second', m.property_id, now(), 0,
       'closed', 0
  from generate_series(1, %(each)s) n
 cross join (select id, property_id from meters_meter order by id limit %(meters)s) m
"""
_TOUCHED = """
select relname, seq_scan + coalesce(idx_scan, 0) + n_tup_ins
  from pg_stat_user_tables where relname like 'meters_reading_%'
"""


def run(*, quick: bool) -> Result:
    """Five interleaved runs of both at each size; `quick` does one tiny one, which proves that it works.

    Raises RuntimeError when a meter is not rated to its register, and SystemExit when the audit finds anything.
    """
    rounds, batches, sizes = (1, 2, (200, 400, 2000)) if quick else (5, 4, SIZES[os.environ.get("SCALE", "small")])
    server = Server()
    server.open_fresh(NAME)
    from django.core.management import call_command
    from django.utils import timezone

    from benchmarks.streets import Streets
    from meters import partitions

    now = timezone.now().replace(microsecond=0) - timedelta(days=1)
    partitions.make_months(now=now)
    streets = Streets(begins_at=now)
    runs: dict[str, list[dict[str, float]]] = {}
    few, many, stored = sizes
    streets.add(few)
    runs[f"{few} meters"] = _interleaved(server, streets, rounds, batches)
    streets.add(many - few)
    runs[f"{many} meters"] = _interleaved(server, streets, rounds, batches)
    fill(stored, meters=many, before=now)
    runs[f"{many} meters, {stored} stored"] = _interleaved(server, streets, rounds, batches)
    call_command("audit")
    return _result(runs)


def _interleaved(server: Server, streets: Streets, rounds: int, batches: int) -> list[dict[str, float]]:
    from meters.gateway import leave_the_heap_alone

    dice = random.Random(7)
    leave_the_heap_alone()  # as a gateway does, which has no streets in it
    _once(server, streets, batches=1, dice=dice)  # the first ones load code and plans
    found = []
    for _ in range(rounds):
        server.settle()
        found.append(_once(server, streets, batches=batches, dice=dice))
    return found


def _once(server: Server, streets: Streets, *, batches: int, dice: random.Random) -> dict[str, float]:
    from benchmarks.streets import check_all_is_rated

    size = min(BATCH, len(streets.wh))
    said = [one for _ in range(batches) for one in streets.say(size, dice=dice)]
    before = _touched()
    began = time.perf_counter()
    _keep_and_rate(said, streets.at + timedelta(seconds=2))
    ours = len(said) / (time.perf_counter() - began)
    check_all_is_rated(streets, said)
    server.settle()
    touched = sum(after > before.get(name, 0) for name, after in _touched().items())
    return {"ours": ours, "reference": _raw_copy(said, COPIES), "partitions": touched}


def _keep_and_rate(said: list[Heard], now: datetime) -> None:
    """The committer and the rater of a gateway, each in its thread."""
    from django.db import connection

    from billing import rating
    from meters import intake
    from meters.models import Batch

    is_over, failed = threading.Event(), []

    def rate() -> None:
        try:
            while rating.work(now=now) or not is_over.is_set() or Batch.objects.exists():
                pass
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            failed.append(error)
        finally:
            connection.close()

    rater = threading.Thread(target=rate)
    rater.start()
    for n, batch in enumerate(_batched(said)):
        intake.keep(batch, [], now=now + timedelta(milliseconds=n))  # no two batches of a gateway have one instant
    is_over.set()
    rater.join()
    if failed:
        raise failed[0]


def _batched(said: list[Heard]) -> list[list[Heard]]:
    return [said[start : start + BATCH] for start in range(0, len(said), BATCH)]


def _raw_copy(said: list[Heard], times: int) -> float:
    """Rows a second of the same readings by COPY alone, into the same partition, durably as ours."""
    from django.db import connection

    from meters.models import Meter

    ids = dict(Meter.objects.values_list("serial", "pk"))
    reports = {
        (ids[one.address[1]], report.at): (report.import_wh, one.frame.received_at)
        for one in said
        for report in one.message.readings  # type: ignore[union-attr]
    }
    todo = [
        (meter_id, at - BEFORE - n * timedelta(seconds=7), 1, received_at, import_wh, None, None, "closed", 0)
        for n in range(times)
        for (meter_id, at), (import_wh, received_at) in reports.items()
    ]
    connection.ensure_connection()
    raw: Any = connection.connection
    began = time.perf_counter()
    for start in range(0, len(todo), BATCH):
        with raw.transaction(), raw.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.set_types(["int8", "timestamptz", "int8", "timestamptz", "int8", "int4", "int8", "varchar", "int2"])
            for row in todo[start : start + BATCH]:
                copy.write_row(row)
    return len(todo) / (time.perf_counter() - began)


def fill(stored: int, *, meters: int, before: datetime) -> None:
    """Older readings of the same month, so that the partition and its index are large."""
    from django.db import connection

    from meters import partitions

    each = max(1, stored // meters)
    from_at = max(partitions.month(before), before - timedelta(minutes=each + 2))
    with connection.cursor() as cursor:
        cursor.execute(_FILL, {"from_at": from_at, "each": each, "meters": meters})


def _touched() -> dict[str, int]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("select pg_stat_force_next_flush()")
        cursor.execute("select pg_stat_clear_snapshot()")
        cursor.execute(_TOUCHED)
        return dict(cursor.fetchall())


def _result(runs: dict[str, list[dict[str, float]]]) -> Result:
    medians = {
        size: {name: median(one[name] for one in each) for name in ("ours", "reference")} for size, each in runs.items()
    }
    ratios = {size: each["ours"] / each["reference"] for size, each in medians.items()}
    worst = min(ratios, key=lambda size: ratios[size])
    first, *larger = ratios.values()
    flat = min(larger) / first
    partitions = max(one["partitions"] for each in runs.values() for one in each)
    return Result(
        name="ingest",
        unit="readings a second",
        ours=medians[worst]["ours"],
        reference=medians[worst]["reference"],
        ratio=ratios[worst],
        goal=f"at least {GOAL}, aim {AIM}; flat within {1 - FLAT:.0%}",
        is_met=ratios[worst] >= GOAL and flat >= FLAT and partitions <= 1,
        runs=[{"of": index, **one} for index, each in enumerate(runs.values()) for one in each],
        more={
            "sizes": {size: {**medians[size], "ratio": ratios[size]} for size in runs},
            "flat": flat,
            "partitions": partitions,
        },
    )
