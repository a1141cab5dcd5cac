"""Who pays in WeChat's browser: WeChat leads the browser to us with a code, and a signed cookie keeps the openid."""

from __future__ import annotations

import logging
from typing import Final
from urllib.parse import urlencode

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts import vendor_apps
from accounts.vendor_apps import NotSetUpError
from accounts.vendors import ProviderError

log = logging.getLogger(__name__)
COOKIE: Final = "meterpay_openid"
SALT: Final = "portal.openid"
KEPT_S: Final = 30 * 86_400
STATE_SALT: Final = "portal.wechat-state"
STATE_S: Final = 600  # between leaving for WeChat and coming back


def openid_of(request: HttpRequest) -> str:
    """The openid at the official account of who uses this browser; blank while WeChat has not said."""
    try:
        told = signing.loads(request.COOKIES.get(COOKIE, ""), salt=SALT, max_age=KEPT_S)
    except signing.BadSignature:
        return ""
    app_id, openid = told
    return str(openid) if app_id == settings.WECHAT_OFFICIAL_APP_ID else ""


def ask(request: HttpRequest) -> HttpResponse | None:
    """To WeChat and back to this page; None where there is no official account to ask for."""
    try:
        account = vendor_apps.official_account()
    except NotSetUpError:
        return None
    state = signing.dumps(request.path, salt=STATE_SALT, compress=True)
    back = f"{settings.PUBLIC_URL}{reverse('wechat-back')}?{urlencode({'to': state})}"
    # WeChat allows 128 letters and digits in its own `state`; ours is longer, so it is in the address.
    return redirect(account.authorize_url(oauth_url=settings.WECHAT_OAUTH_URL, redirect_uri=back, state="meterpay"))


@never_cache
@require_safe
def come_back(request: HttpRequest) -> HttpResponse:
    """WeChat leads here with a code, which is good once. Without one, or twice: the page is asked for again."""
    try:
        path = signing.loads(request.GET.get("to", ""), salt=STATE_SALT, max_age=STATE_S)
    except signing.BadSignature:
        return redirect("front")
    if not url_has_allowed_host_and_scheme(path, allowed_hosts=None):
        return redirect("front")
    try:
        who = vendor_apps.official_account().who_came(request.GET.get("code", ""))
    except (ProviderError, NotSetUpError) as error:
        log.warning("WeChat did not say who pays: %s", error)
        return render(request, "tenant/wechat_away.html", {"again": path}, status=503)
    response = redirect(path)
    told = signing.dumps([settings.WECHAT_OFFICIAL_APP_ID, who.openid], salt=SALT)
    is_secure = settings.PUBLIC_URL.startswith("https://")
    response.set_cookie(COOKIE, told, max_age=KEPT_S, secure=is_secure, httponly=True, samesite="Lax")
    return response
