"""The doctor's look at the ways messages go: which are set up, which halfway, and whether anything can go by them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from django.conf import settings
from django.db import DatabaseError

from accounts.keys import UnreadableKeyError, read_key
from config.ailment import Ailment
from notifications.callbacks import SHORTEST_SECRET
from notifications.models import Channel, Template
from notifications.routing import SMS

# By channel: where one of them is set, all are needed. The keys that log people in have an examination of their own.
NEEDED: Final = {
    Channel.SMS_ALIYUN: ("ALIYUN_SMS_KEY_ID", "ALIYUN_SMS_SECRET_REF", "ALIYUN_SMS_SIGN_NAME"),
    Channel.SMS_TENCENT: (
        "TENCENT_SMS_SECRET_ID",
        "TENCENT_SMS_SECRET_KEY_REF",
        "TENCENT_SMS_APP_ID",
        "TENCENT_SMS_SIGN_NAME",
    ),
    Channel.WECHAT_SUBSCRIBE: ("WECHAT_MINI_APP_ID",),
    Channel.WECHAT_TEMPLATE: ("WECHAT_OFFICIAL_APP_ID", "WECHAT_OFFICIAL_SECRET_REF"),
    Channel.ALIPAY_TEMPLATE: ("ALIPAY_APP_ID",),
}
# Without these messages go out, and nobody hears what became of them.
HEARS_BY: Final = {
    Channel.SMS_ALIYUN: "RECEIPTS_SECRET_REF",
    Channel.SMS_TENCENT: "RECEIPTS_SECRET_REF",
    Channel.WECHAT_SUBSCRIBE: "WECHAT_MINI_TOKEN_REF",
    Channel.WECHAT_TEMPLATE: "WECHAT_OFFICIAL_TOKEN_REF",
}
AES_KEYS: Final = ("WECHAT_MINI_AES_KEY_REF", "WECHAT_OFFICIAL_AES_KEY_REF")
AES_KEY_LENGTH: Final = 43
ADDRESS: Final = re.compile(r"[A-Za-z0-9_-]+")


def message_channels(_now: datetime) -> Iterator[Ailment]:
    """Each channel: not set up (a warning), set up halfway (wrong), without news of what arrived or without texts."""
    carrying = _carrying()
    for channel, names in NEEDED.items():
        wanted = [name for name in names if getattr(settings, name)]
        if not wanted:
            yield Ailment(channel, "is not set up", f"set {', '.join(names)}, or do without it", is_warning=True)
            continue
        yield from _halfway(channel, names)
        if channel not in carrying:
            yield _textless(channel)
        yield from _hears(channel)
    yield from _receipts_secret()
    for name in AES_KEYS:
        yield from _aes_key(name)


def _halfway(channel: Channel, names: tuple[str, ...]) -> Iterator[Ailment]:
    for name in names:
        if not getattr(settings, name):
            yield Ailment(name, f"is not set, and {channel} needs it", "set it")
        elif name.endswith("_REF"):
            yield from _unreadable(name)


def _carrying() -> set[str]:
    """The channels for which some text has a template of the vendor."""
    try:
        return set(Template.objects.exclude(template_id="").values_list("channel", flat=True))
    except DatabaseError:
        return set(NEEDED)  # `database` has said so


def _textless(channel: Channel) -> Ailment:
    return Ailment(
        channel,
        "no text has a template of the vendor, so nothing goes by it",
        "enter the templates' ids in the admin (texts of messages)",
        is_warning=True,
    )


def _hears(channel: Channel) -> Iterator[Ailment]:
    name = HEARS_BY.get(channel)
    if name and not getattr(settings, name):
        yield Ailment(name, f"is not set: nobody hears what became of messages by {channel}", "set it", is_warning=True)
    elif name and channel not in SMS:
        yield from _unreadable(name)


def _receipts_secret() -> Iterator[Ailment]:
    name = "RECEIPTS_SECRET_REF"
    if not settings.RECEIPTS_SECRET_REF:
        return
    found = list(_unreadable(name))
    yield from found
    secret = "" if found else read_key(settings.RECEIPTS_SECRET_REF)
    if secret and (len(secret) < SHORTEST_SECRET or not ADDRESS.fullmatch(secret)):
        yield Ailment(
            name,
            f"is no part of an address, or shorter than {SHORTEST_SECRET} characters",
            "make another of letters and digits: `openssl rand -hex 24`",
        )


def _aes_key(name: str) -> Iterator[Ailment]:
    if not getattr(settings, name):
        return
    found = list(_unreadable(name))
    yield from found
    if not found and len(read_key(getattr(settings, name))) != AES_KEY_LENGTH:
        yield Ailment(name, f"has not {AES_KEY_LENGTH} characters", "copy the EncodingAESKey from WeChat's console")


def _unreadable(name: str) -> Iterator[Ailment]:
    try:
        read_key(getattr(settings, name))
    except UnreadableKeyError as error:
        yield Ailment(name, str(error), "name a file or a variable that holds the key")
