"""A day of a home explained to the last line, and what power costs today."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import scope
from accounts.models import AccessToken, Tenancy
from billing import money
from billing.bills import BillLine
from billing.tariff import units
from billing.tariff_words import PERIODS
from portal import usage
from portal.prices import Prices, Slot, prices_of
from portal.usage import Line, Metered

YEARS = range(2000, 2100)
WRITTEN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
KWH = "kilowatt-hours with three decimals"
YUAN = "yuan with two decimals"
PRICE = "yuan per kWh, exact"


def kwh(energy_wh: int) -> str:
    whole, rest = divmod(energy_wh, 1000)
    return f"{whole}.{rest:03d}"


def yuan(nano_fen: int) -> str:
    return money.to_yuan(units.to_fen(nano_fen))


def written_date(text: str) -> date | None:
    """2026-11-23, and in no other way that ISO 8601 allows, in the years that a calendar of ours may have."""
    try:
        on = date.fromisoformat(text) if WRITTEN.fullmatch(text) else None
    except ValueError:
        return None
    return on if on and on.year in YEARS else None


class WrittenDate(serializers.DateField):
    """A date written in one way."""

    def to_internal_value(self, value: Any) -> date:
        on = written_date(str(value))
        if on is None:
            raise serializers.ValidationError(_("Write the date as 2026-11-23."))
        return on


class TariffAnswer(serializers.Serializer[Any]):
    name = serializers.CharField(source="tariff.name")
    version = serializers.IntegerField(source="number")
    starts = serializers.DateField(source="starts_date")
    is_provisional = serializers.BooleanField(help_text="a final price follows, and what was charged is adjusted then")


class PricedAnswer(serializers.Serializer[Any]):
    """Energy at one price: a line of a day or of a bill."""

    period = serializers.CharField()
    name = serializers.SerializerMethodField(help_text="of the period, in the reader's language")
    tier = serializers.IntegerField(help_text="from 1 on")
    energy_kwh = serializers.SerializerMethodField(help_text=KWH)
    price = serializers.SerializerMethodField(help_text=PRICE)
    service_fee = serializers.SerializerMethodField(help_text=PRICE)

    def get_name(self, line: Line | BillLine) -> str:
        return str(PERIODS[line.period])  # type: ignore[index]  # the engine wrote it

    def get_energy_kwh(self, line: Line | BillLine) -> str:
        return kwh(line.energy_wh)

    def get_price(self, line: Line | BillLine) -> str:
        return units.yuan(line.price)

    def get_service_fee(self, line: Line | BillLine) -> str:
        return units.yuan(line.fee)


class LineAnswer(PricedAnswer):
    amount = serializers.SerializerMethodField(help_text=f"{YUAN}, for the energy")
    service_amount = serializers.SerializerMethodField(help_text=f"{YUAN}, for the service fee")
    tariff = TariffAnswer(source="version")

    def get_amount(self, line: Line) -> str:
        return money.to_yuan(units.shown_apart(energy_nano_fen=line.cost_nano, fee_nano_fen=line.fee_nano)[0])

    def get_service_amount(self, line: Line) -> str:
        return yuan(line.fee_nano)


class RegisterAnswer(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    import_kwh = serializers.CharField(help_text=KWH)


class RevisionAnswer(serializers.Serializer[Any]):
    revision = serializers.IntegerField(help_text="which one was replaced")
    replaced_at = serializers.DateTimeField()
    reason = serializers.CharField(help_text="usage_corrected or price_adjustment")
    energy_kwh = serializers.SerializerMethodField(help_text="what it was before")
    amount = serializers.SerializerMethodField(help_text="what it was before")

    def get_energy_kwh(self, one: Any) -> str:
        return kwh(one.was["energy_wh"])

    def get_amount(self, one: Any) -> str:
        return yuan(one.was["cost_nano"] + one.was["fee_nano"])


class MeteredAnswer(serializers.Serializer[Any]):
    meter = serializers.CharField(source="day.draw.meter.serial")
    opens = serializers.SerializerMethodField(help_text="the reading at or before the day's beginning")
    closes = serializers.SerializerMethodField(help_text="the reading at or after its end, or the newest")
    ratio = serializers.IntegerField(source="day.draw.ct_ratio", help_text="of the current transformer, 1 without one")
    energy_kwh = serializers.SerializerMethodField(help_text=f"{KWH}, of this day: midnights are cut by time")
    hours_kwh = serializers.SerializerMethodField(help_text="by hour of the day, 24 of them")
    lines = LineAnswer(many=True)
    amount = serializers.SerializerMethodField(help_text=f"{YUAN}, with the service fee")
    posted = serializers.SerializerMethodField(help_text=f"{YUAN}, what was taken from the purse for it so far")
    taken_by_meter = serializers.SerializerMethodField(
        help_text=f"{YUAN}, what a meter that holds its own money took by its own prices; null elsewhere, and before"
    )
    is_final = serializers.BooleanField(source="is_closed")
    is_disputed = serializers.BooleanField()
    revisions = RevisionAnswer(many=True)

    @extend_schema_field(RegisterAnswer)
    def get_opens(self, part: Metered) -> dict[str, Any]:
        return dict(RegisterAnswer({"at": part.day.opens_at, "import_kwh": kwh(part.day.opens_wh)}).data)

    @extend_schema_field(RegisterAnswer)
    def get_closes(self, part: Metered) -> dict[str, Any]:
        return dict(RegisterAnswer({"at": part.day.closes_at, "import_kwh": kwh(part.day.closes_wh)}).data)

    def get_energy_kwh(self, part: Metered) -> str:
        return kwh(part.day.energy_wh)

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_hours_kwh(self, part: Metered) -> list[str]:
        return [kwh(wh) for wh in part.day.slot_wh]

    def get_amount(self, part: Metered) -> str:
        return yuan(part.nano)

    def get_posted(self, part: Metered) -> str:
        return money.to_yuan(part.day.posted_fen)

    def get_taken_by_meter(self, part: Metered) -> str | None:
        told = [note["meter_fen"] for note in part.day.notes if note.get("kind") == "meter_counts"]
        return money.to_yuan(told[-1]) if told else None


class DayAnswer(serializers.Serializer[Any]):
    date = serializers.DateField(source="usage_date")
    energy_kwh = serializers.SerializerMethodField(help_text=KWH)
    amount = serializers.SerializerMethodField(help_text=f"{YUAN}, with the service fee")
    is_final = serializers.BooleanField(source="is_closed")
    is_priced = serializers.BooleanField(help_text="false: no price is known yet for what is open")
    meters = MeteredAnswer(many=True)

    def get_energy_kwh(self, one: usage.DayExplained) -> str:
        return kwh(one.energy_wh)

    def get_amount(self, one: usage.DayExplained) -> str:
        return yuan(one.nano)


class SlotAnswer(serializers.Serializer[Any]):
    from_at = serializers.DateTimeField()
    to_at = serializers.DateTimeField()
    period = serializers.CharField()
    name = serializers.SerializerMethodField()
    prices = serializers.SerializerMethodField(help_text=f"{PRICE}, by tier")
    limits_kwh = serializers.SerializerMethodField(help_text="upper limits of the tiers but the last")
    service_fee = serializers.SerializerMethodField(help_text=PRICE)

    def get_name(self, slot: Slot) -> str:
        return str(PERIODS[slot.period])  # type: ignore[index]  # the engine wrote it

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_prices(self, slot: Slot) -> list[str]:
        return [units.yuan(price) for price in slot.prices]

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_limits_kwh(self, slot: Slot) -> list[str]:
        return [units.kwh(limit) for limit in slot.limits_wh]

    def get_service_fee(self, slot: Slot) -> str:
        return units.yuan(slot.fee)


class MeterPricesAnswer(serializers.Serializer[Any]):
    meter = serializers.CharField(source="serial")
    tariff = TariffAnswer(source="version", allow_null=True)
    today = SlotAnswer(source="slots", many=True)
    coming = TariffAnswer(allow_null=True, help_text="the next version that is published")
    supply = serializers.SerializerMethodField(help_text=f"{PRICE}, what the property itself pays, by period or `all`")

    @extend_schema_field(serializers.DictField(child=serializers.CharField(), allow_null=True))
    def get_supply(self, one: Prices) -> dict[str, str] | None:
        return {name: units.yuan(price) for name, price in one.supply.prices.items()} if one.supply else None


class PricesAnswer(serializers.Serializer[Any]):
    meters = MeterPricesAnswer(many=True)


class UsageDay(APIView):
    @extend_schema(operation_id="usage_retrieve", summary="Explain a day", responses=DayAnswer)
    def get(self, request: Request, home: int, on: str) -> Response:
        """A day line by line: registers from-to, energy by period and tier, price, tariff version, amount, and what it
        was before it was corrected."""
        tenancy = own_home(request, home)
        usage_date = written_date(on)
        if usage_date is None:
            raise ValidationError({"date": _("Write the date as 2026-11-23.")})
        return Response(DayAnswer(usage.day(tenancy=tenancy, on=usage_date, now=timezone.now())).data)


class HomePrices(APIView):
    @extend_schema(operation_id="prices_retrieve", summary="See what power costs today", responses=PricesAnswer)
    def get(self, request: Request, home: int) -> Response:
        """Today's prices of each meter by time and tier, the tariff, the one that comes next, and what the property
        itself pays."""
        found = prices_of(tenancy=own_home(request, home), now=timezone.now())
        return Response(PricesAnswer({"meters": found}).data)


def own_home(request: Request, home: int) -> Tenancy:
    """The caller's own home; for everybody else it does not exist."""
    assert isinstance(request.auth, AccessToken)  # noqa: S101 (tells the type; the authenticator makes nothing else)
    tenancy = scope.homes_of(request.auth.user, timezone.now()).filter(pk=home).first()
    if tenancy is None:
        raise NotFound
    return tenancy
