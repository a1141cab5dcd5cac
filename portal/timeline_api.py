"""A home's timeline: what happened to its money and its power, and why."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing import timeline
from billing.timeline import Event, Place
from portal.api import Amount
from portal.usage_api import own_home


class TimelineRequest(serializers.Serializer[Any]):
    """Which page."""

    before = serializers.CharField(required=False, max_length=80, help_text="`next` of the page before")
    limit = serializers.IntegerField(required=False, default=50, min_value=1, max_value=timeline.AT_MOST)

    def validate_before(self, text: str) -> Place:
        try:
            return Place.parse(text)
        except ValueError as error:
            raise serializers.ValidationError(_("This is no place on a timeline: take `next` of a page.")) from error


class EventAnswer(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    kind = serializers.ChoiceField(choices=timeline.KINDS)
    text = serializers.CharField(help_text="in the reader's language")
    amount = Amount(
        source="amount_fen", allow_null=True,
        help_text="money: what the balance moved by; decision and warning: what there was; else null or what is meant",
    )  # fmt: skip


class TimelineAnswer(serializers.Serializer[Any]):
    events = EventAnswer(many=True)
    next = serializers.CharField(allow_null=True, help_text="send it as `before`; null on the last page")


class Timeline(APIView):
    @extend_schema(
        operation_id="timeline_list", summary="See what happened", parameters=[TimelineRequest],
        responses=TimelineAnswer,
    )  # fmt: skip
    def get(self, request: Request, home: int) -> Response:
        """What happened to the home since they moved in, newest first: money, decisions about power also where it was
        not cut and why, when it went off and came back, warnings, emergency credit, what staff held."""
        form = TimelineRequest(data=request.query_params)
        form.is_valid(raise_exception=True)
        limit = form.validated_data["limit"]
        tenancy = own_home(request, home)
        found = timeline.events(tenancy=tenancy, before=form.validated_data.get("before"), limit=limit)
        return Response(TimelineAnswer({"events": found, "next": _next(found, limit)}).data)


def _next(found: list[Event], limit: int) -> str | None:
    return str(found[-1].place) if len(found) == limit else None
