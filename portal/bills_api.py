"""A tenant's monthly bills, and one of them line by line."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.bills import Bill, BillLine, MeterBill, bill_of
from billing.models import Purse, TariffVersion
from meters.models import Meter
from portal.api import Amount
from portal.bills import AT_MOST, Month, Page, page_of
from portal.usage_api import KWH, YEARS, YUAN, PricedAnswer, TariffAnswer, kwh, own_home, yuan

MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


class BillLineAnswer(PricedAnswer):
    tariff = serializers.SerializerMethodField()
    amount = serializers.SerializerMethodField(help_text=f"{YUAN}, for the energy")

    @extend_schema_field(TariffAnswer)
    def get_tariff(self, line: BillLine) -> dict[str, Any]:
        return TariffAnswer(self.context["versions"][line.version_id]).data

    def get_amount(self, line: BillLine) -> str:
        return yuan(line.cost_nano)


class MeterBillAnswer(serializers.Serializer[Any]):
    meter = serializers.SerializerMethodField(help_text="its serial number")
    days = serializers.IntegerField(help_text="closed days of the month")
    opens_kwh = serializers.SerializerMethodField(help_text=f"register at the beginning, {KWH}")
    closes_kwh = serializers.SerializerMethodField(help_text=f"register at the end, {KWH}")
    lines = BillLineAnswer(many=True)

    def get_meter(self, one: MeterBill) -> str:
        return str(self.context["serials"][one.meter_id])

    def get_opens_kwh(self, one: MeterBill) -> str:
        return kwh(one.opens_wh)

    def get_closes_kwh(self, one: MeterBill) -> str:
        return kwh(one.closes_wh)


class BillAnswer(serializers.Serializer[Any]):
    month = serializers.SerializerMethodField(help_text="2026-11")
    energy_kwh = serializers.SerializerMethodField(help_text=KWH)
    energy_amount = serializers.SerializerMethodField()
    service_amount = serializers.SerializerMethodField()
    amount = serializers.SerializerMethodField(help_text="both together, rounded once")
    posted = Amount(source="posted_fen", help_text="what the month's days were booked with; a fen off at most")
    put_right = Amount(source="put_right_fen", help_text="booked in this month for days of months before")
    meters = MeterBillAnswer(many=True)

    def get_month(self, _bill: Bill) -> str:
        return f"{self.context['month']:%Y-%m}"

    def get_energy_kwh(self, bill: Bill) -> str:
        return kwh(bill.energy_wh)

    @extend_schema_field(Amount)
    def get_energy_amount(self, bill: Bill) -> dict[str, Any]:
        return Amount(bill.shown_fen()[0]).data

    @extend_schema_field(Amount)
    def get_service_amount(self, bill: Bill) -> dict[str, Any]:
        return Amount(bill.shown_fen()[1]).data

    @extend_schema_field(Amount)
    def get_amount(self, bill: Bill) -> dict[str, Any]:
        return Amount(sum(bill.shown_fen())).data


class BillsRequest(serializers.Serializer[Any]):
    """Which page."""

    cursor = serializers.CharField(required=False, max_length=7, help_text="`next` of the page before")
    limit = serializers.IntegerField(required=False, default=12, min_value=1, max_value=AT_MOST)

    def validate_cursor(self, written: str) -> date:
        return _month(written)


class MonthAnswer(serializers.Serializer[Any]):
    month = serializers.SerializerMethodField(help_text="2026-11: bills/<month> has its lines")
    energy_kwh = serializers.SerializerMethodField(help_text=KWH)
    amount = Amount(source="amount_fen", help_text="with the service fee")
    is_final = serializers.BooleanField(help_text="all of its days are settled")

    def get_month(self, one: Month) -> str:
        return f"{one.month_date:%Y-%m}"

    def get_energy_kwh(self, one: Month) -> str:
        return kwh(one.energy_wh)


class BillsAnswer(serializers.Serializer[Any]):
    bills = MonthAnswer(many=True, source="months")
    next = serializers.SerializerMethodField(help_text="send it as `cursor`; null on the last page")

    def get_next(self, page: Page) -> str | None:
        return f"{page.following:%Y-%m}" if page.following else None


class HomeBills(APIView):
    @extend_schema(
        operation_id="bills_list", summary="List the bills", parameters=[BillsRequest], responses=BillsAnswer
    )
    def get(self, request: Request, home: int) -> Response:
        """The months with closed days since they moved in, newest first."""
        form = BillsRequest(data=request.query_params)
        form.is_valid(raise_exception=True)
        asked = form.validated_data
        page = page_of(tenancy=own_home(request, home), before=asked.get("cursor"), at_most=asked["limit"])
        return Response(BillsAnswer(page).data)


class HomeBill(APIView):
    @extend_schema(operation_id="bills_retrieve", summary="See a month's bill", responses=BillAnswer)
    def get(self, request: Request, home: int, month: str) -> Response:
        """What the home used in a month with closed days, by tariff, tier and period, and what was booked for it."""
        tenancy, month_date = own_home(request, home), _month(month)
        purse = Purse.objects.filter(tenancy=tenancy).first()
        bill = bill_of(purse, month_date=month_date) if purse else None
        if bill is None:
            raise NotFound(_("There is no bill for this month yet."))
        versions = {line.version_id for one in bill.meters for line in one.lines}
        context = {
            "month": month_date,
            "versions": TariffVersion.objects.select_related("tariff").in_bulk(versions),
            "serials": dict(
                Meter.objects.filter(pk__in={one.meter_id for one in bill.meters}).values_list("pk", "serial")
            ),
        }
        return Response(BillAnswer(bill, context=context).data)


def _month(written: str) -> date:
    match = MONTH.fullmatch(written)
    if match is None or int(match[1]) not in YEARS:
        raise ValidationError({"month": _("Write the month as 2026-11.")})
    return date(int(match[1]), int(match[2]), 1)
