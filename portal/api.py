"""The tenant's homes: see them, see one, come into one."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, NotFound, Throttled
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import invitations, vendor_apps
from accounts.api import HomeInBrief, in_brief, told
from accounts.guesses import TooManyGuessesError
from accounts.invitations import Joined, TenancyEndedError, UnknownCodeError
from accounts.models import AccessToken, Member, User
from accounts.polled import Polled
from accounts.vendor_apps import NotSetUpError
from accounts.vendors import ProviderRefused, ProviderUnsure
from billing import money
from billing.models import StaffHold
from meters.models import Meter, Relay
from portal import homes
from portal.usage_api import SlotAnswer

MAINLAND = "86"
RELAYS = [Relay.CLOSED.value, Relay.PERMITTED.value, Relay.OPEN.value, homes.UNKNOWN]
WANTED = [Relay.CLOSED.value, Relay.PERMITTED.value, Relay.OPEN.value, Relay.AUTO.value, homes.UNKNOWN]


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT


class Amount(serializers.Serializer[Any]):
    """Of an int of fen."""

    fen = serializers.IntegerField(source="*")
    yuan = serializers.SerializerMethodField(help_text="with two decimals: 50.00, -0.05")

    def get_yuan(self, fen: int) -> str:
        return money.to_yuan(fen)


class BalanceAnswer(serializers.Serializer[Any]):
    available = Amount(source="available_fen", help_text="at the server; below zero is a debt")
    posted = Amount(source="posted_fen", help_text="as it stands in the books")
    accrued = Amount(
        source="accrued_fen", help_text="used since, and not in the books yet: available = posted - accrued"
    )
    days_left = serializers.IntegerField(
        allow_null=True, help_text="for about so many days at the usual use; null where that is not known"
    )
    disputed = Amount(source="disputed_fen", help_text="of what was used, what a dispute is about: it cuts nobody")
    in_transit = Amount(source="in_transit_fen", help_text="paid, on its way into the meter")
    in_meter = Amount(
        source="in_meter_fen", allow_null=True, help_text="as the meter last reported; null where meters hold no money"
    )
    in_meter_at = serializers.DateTimeField(allow_null=True, help_text="when it was reported")
    as_of = serializers.DateTimeField(
        allow_null=True, help_text="the newest reading, recharge or report of a meter that is counted in it"
    )


class PowerAnswer(serializers.Serializer[Any]):
    relay = serializers.ChoiceField(choices=RELAYS)
    since = serializers.DateTimeField(allow_null=True)
    wanted = serializers.ChoiceField(choices=WANTED, help_text="auto: the meter decides by its own money")
    why = serializers.CharField(help_text="in words, why it is off or soon will be; empty when all is well")
    how_to_restore = serializers.CharField()
    not_kept = serializers.CharField(
        help_text="in words, what is laid down and a meter that decides by its own money does not keep; or empty"
    )


class MeterAnswer(serializers.Serializer[Any]):
    serial = serializers.CharField()
    online = serializers.BooleanField(source="is_online")
    last_seen_at = serializers.DateTimeField(allow_null=True)
    read_at = serializers.DateTimeField(source="reported_at", allow_null=True, help_text="when the register was read")
    relay = serializers.SerializerMethodField()
    import_kwh = serializers.SerializerMethodField(help_text="the register, with three decimals; null before a report")
    power_w = serializers.IntegerField(allow_null=True)
    holds_money = serializers.BooleanField(help_text="whether a recharge goes into this meter")

    def get_relay(self, meter: Meter) -> str:
        return meter.relay or homes.UNKNOWN

    def get_import_kwh(self, meter: Meter) -> str | None:
        if meter.import_wh is None:
            return None
        kwh, rest_wh = divmod(meter.import_wh, 1000)
        return f"{kwh}.{rest_wh:03d}"


class HoldAnswer(serializers.Serializer[Any]):
    position = serializers.ChoiceField(choices=StaffHold.Position.choices)
    reason = serializers.CharField()
    placed_at = serializers.DateTimeField()
    until_at = serializers.DateTimeField(allow_null=True)


class LowAnswer(serializers.Serializer[Any]):
    level = serializers.CharField(help_text="fen:500, percent:20, days:3, own:5000 or used_up")
    text = serializers.CharField(help_text="in words")
    since = serializers.DateTimeField()


class HomeAnswer(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="tenancy.pk")
    property = serializers.CharField(source="tenancy.room.building.property.name")
    building = serializers.CharField(source="tenancy.room.building.name")
    room = serializers.CharField(source="tenancy.room.number")
    role = serializers.ChoiceField(choices=Member.Role.choices)
    starts_at = serializers.DateTimeField(source="tenancy.starts_at")
    balance = BalanceAnswer()
    power = PowerAnswer()
    meters = MeterAnswer(many=True)
    hold = HoldAnswer(allow_null=True, help_text="what staff hold by hand, stronger than money")
    alerts = LowAnswer(many=True, help_text="warnings of the balance that stand")
    price = SlotAnswer(allow_null=True, help_text="what holds now; null where no price is known")
    next_price = SlotAnswer(allow_null=True, help_text="what follows today or tomorrow; null where it stays as it is")


_A_HOME = HomeAnswer()  # made once: a serializer that is made anew copies each of its fields


class HomesAnswer(serializers.Serializer[Any]):
    homes = HomeAnswer(many=True)


class JoinRequest(serializers.Serializer[Any]):
    """One of the two."""

    code = serializers.CharField(max_length=32, required=False, help_text="the code that staff printed")
    phone_code = serializers.CharField(max_length=256, required=False, help_text="of WeChat's phone-number button")

    def validate(self, attrs: dict[str, str]) -> dict[str, str]:
        if len(attrs) != 1:
            raise serializers.ValidationError(_("Send either code or phone_code."))
        return attrs


class JoinAnswer(serializers.Serializer[Any]):
    homes = HomeInBrief(many=True)


class Homes(Polled):
    @extend_schema(operation_id="homes_list", summary="See all of one's homes", responses=HomesAnswer)
    def get(self, request: Request) -> Response:
        """Every home of the tenant: balance, power and why it is off, meters."""
        return Response(HomesAnswer({"homes": homes.homes(user=_user(request), now=timezone.now())}).data)

    @extend_schema(summary="Join a home", request=JoinRequest, responses={201: JoinAnswer, 200: JoinAnswer})
    def post(self, request: Request) -> Response:
        """Comes into a home by the code that staff printed, or by the phone number that WeChat vouches for.

        201 when they joined now; 200 when they lived there already. A home whose first day is yet to come is told
        here and seen from that day on.
        """
        form = JoinRequest(data=request.data)
        form.is_valid(raise_exception=True)
        user, asked = _user(request), form.validated_data
        joined = _by_code(user, asked["code"]) if "code" in asked else _by_phone(user, asked["phone_code"])
        answer = JoinAnswer({"homes": [in_brief(_loaded(one.member)) for one in joined]})
        is_new = any(one.is_new for one in joined)
        return Response(answer.data, status=status.HTTP_201_CREATED if is_new else status.HTTP_200_OK)


class Home(Polled):
    @extend_schema(operation_id="homes_retrieve", summary="See one home", responses=HomeAnswer)
    def get(self, request: Request, home: int) -> Response:
        """One home of the tenant."""
        found = homes.home(user=_user(request), home_id=home, now=timezone.now())
        if found is None:
            raise NotFound
        return Response(_A_HOME.to_representation(found))


def _by_code(user: User, code: str) -> list[Joined]:
    now = timezone.now()
    try:
        return [invitations.join_by_code(user=user, code=code, now=now)]
    except TooManyGuessesError as error:
        raise Throttled((error.again_at - now).total_seconds(), _("Too many tries."), "too_many_tries") from error
    except UnknownCodeError as error:
        message = _("This code is not known, was used before, or has run out. The front desk can give you another.")
        raise NotFound(message, "unknown_code") from error
    except TenancyEndedError as error:
        raise Conflict(_("This tenancy has ended. Please ask the front desk."), "tenancy_ended") from error


def _by_phone(user: User, phone_code: str) -> list[Joined]:
    try:
        phone = vendor_apps.wechat_app().phone_number(phone_code)
    except (ProviderRefused, ProviderUnsure, NotSetUpError) as error:
        raise told(error, vendor=_("WeChat")) from error
    joined = []
    if phone.country_code == MAINLAND:
        joined = invitations.join_by_phone(user=user, phone=phone.number, now=timezone.now())
    if not joined:
        raise NotFound(_("No home waits for this phone number. Please ask the front desk."), "no_invitation")
    return joined


def _loaded(member: Member) -> Member:
    return Member.objects.select_related("tenancy__room__building__property").get(pk=member.pk)


def _user(request: Request) -> User:
    assert isinstance(request.auth, AccessToken)  # noqa: S101 (tells the type; the authenticator makes nothing else)
    return request.auth.user
