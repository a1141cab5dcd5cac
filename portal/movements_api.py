"""What came into the purse of a home and what went out of it."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from accounts.polled import Polled
from portal import movements
from portal.api import Amount
from portal.usage_api import own_home

LAST_ID = 2**63 - 1


class MovementsRequest(serializers.Serializer[Any]):
    """Which page."""

    cursor = serializers.IntegerField(
        required=False, default=None, min_value=1, max_value=LAST_ID, help_text="`next` of the page before"
    )
    limit = serializers.IntegerField(required=False, default=20, min_value=1, max_value=movements.AT_MOST)


class MovementAnswer(serializers.Serializer[Any]):
    at = serializers.DateTimeField(help_text="when it was booked")
    kind = serializers.CharField(
        help_text="recharge, counter, usage, usage_corrected, refund, …: more may come, `text` says each in words"
    )
    text = serializers.CharField(help_text="in the reader's language")
    amount = Amount(source="amount_fen", help_text="below zero: went out")
    balance = Amount(
        source="balance_fen", help_text="there after it, in the books: at the server, on its way to a meter and in it"
    )
    recharge = serializers.CharField(help_text="number of the recharge or of the counter's receipt; empty for none")
    usage_date = serializers.DateField(
        allow_null=True, help_text="the day whose electricity it is: usage/<date> explains it"
    )


class MovementsAnswer(serializers.Serializer[Any]):
    movements = MovementAnswer(many=True)
    next = serializers.IntegerField(
        source="following", allow_null=True, help_text="send it as `cursor`; null on the last page"
    )


class Movements(Polled):
    @extend_schema(
        operation_id="movements_list", summary="See what came and went", parameters=[MovementsRequest],
        responses=MovementsAnswer,
    )  # fmt: skip
    def get(self, request: Request, home: int) -> Response:
        """Recharges, each day's electricity, subsidies, refunds and corrections since they moved in, newest first, with
        the balance after each. What is used since the last closed day is not booked yet: see the home's balance."""
        form = MovementsRequest(data=request.query_params)
        form.is_valid(raise_exception=True)
        tenancy, user = own_home(request, home), request.user
        assert isinstance(user, User)  # noqa: S101 (tells the type; the authenticator makes nothing else)
        asked = form.validated_data
        page = movements.page_of(
            tenancy=tenancy, user=user, before=asked["cursor"], at_most=asked["limit"], now=timezone.now()
        )
        return Response(MovementsAnswer(page).data)
