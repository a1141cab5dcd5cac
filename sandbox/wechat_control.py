"""What people do around WeChat (log in, pay, cancel, refund) as an API on the loopback; callbacks made to order."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import BadRequest
from werkzeug.routing import Rule
from werkzeug.wrappers import Request, Response

from sandbox.keys import MINI_APPID
from sandbox.payers import CannotPayError, PayersControl
from sandbox.server import as_json, json_of
from sandbox.signatures import is_signed, wechat_pay_message
from sandbox.wechat_callbacks import signed_callback
from sandbox.wechat_trades import PREPAY_VALID_S, Trade

if TYPE_CHECKING:
    from sandbox.wechat import WeChat


class WeChatControl(PayersControl):
    """The paths under /sandbox/ that are WeChat's own."""

    _box: "WeChat"
    number, owner = "transaction_id", "mchid"

    def routes(self) -> Iterator[Rule]:
        """For the box's map."""
        yield from super().routes()
        yield Rule("/sandbox/request_payment", methods=["POST"], endpoint=self._request_payment)

    def _login_code(self, request: Request) -> Response:
        wanted = json_of(request)
        person = {
            "appid": wanted.get("appid", MINI_APPID),
            "openid": wanted.get("openid") or f"oSANDBOX{uuid.uuid4().hex[:20]}",
            "unionid": wanted.get("unionid", ""),
            "phone": wanted.get("phone", ""),
        }
        with self._box.lock:
            codes = {"code": self._box.apps.give_code("login", **person)}
            if person["phone"]:
                codes["phone_code"] = self._box.apps.give_code("phone", **person)
        self._box.changed()
        return as_json(codes | {"openid": person["openid"], "appid": person["appid"]})

    def _request_payment(self, request: Request) -> Response:
        """wx.requestPayment: the phone's WeChat checks paySign against the merchant's certificate, then asks to pay."""
        asked = json_of(request)
        try:
            trade = self._trade_to_pay(asked)
        except CannotPayError as refused:
            return as_json({"errMsg": f"requestPayment:fail {refused}"})
        if asked.get("action") == "cancel":
            trade.payers_refusal = "cancel"
            return as_json({"errMsg": "requestPayment:fail cancel", "out_trade_no": trade.out_trade_no})
        answer = self._paid(trade, asked)
        told = "requestPayment:ok" if "refused" not in answer else f"requestPayment:fail {answer['refused']}"
        return as_json({"errMsg": told, "out_trade_no": trade.out_trade_no} | answer)

    def _trade_to_pay(self, asked: dict[str, Any]) -> Trade:
        package = str(asked.get("package", ""))
        prepay_id = package.removeprefix("prepay_id=")
        with self._box.lock:
            trade = next((t for t in self._box.trades.values() if prepay_id in t.prepays), None)
        if trade is None or asked.get("appId") != trade.appid:
            raise CannotPayError("支付验证签名失败 (prepay_id)")
        if asked.get("openid", trade.openid) != trade.openid:
            raise CannotPayError("下单账号与支付账号不一致")
        if time.time() > trade.prepays[prepay_id] + PREPAY_VALID_S:
            raise CannotPayError("prepay_id过期")
        message = wechat_pay_message(
            appid=trade.appid, timestamp=str(asked["timeStamp"]), nonce=str(asked["nonceStr"]), package=package
        )
        merchant = self._box.world.wechat[trade.merchant]
        texts = isinstance(asked["timeStamp"], str) and asked.get("signType") == "RSA"
        if not texts or not is_signed(merchant.certified, message, str(asked.get("paySign"))):
            raise CannotPayError("支付验证签名失败")
        return trade

    def _notify(self, request: Request, out_trade_no: str) -> Response:
        trade = self._trade(request, out_trade_no)
        if trade.state not in {"SUCCESS", "REFUND"}:
            raise BadRequest("nothing was paid")
        return as_json(self._notified(trade, json_of(request)))

    def _refund(self, request: Request, out_trade_no: str) -> Response:
        trade, wanted = self._trade(request, out_trade_no), json_of(request)
        with self._box.lock:
            amount = int(wanted.get("amount_fen", trade.paid_fen - trade.refunded_fen))
            if trade.state not in {"SUCCESS", "REFUND"} or not 0 < amount <= trade.paid_fen - trade.refunded_fen:
                raise BadRequest("nothing to refund")
            trade.state, trade.refunded_fen = "REFUND", trade.refunded_fen + amount
        self._box.changed()
        return as_json(asdict(trade))

    def crafted(self, wanted: dict[str, Any]) -> tuple[dict[str, str], bytes]:
        """`signed_callback` with these arguments; `at_offset_s` moves its clock."""
        offset_s = wanted.pop("at_offset_s", 0)
        return signed_callback(self._box.world, at=time.time() + offset_s, **wanted)
