"""A number of one's own: a code goes to it, and who tells the code has it from then on."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts.joining import EndedLoginError, StaffsLoginError
from accounts.masks import masked
from accounts.models import PHONE, User
from accounts.phone_codes import CodeEndedError, WrongCodeError
from portal import people
from portal.pages.entering import sent
from portal.pages.visitor import for_tenants
from portal.people import AnotherLoginError
from portal.refusals import words


@require_http_methods(["GET", "HEAD", "POST"])
@for_tenants
def number(request: HttpRequest, user: User) -> HttpResponse:
    """First the number, then the code; and where somebody logs in by that number already, whether that is them."""
    phone, code = request.POST.get("phone", "").strip(), request.POST.get("code", "").strip()
    refused, step = "", "phone"
    if request.method == "POST" and code:
        refused, step = _proven(user, phone, code, joins=request.POST.get("join") == "yes")
        if not refused:
            return redirect("settings-page")
    elif request.method == "POST":
        refused = sent(request, phone, user=user)
        step = "phone" if refused else "code"
    context = {"phone": phone, "masked": masked(phone), "code": code, "step": step, "refused": refused}
    return render(request, "tenant/number.html", context, status=400 if refused else 200)


def _proven(user: User, phone: str, code: str, *, joins: bool) -> tuple[str, str]:
    """Why the number is not theirs yet (blank: it is), and what to ask them next."""
    try:
        PHONE(phone)
        people.take_number(user=user, phone=phone, code=code, joins=joins, now=timezone.now())
    except (WrongCodeError, ValidationError):
        return _("This is not the code that was sent."), "code"
    except CodeEndedError:
        return _("This code is no longer good. Please ask for another."), "phone"
    except AnotherLoginError as error:
        return words(error), "join"
    except (StaffsLoginError, EndedLoginError) as error:
        return words(error), "phone"
    return "", ""
