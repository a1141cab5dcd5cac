"""Logging in and out, for the mini-programs."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, PermissionDenied, ValidationError
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import consents, login, scope
from accounts.login import LoginClosedError, SignedIn
from accounts.masks import masked
from accounts.models import AccessToken, Member
from accounts.vendor_apps import NotSetUpError
from accounts.vendors import ProviderRefused, ProviderUnsure

log = logging.getLogger(__name__)

# What a vendor says of a code that is wrong, used or too old, or of somebody it will not let in. Whatever else it
# refuses (our secret, our app id, our signature) is ours to mend and no fault of the person's.
CODE_REFUSALS = frozenset({"40029", "40163", "40226", "41008", "isv.code-invalid"})


class VendorAway(APIException):
    """WeChat or Alipay does not answer, or our app there is not set up: nothing the person did."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE


class WeChatLogin(serializers.Serializer[Any]):
    code = serializers.CharField(max_length=256, help_text="what wx.login gave, good once for five minutes")


class AlipayLogin(serializers.Serializer[Any]):
    auth_code = serializers.CharField(max_length=256, help_text="what my.getAuthCode gave, good once")


class Me(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    phone = serializers.CharField(help_text="masked: 138****5678; empty while unknown")
    consent_needed = serializers.BooleanField(help_text="ask for it, or all but little answers 403 consent_needed")


class HomeInBrief(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    property = serializers.CharField()
    building = serializers.CharField()
    room = serializers.CharField()
    role = serializers.ChoiceField(choices=Member.Role.choices)
    starts_at = serializers.DateTimeField()


class LoginAnswer(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="send it as `Authorization: Bearer <token>`; it is not told again")
    expires_at = serializers.DateTimeField()
    user = Me()
    homes = HomeInBrief(many=True)


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # it registers itself when defined
    """Tells the API's description how to authenticate."""

    target_class = "accounts.login.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer"}


class WeChat(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(summary="Log in with WeChat", request=WeChatLogin, responses=LoginAnswer, auth=[])
    def post(self, request: Request) -> Response:
        """Logs in by WeChat's code; whoever comes for the first time becomes a user without homes."""
        form = WeChatLogin(data=request.data)
        form.is_valid(raise_exception=True)
        now = timezone.now()
        try:
            signed_in = login.sign_in_wechat(code=form.validated_data["code"], now=now)
        except (ProviderRefused, ProviderUnsure, NotSetUpError, LoginClosedError) as error:
            raise told(error, vendor=_("WeChat")) from error
        return answer_of(signed_in, now=now)


class Alipay(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(summary="Log in with Alipay", request=AlipayLogin, responses=LoginAnswer, auth=[])
    def post(self, request: Request) -> Response:
        """Logs in by Alipay's code; whoever comes for the first time becomes a user without homes."""
        form = AlipayLogin(data=request.data)
        form.is_valid(raise_exception=True)
        now = timezone.now()
        try:
            signed_in = login.sign_in_alipay(auth_code=form.validated_data["auth_code"], now=now)
        except (ProviderRefused, ProviderUnsure, NotSetUpError, LoginClosedError) as error:
            raise told(error, vendor=_("Alipay")) from error
        return answer_of(signed_in, now=now)


class Logout(APIView):
    permission_classes = (IsAuthenticated,)

    @extend_schema(summary="Log out", request=None, responses={204: None})
    def post(self, request: Request) -> Response:
        """Ends this login; other phones of the same person stay logged in."""
        assert isinstance(request.auth, AccessToken)  # noqa: S101 (tells the type; the authenticator makes nothing else)
        login.log_out(token=request.auth, now=timezone.now())
        return Response(status=status.HTTP_204_NO_CONTENT)


def told(error: Exception, *, vendor: str) -> APIException:
    """What a person reads when a vendor did not vouch for them. Ours to mend is logged, with the vendor's code."""
    if isinstance(error, LoginClosedError):
        return PermissionDenied(_("This login has been closed. Please ask the front desk."), "login_closed")
    if isinstance(error, ProviderUnsure):
        log.warning("no answer from a vendor: %s", error)
        return VendorAway(_("%(vendor)s does not answer. Try again in a moment.") % {"vendor": vendor}, "vendor_away")
    if isinstance(error, ProviderRefused) and error.code in CODE_REFUSALS:
        message = _("%(vendor)s does not know this code, or it was used before. Please try again.")
        return ValidationError(message % {"vendor": vendor}, "code_refused")
    log.error("our app cannot use its vendor: %s", error)
    message = _("%(vendor)s cannot be used here at the moment. We have been told.")
    return VendorAway(message % {"vendor": vendor}, "vendor_not_set_up")


def in_brief(member: Member) -> dict[str, Any]:
    """A home as far as accounts knows it; `member` comes with tenancy, room, building and property loaded."""
    room = member.tenancy.room
    return {
        "id": member.tenancy_id,
        "property": room.building.property.name,
        "building": room.building.name,
        "room": room.number,
        "role": member.role,
        "starts_at": member.tenancy.starts_at,
    }


def answer_of(signed_in: SignedIn, *, now: datetime) -> Response:
    """Token, person and homes, for any way of logging in."""
    user = signed_in.user
    answer = {
        "token": signed_in.token,
        "expires_at": signed_in.expires_at,
        "user": {
            "id": user.pk,
            "name": user.name,
            "phone": masked(user.phone),
            "consent_needed": not consents.is_given(user),
        },
        "homes": [in_brief(member) for member in scope.memberships_of(user, now)],
    }
    return Response(LoginAnswer(answer).data, headers={"Cache-Control": "no-store"})
