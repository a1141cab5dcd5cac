"""Alipay's asynchronous notifies into receipts: verify over the bytes as sent, then decode, translate by a table.

Sources: opendocs.alipay.com/open/270/105902 (notify), open/203/105286; the semantics of refunds: a refund is known by
its fields, not by its state, and comes to the payment's own notify address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from email.message import Message
from urllib.parse import parse_qsl

from accounts.alipay import BEIJING, AlipayKeys, is_signed
from payments.providers.base import (
    CLOSED,
    CURRENCY,
    NOTHING,
    PAID,
    PAYMENT,
    REFUND,
    UNPAID,
    BadCallback,
    BadContent,
    BadSignature,
    Receipt,
    Receiver,
    fen_of,
)

# What Alipay names GBK has had characters of GB18030 in it for years.
CHARSETS = {"utf-8": "utf-8", "utf8": "utf-8", "gbk": "gb18030", "gb2312": "gb18030", "gb18030": "gb18030"}
TRADE_STATES = {"WAIT_BUYER_PAY": UNPAID, "TRADE_SUCCESS": PAID, "TRADE_FINISHED": PAID, "TRADE_CLOSED": CLOSED}
MOST_FIELDS = 100
LONGEST_ID = {"notify_id": 128}  # the vendor's own limit; its numbers and ours have at most 64

Fields = Mapping[str, str]


def read_notify(body: bytes, content_type: str, *, keys: AlipayKeys, now: datetime) -> Receipt:
    """The receipt in a notify (`body` is the raw form). `now` stands in where Alipay does not say when it was paid.

    Raises BadCallback for what is no form, BadSignature where nobody vouches for it, BadContent where Alipay does and
    it cannot be read. Whether it is addressed to this merchant is the receipt's to say: `check_receiver`.
    """
    raw = _form(body)
    _verify(raw, keys)
    return notify_receipt(_decoded(raw, content_type), now=now)


def notify_receipt(fields: Fields, *, now: datetime) -> Receipt:
    """Translates the fields of a verified notify. Raises BadContent."""
    word = _text(fields, "trade_status")
    state = TRADE_STATES.get(word)
    if state is None:
        raise BadContent("trade_status", word)
    receipt = Receipt(
        provider="alipay",
        kind=NOTHING,
        trade_state=state,
        provider_state=word,
        event_id=_text(fields, "notify_id"),
        attempt_number=_text(fields, "out_trade_no"),
        receiver=Receiver(_text(fields, "seller_id"), "", _text(fields, "app_id"), ""),
    )
    if _is_refund(fields):
        return _refund(_paid(receipt, fields, now), fields)
    return _paid(receipt, fields, now) if state == PAID else receipt


def _paid(receipt: Receipt, fields: Fields, now: datetime) -> Receipt:
    return replace(
        receipt,
        kind=PAYMENT,
        trade_state=PAID,
        provider_transaction=_text(fields, "trade_no"),
        amount_fen=_fen(fields, "total_amount"),
        currency=fields.get("trans_currency") or CURRENCY,
        paid_at=_instant(fields, "gmt_payment") or _instant(fields, "notify_time") or now,
        payer=fields.get("buyer_open_id") or fields.get("buyer_id") or "",
    )


def _refund(receipt: Receipt, fields: Fields) -> Receipt:
    return replace(
        receipt,
        kind=REFUND,
        refund_fen=_fen(fields, "refund_fee"),
        is_refund_total=True,
        refund_number=fields.get("out_biz_no", ""),
        refund_state="success",
        refunded_at=_instant(fields, "gmt_refund"),
    )


def _is_refund(fields: Fields) -> bool:
    """TRADE_SUCCESS comes again for a partial refund, TRADE_CLOSED for a full one."""
    fee = fields.get("refund_fee", "")
    return bool(fee.strip("0.")) or bool(fields.get("gmt_refund"))


def _form(body: bytes) -> dict[str, str]:
    """The form's fields, each character one byte as sent (latin-1). Blanks stay."""
    try:
        pairs = parse_qsl(
            body.decode("latin-1"),
            keep_blank_values=True,
            encoding="latin-1",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError:
        raise BadCallback("malformed") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise BadCallback("malformed", "a field came twice")
    return fields


def _verify(raw: Fields, keys: AlipayKeys) -> None:
    """RSA2 alone, whatever the sender would like. The signature covers the bytes, so no charset is needed here."""
    signature, serial = raw.get("sign", ""), raw.get("alipay_cert_sn", "")
    if not signature:
        raise BadSignature("missing_field", "sign")
    if raw.get("sign_type") != "RSA2":
        raise BadSignature("sign_type", raw.get("sign_type", ""))
    if serial and serial not in keys.provider_keys:
        raise BadSignature("unknown_serial", serial)
    covered = {name: value for name, value in raw.items() if name not in {"sign", "sign_type"}}
    # Alipay's pages disagree about blank fields; both texts need Alipay's key.
    without_blanks = {name: value for name, value in covered.items() if value}
    for fields in (covered, without_blanks):
        if is_signed(_message(fields), signature, serial=serial, keys=keys.provider_keys):
            return
    raise BadSignature("bad_signature")


def _message(raw: Fields) -> bytes:
    return "&".join(f"{name}={value}" for name, value in sorted(raw.items())).encode("latin-1")


def _decoded(raw: Fields, content_type: str) -> dict[str, str]:
    named = raw.get("charset") or _charset_of(content_type) or "utf-8"
    charset = CHARSETS.get(named.lower())
    if charset is None:
        raise BadContent("charset", named)
    try:
        return {name: value.encode("latin-1").decode(charset) for name, value in raw.items()}
    except UnicodeDecodeError:
        raise BadContent("charset", "undecodable") from None


def _charset_of(content_type: str) -> str:
    header = Message()
    header["Content-Type"] = content_type
    return header.get_content_charset("")


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name, "")
    if not 0 < len(value) <= LONGEST_ID.get(name, 64):
        raise BadContent("missing_field", name)
    return value


def _fen(fields: Fields, name: str) -> int:
    try:
        fen = fen_of(fields.get(name, ""))
    except ValueError:
        raise BadContent("amount", name) from None
    if fen == 0:
        raise BadContent("amount", name)
    return fen


def _instant(fields: Fields, name: str) -> datetime | None:
    """Alipay writes Beijing time without saying so; None where the field is empty or no time."""
    try:
        instant = datetime.fromisoformat(fields.get(name, ""))
    except ValueError:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=BEIJING)
