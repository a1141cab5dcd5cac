"""System checks: what production refuses beyond the form of its settings (config/settings.py looks at that).

Each management command runs the first before it does anything; `migrate` and `check --database default` the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from accounts.keys import UnreadableKeyError, read_key
from payments import sandbox_marks

KEY_REFERENCES = (
    "WECHAT_MINI_SECRET_REF",
    "WECHAT_MINI_TOKEN_REF",
    "WECHAT_OFFICIAL_SECRET_REF",
    "WECHAT_OFFICIAL_TOKEN_REF",
    "ALIPAY_PRIVATE_KEY_REF",
    "ALIPAY_PUBLIC_KEY_REF",
    "ALIYUN_SMS_SECRET_REF",
    "TENCENT_SMS_SECRET_KEY_REF",
)


@register(Tags.security)
def no_sandbox_in_settings(**_kwargs: Any) -> list[CheckMessage]:
    """In production none of the keys that settings name is a sandbox's. Unreadable ones are `doctor`'s to tell."""
    if not settings.PRODUCTION:
        return []
    return [
        Error(f"{name} names a sandbox's key, which production refuses.", id="meterpay.E001")
        for name in KEY_REFERENCES
        if sandbox_marks.first_of(secrets=[_text_of(getattr(settings, name))])
    ]


@register(Tags.database)
def no_sandbox_merchant(*, databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    """In production no merchant that takes money is the sandbox's. They are refused where they are used as well."""
    from payments.models import Merchant

    if not settings.PRODUCTION or not databases or not _has_merchants():
        return []
    return [
        Error(
            f"Merchant {merchant.slug} is a sandbox's, which production refuses.",
            hint="Retire it, or use a database of production's own.",
            id="meterpay.E002",
        )
        for merchant in Merchant.objects.filter(retired_at=None)
        if is_sandbox(merchant)
    ]


def is_sandbox(merchant: Any) -> bool:
    """Whether a merchant says so itself, or has an id that only a sandbox gives."""
    ids = (merchant.account, merchant.sub_account, merchant.app_id, merchant.sub_app_id, merchant.mini_app_id)
    return merchant.is_sandbox or bool(sandbox_marks.first_of(ids=filter(None, ids)))


def _has_merchants() -> bool:
    """Before the first `migrate` there is no such table."""
    from django.db import connection

    return "payments_merchant" in connection.introspection.table_names()


def _text_of(reference: str) -> str:
    try:
        return read_key(reference) if reference else ""
    except UnreadableKeyError:
        return ""
