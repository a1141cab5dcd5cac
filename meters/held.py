"""The rows of meters that a batch holds, as plain values: five thousand model instances cost more than their batch.

The only writer of what meters reported of themselves (the reported part of Meter).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
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

# A few rows, read before the large statement: joined into it, the planner took ten properties for cheap to go through,
# and searched the meters' index by the number alone, in each property anew (three times as long with ten).
_PLACES = "select code, id from accounts_property where code = any(%s)"
_HOLD_MONEY = "select id from meters_metermodel where balance_held_by = 'meter'"
# Plan: each meter's key by (property, serial), then the rows by their keys, locked in that order, but not against the
# foreign keys of new commands. Subqueries and no join: while statistics are of a table that was nearly empty, a join
# went through all meters, and through the whole batch for each. Numbers come as one text: no part of a topic has a
# slash, and quoting thousands costs more than the rest.
_HOLD = """
select m.id, m.property_id, m.serial, m.model_id = any(%s), m.is_online, m.last_seen_at, m.reported_at,
       m.relay, m.relay_order, m.relay_generation, m.import_wh, m.power_w, m.shown_fen, m.balance_fen, m.purchase_count
  from meters_meter m
 where m.id = any(array(
       select (select k.id from meters_meter k where k.property_id = a.property_id and k.serial = a.serial)
         from rows from (unnest(%s::bigint[]), string_to_table(%s, '/')) as a (property_id, serial)))
 order by m.id
   for no key update of m
"""
# One message with several statements. The planner takes a stage for hundreds of rows whatever is in it, and would read
# all meters for the one that has answered: everything in the intake is looked up by its key.
_LAY = """
set local enable_hashjoin = off;
set local enable_mergejoin = off;
set local enable_seqscan = off;
create temp table if not exists meters_stage_held (
    id bigint, is_online boolean, last_seen_at timestamptz, reported_at timestamptz, relay varchar, relay_order varchar,
    relay_generation bigint, import_wh bigint, power_w integer, shown_fen bigint, balance_fen bigint,
    purchase_count integer
) on commit delete rows;
delete from meters_stage_held;
"""
_COPY = "copy meters_stage_held from stdin (format binary)"
_TYPES = ("int8", "bool", "timestamptz", "timestamptz", "varchar", "varchar") + ("int8", "int8", "int4") * 2
# Plan: meters by the keys in the stage, hashed against the stage. A nested loop would do as well, but its planner may
# begin with the meters and go through the stage for each. No indexed column changes (HOT).
_HASHED = "set local enable_nestloop = off; set local enable_hashjoin = on"
_WRITE = """
update meters_meter m
   set is_online = n.is_online, last_seen_at = n.last_seen_at, reported_at = n.reported_at, relay = n.relay,
       relay_order = n.relay_order, relay_generation = n.relay_generation, import_wh = n.import_wh,
       power_w = n.power_w, shown_fen = n.shown_fen, balance_fen = n.balance_fen, purchase_count = n.purchase_count
  from meters_stage_held n
 where m.id = n.id and m.id = any(array(select id from meters_stage_held))
"""
_LOOPED = "set local enable_nestloop = on; set local enable_hashjoin = off"


def hold(addresses: Collection[Address]) -> dict[Address, Held]:
    """Locks the meters that are registered under these addresses until the transaction ends."""
    if not addresses:
        return {}
    # Read in PostgreSQL's binary format, which Django's own cursors cannot: text took three times as long.
    with connection.cursor(), connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(_LAY, prepare=False)
        places = dict(cursor.execute(_PLACES, [list({code for code, _ in addresses})]).fetchall())
        asked = _asked(places, addresses)
        if not asked:
            return {}
        holding = [model for (model,) in cursor.execute(_HOLD_MONEY).fetchall()]
        rows = cursor.execute(_HOLD, [holding, *asked], binary=True).fetchall()
    codes = {place: code for code, place in places.items()}
    return {
        (codes[row[1]], row[2]): Held(row[0], row[1], codes[row[1]], *row[2:])
        for row in rows
        if row[1] in codes  # else somebody moved it while we waited for its row
    }


def _asked(places: Mapping[str, int], addresses: Iterable[Address]) -> tuple[list[int], str] | None:
    """The addresses at properties that there are, as _HOLD reads them."""
    known = [(places[code], serial) for code, serial in addresses if code in places]
    return ([place for place, _ in known], "/".join(serial for _, serial in known)) if known else None


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
        with connection.wrap_database_errors:
            psycopg.Cursor(connection.connection).execute(f"{_HASHED};{_WRITE};{_LOOPED}", prepare=False).close()
