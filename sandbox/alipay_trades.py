"""What Alipay remembers of a trade, and what may happen to it."""

import re
import secrets
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from sandbox.payers import CannotPayError

BEIJING = timezone(timedelta(hours=8))
YUAN = re.compile(r"\d{1,9}(\.\d{1,2})?")
SPANS_S = {"m": 60, "h": 3600, "d": 86400}
LARGEST_FEN = 10_000_000_000


class BusinessError(Exception):
    """A gateway answer with code 40004 and this sub_code."""

    def __init__(self, sub_code: str, sub_msg: str) -> None:
        super().__init__(sub_msg)
        self.sub_code, self.sub_msg = sub_code, sub_msg


def new_trade_no() -> str:
    """28 digits, the date in them, as Alipay's."""
    return f"{datetime.now(BEIJING):%Y%m%d}22001{secrets.randbelow(10**15):015d}"


@dataclass
class Trade:
    """One out_trade_no of one seller. `asked` is the biz_content that made it."""

    app: str  # the name in the world: key, certificate, other
    out_trade_no: str
    asked: dict[str, Any]
    notify_url: str
    expires_at: float
    trade_no: str = field(default_factory=new_trade_no)
    created_at: float = field(default_factory=time.time)
    buyer_open_id: str = ""
    state: str = "WAIT_BUYER_PAY"
    paid_fen: int = 0
    paid_at: float = 0.0
    closed_at: float = 0.0
    refunds: list[dict[str, Any]] = field(default_factory=list)  # {"out_biz_no", "fen", "at"}
    payers_refusal: str = ""

    @property
    def total_fen(self) -> int:
        """What the merchant asked for."""
        return fen_of(self.asked["total_amount"])

    @property
    def refunded_fen(self) -> int:
        """What has gone back, in all."""
        return sum(int(r["fen"]) for r in self.refunds)

    def look(self, now: float) -> "Trade":
        """The trade as it is now: an unpaid one closes by itself when its time is over."""
        if self.state == "WAIT_BUYER_PAY" and now > self.expires_at:
            self.state, self.closed_at = "TRADE_CLOSED", self.expires_at
        return self

    def pay(
        self, *, now: float, amount_fen: int | None, trade_no: str | None, paid_at: float | None, force: bool
    ) -> None:
        """The payer pays; `force` also where Alipay would refuse. Raises CannotPayError."""
        if not force and self.look(now).state != "WAIT_BUYER_PAY":
            raise CannotPayError(self.state)
        self.state = "TRADE_SUCCESS"
        self.paid_fen = self.total_fen if amount_fen is None else amount_fen
        self.trade_no = trade_no or self.trade_no
        self.paid_at = now if paid_at is None else paid_at
        self.buyer_open_id = self.buyer_open_id or "sandbox-open-id"

    def close(self, now: float) -> None:
        """alipay.trade.close: only what waits for its payer."""
        if self.look(now).state != "WAIT_BUYER_PAY":
            raise BusinessError("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
        self.state, self.closed_at = "TRADE_CLOSED", now

    def refund(self, *, amount_fen: int, out_biz_no: str, now: float) -> None:
        """Money goes back, in Alipay's own console; all of it closes the trade."""
        if self.state != "TRADE_SUCCESS" or not 0 < amount_fen <= self.paid_fen - self.refunded_fen:
            raise BusinessError("ACQ.REASON_TRADE_REFUND_FEE_ERR", "退款金额无效")
        self.refunds.append({"out_biz_no": out_biz_no, "fen": amount_fen, "at": now})
        if self.refunded_fen == self.paid_fen:
            self.state, self.closed_at = "TRADE_CLOSED", now


def check_order(asked: dict[str, Any]) -> None:
    """The rules that trade.create and trade.wap.pay share (opendocs alipay.trade.create). Raises BusinessError."""
    number, subject = asked.get("out_trade_no"), asked.get("subject")
    if not isinstance(number, str) or not re.fullmatch(r"[0-9A-Za-z_]{1,64}", number):
        raise BusinessError("ACQ.INVALID_PARAMETER", "out_trade_no：64个字符以内，仅支持字母、数字、下划线")
    if not isinstance(subject, str) or not 0 < len(subject) <= 256 or set(subject) & set("/=&"):
        raise BusinessError("ACQ.INVALID_PARAMETER", "subject：不可使用特殊字符，如 /，=，& 等")
    if not YUAN.fullmatch(str(asked.get("total_amount"))) or not 0 < fen_of(asked["total_amount"]) <= LARGEST_FEN:
        raise BusinessError("ACQ.TOTAL_FEE_EXCEED", "total_amount：取值范围[0.01,100000000]，精确到小数点后两位")


def check_wap(asked: dict[str, Any]) -> None:
    """What wap.pay wants besides: the product's own code, and where to go on "cancel"."""
    check_order(asked)
    if asked.get("product_code") != "QUICK_WAP_WAY" or not asked.get("quit_url"):
        raise BusinessError("ACQ.INVALID_PARAMETER", "product_code须为QUICK_WAP_WAY，并传quit_url")


def expiry_of(asked: dict[str, Any], *, now: float) -> float:
    """When an unpaid trade closes: `time_expire` (Beijing time), else `timeout_express`, else 15 days."""
    if "time_expire" in asked:
        try:
            wanted = datetime.strptime(asked["time_expire"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=BEIJING)
        except (TypeError, ValueError):
            raise BusinessError("ACQ.INVALID_PARAMETER", "time_expire格式应为yyyy-MM-dd HH:mm:ss") from None
        if wanted.timestamp() <= now:
            raise BusinessError("ACQ.INVALID_PARAMETER", "time_expire不能早于当前时间")
        return wanted.timestamp()
    span = str(asked.get("timeout_express", "15d"))
    if not re.fullmatch(r"[1-9]\d*[mhd]", span):
        raise BusinessError("ACQ.INVALID_PARAMETER", "timeout_express格式错误")
    return now + int(span[:-1]) * SPANS_S[span[-1]]


def fen_of(yuan: object) -> int:
    """Fen of a text like 12.3; the caller has checked its form."""
    whole, _, part = str(yuan).partition(".")
    return int(whole) * 100 + int(part.ljust(2, "0") or 0)


def yuan_of(fen: int) -> str:
    """Two decimals, as in every answer."""
    return f"{fen // 100}.{fen % 100:02d}"


def beijing(at: float) -> str:
    """Beijing time without a zone, as Alipay writes it."""
    return datetime.fromtimestamp(at, BEIJING).strftime("%Y-%m-%d %H:%M:%S")
