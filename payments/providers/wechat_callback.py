"""WeChat Pay's callbacks and transactions into receipts: verify, unseal, translate by a table.

Sources: pay.weixin.qq.com/doc/v3/merchant/4012791836 (payments), 4012791865 (refunds), partner/4012085801.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from payments.providers.base import (
    CLOSED,
    CURRENCY,
    MOST_FEN,
    NOTHING,
    PAID,
    PAYMENT,
    REFUND,
    UNPAID,
    BadContent,
    Receipt,
    Receiver,
)
from payments.providers.wechat_signatures import WeChatKeys, unseal, verify

# After even a partial refund a query says REFUND: the payment is a payment all the same.
TRADE_STATES = {
    "NOTPAY": UNPAID,
    "USERPAYING": UNPAID,
    "ACCEPT": UNPAID,
    "PAYERROR": UNPAID,
    "SUCCESS": PAID,
    "REFUND": PAID,
    "CLOSED": CLOSED,
    "REVOKED": CLOSED,
}
REFUND_STATES = {"SUCCESS": "success", "ABNORMAL": "abnormal", "CLOSED": "closed"}
LONGEST_ID = 64


def read_callback(headers: Mapping[str, str], body: bytes, *, keys: WeChatKeys, now: datetime) -> Receipt:
    """The receipt in a callback of WeChat Pay. `body` is raw; headers come in any case.

    Raises BadSignature (Probe) where nobody vouches for it, BadContent where WeChat does and it cannot be read.
    Whether it is addressed to this merchant is the receipt's to say: `check_receiver`.
    """
    verify(headers, body, keys=keys.provider_keys, now=now)
    envelope = _object(body, "envelope")
    event_id, event_type = _text(envelope, "id"), _text(envelope, "event_type")
    resource = envelope.get("resource")
    if not isinstance(resource, dict):
        raise BadContent("missing_field", "resource")
    content = _object(unseal(resource, keys.apiv3_key), "resource")
    if event_type == "TRANSACTION.SUCCESS":
        return transaction_receipt(content, event_id=event_id)
    if event_type.startswith("REFUND."):
        return _refund_receipt(content, event_id=event_id, event_type=event_type)
    raise BadContent("event_type", event_type)


def transaction_receipt(content: Mapping[str, Any], *, event_id: str = "") -> Receipt:
    """A transaction, as a callback carries it and as a query answers it. Raises BadContent."""
    word = _text(content, "trade_state")
    state = TRADE_STATES.get(word)
    if state is None:
        raise BadContent("trade_state", word)
    number, receiver = _text(content, "out_trade_no"), _receiver(content)
    if state != PAID:
        return Receipt(
            provider="wechat",
            kind=NOTHING,
            trade_state=state,
            provider_state=word,
            event_id=event_id,
            attempt_number=number,
            receiver=receiver,
        )
    amount = _part(content, "amount")
    return Receipt(
        provider="wechat",
        kind=PAYMENT,
        trade_state=PAID,
        provider_state=word,
        event_id=event_id,
        attempt_number=number,
        provider_transaction=_text(content, "transaction_id"),
        amount_fen=_fen(amount, "total"),
        currency=str(amount.get("currency") or CURRENCY),
        paid_at=_instant(content, "success_time"),
        payer=_payer(content),
        receiver=receiver,
    )


def _refund_receipt(content: Mapping[str, Any], *, event_id: str, event_type: str) -> Receipt:
    """A refund says neither the app nor the currency nor when the payment was made: None stands for that."""
    word = _text(content, "refund_status")
    state = REFUND_STATES.get(word)
    if state is None:
        raise BadContent("refund_status", word)
    amount = _part(content, "amount")
    return Receipt(
        provider="wechat",
        kind=REFUND,
        trade_state=PAID,
        provider_state=event_type,
        event_id=event_id,
        attempt_number=_text(content, "out_trade_no"),
        provider_transaction=_text(content, "transaction_id"),
        amount_fen=_fen(amount, "total"),
        receiver=_merchant(content),
        refund_fen=_fen(amount, "refund"),
        refund_number=_text(content, "out_refund_no"),
        refund_state=state,
        refunded_at=_instant(content, "success_time") if state == "success" else None,
    )


def _merchant(content: Mapping[str, Any]) -> Receiver:
    """The merchant numbers; a service provider's transactions name both."""
    if "sp_mchid" in content:
        return Receiver(_text(content, "sp_mchid"), _text(content, "sub_mchid"))
    return Receiver(_text(content, "mchid"), "")


def _receiver(content: Mapping[str, Any]) -> Receiver:
    merchant = _merchant(content)
    if merchant.sub_account:
        sub_app = _text(content, "sub_appid") if "sub_appid" in content else None
        return merchant._replace(app_id=_text(content, "sp_appid"), sub_app_id=sub_app)
    return merchant._replace(app_id=_text(content, "appid"), sub_app_id="")


def _payer(content: Mapping[str, Any]) -> str:
    payer = content.get("payer")
    known = payer if isinstance(payer, dict) else {}
    return str(known.get("openid") or known.get("sub_openid") or known.get("sp_openid") or "")


def _object(raw: bytes, name: str) -> dict[str, Any]:
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise BadContent("malformed", name)
    return content


def _part(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = content.get(name)
    if not isinstance(part, dict):
        raise BadContent("missing_field", name)
    return part


def _text(content: Mapping[str, Any], name: str) -> str:
    value = content.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_ID:
        raise BadContent("missing_field", name)
    return value


def _fen(amount: Mapping[str, Any], name: str) -> int:
    value = amount.get(name)
    if type(value) is not int or not 0 < value <= MOST_FEN:  # True is an int to isinstance
        raise BadContent("amount", name)
    return value


def _instant(content: Mapping[str, Any], name: str) -> datetime:
    try:
        instant = datetime.fromisoformat(_text(content, name))
    except ValueError:
        raise BadContent("instant", name) from None
    if instant.tzinfo is None:
        raise BadContent("instant", name)
    return instant
