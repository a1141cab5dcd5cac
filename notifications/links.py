"""A signed link by which a person switches a kind of messages off without logging in."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Final, NamedTuple

from django.conf import settings
from django.core import signing
from django.urls import reverse

from notifications.preferences import offered

SALT: Final = "notifications.off"
VALID_FOR: Final = timedelta(days=365)
_DAY_S: Final = 86_400


class _OfTheDay(signing.TimestampSigner):
    """Signs with the day, not the second: the same link all day long, so that an inbox that has not changed is the same
    bytes (accounts/polled.py)."""

    def timestamp(self) -> str:
        return signing.b62_encode(int(time.time()) // _DAY_S * _DAY_S)


class Off(NamedTuple):
    user_id: int
    kind: str


def off_url(*, user_id: int, kind: str) -> str:
    """Blank for what is compulsory."""
    about = offered().get(kind)
    if about is None or about.is_compulsory:
        return ""
    token = _OfTheDay(salt=SALT).sign_object([user_id, kind], compress=True)
    return settings.PUBLIC_URL + reverse("messages-off", args=[token])


def read(token: str) -> Off:
    """Raises signing.BadSignature for what we did not sign, or too long ago."""
    content = signing.loads(token, salt=SALT, max_age=VALID_FOR)
    return Off(*content)
