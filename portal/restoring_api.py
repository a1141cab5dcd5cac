""" "Restore my power": what is missing, and a second look."""

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
from portal import restoring
from portal.api import Amount


class StepAnswer(serializers.Serializer[Any]):
    code = serializers.ChoiceField(choices=restoring.CODES)
    text = serializers.CharField(help_text="in the reader's language")
    amount = Amount(source="amount_fen", allow_null=True, help_text="how much money is meant; null where none is")


class LackingAnswer(serializers.Serializer[Any]):
    is_on = serializers.BooleanField(help_text="as the meters reported it")
    steps = StepAnswer(many=True, help_text="what is missing, in order; none: nothing is")


class Restore(Polled):
    @extend_schema(operation_id="restore_retrieve", summary="See what is missing for power", responses=LackingAnswer)
    def get(self, request: Request, home: int) -> Response:
        """Money and how much, what staff hold, a press of the meter's button, a meter that cannot be reached, …"""
        found = restoring.lacking(user=_user(request), home_id=home, now=timezone.now())
        return _answer(found)

    @extend_schema(summary="Have the power looked at again", request=None, responses=LackingAnswer)
    def post(self, request: Request, home: int) -> Response:
        """Decides again, at once, about a home without power, and says what is missing then. As often as you like: it
        costs nothing, changes nothing where nothing changed, and never switches off."""
        trace = request.META.get("TRACE_ID", "")
        found = restoring.look_again(user=_user(request), home_id=home, trace=trace, now=timezone.now())
        return _answer(found)


def _answer(found: restoring.Lacking | None) -> Response:
    if found is None:
        raise NotFound
    return Response(LackingAnswer(found).data)


def _user(request: Request) -> User:
    assert isinstance(request.user, User)  # noqa: S101 (tells the type; the authenticator makes nothing else)
    return request.user
