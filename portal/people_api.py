"""Oneself: the name, the number, the apps one logs in by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.exceptions import APIException
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import consents, vendor_apps
from accounts.api import told
from accounts.joining import EndedLoginError, StaffsLoginError
from accounts.login import Person
from accounts.masks import masked
from accounts.models import Identity, User
from accounts.phone_codes import CodeEndedError, WrongCodeError
from accounts.vendor_apps import NotSetUpError
from accounts.vendors import ProviderRefused, ProviderUnsure
from portal import people
from portal.people import AnotherLoginError
from portal.phone_login_api import CODE, CodeSent, PhoneRequest, refused, sent
from portal.refusals import words


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT


class AppAnswer(serializers.Serializer[Any]):
    provider = serializers.ChoiceField(choices=Identity.Provider.choices)
    app_id = serializers.CharField()


class MeAnswer(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    name = serializers.CharField()
    phone = serializers.SerializerMethodField(help_text="masked: 138****5678; empty while unknown")
    apps = serializers.SerializerMethodField(help_text="those by which one logs in")
    consent_needed = serializers.SerializerMethodField()

    def get_phone(self, user: User) -> str:
        return masked(user.phone)

    @extend_schema_field(AppAnswer(many=True))
    def get_apps(self, user: User) -> list[dict[str, Any]]:
        known = user.identities.order_by("pk")
        return [dict(AppAnswer(one).data) for one in known]

    def get_consent_needed(self, user: User) -> bool:
        return not consents.is_given(user)


class NameRequest(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=64, allow_blank=True, help_text="what staff and who shares the home read")


class NewNumber(PhoneRequest):
    code = serializers.RegexField(CODE, help_text="the six digits of the SMS")
    join = serializers.BooleanField(
        default=False, help_text="true: yes, the login that has this number is mine too, make one of the two"
    )


class NewApp(serializers.Serializer[Any]):
    provider = serializers.ChoiceField(choices=Identity.Provider.choices)
    code = serializers.CharField(max_length=256, help_text="what wx.login or my.getAuthCode gave, good once")
    join = serializers.BooleanField(default=False, help_text="as for a number")


class Me(APIView):
    permission_classes = (IsAuthenticated,)

    @extend_schema(operation_id="me_retrieve", summary="See oneself", responses=MeAnswer)
    def get(self, request: Request) -> Response:
        """Name, masked number, apps."""
        return Response(MeAnswer(_user(request)).data)

    @extend_schema(operation_id="me_update", summary="Say one's name", request=NameRequest, responses=MeAnswer)
    def patch(self, request: Request) -> Response:
        """Nothing else is theirs to write: a number is proven."""
        form = NameRequest(data=request.data)
        form.is_valid(raise_exception=True)
        user = _user(request)
        user.name = form.validated_data["name"]
        user.save(update_fields=["name"])
        return Response(MeAnswer(user).data)


class MyPhoneCodes(APIView):
    @extend_schema(summary="Ask for a code to a new number", request=PhoneRequest, responses={202: CodeSent})
    def post(self, request: Request) -> Response:
        """By SMS, within the limits of logging in: so it needs no Idempotency-Key."""
        form = PhoneRequest(data=request.data)
        form.is_valid(raise_exception=True)
        return sent(request, phone=form.validated_data["phone"], user=_user(request))


class MyPhone(APIView):
    @extend_schema(operation_id="me_phone_update", summary="Change the number", request=NewNumber, responses=MeAnswer)
    def put(self, request: Request) -> Response:
        """By the code sent to it. 409 `another_login` where somebody logs in by it already: with `join` and the
        same code the two become one. The older login is kept, and this token stays good."""
        form = NewNumber(data=request.data)
        form.is_valid(raise_exception=True)
        asked = form.validated_data
        return _changed(
            lambda: people.take_number(
                user=_user(request), phone=asked["phone"], code=asked["code"], joins=asked["join"], now=timezone.now()
            )
        )


class MyApps(APIView):
    @extend_schema(summary="Log in by another app too", request=NewApp, responses=MeAnswer)
    def post(self, request: Request) -> Response:
        """By the app's code. 409 `another_login` where somebody logs in by it already: with `join` and a new code the
        two become one."""
        form = NewApp(data=request.data)
        form.is_valid(raise_exception=True)
        asked = form.validated_data
        person = _person(asked["provider"], asked["code"])
        return _changed(
            lambda: people.add_app(user=_user(request), person=person, joins=asked["join"], now=timezone.now())
        )


def _person(provider: str, code: str) -> Person:
    """Whom a vendor vouches for by this code."""
    try:
        if provider == Identity.Provider.WECHAT:
            mini = vendor_apps.wechat_app()
            session = mini.code_to_session(code)
            return Person(provider, mini.app_id, session.openid, session.union_id)
        app = vendor_apps.alipay_app()
        granted = app.oauth_token(code)
        return Person(provider, app.app_id, granted.subject, granted.union_id)
    except (ProviderRefused, ProviderUnsure, NotSetUpError) as error:
        raise told(error, vendor=str(Identity.Provider(provider).label)) from error


def _changed(change: Callable[[], User]) -> Response:
    try:
        kept = change()
    except (WrongCodeError, CodeEndedError) as error:
        raise refused(error) from error
    except AnotherLoginError as error:
        raise Conflict(words(error), "another_login") from error
    except StaffsLoginError as error:
        raise Conflict(words(error), "login_is_staffs") from error
    except EndedLoginError as error:
        raise Conflict(words(error), "login_closed") from error
    return Response(MeAnswer(User.objects.get(pk=kept.pk)).data)


def _user(request: Request) -> User:
    assert isinstance(request.user, User)  # noqa: S101 (tells the type; the authenticator makes nothing else)
    return request.user
