"""`bills`: the monthly bills of 10,000 homes, line by line, from rollups.

The reference is one SQL sum over the same month: energy and cost of each purse from its days.
"""

from __future__ import annotations

import time
from datetime import date
from statistics import median

from benchmarks.database import Server
from benchmarks.result import Result

GOAL = 5.0
NAME = "bench_bills"
MONTH = date(2026, 10, 1)

# Thirty-one days of each draw: four lines a day, as its tariff has four periods.
_DAYS = """
insert into billing_usageday (draw_id, usage_date, property_id, purse_id, revision, opens_at, opens_wh, closes_at,
                              closes_wh, cycle_before_wh, energy_wh, cost_nano, fee_nano, slot_wh, lines, notes,
                              posted_fen, is_frozen)
select d.id, date '2026-10-01' + n, d.property_id, d.purse_id, 1, now(), n * 9600, now(), (n + 1) * 9600, n * 9600,
       9600, 9600 * 56000000::bigint, 9600 * 3000000::bigint, array_fill(400, array[24]),
       (select jsonb_agg(jsonb_build_object('version', d.version_id, 'tier', 1, 'period', period, 'energy_wh', 2400,
               'price', 56000000, 'fee', 3000000, 'cost_nano', 2400 * 56000000::bigint,
               'fee_nano', 2400 * 3000000::bigint))
          from unnest(array['sharp', 'peak', 'flat', 'valley']) period),
       '[]', 566, false
  from billing_draw d cross join generate_series(0, 30) n
"""
DAYS_OF_OTHERS = _DAYS + " where d.tenancy_id <> %s"
_MONTHS = """
insert into billing_usagemonth (draw_id, month_date, property_id, purse_id, days, energy_wh, cost_nano, fee_nano,
                                period_wh, line_wh)
select u.draw_id, date '2026-10-01', u.property_id, u.purse_id, 31, sum(u.energy_wh), sum(u.cost_nano), sum(u.fee_nano),
       '{}', (select jsonb_object_agg(d.version_id || ':1:' || period || ':56000000:3000000', 31 * 2400)
                from unnest(array['sharp', 'peak', 'flat', 'valley']) period)
  from billing_usageday u join billing_draw d on d.id = u.draw_id
 group by u.draw_id, u.property_id, u.purse_id, d.version_id
"""
_SUM = """
select purse_id, sum(energy_wh), sum(cost_nano), sum(fee_nano)
  from billing_usageday
 where usage_date >= '2026-10-01' and usage_date < '2026-11-01'
 group by purse_id
"""


def run(*, quick: bool) -> Result:
    """Five interleaved runs of both; `quick` does a tiny one. Raises RuntimeError when bills and sums differ."""
    rounds, homes = (1, 100) if quick else (5, 10_000)
    server = Server()
    server.open_fresh(NAME)
    from django.db import connection
    from django.utils import timezone

    from benchmarks.streets import Streets

    Streets(begins_at=timezone.now()).add(homes)
    with connection.cursor() as cursor:
        cursor.execute(_DAYS)
        cursor.execute(_MONTHS)
    server.settle()
    runs = []
    for _ in range(rounds + 1):  # the first one loads code and plans
        ours_s, billed_wh = _bill(homes)
        reference_s, summed_wh = _sum()
        if billed_wh != summed_wh:
            raise RuntimeError(f"bills say {billed_wh} Wh, days {summed_wh}: this is not a benchmark but a fault")
        runs.append({"ours": ours_s, "reference": reference_s})
    return _result(runs[1:])


def _bill(homes: int) -> tuple[float, int]:
    from accounts.models import Property
    from billing.bills import bills

    began = time.perf_counter()
    made = bills(property_ids=Property.objects.values_list("pk", flat=True), month_date=MONTH)
    seconds = time.perf_counter() - began
    if len(made) != homes:
        raise RuntimeError(f"{len(made)} bills for {homes} homes")
    return seconds, sum(line.energy_wh for bill in made for meter in bill.meters for line in meter.lines)


def _sum() -> tuple[float, int]:
    from django.db import connection

    began = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute(_SUM)
        rows = cursor.fetchall()
    return time.perf_counter() - began, sum(int(row[1]) for row in rows)


def _result(runs: list[dict[str, float]]) -> Result:
    ours, reference = (median(one[name] for one in runs) for name in ("ours", "reference"))
    return Result(
        name="bills",
        unit="s",
        ours=ours,
        reference=reference,
        ratio=ours / reference,
        goal=f"at most {GOAL:g}",
        is_met=ours <= GOAL * reference,
        runs=runs,
    )
