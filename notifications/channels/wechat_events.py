"""Events that WeChat pushes about a mini-program or an official account: who sent them, and what they say.

In the plain mode a signature covers the time and a nonce alone, not the body: it says that the caller knows the token,
and TLS keeps it. In the safe mode (an AES key is set) it covers the sealed body, and nothing else is taken. Bodies are
XML or JSON, as entered in WeChat's console. XML with entities is refused (xmltodict); wechatpy.crypto opens what is
sealed, after we have verified it in constant time, which wechatpy does not.
Sources: developers.weixin.qq.com, mini-program message-push.html and subscribe-message.html; service account
template_message (TEMPLATESENDJOBFINISH), receiving events (subscribe, unsubscribe), message encryption.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from xml.parsers.expat import ExpatError

import xmltodict  # type: ignore[import-untyped]  # wechatpy brings it along, without types
from wechatpy.crypto import PrpCrypto
from wechatpy.exceptions import WeChatException

from notifications.channels.base import BadReceiptError, Fate, Receipt
from notifications.channels.calls import text_of

CLOCK_MAY_BE_OFF_S: Final = 600  # WeChat repeats within a minute
LONGEST_ECHO: Final = 128
REFUSED: Final = "reject"
NO_PERMIT: Final = "43101"


@dataclass(frozen=True, slots=True)
class Keys:
    """What one app's events are signed with, and sealed where `aes_key` (43 characters) is not blank."""

    app_id: str
    token: str = field(repr=False)
    aes_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `name` as WeChat writes it, blank for a message that somebody wrote to the account."""

    name: str
    openid: str
    at: datetime
    content: Mapping[str, Any]


def echo(query: Mapping[str, str], keys: Keys, *, now: datetime) -> str:
    """What WeChat wants back when the address is entered in its console. Raises BadReceiptError."""
    _verify(query, "signature", keys, now=now)
    return query.get("echostr", "")[:LONGEST_ECHO]


def read(query: Mapping[str, str], body: bytes, keys: Keys, *, now: datetime) -> Event:
    """The event of a call, once it is sure that WeChat says it. Raises BadReceiptError."""
    sealed = None
    if keys.aes_key:
        sealed = _object(body).get("Encrypt")
        if not isinstance(sealed, str):
            raise BadReceiptError("signature_type")
        _verify(query, "msg_signature", keys, sealed, now=now)
    else:
        _verify(query, "signature", keys, now=now)
    content = _object(body if sealed is None else _opened(sealed, keys))
    if "Encrypt" in content:
        raise BadReceiptError("keys_unusable")
    openid = text_of(content, "FromUserName")
    return Event(text_of(content, "Event"), openid, _at(text_of(content, "CreateTime"), now), content)


def receipts_of(event: Event) -> list[Receipt]:
    """What became of messages; found by WeChat's number."""
    if event.name == "TEMPLATESENDJOBFINISH":
        found = [_receipt(event, text_of(event.content, "MsgID"), "success", text_of(event.content, "Status"))]
    elif event.name == "subscribe_msg_sent_event":
        found = [_receipt(event, text_of(one, "MsgID"), "0", text_of(one, "ErrorCode")) for one in _listed(event)]
    else:
        found = []
    return [receipt for receipt in found if receipt.vendor_id]


def templates_refused(event: Event) -> list[str]:
    """The templates of which this person wants no messages any more."""
    if event.name == "subscribe_msg_change_event":
        refused = [one for one in _listed(event) if one.get("SubscribeStatusString") == REFUSED]
    elif event.name == "subscribe_msg_sent_event":
        refused = [one for one in _listed(event) if text_of(one, "ErrorCode") == NO_PERMIT]
    else:
        refused = []
    return [template for one in refused if (template := text_of(one, "TemplateId"))]


def _receipt(event: Event, number: str, good: str, code: str) -> Receipt:
    is_delivered = code == good
    fate = Fate.DELIVERED if is_delivered else Fate.UNDELIVERED
    return Receipt(fate=fate, vendor_id=number, at=event.at, code="" if is_delivered else code)


def _listed(event: Event) -> Iterator[Mapping[str, Any]]:
    """The entries of List: within an element of its own in XML, at the top in JSON; a single one stands for itself."""
    inner = event.content.get("SubscribeMsgSentEvent") or event.content.get("SubscribeMsgChangeEvent") or event.content
    listed = inner.get("List") if isinstance(inner, dict) else None
    return (one for one in (listed if isinstance(listed, list) else [listed]) if isinstance(one, dict))


def _verify(query: Mapping[str, str], name: str, keys: Keys, *covered: str, now: datetime) -> None:
    timestamp, nonce = query.get("timestamp", ""), query.get("nonce", "")
    if not timestamp or name not in query:
        raise BadReceiptError("missing_field")
    parts = sorted([keys.token, timestamp, nonce, *covered])
    wanted = hashlib.sha1("".join(parts).encode("utf-8", "replace")).hexdigest()  # noqa: S324 - WeChat's choice
    if not hmac.compare_digest(wanted.encode(), query[name].encode("utf-8", "replace")):
        raise BadReceiptError("bad_signature")
    at = int(timestamp) if timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12 else 0
    if abs(now.timestamp() - at) > CLOCK_MAY_BE_OFF_S:
        raise BadReceiptError("clock")


def _opened(sealed: str, keys: Keys) -> bytes:
    """The text within, where it was sealed for our app. wechatpy lets rise whatever goes wrong in it."""
    try:
        text = PrpCrypto(base64.b64decode(keys.aes_key + "=")).decrypt(sealed, keys.app_id)
    except (ValueError, IndexError, struct.error, WeChatException) as error:
        raise BadReceiptError("decrypt") from error
    return str(text).encode()


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body) if body.lstrip()[:1] == b"{" else xmltodict.parse(body).get("xml")
    except (ValueError, RecursionError, ExpatError):
        found = None
    if not isinstance(found, dict):
        raise BadReceiptError("malformed")
    return found


def _at(text: str, now: datetime) -> datetime:
    """When it happened, never later than now."""
    seconds = int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else now.timestamp()
    return min(datetime.fromtimestamp(seconds, UTC), now) if seconds < now.timestamp() else now
