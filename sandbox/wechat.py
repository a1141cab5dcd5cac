"""WeChat in a box: `python -m sandbox.wechat --world <folder> --port N [--speed 60] [--state <file>]`.

One server plays api.mch.weixin.qq.com (JSAPI payments) and api.weixin.qq.com (mini-program login, tokens, shipping).
How to drive it from outside: `sandbox/README.md`.
"""

import json
import secrets
import time
import uuid
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from werkzeug.exceptions import NotFound
from werkzeug.routing import Rule
from werkzeug.wrappers import Request, Response

from sandbox.callbacks import Courier, Delivery, Dressed
from sandbox.faults import AnswerFault, Faults
from sandbox.server import Box, Handler, as_json, hang_up, main, pause_for
from sandbox.wechat_app import AppError, MiniPrograms, ship
from sandbox.wechat_callbacks import (
    LADDER_S,
    mchids,
    probe,
    sealed_event,
    signed_callback,
    signed_headers,
    signing_key,
)
from sandbox.wechat_cashier import CASHIER, H5Cashier, h5_url
from sandbox.wechat_control import WeChatControl
from sandbox.wechat_messages import Messages
from sandbox.wechat_pay import (
    RefusedError,
    asking_merchant,
    body_of,
    check_asks_for_itself,
    check_closable,
    check_prepay,
    check_reuse,
    downloadable,
    expiry_of,
)
from sandbox.wechat_trades import Trade
from sandbox.world import SigningKey, WeChatMerchant, World

__all__ = ["WeChat", "signed_callback"]

CHOICES: dict[str, tuple[Any, ...]] = {
    "callbacks": ("send", "hold", "twice", "signtest", "never"),
    "callback_key": ("public_key", "platform_certificate", "next_platform_certificate", "alternating"),
    "pay_before_answer": (False, True),
    "certificates": ("current_and_next", "none"),
    "messages": ("deliver", "block", "silent"),  # what becomes of messages, as events say
}
APP_PATHS = ("/sns/", "/cgi-bin/", "/wxa/", "/connect/", CASHIER)
TRANSACTIONS = "/v3/pay/transactions"
PARTNER_TRANSACTIONS = "/v3/pay/partner/transactions"


