"""Below what a home wants to be warned, beside what its property laid down."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import members
from accounts.members import NotTheHolderError
from accounts.models import User
from billing import money, prepaid, wishes
from portal.refusals import words
from portal.usage_api import own_home


class AlertLevelAnswer(serializers.Serializer[Any]):
    yuan = serializers.CharField(allow_null=True, help_text="null: no level of one's own")


class AlertLevelWish(serializers.Serializer[Any]):
    yuan = serializers.CharField(allow_null=True, max_length=16, help_text='"30" or "30.00"; null to take it back')


class AlertLevel(APIView):
    @extend_schema(operation_id="alert_level", summary="Below what I am warned", responses=AlertLevelAnswer)
    def get(self, request: Request, home: int) -> Response:
        """The home's own level. Those of the property hold as well."""
        purse = prepaid.purse_of(own_home(request, home))
        return _answer(wishes.own_level_fen(purse_id=purse.pk))

    @extend_schema(
        operation_id="alert_level_update", summary="Wish for it", request=AlertLevelWish, responses=AlertLevelAnswer
    )
    def put(self, request: Request, home: int) -> Response:
        """The holder's to say; a balance that is lower already is told at once."""
        tenancy = own_home(request, home)
        user = request.user
        assert isinstance(user, User)  # noqa: S101 (tells the type; the authenticator makes nothing else)
        if not members.is_holder(tenancy, user):
            raise PermissionDenied(words(NotTheHolderError()), "not_the_holder")
        form = AlertLevelWish(data=request.data)
        form.is_valid(raise_exception=True)
        text = form.validated_data["yuan"]
        try:
            fen = None if text is None else money.from_yuan(text)
            wishes.set_own_level(purse_id=prepaid.purse_of(tenancy).pk, fen=fen, by=user, now=timezone.now())
        except (money.NotAnAmount, wishes.WishRefused) as refused:
            raise ValidationError({"yuan": str(refused)}) from None
        return _answer(fen)


def _answer(fen: int | None) -> Response:
    return Response({"yuan": None if fen is None else money.to_yuan(fen)})
