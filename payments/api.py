"""The tenant's recharges: place one, look at it and at those before, call it off."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import scope
from accounts.addresses import address_of
from accounts.models import AccessToken, Tenancy
from accounts.polled import Polled
from billing import money
from meters.models import Meter
from payments import chase, checkout, history
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


class RechargesRequest(serializers.Serializer[Any]):
    """The query of a list."""

    home = serializers.IntegerField(min_value=1, required=False, help_text="only those of this home")
    cursor = serializers.CharField(
        max_length=32, required=False, default="", help_text="`next` of the page before; without it, the newest"
    )
    limit = serializers.IntegerField(min_value=1, max_value=100, default=20, help_text="how many at most")


class PastRecharge(serializers.Serializer[Any]):
    number = serializers.CharField()
    home = serializers.IntegerField(source="tenancy_id")
    state = serializers.ChoiceField(choices=Order.State.choices)
    amount = serializers.SerializerMethodField(help_text="yuan with two decimals: 50.00")
    refunded = serializers.SerializerMethodField(help_text="what of it was given back: 0.00")
    channel = serializers.SerializerMethodField(help_text="how it was, or is to be, paid")
    placed_at = serializers.DateTimeField()
    paid_at = serializers.DateTimeField(allow_null=True)
    closed_at = serializers.DateTimeField(allow_null=True)
    by_me = serializers.SerializerMethodField(
        help_text="false: by somebody who shares the home, or paid without a login"
    )

    def get_amount(self, order: Order) -> str:
        return money.to_yuan(order.amount_fen)

    def get_refunded(self, order: Order) -> str:
        return money.to_yuan(order.refunded_fen)  # type: ignore[attr-defined]  # see history.page_of

    @extend_schema_field(serializers.ChoiceField(choices=Attempt.Channel.choices))
    def get_channel(self, order: Order) -> str:
        tried: list[Attempt] = order.tried  # type: ignore[attr-defined]  # see history.page_of
        return next((one.channel for one in tried if one.state == Attempt.State.PAID), tried[0].channel)

    def get_by_me(self, order: Order) -> bool:
        return bool(order.user_id == self.context["user"].pk)


class RechargesAnswer(serializers.Serializer[Any]):
    recharges = PastRecharge(many=True)
    next = serializers.CharField(allow_null=True, help_text="the `cursor` of the next page; null on the last")


RECHARGE_HEADERS = [OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER, required=True)]


class Recharges(APIView):
    @extend_schema(
        operation_id="recharges_list",
        summary="List the recharges of one's homes",
        parameters=[RechargesRequest],
        responses=RechargesAnswer,
    )
    def get(self, request: Request) -> Response:
        """The tenant's recharges, newest first: their own, and since they joined a home those of who shares it.

        Nobody is asked how an unpaid one stands; a look at that one alone does ask.
        """
        form = RechargesRequest(data=request.query_params)
        form.is_valid(raise_exception=True)
        asked, user = form.validated_data, _login(request).user
        try:
            page = history.page_of(
                user, home_id=asked.get("home"), cursor=asked["cursor"], at_most=asked["limit"], now=timezone.now()
            )
        except history.UnknownCursor as error:
            raise ValidationError(_("There is no such page. Begin with the newest."), "unknown_cursor") from error
        answer = {"recharges": page.orders, "next": page.following or None}
        return Response(RechargesAnswer(answer, context={"user": user}).data)

    @extend_schema(
        summary="Place a recharge",
        request=RechargeRequest,
        responses={201: RechargeAnswer},
        parameters=RECHARGE_HEADERS,
    )
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
        return Response(_answer(order, pay=_pay(order, payer_ip=address_of(request))), status=status.HTTP_201_CREATED)


class Recharge(Polled):
    @extend_schema(summary="See how a recharge stands", responses=RechargeAnswer)
    def get(self, request: Request, number: str) -> Response:
        """How a recharge stands. While it is unpaid its provider is asked, at most every other second."""
        order = _found(history.visible_to(_login(request).user, timezone.now()), number)
        chase.ask_now(order, now=timezone.now())
        order.refresh_from_db()
        return Response(_answer(order, pay=None))


class CancelRecharge(APIView):
    @extend_schema(summary="Call a recharge off", request=None, responses=RechargeAnswer)
    def post(self, request: Request, number: str) -> Response:
        """Calls a recharge off: closed at the provider first, then here. Paid meanwhile, it is credited instead."""
        order = _found(Order.objects.filter(user=request.user.pk), number)
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


def _found(orders: QuerySet[Order], number: str) -> Order:
    order = orders.filter(number=number).first()
    if order is None:
        raise NotFound
    return order


def _pay(order: Order, *, payer_ip: str) -> dict[str, Any] | None:
    attempt = order.attempts.select_related("merchant", "order").order_by("-id").first()
    if attempt is None or order.state != Order.State.PLACED:
        return None
    try:
        return checkout.prepare(attempt, payer_ip=payer_ip)
    except ProviderUnsure as error:
        raise ProviderAway(
            _("The payment provider does not answer. Try again in a moment."), "provider_away"
        ) from error
    except ProviderRefused as error:
        raise ValidationError(_("The payment provider refused this recharge."), "provider_refused") from error


def _answer(order: Order, *, pay: dict[str, Any] | None) -> dict[str, Any]:
    return {"number": order.number, "state": order.state, "amount": money.to_yuan(order.amount_fen), "pay": pay}
