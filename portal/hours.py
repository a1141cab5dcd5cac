"""In which price period the hours of a day lay, and which were the cheap ones, by the tariff that priced the day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from billing import holidays
from billing.models import TariffVersion, UsageDay
from billing.tariff import expand, parse
from billing.tariff.calendar import SpecialDays
from billing.tariff.civil import instant
from billing.tariff.errors import DefinitionError
from billing.tariff.expand import Slot

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Hour:
    """`period` holds for the whole hour; blank where it changes within. `is_cheap`: the whole hour costs what the
    cheapest of the day does (in the first tier, with the fee), and not all of them cost the same."""

    period: str
    is_cheap: bool


def of_days(rows: Iterable[UsageDay], *, property_id: int) -> dict[datetime, Hour]:
    """The hours of these days by their beginnings. What cannot be read any more is left out; where the meters of a home
    disagree, the period is blank. Two queries."""
    named = {(row.usage_date, line["version"]) for row in rows for line in row.lines}
    versions = TariffVersion.objects.in_bulk({version for _on, version in named})
    special_days = holidays.special_days(property_id=property_id) if named else {}
    found: dict[datetime, Hour] = {}
    for on, version_id in sorted(named):
        for at, hour in _of_day(versions[version_id], on, special_days):
            found[at] = hour if found.get(at, hour) == hour else Hour("", is_cheap=False)
    return found


def _of_day(version: TariffVersion, on: date, special_days: SpecialDays) -> Iterator[tuple[datetime, Hour]]:
    try:
        tariff = parse.tariff(version.definition)
    except DefinitionError:  # it is on the work list (billing/slots.py)
        return
    slots = list(expand.slots(tariff, first_date=on, last_date=on, special_days=special_days))
    prices = {_price(slot) for slot in slots}
    for hour in range(24):
        at = instant(on, minute=60 * hour)
        within = [slot for slot in slots if slot.from_at < at + HOUR and slot.to_at > at]
        periods = {slot.period for slot in within}
        is_cheap = len(prices) > 1 and {_price(slot) for slot in within} == {min(prices)}
        yield at, Hour(periods.pop() if len(periods) == 1 else "", is_cheap)


def _price(slot: Slot) -> int:
    return slot.prices_micro_fen_per_kwh[0] + slot.fee_micro_fen_per_kwh
