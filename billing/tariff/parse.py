"""A tariff definition, as people write it in JSON, becomes a `Tariff`; docs/tariffs.md explains the form."""

from __future__ import annotations

from collections.abc import Mapping

from billing.tariff import periods, table
from billing.tariff.errors import _
from billing.tariff.periods import ALWAYS_FLAT, PERIODS, DayRule, Hours, Period, Schedule
from billing.tariff.reader import Node, mapped
from billing.tariff.table import PriceTable, Row, SeasonPrices
from billing.tariff.tiers import CYCLE_MONTHS, Cycle, Extension, Ladder, Limits
from billing.tariff.version import Tariff
from billing.tariff.when import DAY_TYPES, WEEKDAYS, Dates, When

REST = "rest"
MOST_PEOPLE = 1000


def tariff(definition: object) -> Tariff:
    """The tariff that a definition means: plain values as `json.loads` makes them.

    Raises DefinitionError for the first thing that is wrong, with the path of the field.
    """
    fields = Node(definition).fields(("periods", "tiers", "prices", "fee_yuan"), required=("prices",))
    return Tariff(
        prices=_prices(fields["prices"]),
        schedule=_schedule(fields["periods"]) if "periods" in fields else ALWAYS_FLAT,
        ladder=_ladder(fields["tiers"]) if "tiers" in fields else None,
        fee_micro_fen_per_kwh=fields["fee_yuan"].price() if "fee_yuan" in fields else 0,
    )


def _schedule(node: Node) -> Schedule:
    return Schedule(tuple(_day_rule(entry) for entry in node.entries()))


def _day_rule(node: Node) -> DayRule:
    fields = node.fields(("when", "day"), required=("day",))
    hours: dict[Period, list[Hours]] = {}
    rest: Period | None = None
    for period, said in mapped(fields["day"], PERIODS, lambda field: field):
        if said.value != REST:
            hours[period] = [entry.hours() for entry in said.entries()]
        elif rest is None:
            rest = period
        else:
            raise said.wrong(_("Only one period can be the rest."))
    return DayRule(_when(fields), periods.day(hours, rest=rest, path=fields["day"].path))


def _when(fields: Mapping[str, Node]) -> When:
    if "when" not in fields:
        return When()
    said = fields["when"].fields(("months", "dates", "day_types", "weekdays"))
    return When(
        months=said["months"].some_of(lambda node: node.whole(1, 12)) if "months" in said else frozenset(),
        dates=tuple(_dates(node) for node in said["dates"].entries()) if "dates" in said else (),
        day_types=said["day_types"].some_of(lambda node: node.one_of(DAY_TYPES))
        if "day_types" in said
        else frozenset(),
        weekdays=said["weekdays"].some_of(lambda node: node.one_of(WEEKDAYS)) if "weekdays" in said else frozenset(),
    )


def _season(fields: Mapping[str, Node]) -> When:
    """A rule of prices or limits: these know the time of the year alone."""
    when = _when(fields)
    if not when.is_seasonal:
        raise fields["when"].wrong(_("Here only months and dates count; write day types and weekdays under periods."))
    return when


def _dates(node: Node) -> Dates:
    ends = node.entries()
    if len(ends) != 2:
        raise node.wrong(_("Write the first and the last day, such as 11-01 and 04-30."))
    return Dates(ends[0].month_day(), ends[1].month_day())


def _ladder(node: Node) -> Ladder:
    known = ("cycle", "limits", "extension", "restarts_with_tenancy", "prorated", "counted_from")
    fields = node.fields(known, required=("cycle", "limits"))
    return Ladder(
        cycle=_cycle(fields["cycle"]),
        limits=tuple(_limits(entry) for entry in fields["limits"].entries()),
        extension=_extension(fields["extension"]) if "extension" in fields else None,
        restarts_with_tenancy="restarts_with_tenancy" in fields and fields["restarts_with_tenancy"].flag(),
        prorated="prorated" in fields and fields["prorated"].flag(),
        counted_from_date=fields["counted_from"].day() if "counted_from" in fields else None,
    )


def _cycle(node: Node) -> Cycle:
    fields = node.fields(("months", "starts", "season"), required=("months",))
    months = fields["months"].whole(1, 12)
    if months not in CYCLE_MONTHS:
        raise fields["months"].wrong(_("A cycle has 1, 2, 3, 4, 6 or 12 months."))
    return Cycle(
        months=months,
        starts=fields["starts"].month_day() if "starts" in fields else (1, 1),
        season=_dates(fields["season"]) if "season" in fields else None,
    )


def _limits(node: Node) -> Limits:
    fields = node.fields(("when", "kwh"), required=("kwh",))
    return Limits(_season(fields), tuple(entry.energy() for entry in fields["kwh"].entries()))


def _extension(node: Node) -> Extension:
    fields = node.fields(("moves", "steps"), required=("moves", "steps"))
    moves = fields["moves"].one_of(("first", "all"))
    steps = tuple(_step(entry) for entry in fields["steps"].entries())
    return Extension("first" if moves == "first" else "all", steps)


def _step(node: Node) -> tuple[int, int]:
    fields = node.fields(("people", "kwh_per_month"), required=("people", "kwh_per_month"))
    return fields["people"].whole(2, MOST_PEOPLE), fields["kwh_per_month"].energy()


def _prices(node: Node) -> PriceTable:
    return PriceTable(tuple(_season_prices(entry) for entry in node.entries()))


def _season_prices(node: Node) -> SeasonPrices:
    fields = node.fields(("when", "yuan", "surcharge_yuan"), required=("yuan",))
    if "surcharge_yuan" not in fields:
        return SeasonPrices(_season(fields), _rows(fields["yuan"]))
    if isinstance(fields["yuan"].value, list):
        raise fields["surcharge_yuan"].wrong(
            _("Write surcharges to the prices of the first tier, or all tiers, not both.")
        )
    surcharges = [entry.price() for entry in fields["surcharge_yuan"].entries()]
    return SeasonPrices(_season(fields), table.surcharged(_by_period(fields["yuan"]), surcharges))


def _rows(node: Node) -> tuple[Row, ...]:
    tiers = node.entries() if isinstance(node.value, list) else [node]
    return tuple(table.row(_by_period(tier)) for tier in tiers)


def _by_period(node: Node) -> dict[Period, int]:
    """Prices by period, or one price: that of a tariff without periods, where everything is flat."""
    if isinstance(node.value, str):
        return {"flat": node.price()}
    return dict(mapped(node, PERIODS, lambda field: field.price()))
