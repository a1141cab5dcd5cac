"""Logging in by a code to one's phone."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, PermissionDenied, Throttled, ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.addresses import address_of
from accounts.api import LoginAnswer, answer_of
from accounts.guesses import TooManyGuessesError
from accounts.login import LoginClosedError
from accounts.models import PHONE, User
from accounts.phone_codes import CodeEndedError, WrongCodeError
from notifications.login_codes import NoSmsError
from portal import phone_login
from portal.phone_login import NotSentError

CODE = r"^[0-9]{6}$"


class SmsAway(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE


class PhoneRequest(serializers.Serializer[Any]):
    phone = serializers.CharField(max_length=11, validators=[PHONE], help_text="mainland mobile number, 11 digits")


class CodeSent(serializers.Serializer[Any]):
    again_at = serializers.DateTimeField(help_text="another one may be asked for from then on")
    expires_at = serializers.DateTimeField(source="row.expires_at")


class PhoneLogin(PhoneRequest):
    code = serializers.RegexField(CODE, help_text="the six digits of the SMS")


class PhoneCodes(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(summary="Ask for a code by SMS", request=PhoneRequest, responses={202: CodeSent}, auth=[])
    def post(self, request: Request) -> Response:
        """Sends a code to log in with. One a minute, five an hour, ten a day for a number: so it needs no
        Idempotency-Key. The answer is the same whether or not anybody here has this number."""
        form = PhoneRequest(data=request.data)
        form.is_valid(raise_exception=True)
        return sent(request, phone=form.validated_data["phone"], user=None)


class Phone(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(summary="Log in with a code by SMS", request=PhoneLogin, responses=LoginAnswer, auth=[])
    def post(self, request: Request) -> Response:
        """Logs in; whoever comes for the first time becomes a user. Homes that wait for this number are joined."""
        form = PhoneLogin(data=request.data)
        form.is_valid(raise_exception=True)
        now = timezone.now()
        try:
            signed_in = phone_login.enter(**form.validated_data, now=now)
        except (WrongCodeError, CodeEndedError) as error:
            raise refused(error) from error
        except LoginClosedError as error:
            raise PermissionDenied(
                _("This login has been closed. Please ask the front desk."), "login_closed"
            ) from error
        return answer_of(signed_in, now=now)


def sent(request: Request, *, phone: str, user: User | None) -> Response:
    """Sends a code, or says why not."""
    now = timezone.now()
    try:
        made = phone_login.send(
            phone=phone, user=user, address=address_of(request), language=get_language() or "zh-hans", now=now
        )
    except TooManyGuessesError as error:
        wait_s = (error.again_at - now).total_seconds()
        raise Throttled(wait_s, _("Too many codes were asked for."), "too_many_codes") from error
    except NoSmsError as error:
        raise SmsAway(_("Codes by SMS are not set up here."), "sms_not_set_up") from error
    except NotSentError as error:
        raise SmsAway(_("The SMS could not be sent. Try again in a minute."), "sms_not_sent") from error
    return Response(CodeSent(made).data, status=status.HTTP_202_ACCEPTED)


def refused(error: Exception) -> ValidationError:
    """What a person reads whose code is not believed."""
    if isinstance(error, WrongCodeError):
        return ValidationError(_("This is not the code that was sent."), "wrong_code")
    return ValidationError(_("This code is no longer good. Please ask for another."), "code_ended")
