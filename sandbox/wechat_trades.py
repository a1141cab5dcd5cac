"""What WeChat Pay remembers of an order, and what may happen to it."""

import secrets
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from sandbox.payers import CannotPayError

BEIJING = timezone(timedelta(hours=8))
PREPAY_VALID_S = 2 * 3600  # whatever time_expire says (pay.weixin.qq.com 4012791897)
SOMEBODY = "oSANDBOXsomebody"  # who pays from outside of WeChat
STATES = {"NOTPAY": "订单未支付", "SUCCESS": "支付成功", "REFUND": "转入退款", "CLOSED": "订单已关闭"}


@dataclass
class Trade:
    """One out_trade_no of one merchant. `asked` is the prepay request without anything computed."""

    merchant: str  # the name in the world: direct, partner, other
    out_trade_no: str
    asked: dict[str, Any]
    expires_at: float
    created_at: float = field(default_factory=time.time)
    prepays: dict[str, float] = field(default_factory=dict)  # prepay_id -> when it was issued
    state: str = "NOTPAY"
    transaction_id: str = ""
    paid_fen: int = 0
    paid_at: str = ""  # RFC 3339
    refunded_fen: int = 0
    payers_refusal: str = ""  # "cancel" once the payer has closed the cashier
    money: str = ""  # frozen until shipping information arrives, then shipped
    shipments: list[dict[str, Any]] = field(default_factory=list)

    @property
    def amount_fen(self) -> int:
        """What the merchant asked for."""
        return int(self.asked["amount"]["total"])

    @property
    def openid(self) -> str:
        """Who may pay: in partner mode the openid at the app that was named; outside of WeChat, whoever comes."""
        payer = self.asked.get("payer") or {"openid": SOMEBODY}
        return str(payer.get("openid") or payer.get("sub_openid") or payer["sp_openid"])

    @property
    def is_h5(self) -> bool:
        """Paid from a browser outside of WeChat."""
        return "payer" not in self.asked

    @property
    def appid(self) -> str:
        """The app in which the payer pays."""
        if "appid" in self.asked:
            return str(self.asked["appid"])
        return str(self.asked["sub_appid"] if "sub_openid" in self.asked.get("payer", {}) else self.asked["sp_appid"])

    def new_prepay(self, now: float) -> str:
        """A fresh prepay_id; the earlier ones stay good."""
        prepay_id = f"wx{datetime.fromtimestamp(now, BEIJING):%d%H%M%S}{secrets.token_hex(12)}0000"
        self.prepays[prepay_id] = now
        return prepay_id

    def pay(
        self, *, now: float, amount_fen: int | None, transaction_id: str | None, paid_at: str | None, force: bool
    ) -> None:
        """The payer pays; `force` also where WeChat would refuse (closed, run out, paid before).

        Raises CannotPayError.
        """
        if not force:
            self._check_payable(now)
        self.state = "SUCCESS"
        self.paid_fen = self.amount_fen if amount_fen is None else amount_fen
        self.transaction_id = transaction_id or new_transaction_id(now)
        self.paid_at = paid_at or beijing(now)
        self.money = "frozen"

    def _check_payable(self, now: float) -> None:
        if self.state != "NOTPAY":
            raise CannotPayError(f"{self.state}: {STATES[self.state]}")
        if now > self.expires_at:
            raise CannotPayError("EXPIRED: 订单已过支付时间")

    def as_transaction(self, mchids: dict[str, str]) -> dict[str, Any]:
        """The transaction as a query answers it and as a callback carries it. `mchids` are the merchant's numbers."""
        content: dict[str, Any] = {
            **mchids,
            **{k: v for k, v in self.asked.items() if k in {"appid", "sp_appid", "sub_appid"}},
            "out_trade_no": self.out_trade_no,
            "attach": self.asked.get("attach", ""),
            "trade_state": self.state,
            "trade_state_desc": STATES[self.state],
            "promotion_detail": [],
        }
        if self.state not in {"SUCCESS", "REFUND"}:
            return content | {"amount": {"total": self.amount_fen, "currency": "CNY", "payer_currency": "CNY"}}
        return content | {
            "transaction_id": self.transaction_id,
            "trade_type": "MWEB" if self.is_h5 else "JSAPI",
            "bank_type": "OTHERS",
            "success_time": self.paid_at,
            "payer": self.asked.get("payer") or {"openid": SOMEBODY},
            "amount": {
                "total": self.paid_fen,
                "payer_total": self.paid_fen,
                "currency": "CNY",
                "payer_currency": "CNY",
            },
        }


def new_transaction_id(now: float) -> str:
    """28 digits, the date in them, as WeChat's."""
    day = datetime.fromtimestamp(now, BEIJING).strftime("%Y%m%d")
    return f"42000{secrets.randbelow(10**5):05d}{day}{secrets.randbelow(10**10):010d}"


def beijing(now: float) -> str:
    """RFC 3339 with +08:00, to the second."""
    return datetime.fromtimestamp(now, BEIJING).isoformat(timespec="seconds")
