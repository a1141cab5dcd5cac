"""The page behind the link that switches a kind of messages off."""

from __future__ import annotations

from django.core.signing import BadSignature
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.models import User
from notifications import links, preferences
from notifications.kinds import MESSAGES


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def off(request: HttpRequest, token: str) -> HttpResponse:
    """GET says what it will do (a preview of the link must not do it), POST does it; again is harmless."""
    try:
        wanted = links.read(token)
    except BadSignature:
        raise Http404 from None
    user = get_object_or_404(User, pk=wanted.user_id)
    if request.method == "POST":
        try:
            preferences.switch_off(user=user, kind=wanted.kind, now=timezone.now())
        except preferences.PreferenceRefused as refused:
            return render(request, "messages_off.html", {"refused": str(refused)}, status=409)
    is_off = wanted.kind in preferences.of(user).off_kinds
    return render(request, "messages_off.html", {"kind": MESSAGES.get(wanted.kind, ""), "is_off": is_off})
