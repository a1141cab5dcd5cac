"""Alipay's notifies: form fields signed with RSA2, as the server sends them or for tests to send."""

import secrets
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from sandbox.alipay_trades import BEIJING, Trade, beijing, new_trade_no, yuan_of
from sandbox.signatures import alipay_notify_message, signature_of
from sandbox.world import AlipayApp, World

# Alipay's schedule: 4m 10m 10m 1h 2h 6h 15h after the first, within 25 hours (docs: asynchronous notification).
LADDER_S = (240, 600, 600, 3600, 7200, 21600, 54000)
BLANKS = ("body", "passback_params", "store_id")  # fields that arrive empty on request; they are in the signed text

Signed = tuple[dict[str, str], bytes]


def notify_params(app: AlipayApp, trade: Trade, *, charset: str = "utf-8") -> dict[str, str]:
    """The fields of a notify about the trade as it stands, unsigned. A refund is known by its fields, not its state."""
    params = {
        "notify_time": beijing(time.time()),
        "notify_type": "trade_status_sync",
        "notify_id": f"{datetime.now(BEIJING):%Y%m%d}{secrets.token_hex(13)}",
        "charset": charset,
        "version": "1.0",
        "sign_type": "RSA2",
        "app_id": app.app_id,
        "auth_app_id": app.app_id,
        "seller_id": app.seller_id,
        "seller_email": "seller@sandbox.invalid",
        "trade_no": trade.trade_no,
        "out_trade_no": trade.out_trade_no,
        "trade_status": trade.state,
        "subject": str(trade.asked["subject"]),
        "total_amount": yuan_of(trade.paid_fen or trade.total_fen),
        "gmt_create": beijing(trade.created_at),
    }
    for name in ("body", "passback_params"):
        if trade.asked.get(name):
            params[name] = str(trade.asked[name])
    return params | _payment(trade) | _refund(trade)


def _payment(trade: Trade) -> dict[str, str]:
    if not trade.paid_fen:
        return {"gmt_close": beijing(trade.closed_at)} if trade.closed_at else {}
    amount = yuan_of(trade.paid_fen)
    return {
        "buyer_open_id": trade.buyer_open_id,
        "buyer_logon_id": "138****0000",
        "receipt_amount": amount,
        "buyer_pay_amount": amount,
        "invoice_amount": amount,
        "point_amount": "0.00",
        "gmt_payment": beijing(trade.paid_at),
        "fund_bill_list": f'[{{"amount":"{amount}","fundChannel":"ALIPAYACCOUNT"}}]',
    }


def _refund(trade: Trade) -> dict[str, str]:
    if not trade.refunds:
        return {}
    last = trade.refunds[-1]
    fields = {
        "refund_fee": yuan_of(trade.refunded_fen),
        "gmt_refund": f"{beijing(last['at'])}.{int(last['at'] * 1000) % 1000:03d}",
        "out_biz_no": str(last["out_biz_no"]),
    }
    return fields | ({"gmt_close": beijing(trade.closed_at)} if trade.state == "TRADE_CLOSED" else {})


def signed_form(world: World, app: AlipayApp, params: Mapping[str, str], *, sign_with: str = "alipay") -> Signed:
    """Headers and body of a notify: the fields signed by Alipay's key for this app, or by a foreign one."""
    charset = params["charset"]
    key = world.foreign.private if sign_with == "foreign" else app.signing.private
    signed = dict(params) | {"sign": signature_of(key, alipay_notify_message(params, charset))}
    return form_headers(charset), urlencode(signed, encoding=charset).encode()


def form_headers(charset: str) -> dict[str, str]:
    """As Alipay's own client sends them."""
    return {
        "Content-Type": f"application/x-www-form-urlencoded; charset={charset.upper()}",
        "User-Agent": "Mozilla/4.0",
    }


def signed_notify(
    world: World,
    *,
    out_trade_no: str,
    amount_fen: int,
    app: str = "key",
    trade_no: str | None = None,
    buyer_open_id: str = "sandbox-open-id",
    paid_at: float | None = None,
    state: str = "TRADE_SUCCESS",
    refunded_fen: int = 0,
    subject: str = "电费充值",
    charset: str = "utf-8",
    blank_fields: bool = False,
    params: Mapping[str, str | None] | None = None,
    sign_with: str = "alipay",
    alter: str = "",
) -> Signed:
    """Headers and body of a notify for a payment of `amount_fen`, genuine unless the rest says otherwise.

    `params` overrides fields before signing (None removes one); `refunded_fen` makes it a refund's notify (with
    `state` as given). `sign_with`: alipay or foreign. `alter` spoils afterwards: body (another amount under the old
    signature), signature, unsigned, sign_type (claims RSA).
    """
    known, now = world.alipay[app], time.time()
    trade = Trade(
        app=app,
        out_trade_no=out_trade_no,
        asked={"subject": subject, "total_amount": yuan_of(amount_fen)},
        notify_url="",
        expires_at=now,
        trade_no=trade_no or new_trade_no(),
        buyer_open_id=buyer_open_id,
        state=state,
        paid_fen=amount_fen,
        paid_at=now if paid_at is None else paid_at,
    )
    if refunded_fen:
        trade.refunds.append({"out_biz_no": f"R{out_trade_no}", "fen": refunded_fen, "at": now})
    fields: dict[str, str | None] = dict(notify_params(known, trade, charset=charset))
    if blank_fields:
        fields |= dict.fromkeys(BLANKS, "")
    fields |= params or {}
    headers, body = signed_form(world, known, {k: v for k, v in fields.items() if v is not None}, sign_with=sign_with)
    return headers, _altered(body, alter)


def _altered(body: bytes, alter: str) -> bytes:
    fields = dict(pair.split(b"=", 1) for pair in body.split(b"&"))
    changes: dict[str, Any] = {
        "": {},
        "body": {b"total_amount": b"99999.99"},
        "signature": {
            b"sign": b"A" + fields[b"sign"][1:] if fields[b"sign"][:1] != b"A" else b"B" + fields[b"sign"][1:]
        },
        "sign_type": {b"sign_type": b"RSA"},
        "unsigned": {b"sign": b""},
    }
    return b"&".join(k + b"=" + v for k, v in (fields | changes[alter]).items())
