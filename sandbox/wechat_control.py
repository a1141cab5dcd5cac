"""What people do around WeChat (log in, pay, cancel, refund) as an API on the loopback; callbacks made to order."""

import base64
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import BadRequest, NotFound
from werkzeug.routing import Rule
from werkzeug.wrappers import Request, Response

from sandbox.callbacks import send_once
from sandbox.keys import MINI_APPID
from sandbox.server import as_json, json_of
from sandbox.signatures import is_signed, wechat_pay_message
from sandbox.wechat_callbacks import signed_callback
from sandbox.wechat_trades import PREPAY_VALID_S, CannotPayError, Trade

if TYPE_CHECKING:
    from sandbox.wechat import WeChat


class WeChatControl:
    """The paths under /sandbox/ that are WeChat's own."""

    def __init__(self, box: "WeChat") -> None:
        self._box = box

    def routes(self) -> Iterator[Rule]:
        """For the box's map."""
        yield Rule("/sandbox/login_code", methods=["POST"], endpoint=self._login_code)
        yield Rule("/sandbox/request_payment", methods=["POST"], endpoint=self._request_payment)
        yield Rule("/sandbox/trades", methods=["GET"], endpoint=self._list)
        yield Rule("/sandbox/trades/<out_trade_no>", methods=["GET"], endpoint=self._get)
        yield Rule("/sandbox/trades/<out_trade_no>/pay", methods=["POST"], endpoint=self._pay)
        yield Rule("/sandbox/trades/<out_trade_no>/cancel", methods=["POST"], endpoint=self._cancel)
        yield Rule("/sandbox/trades/<out_trade_no>/notify", methods=["POST"], endpoint=self._notify)
        yield Rule("/sandbox/trades/<out_trade_no>/refund", methods=["POST"], endpoint=self._refund)
        yield Rule("/sandbox/callbacks/craft", methods=["POST"], endpoint=self._craft)

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

    def _list(self, _request: Request) -> Response:
        with self._box.lock:
            return as_json({"trades": [asdict(t) for t in self._box.trades.values()]})

    def _get(self, request: Request, out_trade_no: str) -> Response:
        with self._box.lock:
            return as_json(asdict(self._trade(request, out_trade_no)))

    def _pay(self, request: Request, out_trade_no: str) -> Response:
        answer = self._paid(self._trade(request, out_trade_no), json_of(request))
        return as_json(answer, status=409 if "refused" in answer else 200)

    def _paid(self, trade: Trade, wanted: dict[str, Any]) -> dict[str, Any]:
        """Pays, sends `notify` callbacks (true, false or a number) after `delay_ms`; `wait` for their first answers."""
        try:
            with self._box.lock:
                trade.pay(
                    now=time.time(),
                    amount_fen=wanted.get("amount_fen"),
                    transaction_id=wanted.get("transaction_id"),
                    paid_at=wanted.get("paid_at"),
                    force=bool(wanted.get("force")),
                )
        except CannotPayError as refused:
            return {"refused": str(refused), "trade": asdict(trade)}
        return self._notified(trade, wanted)

    def _notified(self, trade: Trade, wanted: dict[str, Any]) -> dict[str, Any]:
        times = int(wanted.get("notify", True))
        ids = self._box.notify(trade, times=times, delay_s=wanted.get("delay_ms", 0) / 1000) if times else []
        self._box.changed()
        if wanted.get("wait"):
            self._box.courier.wait(ids)
        log = [d for d in self._box.courier.log(trade.out_trade_no) if d["id"] in ids]
        return {"trade": asdict(trade), "callbacks": log}

    def _notify(self, request: Request, out_trade_no: str) -> Response:
        trade = self._trade(request, out_trade_no)
        if trade.state not in {"SUCCESS", "REFUND"}:
            raise BadRequest("nothing was paid")
        return as_json(self._notified(trade, json_of(request)))

    def _cancel(self, request: Request, out_trade_no: str) -> Response:
        trade = self._trade(request, out_trade_no)
        with self._box.lock:
            trade.payers_refusal = "cancel"  # the order itself stays NOTPAY, as at the vendor's
        self._box.changed()
        return as_json(asdict(trade))

    def _refund(self, request: Request, out_trade_no: str) -> Response:
        trade, wanted = self._trade(request, out_trade_no), json_of(request)
        with self._box.lock:
            amount = int(wanted.get("amount_fen", trade.paid_fen - trade.refunded_fen))
            if trade.state not in {"SUCCESS", "REFUND"} or not 0 < amount <= trade.paid_fen - trade.refunded_fen:
                raise BadRequest("nothing to refund")
            trade.state, trade.refunded_fen = "REFUND", trade.refunded_fen + amount
        self._box.changed()
        return as_json(asdict(trade))

    def _craft(self, request: Request) -> Response:
        """Headers and body of `signed_callback`; `at_offset_s` moves its clock, `send_to` posts it once."""
        wanted = json_of(request)
        target = wanted.pop("send_to", "")
        offset_s = wanted.pop("at_offset_s", 0)
        try:
            headers, body = signed_callback(self._box.world, at=time.time() + offset_s, **wanted)
        except (TypeError, KeyError, ValueError) as error:
            raise BadRequest(f"cannot craft that: {error!r}") from None
        answer = {"headers": headers, "body": body.decode(), "body_base64": base64.b64encode(body).decode()}
        return as_json(answer | ({"answer": send_once(target, headers, body)} if target else {}))

    def _trade(self, request: Request, out_trade_no: str) -> Trade:
        try:
            return self._box.trade_called(out_trade_no, request.args.get("mchid", ""))
        except KeyError:
            raise NotFound from None
