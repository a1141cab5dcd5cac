"""Alipay, outgoing: trades in the mini-program, the page to pay on, query, close; key and certificate mode.

Sources: opendocs.alipay.com/mini/6039ed0c (alipay.trade.create), open/203/107090 (wap.pay), open/02ekfh (query),
open/02o6e7 (close).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from accounts.alipay import BEIJING, GATEWAY_URL, AlipayGateway, AlipayKeys
from payments.providers.alipay_callback import TRADE_STATES, read_notify
from payments.providers.base import (
    CLOSED,
    NOTHING,
    PAID,
    PAYMENT,
    REFUND,
    UNKNOWN,
    ProviderBadAnswer,
    ProviderRefused,
    Receipt,
    fen_of,
    yuan_of,
)

__all__ = ["Alipay", "AlipayKeys", "read_notify"]

NUMBER = re.compile(r"[0-9A-Za-z_]{1,64}")
USER_ID = re.compile(r"2088[0-9]{12}")  # the old name of a payer; an open_id is never so short
NOT_IN_SUBJECT = str.maketrans("/=&{}<>", "       ")
LONGEST_SUBJECT = 256
NO_SUCH_TRADE = "ACQ.TRADE_NOT_EXIST"
NOT_TO_BE_CLOSED = {"ACQ.TRADE_STATUS_ERROR", "ACQ.REASON_TRADE_STATUS_INVALID", "ACQ.REASON_ILLEGAL_STATUS"}


class Alipay:
    """Outgoing calls for one app. Safe to share between threads; no network until something is asked.

    Errors: ProviderRefused with Alipay's sub_code, ProviderUnsure, ProviderBadAnswer. `mini_app_id` is the mini-program
    in which people pay, where it is not the app itself. `clock` is the real one: Alipay refuses an old timestamp.
    """

    def __init__(
        self,
        keys: AlipayKeys,
        *,
        gateway_url: str = GATEWAY_URL,
        timeout_s: float,
        mini_app_id: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._gateway = AlipayGateway(keys, gateway_url=gateway_url, timeout_s=timeout_s, clock=clock)
        self._gateway_url = gateway_url
        self._mini_app_id = mini_app_id or keys.app_id

    def create(
        self, *, number: str, amount_fen: int, description: str, payer: str, expires_at: datetime, notify_url: str
    ) -> str:
        """The trade_no of a trade for the mini-program (`my.tradePay`). `payer` is an open_id, or an old user_id.

        The same number with the same parameters gives the same trade_no; with others ACQ.CONTEXT_INCONSISTENT. A trade
        paid or closed is refused (ACQ.TRADE_HAS_SUCCESS, ACQ.TRADE_HAS_CLOSE).
        """
        content = _order(number, amount_fen, description, expires_at) | {
            "product_code": "JSAPI_PAY",
            "op_app_id": self._mini_app_id,
            "buyer_id" if USER_ID.fullmatch(payer) else "buyer_open_id": payer,
        }
        answer = self._gateway.call("alipay.trade.create", content, notify_url=notify_url)
        _check_number(answer, number)
        return _text(answer, "trade_no")

    def wap_pay_url(
        self,
        *,
        number: str,
        amount_fen: int,
        description: str,
        expires_at: datetime,
        notify_url: str,
        return_url: str,
        quit_url: str,
    ) -> str:
        """Where a browser pays: an address signed here, without asking Alipay. The trade exists once somebody opens it.

        `return_url` follows a payment (for display only), `quit_url` a change of mind.
        """
        content = _order(number, amount_fen, description, expires_at) | {
            "product_code": "QUICK_WAP_WAY",  # the SDK's own method says QUICK_WAP_PAY, which is another product
            "quit_url": quit_url,
        }
        signed = self._gateway.signed("alipay.trade.wap.pay", content, notify_url=notify_url, return_url=return_url)
        return f"{self._gateway_url}?{signed}"

    def query(self, number: str) -> Receipt:
        """How the trade stands; `trade_state` unknown where Alipay has never heard of the number.

        On a page to pay on that is the rule until somebody opens it. A trade that was paid and is closed was refunded
        whole.
        """
        try:
            answer = self._gateway.call("alipay.trade.query", {"out_trade_no": _checked(number)})
        except ProviderRefused as refused:
            if refused.code != NO_SUCH_TRADE:
                raise
            return _nothing(number, UNKNOWN, refused.code)
        _check_number(answer, number)
        return _receipt(answer, number)

    def close(self, number: str) -> str:
        """Closes an unpaid trade and returns its state then; closing it again is fine.

        A trade that was paid meanwhile is `paid` (query it). `unknown`: no such trade yet, and a page to pay on that
        was handed out can still make one until it expires.
        """
        try:
            self._gateway.call("alipay.trade.close", {"out_trade_no": _checked(number)})
        except ProviderRefused as refused:
            if refused.code == NO_SUCH_TRADE:
                return UNKNOWN
            if refused.code not in NOT_TO_BE_CLOSED:
                raise
            return self.query(number).trade_state
        return CLOSED


def _order(number: str, amount_fen: int, description: str, expires_at: datetime) -> dict[str, Any]:
    """What both products share. Amounts are texts: a number would travel as 10.0."""
    return {
        "out_trade_no": _checked(number),
        "total_amount": yuan_of(amount_fen),
        "subject": description.translate(NOT_IN_SUBJECT)[:LONGEST_SUBJECT],
        "time_expire": expires_at.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S"),
    }


def _receipt(answer: dict[str, Any], number: str) -> Receipt:
    """The answer of a query: it names neither seller nor app, being signed for the app that asked."""
    word, paid_at = _text(answer, "trade_status"), _instant(answer.get("send_pay_date"))
    state = TRADE_STATES.get(word)
    if state is None:
        raise ProviderBadAnswer("trade_status", word)
    is_refunded = state == CLOSED and paid_at is not None
    if state != PAID and not is_refunded:
        return _nothing(number, state, word)
    amount_fen = _fen(answer)
    return Receipt(
        provider="alipay",
        kind=REFUND if is_refunded else PAYMENT,
        trade_state=PAID,
        provider_state=word,
        attempt_number=number,
        provider_transaction=_text(answer, "trade_no"),
        amount_fen=amount_fen,
        paid_at=paid_at,
        payer=str(answer.get("buyer_open_id") or answer.get("open_id") or answer.get("buyer_user_id") or ""),
        refund_fen=amount_fen if is_refunded else 0,
        is_refund_total=is_refunded,
        refund_state="success" if is_refunded else "",
    )


def _nothing(number: str, state: str, word: str) -> Receipt:
    return Receipt(provider="alipay", kind=NOTHING, trade_state=state, provider_state=word, attempt_number=number)


def _checked(number: str) -> str:
    if not NUMBER.fullmatch(number):
        raise ValueError("an out_trade_no has at most 64 letters, digits or _")
    return number


def _check_number(answer: dict[str, Any], number: str) -> None:
    if answer.get("out_trade_no") != number:
        raise ProviderBadAnswer("other_number", str(answer.get("out_trade_no")))


def _text(answer: dict[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        raise ProviderBadAnswer("malformed", f"no {name}")
    return value


def _fen(answer: dict[str, Any]) -> int:
    try:
        fen = fen_of(str(answer.get("total_amount")))
    except ValueError:
        fen = 0
    if fen == 0:
        raise ProviderBadAnswer("amount", str(answer.get("total_amount")))
    return fen


def _instant(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)).replace(tzinfo=BEIJING)
    except ValueError:
        return None
