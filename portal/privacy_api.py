"""The privacy notice, and the consent to it."""

from __future__ import annotations

from typing import Any

from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import consents
from accounts.models import Consent, User


class OtherVersion(APIException):
    status_code = status.HTTP_409_CONFLICT


class NoticeAnswer(serializers.Serializer[Any]):
    version = serializers.CharField()
    html = serializers.CharField(help_text="the notice in the reader's language: headings, paragraphs and lists alone")
    consented_at = serializers.DateTimeField(allow_null=True, help_text="null: ask for it")


class ConsentRequest(serializers.Serializer[Any]):
    version = serializers.CharField(max_length=16, help_text="of the notice that the person read")


class ConsentAnswer(serializers.Serializer[Any]):
    version = serializers.CharField()
    given_at = serializers.DateTimeField()


class Privacy(APIView):
    permission_classes = (IsAuthenticated,)

    @extend_schema(operation_id="privacy_retrieve", summary="Read the privacy notice", responses=NoticeAnswer)
    def get(self, request: Request) -> Response:
        """Who processes what, for which purpose, for how long, and what rights people have."""
        given = Consent.objects.filter(user=_user(request), version=consents.CURRENT).first()
        answer = {
            "version": consents.CURRENT,
            "html": render_to_string("tenant/privacy_notice.html"),
            "consented_at": given.given_at if given else None,
        }
        return Response(NoticeAnswer(answer).data)


class GiveConsent(APIView):
    permission_classes = (IsAuthenticated,)

    @extend_schema(summary="Consent to the privacy notice", request=ConsentRequest, responses=ConsentAnswer)
    def post(self, request: Request) -> Response:
        """Once for each version; without it most of this API answers 403 `consent_needed`. Again changes nothing."""
        form = ConsentRequest(data=request.data)
        form.is_valid(raise_exception=True)
        try:
            given = consents.give(
                user=_user(request),
                version=form.validated_data["version"],
                came_through=Consent.Through.API,
                now=timezone.now(),
            )
        except consents.OtherVersionError as error:
            message = _("The notice has changed. Please read the one that holds now.")
            raise OtherVersion(message, "other_version") from error
        return Response(ConsentAnswer(given).data)


def _user(request: Request) -> User:
    assert isinstance(request.user, User)  # noqa: S101 (tells the type; the authenticator makes nothing else)
    return request.user
