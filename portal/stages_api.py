"""How far a recharge has come, for an app that waits for the light."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import scope
from accounts.models import User
from accounts.polled import Polled
from payments import chase, history
from payments.models import Order
from portal import stages

STATES = [(one.value, one.value) for one in stages.State]


class StageAnswer(serializers.Serializer[Any]):
    name = serializers.ChoiceField(choices=list(stages.NAMES))
    title = serializers.CharField(source="label", help_text="in the reader's language")
    state = serializers.ChoiceField(choices=STATES)
    at = serializers.DateTimeField(allow_null=True, help_text="when it was passed; null where nobody noted it")
    seconds = serializers.FloatField(allow_null=True, help_text="after the payment")


class ProgressAnswer(serializers.Serializer[Any]):
    number = serializers.CharField(source="order.number")
    state = serializers.ChoiceField(choices=Order.State.choices)
    stages = StageAnswer(many=True)
    hint = serializers.CharField(help_text="what to do where a stage takes long; blank while all is well")
    is_over = serializers.BooleanField(help_text="ask no more")


class Progress(Polled):
    @extend_schema(operation_id="recharge_progress", summary="See how far it has come", responses=ProgressAnswer)
    def get(self, request: Request, number: str) -> Response:
        """Placed, paid, credited, sent to the meter, power on, with seconds. Ask once a second, with If-None-Match,
        until `is_over`. While it is unpaid its provider is asked, at most every other second."""
        user, now = request.user, timezone.now()
        assert isinstance(user, User)  # noqa: S101 (tells the type; the authenticator makes nothing else)
        order = history.visible_to(user, now).select_related("tenancy__room").filter(number=number).first()
        if order is None:
            raise NotFound
        chase.ask_now(order, now=now)
        order.refresh_from_db(fields=["state"])
        is_member = scope.homes_of(user, now).filter(pk=order.tenancy_id).exists()
        return Response(ProgressAnswer(stages.of(order, is_member=is_member, now=now)).data)
