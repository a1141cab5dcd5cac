"""The rows of meters that a batch holds, as plain values: five thousand model instances cost more than their batch.

The only writer of what meters reported of themselves (the reported part of Meter).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter

import psycopg
from django.db import connection

Address = tuple[str, str]  # property code, meter number


@dataclass(slots=True)
class Held:
    """A meter whose row this transaction has locked. What follows `holds_money` is changed here and then written."""

    pk: int
    property_id: int
    code: str
    serial: str
    holds_money: bool
    is_online: bool = False
    last_seen_at: datetime | None = None
    reported_at: datetime | None = None
    relay: str = ""
    relay_order: str = ""
    relay_generation: int = 0
    import_wh: int | None = None
    power_w: int | None = None
    shown_fen: int | None = None
    balance_fen: int | None = None
    purchase_count: int | None = None


_columns = attrgetter("pk", *[field.name for field in fields(Held)[5:]])

# Plan: properties by their code, each meter by (property, serial); locked in the order of their keys, but not against
# the foreign keys of new commands.
_HOLD = """
select m.id, m.property_id, p.code, m.serial, k.balance_held_by = 'meter', m.is_online, m.last_seen_at, m.reported_at,
       m.relay, m.relay_order, m.relay_generation, m.import_wh, m.power_w, m.shown_fen, m.balance_fen, m.purchase_count
  from unnest(%s::text[], %s::text[]) as a (code, serial)
  join accounts_property p on p.code = a.code
  join meters_meter m on m.property_id = p.id and m.serial = a.serial
  join meters_metermodel k on k.id = m.model_id
 order by m.id
   for no key update of m
"""
# One message with several statements. The planner takes a stage for hundreds of rows whatever is in it, and would read
# all meters for the one that has answered: everything in the intake is looked up by its key.
_LAY = """
set local enable_hashjoin = off;
set local enable_mergejoin = off;
create temp table if not exists meters_stage_held (
    id bigint, is_online boolean, last_seen_at timestamptz, reported_at timestamptz, relay varchar, relay_order varchar,
    relay_generation bigint, import_wh bigint, power_w integer, shown_fen bigint, balance_fen bigint,
    purchase_count integer
) on commit delete rows;
delete from meters_stage_held;
"""
_COPY = "copy meters_stage_held from stdin (format binary)"
_TYPES = ("int8", "bool", "timestamptz", "timestamptz", "varchar", "varchar") + ("int8", "int8", "int4") * 2
# Plan: a scan of the stage, each meter by its key. No indexed column changes (HOT).
_WRITE = """
update meters_meter m
   set is_online = n.is_online, last_seen_at = n.last_seen_at, reported_at = n.reported_at, relay = n.relay,
       relay_order = n.relay_order, relay_generation = n.relay_generation, import_wh = n.import_wh,
       power_w = n.power_w, shown_fen = n.shown_fen, balance_fen = n.balance_fen, purchase_count = n.purchase_count
  from meters_stage_held n
 where m.id = n.id
"""


def hold(addresses: Collection[Address]) -> dict[Address, Held]:
    """Locks the meters that are registered under these addresses until the transaction ends."""
    if not addresses:
        return {}
    codes, serials = zip(*addresses, strict=True)
    # Read in PostgreSQL's binary format, which Django's own cursors cannot: text took three times as long.
    with connection.cursor(), connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(_LAY, prepare=False)
        rows = cursor.execute(_HOLD, [list(codes), list(serials)], binary=True).fetchall()
    return {(row[2], row[3]): Held(*row) for row in rows}


def write(meters: Iterable[Held]) -> None:
    """Writes the reported part of rows that `hold` has locked in this transaction."""
    rows = [_columns(one) for one in meters]
    if not rows:
        return
    with connection.cursor() as cursor:
        with connection.wrap_database_errors, cursor.copy(_COPY) as copy:
            copy.set_types(_TYPES)
            for row in rows:
                copy.write_row(row)
        cursor.execute(_WRITE)
