"""What a home used, summed up by hour, day, month or year, and beside the time before."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.tariff.civil import civil_date, instant
from billing.tariff_words import PERIODS
from portal import compared, usage
from portal.compared import Compared
from portal.usage import AT_MOST, DAY, Sum
from portal.usage_api import KWH, YUAN, WrittenDate, kwh, own_home, yuan

MONTH_AGO = timedelta(days=30)
PERIOD = "sharp, peak, flat, valley, deep_valley"


class UsageRequest(serializers.Serializer[Any]):
    """The query of sums."""

    by = serializers.ChoiceField(choices=list(AT_MOST), default="day")
    to = WrittenDate(required=False, help_text="the last day; today where it is not given")
    compare = serializers.BooleanField(default=False, help_text="beside the span before")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        since = WrittenDate(
            required=False,
            help_text="the first day; 30 days before the last where not given",
        )
        return super().get_fields() | {"from": since}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        to_date: date = attrs.get("to") or civil_date(timezone.now())
        from_date: date = attrs.get("from") or to_date - (timedelta() if attrs["by"] == "hour" else MONTH_AGO)
        if from_date > to_date:
            raise serializers.ValidationError({"from": _("The first day lies after the last.")})
        if (to_date - from_date).days >= AT_MOST[attrs["by"]]:
            message = _("At most %(days)s days at once.") % {"days": AT_MOST[attrs["by"]]}
            raise serializers.ValidationError({"from": message})
        return {"by": attrs["by"], "from_date": from_date, "to_date": to_date, "compare": attrs["compare"]}


class PeriodAnswer(serializers.Serializer[Any]):
    period = serializers.CharField(help_text="sharp, peak, flat, valley, deep_valley")
    name = serializers.CharField()
    energy_kwh = serializers.CharField(help_text=KWH)
    amount = serializers.CharField(help_text=f"{YUAN}, with the service fee, rounded by itself")


class TierAnswer(serializers.Serializer[Any]):
    tier = serializers.IntegerField(help_text="from 1 on")
    energy_kwh = serializers.CharField(help_text=KWH)
    amount = serializers.CharField(help_text=f"{YUAN}, with the service fee, rounded by itself")


class SumAnswer(serializers.Serializer[Any]):
    from_at = serializers.DateTimeField()
    to_at = serializers.DateTimeField()
    energy_kwh = serializers.SerializerMethodField(help_text=KWH)
    amount = serializers.SerializerMethodField(help_text=f"{YUAN}, with the service fee; null by the hour")
    periods = serializers.SerializerMethodField(help_text="by price period; empty by the hour")
    tiers = serializers.SerializerMethodField(help_text="by tier; empty by the hour")
    period = serializers.CharField(help_text=f"by the hour: {PERIOD}; empty where it changes within the hour")
    is_cheap = serializers.BooleanField(help_text="by the hour: at the lowest price of a day that has several")
    is_final = serializers.BooleanField(help_text="all of it is settled")

    def get_energy_kwh(self, one: Sum) -> str:
        return kwh(one.energy_wh)

    def get_amount(self, one: Sum) -> str | None:
        return None if one.cost_nano is None else yuan(one.cost_nano)

    @extend_schema_field(PeriodAnswer(many=True))
    def get_periods(self, one: Sum) -> list[dict[str, Any]]:
        return _periods(one)

    @extend_schema_field(TierAnswer(many=True))
    def get_tiers(self, one: Sum) -> list[dict[str, Any]]:
        return _tiers(one)


class BeforeAnswer(serializers.Serializer[Any]):
    """The span before, and this one so far: as much of both."""

    from_at = serializers.DateTimeField(source="before.from_at")
    to_at = serializers.DateTimeField(source="before.to_at")
    energy_kwh = serializers.SerializerMethodField(help_text=KWH)
    amount = serializers.SerializerMethodField(help_text=f"{YUAN}, with the service fee; null by the hour")
    compared_until = serializers.DateTimeField(
        source="this.to_at", help_text="up to where this span is compared: what is not over is left out"
    )
    energy_percent = serializers.SerializerMethodField(help_text="more (or, below zero, less) energy, in percent")
    amount_percent = serializers.SerializerMethodField(help_text="the same of the money; null by the hour")

    def get_energy_kwh(self, one: Compared) -> str:
        return kwh(one.before.energy_wh)

    def get_amount(self, one: Compared) -> str | None:
        return None if one.before.cost_nano is None else yuan(one.before.cost_nano)

    def get_energy_percent(self, one: Compared) -> int | None:
        return one.energy_percent()

    def get_amount_percent(self, one: Compared) -> int | None:
        return one.cost_percent()


class SummaryAnswer(serializers.Serializer[Any]):
    """All that was asked for, together."""

    energy_kwh = serializers.SerializerMethodField(help_text=KWH)
    amount = serializers.SerializerMethodField(help_text=f"{YUAN}, with the service fee; null by the hour")
    by_period = serializers.SerializerMethodField()
    by_tier = serializers.SerializerMethodField()
    before = serializers.SerializerMethodField(
        help_text="null unless `compare` is true, they lived there all that time, and something of this span is over"
    )

    def get_energy_kwh(self, one: Sum) -> str:
        return kwh(one.energy_wh)

    def get_amount(self, one: Sum) -> str | None:
        return None if one.cost_nano is None else yuan(one.cost_nano)

    @extend_schema_field(PeriodAnswer(many=True))
    def get_by_period(self, one: Sum) -> list[dict[str, Any]]:
        return _periods(one)

    @extend_schema_field(TierAnswer(many=True))
    def get_by_tier(self, one: Sum) -> list[dict[str, Any]]:
        return _tiers(one)

    @extend_schema_field(BeforeAnswer(allow_null=True))
    def get_before(self, _one: Sum) -> dict[str, Any] | None:
        found: Compared | None = self.context["compared"]
        return None if found is None else dict(BeforeAnswer(found).data)


class UsageAnswer(serializers.Serializer[Any]):
    by = serializers.ChoiceField(choices=list(AT_MOST))
    usage = SumAnswer(many=True)
    summary = SummaryAnswer()


class Usage(APIView):
    @extend_schema(
        operation_id="usage_list", summary="Sum up what was used", parameters=[UsageRequest], responses=UsageAnswer
    )
    def get(self, request: Request, home: int) -> Response:
        """What the home used by hour, day, month or year, oldest first, since they moved in; parts without a reading
        are left out. What is not final may still change by what meters tell late."""
        form = UsageRequest(data=request.query_params)
        form.is_valid(raise_exception=True)
        asked, now = form.validated_data, timezone.now()
        wants_before = asked.pop("compare")
        about = {"tenancy": own_home(request, home), "now": now} | asked
        found = usage.sums(**about)
        whole = usage.together(found, from_at=instant(asked["from_date"]), to_at=instant(asked["to_date"] + DAY))
        if asked["by"] == "hour":
            whole.cost_nano = None
        context = {"compared": compared.compared(found, **about) if wants_before else None}
        answer = {"by": asked["by"], "usage": found, "summary": whole}
        return Response(UsageAnswer(answer, context=context).data)


def _periods(one: Sum) -> list[dict[str, Any]]:
    used = one.by("period")
    return [
        {"period": period, "name": str(name), **_told(*used[period])}
        for period, name in PERIODS.items()
        if period in used
    ]


def _tiers(one: Sum) -> list[dict[str, Any]]:
    return [{"tier": tier, **_told(*both)} for tier, both in sorted(one.by("tier").items())]


def _told(energy_wh: int, nano: int) -> dict[str, str]:
    return {"energy_kwh": kwh(energy_wh), "amount": yuan(nano)}
