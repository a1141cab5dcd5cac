"""Pages on which somebody logs in by a code to their phone, consents to the privacy notice, and logs out."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts import consents, login
from accounts.addresses import address_of
from accounts.guesses import TooManyGuessesError
from accounts.login import LoginClosedError
from accounts.masks import masked
from accounts.models import PHONE, Consent, User
from accounts.phone_codes import CodeEndedError, WrongCodeError
from notifications.login_codes import NoSmsError
from portal import phone_login
from portal.pages import visitor
from portal.phone_login import NotSentError


@require_http_methods(["GET", "HEAD", "POST"])
def log_in(request: HttpRequest) -> HttpResponse:
    """First the number, then the code: one address for both, so that it can be read without JavaScript."""
    goes_to = visitor.after(request)
    if visitor.of(request) is not None:
        return redirect(goes_to)
    phone, code = request.POST.get("phone", "").strip(), request.POST.get("code", "").strip()
    refused, is_sent = "", bool(code)
    if request.method == "POST" and code:
        try:
            PHONE(phone)
            signed_in = phone_login.enter(phone=phone, code=code, now=timezone.now())
            return visitor.welcome(request, signed_in, goes_to=goes_to)
        except (WrongCodeError, ValidationError):
            refused = _("This is not the code that was sent.")
        except CodeEndedError:
            refused, is_sent = _("This code is no longer good. Please ask for another."), False
        except LoginClosedError:
            refused = _("This login has been closed. Please ask the front desk.")
    elif request.method == "POST":
        refused = sent(request, phone, user=None)
        is_sent = not refused
    context = {"phone": phone, "masked": masked(phone), "is_sent": is_sent, "refused": refused, "next": goes_to}
    return _shown(request, "tenant/log_in.html", context, refused)


@require_http_methods(["GET", "HEAD", "POST"])
def privacy(request: HttpRequest) -> HttpResponse:
    """The privacy notice for everybody; who is logged in consents to it once, and goes on."""
    access, goes_to = visitor.of(request), visitor.after(request)
    if access is not None and request.method == "POST":
        version = request.POST.get("version", "")
        try:
            consents.give(user=access.user, version=version, came_through=Consent.Through.PAGE, now=timezone.now())
            return redirect(goes_to)
        except consents.OtherVersionError:
            pass  # the page is shown again, with the notice that holds now
    is_asked = access is not None and not consents.is_given(access.user)
    context = {"version": consents.CURRENT, "is_asked": is_asked, "next": goes_to}
    return _shown(request, "tenant/privacy.html", context, "")


@require_POST
def log_out(request: HttpRequest) -> HttpResponse:
    """Ends the login of this browser; others of the same person go on."""
    access = visitor.of(request)
    if access is not None:
        login.log_out(token=access, now=timezone.now())
    response = redirect("front")
    response.delete_cookie(visitor.COOKIE)
    return response


def sent(request: HttpRequest, phone: str, *, user: User | None) -> str:
    """Why no code was sent; blank when one was."""
    now = timezone.now()
    try:
        PHONE(phone)
        phone_login.send(
            phone=phone, user=user, address=address_of(request), language=get_language() or "zh-hans", now=now
        )
    except ValidationError as error:
        return str(error.messages[0])
    except TooManyGuessesError as error:
        seconds = max(1, round((error.again_at - now).total_seconds()))
        return _("Too many codes were asked for. Try again in %(seconds)s seconds.") % {"seconds": seconds}
    except NoSmsError:
        return _("Codes by SMS are not set up here.")
    except NotSentError:
        return _("The SMS could not be sent. Try again in a minute.")
    return ""


def _shown(request: HttpRequest, template: str, context: dict[str, Any], refused: str) -> HttpResponse:
    response = render(request, template, context, status=400 if refused else 200)
    visitor.private(response)
    return response
