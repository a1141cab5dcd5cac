"""The tenant's side of messages: the inbox, what they allow, what they want."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import NotFound, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import AccessToken, Identity, User
from accounts.polled import Polled
from notifications import inbox, links, permits, preferences
from notifications.models import Delivery, Message, Preference

AT_ONCE = 20
A_DAY = 24 * 60
BIGGEST = 2**63 - 1


# ---- the inbox ----


class MessageAnswer(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    kind = serializers.CharField(source="message.kind")
    title = serializers.CharField(source="message.kind_in_words")
    text = serializers.CharField()
    at = serializers.DateTimeField(source="made_at")
    home = serializers.IntegerField(source="message.tenancy_id", allow_null=True)
    is_read = serializers.SerializerMethodField()
    is_withdrawn = serializers.SerializerMethodField(help_text="it is no longer true")
    off_url = serializers.SerializerMethodField(help_text="switches this kind off; blank where it cannot be")

    def get_is_read(self, delivery: Delivery) -> bool:
        return delivery.state == Delivery.State.READ

    def get_is_withdrawn(self, delivery: Delivery) -> bool:
        return delivery.message.state == Message.State.WITHDRAWN

    def get_off_url(self, delivery: Delivery) -> str:
        return links.off_url(user_id=delivery.user_id, kind=delivery.message.kind)


class InboxAnswer(serializers.Serializer[Any]):
    messages = MessageAnswer(many=True)
    unread = serializers.IntegerField()
    next = serializers.IntegerField(allow_null=True, help_text="ask with `before` for what is older; null at the end")


class ReadAnswer(serializers.Serializer[Any]):
    unread = serializers.IntegerField()


class UpTo(serializers.Serializer[Any]):
    up_to = serializers.IntegerField(min_value=1, max_value=BIGGEST, help_text="this message and all before it")


class Inbox(Polled):
    @extend_schema(
        operation_id="messages_list",
        summary="What I was told",
        parameters=[OpenApiParameter("before", OpenApiTypes.INT64, description="`next` of the page before")],
        responses=InboxAnswer,
    )
    def get(self, request: Request) -> Response:
        """Newest first, twenty at a time."""
        user, rows = _user(request), inbox.of(_user(request))
        before = request.query_params.get("before")
        if before is not None:
            rows = rows.filter(pk__lt=_number(before, name="before"))
        found = list(rows[: AT_ONCE + 1])
        answer = {
            "messages": found[:AT_ONCE],
            "unread": inbox.unread(user),
            "next": found[AT_ONCE - 1].pk if len(found) > AT_ONCE else None,
        }
        return Response(InboxAnswer(answer).data)


class Read(APIView):
    @extend_schema(operation_id="message_read", summary="I have opened it", request=None, responses=ReadAnswer)
    def post(self, request: Request, message: int) -> Response:
        """Again it changes nothing."""
        user = _user(request)
        if message > BIGGEST or not inbox.of(user).filter(pk=message).exists():
            raise NotFound(_("There is no such message."))
        inbox.read(user=user, up_to=message, only=True, now=timezone.now())
        return Response({"unread": inbox.unread(user)})


class ReadAll(APIView):
    @extend_schema(operation_id="messages_read", summary="I have seen all of them", request=UpTo, responses=ReadAnswer)
    def post(self, request: Request) -> Response:
        """Up to one that was shown: what came meanwhile stays unread."""
        form = UpTo(data=request.data)
        form.is_valid(raise_exception=True)
        user = _user(request)
        inbox.read(user=user, up_to=form.validated_data["up_to"], only=False, now=timezone.now())
        return Response({"unread": inbox.unread(user)})


# ---- permits ----


class SubscriptionAnswer(serializers.Serializer[Any]):
    template_id = serializers.CharField()
    kinds = serializers.ListField(child=serializers.CharField())
    left = serializers.IntegerField(help_text="messages that this person still allows")


class PermitsAnswer(serializers.Serializer[Any]):
    templates = SubscriptionAnswer(many=True)
    ask_next = serializers.ListField(
        child=serializers.CharField(), help_text="for the next wx.requestSubscribeMessage, three at most"
    )


class Prompted(serializers.Serializer[Any]):
    reported_as = serializers.RegexField(
        r"^[A-Za-z0-9_-]{8,64}$", help_text="your own key of this prompt; told twice it counts once"
    )
    outcomes = serializers.DictField(
        child=serializers.ChoiceField(choices=["accept", "reject", "ban", "filter"]),
        help_text="what wx.requestSubscribeMessage answered, by template id",
    )

    def validate_outcomes(self, outcomes: dict[str, str]) -> dict[str, str]:
        if not 0 < len(outcomes) <= permits.AT_ONCE or any(len(name) > 64 for name in outcomes):
            raise serializers.ValidationError(_("A prompt asks for one to three templates."))
        return outcomes


class Permits(APIView):
    @extend_schema(operation_id="message_permits", summary="What I allow in WeChat", responses=PermitsAnswer)
    def get(self, request: Request) -> Response:
        """The templates of the mini-program, and which to ask for next: after a recharge, say."""
        return Response(_permits(_mini_program(request)))

    @extend_schema(
        operation_id="message_permits_report", summary="Report a prompt", request=Prompted, responses=PermitsAnswer
    )
    def post(self, request: Request) -> Response:
        """Counts what the person allowed; the same report again changes nothing."""
        identity = _mini_program(request)
        form = Prompted(data=request.data)
        form.is_valid(raise_exception=True)
        permits.report(identity=identity, **form.validated_data, now=timezone.now())
        return Response(_permits(identity))


def _permits(identity: Identity) -> dict[str, Any]:
    answer = {"templates": permits.subscriptions(identity), "ask_next": permits.ask_next(identity)}
    return dict(PermitsAnswer(answer).data)


# ---- preferences ----


@extend_schema_field(OpenApiTypes.STR)
class ClockField(serializers.Field[int, Any, str, int]):
    """Minutes of the day as HH:MM."""

    def to_representation(self, value: int) -> str:
        return f"{value // 60:02d}:{value % 60:02d}"

    def to_internal_value(self, data: Any) -> int:
        hours, colon, minutes = str(data).partition(":")
        if colon and len(hours) == len(minutes) == 2 and (hours + minutes).isascii() and (hours + minutes).isdigit():
            value = int(hours) * 60 + int(minutes)
            if int(minutes) < 60 and value < A_DAY:
                return value
        raise serializers.ValidationError(_("Write a time as 22:00."))


class KindAnswer(serializers.Serializer[Any]):
    kind = serializers.CharField()
    title = serializers.CharField()
    is_compulsory = serializers.BooleanField(help_text="it cannot be switched off")
    is_on = serializers.BooleanField()


class PreferencesAnswer(serializers.Serializer[Any]):
    kinds = KindAnswer(many=True)
    quiet_from = serializers.CharField(help_text="HH:MM in Shanghai; urgent messages come all the same")
    quiet_until = serializers.CharField(help_text="HH:MM; the same as quiet_from: no quiet hours")
    language = serializers.CharField()


class Wishes(serializers.Serializer[Any]):
    off_kinds = serializers.ListField(child=serializers.CharField(max_length=32), max_length=50)
    quiet_from = ClockField()
    quiet_until = ClockField()
    language = serializers.ChoiceField(choices=["zh-hans", "en"])


class Preferences(APIView):
    @extend_schema(operation_id="message_preferences", summary="What I want to be told", responses=PreferencesAnswer)
    def get(self, request: Request) -> Response:
        """The usual ones, where nothing was wished for."""
        return Response(_wanted(preferences.of(_user(request))))

    @extend_schema(
        operation_id="message_preferences_update", summary="Wish for it", request=Wishes, responses=PreferencesAnswer
    )
    def put(self, request: Request) -> Response:
        """All of it at once. What is compulsory cannot be switched off."""
        form = Wishes(data=request.data)
        form.is_valid(raise_exception=True)
        try:
            row = preferences.wish(user=_user(request), **form.validated_data, now=timezone.now())
        except preferences.PreferenceRefused as refused:
            raise ValidationError({"off_kinds": str(refused)}) from None
        return Response(_wanted(row))


def _wanted(row: Preference) -> dict[str, Any]:
    clock = ClockField()
    kinds = [
        {
            "kind": code,
            "title": str(kind.label),
            "is_compulsory": kind.is_compulsory,
            "is_on": code not in row.off_kinds,
        }
        for code, kind in preferences.offered().items()
    ]
    answer = {
        "kinds": kinds,
        "quiet_from": clock.to_representation(row.quiet_from),
        "quiet_until": clock.to_representation(row.quiet_until),
        "language": row.language,
    }
    return dict(PreferencesAnswer(answer).data)


# ---- who asks ----


def _user(request: Request) -> User:
    assert isinstance(request.user, User)  # noqa: S101 (tells the type; the authenticator makes nothing else)
    return request.user


def _mini_program(request: Request) -> Identity:
    """The identity in WeChat's mini-program that this login came through."""
    identity = request.auth.identity if isinstance(request.auth, AccessToken) else None
    if identity is None or identity.provider != Identity.Provider.WECHAT:
        raise PermissionDenied(_("This is for the WeChat mini-program."), "not_in_wechat")
    return identity


def _number(text: str, *, name: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20) or int(text) > BIGGEST:
        raise ValidationError({name: _("This is no number of a message.")})
    return int(text)
