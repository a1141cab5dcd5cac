"""From which address a request came."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def address_of(request: HttpRequest) -> str:
    """The address that the first of our own proxies saw (TRUSTED_PROXIES of them); whatever stands before it in
    X-Forwarded-For was written by whoever asks, and is not believed."""
    told = [one.strip() for one in request.headers.get("X-Forwarded-For", "").split(",") if one.strip()]
    if settings.TRUSTED_PROXIES and told:
        return told[-min(settings.TRUSTED_PROXIES, len(told))]
    return str(request.META.get("REMOTE_ADDR", ""))
