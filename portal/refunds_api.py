"""What of a recharge was given back."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from accounts.polled import Polled
from portal import refunds
from portal.api import Amount


class RefundAnswer(serializers.Serializer[Any]):
    amount = Amount(source="amount_fen")
    state = serializers.CharField(help_text="done, or looked_into: paid and not credited, for a person to decide")
    text = serializers.CharField(help_text="the state in words")
    requested_at = serializers.DateTimeField(source="asked_at", help_text="since when it is known of")
    finished_at = serializers.DateTimeField(allow_null=True, help_text="when the provider gave it back; null before")


class RefundsAnswer(serializers.Serializer[Any]):
    refunds = RefundAnswer(many=True)


class Refunds(Polled):
    @extend_schema(operation_id="refunds_list", summary="See what was given back", responses=RefundsAnswer)
    def get(self, request: Request, number: str) -> Response:
        """What of a recharge was given back, oldest first: of one's own, and of those for one's homes."""
        user = request.user
        assert isinstance(user, User)  # noqa: S101 (tells the type; the authenticator makes nothing else)
        found = refunds.of(user=user, number=number, now=timezone.now())
        if found is None:
            raise NotFound
        return Response(RefundsAnswer({"refunds": found}).data)