class WeChat(Box):
    """The server's memory and its vendor's API; the control API is `WeChatControl`."""

    def __init__(self, world: World, *, speed: float = 1.0) -> None:
        self.trades: dict[tuple[str, str], Trade] = {}
        self.apps = MiniPrograms(world)
        self.messages = Messages(world, self.apps)
        self.control = WeChatControl(self)
        self.cashier = H5Cashier(self)
        courier = Courier(
            ladder_s=LADDER_S,
            speed=speed,
            dress=self._dress,
            # Only the status counts: 200 with {"code": "FAIL"} is a success to WeChat.
            accepts=lambda status, _answer: status in {200, 204},
            changed=self.changed,
        )
        super().__init__(world, faults=Faults(CHOICES), courier=courier)
        self.messages.courier = courier
        self.messages.outcome = lambda: str(self.faults["messages"])

    def routes(self) -> Iterable[Rule]:
        yield from self.control.routes()
        yield from self.messages.routes()
        yield Rule("/sns/jscode2session", methods=["GET"], endpoint=self.apps.code2session)
        yield Rule("/sns/oauth2/access_token", methods=["GET"], endpoint=self.apps.who_came)
        yield Rule("/connect/oauth2/authorize", methods=["GET"], endpoint=self.apps.authorize)
        yield from self.cashier.routes()
        yield Rule("/cgi-bin/stable_token", methods=["POST"], endpoint=self.apps.stable_token)
        yield Rule("/cgi-bin/token", methods=["GET"], endpoint=self.apps.ordinary_token)
        yield Rule("/wxa/business/getuserphonenumber", methods=["POST"], endpoint=self.apps.phone_number)
        yield Rule("/wxa/sec/order/is_trade_managed", methods=["POST"], endpoint=self.apps.is_trade_managed)
        yield Rule("/wxa/sec/order/upload_shipping_info", methods=["POST"], endpoint=self._ship)
        yield Rule("/v3/certificates", methods=["GET"], endpoint=self._certificates)
        for base in (TRANSACTIONS, PARTNER_TRANSACTIONS):
            yield Rule(f"{base}/jsapi", methods=["POST"], endpoint=self._prepay)
            yield Rule(f"{base}/h5", methods=["POST"], endpoint=self._prepay)
            yield Rule(f"{base}/out-trade-no/<out_trade_no>", methods=["GET"], endpoint=self._query)
            yield Rule(f"{base}/id/<transaction_id>", methods=["GET"], endpoint=self._query_by_id)
            yield Rule(f"{base}/out-trade-no/<out_trade_no>/close", methods=["POST"], endpoint=self._close)

    def snapshot(self) -> dict[str, Any]:
        return {"trades": [asdict(t) for t in self.trades.values()], "apps": self.apps.snapshot()} | {
            "messages": self.messages.snapshot()
        }

    def restore(self, saved: dict[str, Any]) -> None:
        trades = [Trade(**t) for t in saved["trades"]]
        self.trades = {(t.merchant, t.out_trade_no): t for t in trades}
        self.apps.restore(saved["apps"])
        self.messages.restore(saved.get("messages", {}))

    def forget(self) -> None:
        self.trades.clear()
        self.apps.restore(MiniPrograms(self.world).snapshot())
        self.messages.restore({})

    def notify(self, trade: Trade, *, times: int = 1, delay_s: float = 0.0) -> list[str]:
        """Puts a paid trade's callback on its way, `times` times with one id; returns the deliveries' ids."""
        how = self.faults["callbacks"]
        if how == "never":
            return []
        times = max(times, 2) if how == "twice" else times
        merchant = self.world.wechat[trade.merchant]
        event = sealed_event(merchant.apiv3_key, trade.as_transaction(mchids(self.world, trade.merchant)))
        deliveries = [
            Delivery(
                id=str(uuid.uuid4()),
                about=trade.out_trade_no,
                url=trade.asked["notify_url"],
                payload={"merchant": trade.merchant, "event": event, "key": self._callback_key()},
                probe=how == "signtest",
                state="held" if how == "hold" else "waiting",
            )
            for _ in range(times)
        ]
        for delivery in deliveries:
            self.courier.send(delivery, delay_s=delay_s)
        return [d.id for d in deliveries]

    def answer(self, request: Request, handler: Handler, args: dict[str, Any]) -> Response:
        fault = self.faults.take(request.path)
        if fault and not fault.work_done and fault.refuses:
            return self._spoilt(request, fault, self._broken(request, fault))
        response = (
            self._to_app(request, handler)
            if request.path.startswith(APP_PATHS)
            else self._to_merchant(request, handler, args, fault)
        )
        return self._spoilt(request, fault, response) if fault else response

    def _to_app(self, request: Request, handler: Handler) -> Response:
        try:
            with self.lock:
                return handler(request)
        except AppError as refused:
            return refused.as_answer()

    def _to_merchant(
        self, request: Request, handler: Handler, args: dict[str, Any], fault: AnswerFault | None
    ) -> Response:
        try:
            merchant = asking_merchant(self.world, request, now=time.time())
            key = self._answering_key(request, merchant)
            response = handler(request, merchant, **args)
        except RefusedError as refused:
            return as_json(refused.as_json(), status=refused.status)
        return self._signed(response, key, how=fault.signature if fault else "")

    def _answering_key(self, request: Request, merchant: WeChatMerchant) -> SigningKey:
        wanted = request.headers.get("Wechatpay-Serial")
        keys = (self.world.platform[0], self.world.platform[1], merchant.public_key)
        if not wanted:
            return keys[0]
        for key in keys:
            if key.serial == wanted:
                return key
        raise RefusedError(400, "PARAM_ERROR", "平台证书序列号Wechatpay-Serial错误")

    def _signed(self, response: Response, key: SigningKey, *, how: str) -> Response:
        if how == "none":
            return response
        body = response.get_data()
        headers = signed_headers(
            self.world.foreign if how == "foreign" else key, body, at=time.time(), serial=key.serial
        )
        response.headers.update(probe(headers) if how == "signtest" else headers)
        response.headers["Request-ID"] = secrets.token_hex(16)
        if how == "altered":
            response.set_data(body + b" ")
        return response

    def _spoilt(self, request: Request, fault: AnswerFault, response: Response) -> Response:
        pause_for(fault)
        if fault.drop:
            hang_up(request)
        return self._broken(request, fault) if fault.refuses else response

    def _broken(self, request: Request, fault: AnswerFault) -> Response:
        if fault.html:
            return Response(fault.html, status=fault.status or 502, mimetype="text/html")
        if request.path.startswith(APP_PATHS) and fault.code:
            return as_json({"errcode": int(fault.code), "errmsg": fault.message or "sandbox fault"})
        content = {"code": fault.code or "SYSTEM_ERROR", "message": fault.message or "系统异常，请稍后重试"}
        return as_json(content, status=fault.status or 500)

    def _prepay(self, request: Request, merchant: WeChatMerchant) -> Response:
        asked, now = body_of(request), time.time()
        partner = request.path.startswith(PARTNER_TRANSACTIONS)
        with self.lock:
            h5 = request.path.endswith("/h5")
            check_prepay(merchant, asked, partner=partner, openids=self.apps.openids, h5=h5)
            key = (merchant.name, asked["out_trade_no"])
            trade = self.trades.get(key)
            if trade is None:
                trade = Trade(merchant.name, asked["out_trade_no"], asked, expires_at=expiry_of(asked, now=now))
                self.trades[key] = trade
            check_reuse(trade, asked)
            prepay_id = trade.new_prepay(now)
        if self.faults["pay_before_answer"]:
            self._pay_at_once(trade)
        return as_json({"h5_url": h5_url(request, prepay_id)} if h5 else {"prepay_id": prepay_id})

    def _pay_at_once(self, trade: Trade) -> None:
        """The payer is quicker than our answer: the callback has come back before that goes out."""
        with self.lock:
            trade.pay(now=time.time(), amount_fen=None, transaction_id=None, paid_at=None, force=True)
        self.courier.wait(self.notify(trade), timeout_s=10)

    def _query(self, request: Request, merchant: WeChatMerchant, out_trade_no: str) -> Response:
        check_asks_for_itself(merchant, request.args, partner=request.path.startswith(PARTNER_TRANSACTIONS))
        with self.lock:
            trade = self._trade_of(merchant, out_trade_no)
            return as_json(trade.as_transaction(mchids(self.world, merchant.name)))

    def _query_by_id(self, request: Request, merchant: WeChatMerchant, transaction_id: str) -> Response:
        check_asks_for_itself(merchant, request.args, partner=request.path.startswith(PARTNER_TRANSACTIONS))
        with self.lock:
            for trade in self.trades.values():
                if trade.merchant == merchant.name and trade.transaction_id == transaction_id:
                    return as_json(trade.as_transaction(mchids(self.world, merchant.name)))
        raise RefusedError(404, "ORDER_NOT_EXIST", "订单不存在")

    def _close(self, request: Request, merchant: WeChatMerchant, out_trade_no: str) -> Response:
        check_asks_for_itself(merchant, body_of(request), partner=request.path.startswith(PARTNER_TRANSACTIONS))
        with self.lock:
            trade = self._trade_of(merchant, out_trade_no)
            check_closable(trade)
            trade.state = "CLOSED"
        return Response(status=204)

    def _trade_of(self, merchant: WeChatMerchant, out_trade_no: str) -> Trade:
        trade = self.trades.get((merchant.name, out_trade_no))
        if trade is None:
            raise RefusedError(404, "ORDER_NOT_EXIST", "订单不存在")
        return trade

    def trade_called(self, out_trade_no: str, mchid: str = "") -> Trade:
        """A trade by its number, for the control API; NotFound where none or several merchants have it."""
        found = [
            t
            for t in self.trades.values()
            if t.out_trade_no == out_trade_no and mchid in {"", self.world.wechat[t.merchant].mchid}
        ]
        if len(found) != 1:
            raise NotFound(f"{len(found)} trades are called {out_trade_no}")
        return found[0]

    def _certificates(self, _request: Request, merchant: WeChatMerchant) -> Response:
        if self.faults["certificates"] == "none":
            raise RefusedError(404, "RESOURCE_NOT_EXISTS", "无可用的平台证书，请在商户平台-API安全申请使用微信支付公钥")
        return as_json({"data": [downloadable(key, merchant) for key in self.world.platform]})

    def _ship(self, request: Request) -> Response:
        self.apps.token_owner(request)
        asked = json.loads(request.get_data())
        order = asked.get("order_key", {})
        ship(self._trade_to_ship(order), asked)
        return as_json({"errcode": 0, "errmsg": "ok"})

    def _trade_to_ship(self, order: dict[str, Any]) -> Trade | None:
        for trade in self.trades.values():
            numbers = mchids(self.world, trade.merchant)
            # A partner's order is known to the mini-program by its sub-merchant's number.
            mchid = numbers.get("sub_mchid") or numbers["mchid"]
            by_ours = order.get("order_number_type") == 1 and order.get("mchid") == mchid
            if by_ours and order.get("out_trade_no") == trade.out_trade_no:
                return trade
            if order.get("order_number_type") == 2 and order.get("transaction_id") == trade.transaction_id != "":
                return trade
        return None

    def _callback_key(self) -> str:
        chosen = str(self.faults["callback_key"])
        return ("public_key", "platform_certificate")[secrets.randbelow(2)] if chosen == "alternating" else chosen

    def _dress(self, delivery: Delivery) -> Dressed:
        """Signs one try of a callback with the clock and a nonce of that moment; events were signed before."""
        if "xml" in delivery.payload:
            return {"Content-Type": "text/xml"}, delivery.payload["xml"].encode()
        body = json.dumps(delivery.payload["event"], ensure_ascii=False).encode()
        merchant, chosen = delivery.payload["merchant"], delivery.payload["key"]
        headers = signed_headers(signing_key(self.world, chosen, merchant=merchant), body, at=time.time())
        if delivery.probe and not delivery.tries:
            headers = probe(headers)
        return headers | {"Content-Type": "application/json", "User-Agent": "Mozilla/4.0"}, body


if __name__ == "__main__":
    main("wechat", lambda world, speed: WeChat(world, speed=speed))
