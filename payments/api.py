"""The tenant's recharges: place one, look at it, call it off."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import scope
from accounts.models import AccessToken, Tenancy
from billing import money
from meters.models import Meter
from payments import chase, checkout
from payments.models import Attempt, Order
from payments.providers.base import ProviderRefused, ProviderUnsure

IDEMPOTENCY_KEY = re.compile(r"^[\x21-\x7e]{8,64}$")


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT


class ProviderAway(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE


class RechargeRequest(serializers.Serializer[Any]):
    home = serializers.IntegerField(min_value=1)
    amount = serializers.CharField(max_length=12, help_text="yuan with at most two decimals, as text: 50.00")
    channel = serializers.ChoiceField(choices=Attempt.Channel.choices)
    meter = serializers.CharField(
        max_length=32, required=False, help_text="serial number, where a home has several meters that hold money"
    )

    def validate_amount(self, value: str) -> int:
        try:
            return money.from_yuan(value)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from error


class RechargeAnswer(serializers.Serializer[Any]):
    number = serializers.CharField()
    state = serializers.ChoiceField(choices=Order.State.choices)
    amount = serializers.CharField()
    pay = serializers.DictField(
        allow_null=True, help_text="what the app hands to the provider; null when there is nothing to pay"
    )


RECHARGE_HEADERS = [OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER, required=True)]


class Recharges(APIView):
    @extend_schema(request=RechargeRequest, responses={201: RechargeAnswer}, parameters=RECHARGE_HEADERS)
    def post(self, request: Request) -> Response:
        """Places a recharge. The same Idempotency-Key with the same body gives the same order, ready to be paid."""
        form = RechargeRequest(data=request.data)
        form.is_valid(raise_exception=True)
        wish = _wish(request, form.validated_data)
        try:
            order = checkout.place_order(wish, trace=request.META["TRACE_ID"], now=timezone.now())
        except checkout.KeyUsedOtherwise as error:
            raise Conflict(error.message, error.code) from error
        except checkout.CheckoutRefused as error:
            raise ValidationError(error.message, error.code) from error
        return Response(_answer(order, pay=_pay(order)), status=status.HTTP_201_CREATED)


class Recharge(APIView):
    @extend_schema(responses=RechargeAnswer)
    def get(self, request: Request, number: str) -> Response:
        """How a recharge stands. While it is unpaid its provider is asked, at most every other second."""
        order = _own_order(request, number)
        chase.ask_now(order, now=timezone.now())
        order.refresh_from_db()
        return Response(_answer(order, pay=None))


class CancelRecharge(APIView):
    @extend_schema(request=None, responses=RechargeAnswer)
    def post(self, request: Request, number: str) -> Response:
        """Calls a recharge off: closed at the provider first, then here. Paid meanwhile, it is credited instead."""
        order = _own_order(request, number)
        if not chase.call_off(order, now=timezone.now()):
            raise ProviderAway(_("The payment provider does not answer. Try again in a moment."), "provider_away")
        order.refresh_from_db()
        return Response(_answer(order, pay=None))


def _wish(request: Request, data: dict[str, Any]) -> checkout.Wish:
    key = request.headers.get("Idempotency-Key", "")
    if not IDEMPOTENCY_KEY.match(key):
        raise ValidationError(_("Send an Idempotency-Key header of 8 to 64 visible characters."), "idempotency_key")
    login = _login(request)
    tenancy = _own_home(request, data["home"])
    meter = _meter_of(tenancy, data["meter"]) if "meter" in data else None
    return checkout.Wish(
        user=login.user,
        tenancy=tenancy,
        amount_fen=data["amount"],
        channel=data["channel"],
        identity=login.identity,
        meter=meter,
        idempotency_key=key,
        request_digest=hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest(),
    )


def _login(request: Request) -> AccessToken:
    assert isinstance(request.auth, AccessToken)  # noqa: S101 (tells the type; the authenticator makes nothing else)
    return request.auth


def _own_home(request: Request, home: int) -> Tenancy:
    tenancy = scope.homes_of(_login(request).user, timezone.now()).select_related("property").filter(pk=home).first()
    if tenancy is None:
        raise NotFound
    return tenancy


def _meter_of(tenancy: Tenancy, serial: str) -> Meter:
    meter = Meter.objects.filter(
        installations__room=tenancy.room_id, installations__ends_at__isnull=True, serial=serial
    ).first()
    if meter is None:
        raise ValidationError(_("There is no such meter in this home."), "no_such_meter")
    return meter


def _own_order(request: Request, number: str) -> Order:
    order = Order.objects.filter(user=request.user.pk, number=number).first()
    if order is None:
        raise NotFound
    return order


def _pay(order: Order) -> dict[str, Any] | None:
    attempt = order.attempts.select_related("merchant", "order").order_by("-id").first()
    if attempt is None or order.state != Order.State.PLACED:
        return None
    try:
        return checkout.prepare(attempt)
    except ProviderUnsure as error:
        raise ProviderAway(
            _("The payment provider does not answer. Try again in a moment."), "provider_away"
        ) from error
    except ProviderRefused as error:
        raise ValidationError(_("The payment provider refused this recharge."), "provider_refused") from error


def _answer(order: Order, *, pay: dict[str, Any] | None) -> dict[str, Any]:
    return {"number": order.number, "state": order.state, "amount": money.to_yuan(order.amount_fen), "pay": pay}
