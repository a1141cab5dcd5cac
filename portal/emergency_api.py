"""Emergency credit: what may be taken, and the tap that takes it."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import AccessToken
from billing import emergency_credit, prepaid
from billing.emergency_credit import EmergencyRefused, Offer
from portal.api import Amount
from portal.usage_api import own_home


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT


class OfferAnswer(serializers.Serializer[Any]):
    available = Amount(source="amount_fen", help_text="what a tap gives now; nothing where it is refused")
    taken = Amount(source="taken_fen", help_text="taken, and not paid back yet")
    refused = serializers.SerializerMethodField(help_text="a code, where nothing can be taken now; else empty")
    why = serializers.SerializerMethodField(help_text="the same in words")

    def get_refused(self, offer: Offer) -> str:
        return offer.refused.code if offer.refused else ""

    def get_why(self, offer: Offer) -> str:
        return offer.refused.message if offer.refused else ""


class EmergencyCredit(APIView):
    @extend_schema(operation_id="emergency_credit_retrieve", summary="See the emergency credit", responses=OfferAnswer)
    def get(self, request: Request, home: int) -> Response:
        """Whether power can be had by a tap when the money is used up, and how much."""
        purse = prepaid.purse_of(own_home(request, home))
        return Response(OfferAnswer(emergency_credit.offer(purse=purse, now=timezone.now())).data)

    @extend_schema(summary="Take the emergency credit", request=None, responses=OfferAnswer)
    def post(self, request: Request, home: int) -> Response:
        """Takes it: the power comes back within seconds, and the next recharge pays it back first. Once a recharge,
        however often it is tapped, so it needs no Idempotency-Key; 409 where it cannot be taken."""
        purse, now = prepaid.purse_of(own_home(request, home)), timezone.now()
        assert isinstance(request.auth, AccessToken)  # noqa: S101 (tells the type; own_home has looked)
        try:
            emergency_credit.take(
                purse_id=purse.pk, user=request.auth.user, trace=request.META.get("TRACE_ID", ""), now=now
            )
        except EmergencyRefused as error:
            raise Conflict(error.message, error.code) from error
        return Response(OfferAnswer(emergency_credit.offer(purse=purse, now=now)).data)
