"""Our apps at WeChat and Alipay, built from the settings in one place. Keys are read anew each time, parsed once."""

from __future__ import annotations

from functools import lru_cache

from django.conf import settings
from django.core.cache import cache

from accounts import pem
from accounts.alipay import AlipayGateway, AlipayKeys
from accounts.keys import UnreadableKeyError, read_key
from accounts.wechat import MiniProgram, OfficialAccount


class NotSetUpError(Exception):
    """A setting is missing, or the key it names cannot be used. An operator mends it; no key is in the message."""


def wechat_app() -> MiniProgram:
    """The mini-program that tenants log in with; all processes share its token through the cache."""
    return MiniProgram(
        _setting("WECHAT_MINI_APP_ID"),
        _key("WECHAT_MINI_SECRET_REF"),
        tokens=cache,
        base_url=settings.WECHAT_API_URL,
        timeout_s=settings.VENDOR_TIMEOUT_S,
    )


def official_account() -> OfficialAccount:
    """The official account of the same people."""
    return OfficialAccount(
        _setting("WECHAT_OFFICIAL_APP_ID"),
        _key("WECHAT_OFFICIAL_SECRET_REF"),
        tokens=cache,
        base_url=settings.WECHAT_API_URL,
        timeout_s=settings.VENDOR_TIMEOUT_S,
    )


def alipay_app() -> AlipayGateway:
    """The Alipay app that tenants log in with, in key mode."""
    private_key, public_key = _key("ALIPAY_PRIVATE_KEY_REF"), _key("ALIPAY_PUBLIC_KEY_REF")
    return AlipayGateway(
        _alipay_keys(_setting("ALIPAY_APP_ID"), private_key, public_key),
        gateway_url=settings.ALIPAY_GATEWAY_URL,
        timeout_s=settings.VENDOR_TIMEOUT_S,
    )


@lru_cache(maxsize=4)
def _alipay_keys(app_id: str, private_key: str, public_key: str) -> AlipayKeys:
    try:
        return AlipayKeys(
            app_id=app_id,
            private_key=pem.private_key(private_key),
            provider_keys={"alipay": pem.public_key(public_key)},
        )
    except pem.BadKeyError as error:
        raise NotSetUpError(f"ALIPAY_PRIVATE_KEY_REF or ALIPAY_PUBLIC_KEY_REF names {error}") from None


def _setting(name: str) -> str:
    value = str(getattr(settings, name))
    if not value:
        raise NotSetUpError(f"the setting {name} is empty")
    return value


def _key(name: str) -> str:
    try:
        return read_key(_setting(name))
    except UnreadableKeyError as error:
        raise NotSetUpError(f"{name}: {error}") from None
