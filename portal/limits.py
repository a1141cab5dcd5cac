"""How often one login, or one address without a login, may ask: far above what an app needs, far below a flood.

Counted in each web process by itself, which costs no query; what is dear or can be guessed is counted exactly, in the
database (accounts/guesses.py).
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.cache import caches
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from accounts.addresses import address_of
from accounts.models import AccessToken


class PerLogin(SimpleRateThrottle):
    """API_REQUESTS_A_MINUTE for a login, a quarter of it for an address without one. Answered with 429, Retry-After."""

    cache = caches["local"]
    scope = "login"
    num_requests: int | None

    def get_rate(self) -> str | None:
        return f"{settings.API_REQUESTS_A_MINUTE}/min" if settings.API_REQUESTS_A_MINUTE else None

    def allow_request(self, request: Request, view: Any) -> bool:
        if self.rate is not None and not isinstance(request.auth, AccessToken):
            self.num_requests = max((self.num_requests or 0) // 4, 1)
        return super().allow_request(request, view)

    def get_cache_key(self, request: Request, view: Any) -> str:
        who = request.auth.pk if isinstance(request.auth, AccessToken) else address_of(request)
        return f"asked:{who}"
