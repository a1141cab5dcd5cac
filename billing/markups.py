"""What tenants pay per kWh against what the property itself pays: more is refused, unless somebody answers for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from django.utils.translation import gettext as _

from billing.models import SupplyPrice
from billing.tariff import ceiling, units
from billing.tariff.ceiling import Excess
from billing.tariff.periods import Period
from billing.tariff.version import Tariff
from billing.tariff_words import PERIODS

ALL = "all"


class MarkUpRefused(Exception):
    """Prices above what the property pays, without a reason; nothing was changed. The text is for the person."""


@dataclass(frozen=True, slots=True)
class Above:
    """Prices of a version that exceed what the property pays from a date on; None: what it pays is not known."""

    supply_price: SupplyPrice | None
    excess: tuple[Excess, ...]

    def kept(self) -> dict[str, Any]:
        """As `MarkUp.excess` keeps it: prices in micro-fen per kWh."""
        price = self.supply_price
        return {
            "supply_price": price.pk if price else None,
            "from": price.starts_date.isoformat() if price else None,
            "cells": [asdict(cell) for cell in self.excess],
        }


def above(*, tariff: Tariff, property_id: int, starts_date: date, ends_date: date | None) -> list[Above]:
    """Where prices that hold from starts_date up to, not including, ends_date exceed what the property pays then.

    Each supply price of that time is asked, and one that has not been recorded cannot be kept: silence allows nothing.
    """
    prices = in_force(property_id=property_id, starts_date=starts_date, ends_date=ends_date)
    found = [Above(price, ceiling.exceeding(tariff, supply_micro_fen_per_kwh=by_period(price))) for price in prices]
    unknown = [] if prices and prices[0].starts_date <= starts_date else [Above(None, ())]
    return unknown + [each for each in found if each.excess]


def in_force(*, property_id: int, starts_date: date, ends_date: date | None) -> list[SupplyPrice]:
    """The property's supply prices of a time, ends_date not in it, in order."""
    rows = SupplyPrice.objects.filter(property=property_id).order_by("starts_date")
    prices = list(rows.filter(starts_date__lt=ends_date) if ends_date else rows)
    begun = [price for price in prices if price.starts_date <= starts_date]
    return prices[max(0, len(begun) - 1) :]


def by_period(price: SupplyPrice) -> int | dict[Period, int]:
    """What `ceiling.exceeding` compares with: one price, or one for each period, in micro-fen per kWh."""
    prices: dict[Any, Any] = price.prices
    return prices.get(ALL, prices)  # type: ignore[no-any-return]  # JSON


def beyond(found: Iterable[Above], answered_for: Iterable[dict[str, Any]]) -> bool:
    """Whether anything exceeds by more than somebody has answered for (`Above.kept` of each mark-up)."""
    kept = list(answered_for)
    at_most: dict[tuple[int, int, str], int] = {}
    for cell in (Excess(**cell) for each in kept for cell in each["cells"]):
        place = (cell.season, cell.tier, cell.period)
        at_most[place] = max(at_most.get(place, 0), cell.over_micro_fen_per_kwh)
    is_unknown_allowed = any(each["supply_price"] is None for each in kept)
    return any(
        cell.over_micro_fen_per_kwh > at_most.get((cell.season, cell.tier, cell.period), 0)
        for each in found
        for cell in each.excess
    ) or (not is_unknown_allowed and any(each.supply_price is None for each in found))


def refuse(found: Iterable[Above]) -> None:
    """Raises MarkUpRefused with what exceeds, for a person to read, where anything does."""
    told = [text for each in found for text in in_words(each)]
    if told:
        raise MarkUpRefused(" ".join(told))


def in_words(each: Above) -> list[str]:
    """One sentence for what is not known, or for the cell that exceeds most."""
    if each.supply_price is None:
        return [_("What the property itself pays per kWh has not been recorded for all of this time.")]
    worst = max(each.excess, key=lambda cell: cell.over_micro_fen_per_kwh)
    text = _(
        "From %(date)s the property pays %(supply)s yuan per kWh; tier %(tier)d, %(period)s costs tenants %(price)s."
    )
    return [
        text
        % {
            "date": each.supply_price.starts_date,
            "supply": units.yuan(worst.supply_micro_fen_per_kwh),
            "tier": worst.tier,
            "period": PERIODS[worst.period],
            "price": units.yuan(worst.price_micro_fen_per_kwh + worst.fee_micro_fen_per_kwh),
        }
    ]
