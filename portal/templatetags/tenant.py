"""Figures as tenants read them."""

from __future__ import annotations

from django import template

from billing import money
from billing.models import SupplyPrice
from billing.tariff import units
from billing.tariff_words import PERIODS
from portal.prices import Prices, Slot
from portal.readings import Read
from portal.usage import Line

register = template.Library()


@register.filter
def yuan(amount_fen: int) -> str:
    """¥50.00 of an int of fen."""
    return money.shown(amount_fen)


@register.filter
def signed(number: int) -> str:
    """+12 or -3."""
    return f"{number:+d}"


@register.filter
def kwh(energy_wh: int) -> str:
    """12.3 of watt-hours, to a tenth: nobody shifts a dishwasher by a watt-hour."""
    return f"{energy_wh / 1000:.1f}"


@register.filter(name="register")
def register_kwh(wh: int) -> str:
    """109.000: a register to the last digit that it tells."""
    whole, rest = divmod(wh, 1000)
    return f"{whole}.{rest:03d}"


@register.filter
def reading_value(one: Read) -> str:
    """A reading as a form names it: its instant and its meter."""
    return f"{one.at.isoformat()} {one.meter}"


@register.filter
def nano_yuan(nano_fen: int) -> str:
    """¥0.52 of an int of nano-fen."""
    return money.shown(units.to_fen(nano_fen))


@register.filter
def period(code: str) -> str:
    """A price period in words."""
    return str(PERIODS[code])  # type: ignore[index]  # the engine wrote it


@register.filter
def price_per_kwh(line: Line) -> str:
    """Yuan per kWh of a line, with the service fee."""
    return units.yuan(line.price + line.fee)


@register.filter
def line_cost(line: Line) -> str:
    """What a line costs, with the service fee."""
    return money.shown(units.to_fen(line.cost_nano + line.fee_nano))


@register.filter
def slot_prices(slot: Slot) -> str:
    """Yuan per kWh by tier, with the service fee: 0.5880 / 0.6380 / 0.8880."""
    return " / ".join(units.yuan(price + slot.fee) for price in slot.prices)


@register.filter
def tier_limits(prices: Prices) -> str:
    """Upper limits of the tiers but the last, in kWh: 2760 / 4800; blank without tiers."""
    return " / ".join(units.kwh(limit) for limit in prices.slots[0].limits_wh) if prices.slots else ""


@register.filter
def supply_prices(supply: SupplyPrice) -> str:
    """What the property itself pays, by period or as one."""
    return ", ".join(f"{PERIODS.get(name, '')} {units.yuan(price)}".strip() for name, price in supply.prices.items())
