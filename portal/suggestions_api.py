"""How much to recharge."""

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
from portal import suggestions
from portal.api import Amount


class SuggestionAnswer(serializers.Serializer[Any]):
    amount = Amount(source="amount_fen")
    lasts_days = serializers.IntegerField(
        allow_null=True, help_text="the balance with it, at the usual use; null where that is not known"
    )
    text = serializers.CharField(help_text="the same in words; empty where it is not known")


class SuggestedAnswer(serializers.Serializer[Any]):
    suggestions = SuggestionAnswer(many=True, help_text="the smallest first")
    needed = Amount(source="needed_fen", help_text="the least that brings the power back; 0 where money is not missing")
    at_least = Amount(source="at_least_fen", help_text="may be recharged at once")
    at_most = Amount(source="at_most_fen", help_text="may be recharged at once")


class Suggestions(Polled):
    @extend_schema(operation_id="recharge_suggestions", summary="See how much to recharge", responses=SuggestedAnswer)
    def get(self, request: Request, home: int) -> Response:
        """For a week, two weeks and a month of the usual use, rounded; fixed amounts where no use is known yet."""
        user = request.user
        assert isinstance(user, User)  # noqa: S101 (tells the type; the authenticator makes nothing else)
        found = suggestions.suggested(user=user, home_id=home, now=timezone.now())
        if found is None:
            raise NotFound
        return Response(SuggestedAnswer(found).data)
