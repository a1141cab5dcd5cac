"""Readings are copied into a stage and stored from there by one statement, with the mark that they are not rated yet.

Of two readings of a meter at one instant the first is kept. The mark (Batch) lies in the same transaction: a crash
leaves either nothing, or readings that whoever rates next will find.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import psycopg
from django.db import connection

from meters.clocks import to_ms
from meters.models import Reading
from meters.reports import Told


class Row(NamedTuple):
    """A reading to be stored, in the order of the stage's columns. `read_at` in whole milliseconds."""

    meter_id: int
    read_at: datetime
    property_id: int
    import_wh: int
    power_w: int | None = None
    balance_fen: int | None = None
    relay: str = ""
    period_wh: Sequence[int] | None = None  # sharp, peak, flat, valley, deep valley
    purchase_count: int | None = None
    source: int = 0  # Reading.Source


@dataclass(frozen=True, slots=True)
class Stored:
    """What was new: `batch_id` is None when nothing was. `doubles` were there already."""

    batch_id: int | None = None
    readings: int = 0
    meter_ids: frozenset[int] = frozenset()
    doubles: int = 0


# One message with two statements; a transaction may store twice.
_LAY = """
create temp table if not exists meters_stage (
    meter_id bigint, read_at timestamptz, property_id bigint, import_wh bigint, power_w integer, balance_fen bigint,
    relay varchar, period_wh bigint[], purchase_count integer, source smallint
) on commit delete rows;
delete from meters_stage;
"""
_COPY = "copy meters_stage from stdin (format binary)"
_TYPES = ("int8", "timestamptz", "int8", "int8", "int4", "int8", "varchar", "int8[]", "int4", "int2")
# Plan: a scan of the stage; one insert into the months of its rows and no other; one row into meters_batch.
_STORE = """
with stored as (
    insert into meters_reading (meter_id, read_at, property_id, received_at, import_wh, power_w, balance_fen, relay,
                                period_wh, purchase_count, source)
    select meter_id, read_at, property_id, %(now)s, import_wh, power_w, balance_fen, relay, period_wh, purchase_count,
           source
      from meters_stage
        on conflict do nothing
    returning meter_id, read_at
), meter as (
    select meter_id, min(read_at) as first_at, max(read_at) as last_at, count(*) as readings
      from stored
     group by meter_id
)
insert into meters_batch (stored_at, meter_ids, from_at, readings, first_at, last_at)
select %(now)s, array_agg(meter_id), array_agg(first_at), sum(readings), min(first_at), max(last_at)
  from meter
having count(*) > 0
returning id, readings, meter_ids
"""


def store(told: Iterable[Told], *, stored_at: datetime) -> Stored:
    """Stores each report as a reading, once. The caller's transaction holds the meters.

    `stored_at` becomes the readings' `received_at`: a batch knows its readings by it.
    """
    return put([_row(one) for one in told], stored_at=stored_at)


def put(rows: Sequence[Row], *, stored_at: datetime) -> Stored:
    """Stores readings and marks them as not rated. The caller's transaction holds their meters, in order of keys."""
    if not rows:
        return Stored()
    with connection.cursor() as cursor:
        with connection.wrap_database_errors:
            psycopg.Cursor(connection.connection).execute(_LAY, prepare=False).close()
            with cursor.copy(_COPY) as copy:
                copy.set_types(_TYPES)
                for row in rows:
                    copy.write_row(row)
        cursor.execute(_STORE, {"now": stored_at})
        batch = cursor.fetchone()
    if batch is None:
        return Stored(doubles=len(rows))
    return Stored(batch[0], batch[1], frozenset(batch[2]), len(rows) - batch[1])


def _row(told: Told) -> Row:
    meter, report = told.meter, told.report
    return Row(
        meter.pk,
        to_ms(report.at),
        meter.property_id,
        report.import_wh,
        report.power_w,
        report.balance_fen,
        report.relay,
        report.period_wh and list(report.period_wh),
        report.purchase_count,
        Reading.Source.METER.value,
    )
