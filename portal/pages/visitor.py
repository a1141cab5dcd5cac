"""Who looks at a page: a tenant's login in a cookie, beside that of the admin and never instead of it.

The cookie holds an access token as the mini-program has one. No session of Django's: an SMS code that logs in a tenant
must not open the admin to somebody of the staff who lives in one of the homes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, Final, ParamSpec
from urllib.parse import urlencode

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import patch_cache_control
from django.utils.http import url_has_allowed_host_and_scheme

from accounts import consents, login
from accounts.login import SignedIn
from accounts.models import AccessToken, User

COOKIE: Final = "meterpay_login"
P = ParamSpec("P")


def of(request: HttpRequest) -> AccessToken | None:
    """The login that this browser carries; None for a stranger. Looked up once a request."""
    if not hasattr(request, "_visitor"):
        token = request.COOKIES.get(COOKIE, "")
        request._visitor = login.access_by(token, now=timezone.now()) if token else None  # type: ignore[attr-defined]  # noqa: SLF001 (ours)
    found: AccessToken | None = request._visitor  # type: ignore[attr-defined]  # noqa: SLF001 (ours)
    return found


def welcome(request: HttpRequest, signed_in: SignedIn, *, goes_to: str) -> HttpResponse:
    """Leaves the login in the browser and leads on."""
    response = redirect(goes_to)
    response.set_cookie(
        COOKIE,
        signed_in.token,
        expires=signed_in.expires_at,
        secure=settings.PUBLIC_URL.startswith("https://"),
        httponly=True,
        samesite="Lax",
    )
    return response


def for_tenants(view: Callable[Concatenate[HttpRequest, User, P], HttpResponse]) -> Callable[..., HttpResponse]:
    """Only for who is logged in and has consented to the privacy notice; others are led there, and then back."""

    @wraps(view)
    def shown(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        access = of(request)
        if access is None:
            return _led_to("login-page", request)
        if not consents.is_given(access.user):
            return _led_to("privacy-page", request)
        if any("\x00" in value for _name, values in request.POST.lists() for value in values):
            raise BadRequest  # no text of ours can have it, and no browser's form sends it
        return private(view(request, access.user, *args, **kwargs))

    return shown


def private(response: HttpResponse) -> HttpResponse:
    """Nobody on the way keeps it, and the browser asks each time."""
    patch_cache_control(response, private=True, no_cache=True, no_store=True)
    return response


def after(request: HttpRequest) -> str:
    """Where the visitor wanted to go (`next`), if that is a page of ours; else home."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    is_ours = url_has_allowed_host_and_scheme(wanted, allowed_hosts=None)
    return wanted if wanted.startswith("/") and is_ours else reverse("homes-page")


def _led_to(name: str, request: HttpRequest) -> HttpResponse:
    goes_on = request.get_full_path() if request.method == "GET" else reverse("homes-page")
    return redirect(f"{reverse(name)}?{urlencode({'next': goes_on})}")
