"""Alipay in a box: `python -m sandbox.alipay --world <folder> --port N [--speed 60] [--state <file>]`.

The gateway (`/gateway.do`), the cashier page of wap payments, notifies. How to drive it: `sandbox/README.md`.
"""

import secrets
import time
import uuid
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from werkzeug.exceptions import NotFound
from werkzeug.routing import Rule
from werkzeug.wrappers import Request, Response

from sandbox.alipay_cashier import WAP, Cashier, told
from sandbox.alipay_control import AlipayControl
from sandbox.alipay_gateway import Call, GatewayError, checked_call, params_of, signed, unsigned
from sandbox.alipay_messages import Messages
from sandbox.alipay_notify import BLANKS, LADDER_S, notify_params, signed_form, signed_notify
from sandbox.alipay_trades import BusinessError, Trade, beijing, check_order, expiry_of, yuan_of
from sandbox.callbacks import Courier, Delivery, Dressed
from sandbox.faults import AnswerFault, Faults
from sandbox.server import Box, Handler, hang_up, main, pause_for
from sandbox.world import World

__all__ = ["Alipay", "signed_notify"]

CHOICES: dict[str, tuple[Any, ...]] = {
    "callbacks": ("send", "hold", "twice", "never"),
    "notify_charset": ("utf-8", "gbk"),
    "blank_fields": (False, True),
    "notify_closed": (True, False),
    "pay_before_answer": (False, True),
}
CODE_VALID_S = 86400


class Alipay(Box):
    """The server's memory and its vendor's API; the control API is `AlipayControl`."""

    def __init__(self, world: World, *, speed: float = 1.0) -> None:
        self.trades: dict[tuple[str, str], Trade] = {}  # by seller and out_trade_no
        self.codes: dict[str, dict[str, Any]] = {}
        self.open_ids: dict[str, list[str]] = {}  # by app id
        self.cashier = Cashier(self)
        self.control = AlipayControl(self)
        self.messages = Messages(lambda app_id: self.open_ids.get(app_id, []))
        courier = Courier(
            ladder_s=LADDER_S,
            speed=speed,
            dress=self._dress,
            # Exactly these seven letters: "SUCCESS", quotes or a page around them are failures.
            accepts=lambda status, answer: status == 200 and answer == b"success",
            changed=self.changed,
        )
        super().__init__(world, faults=Faults(CHOICES), courier=courier)

    def routes(self) -> Iterable[Rule]:
        yield from self.control.routes()
        yield Rule("/gateway.do", methods=["GET", "POST"], endpoint=self._gateway)
        yield from self.cashier.routes()
        yield from self.messages.routes()

    def snapshot(self) -> dict[str, Any]:
        trades = [asdict(t) for t in self.trades.values()]
        return {
            "trades": trades,
            "codes": self.codes,
            "open_ids": self.open_ids,
            "visits": self.cashier.visits,
            "messages": self.messages.snapshot(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        trades = [Trade(**t) for t in saved["trades"]]
        self.trades = {self.key_of(t.app, t.out_trade_no): t for t in trades}
        self.codes, self.open_ids, self.cashier.visits = saved["codes"], saved["open_ids"], saved["visits"]
        self.messages.restore(saved.get("messages", {}))

    def forget(self) -> None:
        self.trades, self.codes, self.open_ids, self.cashier.visits = {}, {}, {}, {}
        self.messages.restore({})

    def answer(self, request: Request, handler: Handler, args: dict[str, Any]) -> Response:
        return handler(request, **args)

    def notify(self, trade: Trade, *, times: int = 1, delay_s: float = 0.0) -> list[str]:
        """Puts a notify about the trade as it stands on its way; returns the deliveries' ids."""
        how = self.faults["callbacks"]
        if how == "never" or not trade.notify_url:
            return []
        times = max(times, 2) if how == "twice" else times
        params = notify_params(self.world.alipay[trade.app], trade, charset=self.faults["notify_charset"])
        if self.faults["blank_fields"]:
            params |= dict.fromkeys(BLANKS, "")
        deliveries = [
            Delivery(
                id=str(uuid.uuid4()),
                about=trade.out_trade_no,
                url=trade.notify_url,
                payload={"app": trade.app, "params": params},
                state="held" if how == "hold" else "waiting",
            )
            for _ in range(times)
        ]
        for delivery in deliveries:
            self.courier.send(delivery, delay_s=delay_s)
        return [d.id for d in deliveries]

    def trade_called(self, out_trade_no: str, app_id: str = "") -> Trade:
        """A trade by its number, for the control API; NotFound where none or several sellers have it."""
        found = [
            t
            for t in self.trades.values()
            if t.out_trade_no == out_trade_no and app_id in {"", self.world.alipay[t.app].app_id}
        ]
        if len(found) != 1:
            raise NotFound(f"{len(found)} trades are called {out_trade_no}")
        return found[0].look(time.time())

    def key_of(self, app: str, out_trade_no: str) -> tuple[str, str]:
        """A number is unique per seller, not per app."""
        return self.world.alipay[app].seller_id, out_trade_no

    def _gateway(self, request: Request) -> Response:
        params = params_of(request)
        fault = self.faults.take(params.get("method", ""))
        if fault is None:
            return self._served(request, params)
        if fault.refuses and not fault.work_done:
            return self._spoilt(request, params, fault)
        response = self._served(request, params, how=fault.signature)
        if fault.refuses:
            return self._spoilt(request, params, fault)
        pause_for(fault)
        return response

    def _served(self, request: Request, params: dict[str, str], *, how: str = "") -> Response:
        try:
            call = checked_call(self.world, params, now=time.time())
            if call.method == WAP:
                return self.cashier.open(request, call)
            name, content = self._handled(call)
        except GatewayError as refused:
            if params.get("method") == WAP:
                return told(f"{refused.sub_code} {refused.sub_msg}", status=400)
            return unsigned(params, refused)
        return signed(call, content, name=name, how=how, world=self.world)

    def _handled(self, call: Call) -> tuple[str, dict[str, Any]]:
        methods = {
            "alipay.system.oauth.token": self._token,
            "alipay.trade.create": self._create,
            "alipay.trade.query": self._query,
            "alipay.trade.close": self._close,
            "alipay.open.app.mini.templatemessage.send": self.messages.send,
        }
        if call.method not in methods:
            raise GatewayError("isv.invalid-method", "不存在的方法名")
        try:
            content = methods[call.method](call)
        except BusinessError as refused:
            content = {
                "code": "40004",
                "msg": "Business Failed",
                "sub_code": refused.sub_code,
                "sub_msg": refused.sub_msg,
            }
        if call.method == "alipay.system.oauth.token":
            return ("error_response" if "code" in content else "", content)
        return "", {"code": "10000", "msg": "Success"} | content

    def _spoilt(self, request: Request, params: dict[str, str], fault: AnswerFault) -> Response:
        pause_for(fault)
        if fault.drop:
            hang_up(request)
        if fault.status or fault.html or not fault.code:
            return Response(fault.html or "<html>502 Bad Gateway</html>", fault.status or 502, mimetype="text/html")
        try:
            call = checked_call(self.world, params, now=time.time())
        except GatewayError as refused:
            return unsigned(params, refused)
        known = fault.code == "20000"
        content = {
            "code": "20000" if known else "40004",
            "msg": "Service Currently Unavailable" if known else "Business Failed",
            "sub_code": "isp.unknow-error" if known else fault.code,
            "sub_msg": fault.message or "系统繁忙",
        }
        return signed(call, content, world=self.world, how=fault.signature)

    def _token(self, call: Call) -> dict[str, Any]:
        """alipay.system.oauth.token: grant_type and code are top-level parameters."""
        with self.lock:
            known = self.codes.get(call.params.get("code", ""))
            fresh = known and not known["used"] and time.time() < known["made_at"] + CODE_VALID_S
            if not known or not fresh or known["app_id"] != call.app.app_id:
                return GatewayError("isv.code-invalid", "授权码code无效").as_json()
            if call.params.get("grant_type") != "authorization_code":
                return GatewayError("isv.grant-type-invalid", "授权类型grant_type无效").as_json()
            known["used"] = True
        ids = {name: known[name] for name in ("open_id", "union_id", "user_id") if known[name]}
        times = {"expires_in": 1296000, "re_expires_in": 2592000, "auth_start": beijing(known["made_at"])}
        tokens = {"access_token": f"auth{secrets.token_hex(18)}", "refresh_token": f"auth{secrets.token_hex(18)}"}
        return ids | times | tokens

    def _create(self, call: Call) -> dict[str, Any]:
        asked = call.content
        with self.lock:
            check_order(asked)
            if asked.get("product_code") != "JSAPI_PAY" or asked.get("op_app_id") != call.app.app_id:
                raise BusinessError("ACQ.INVALID_PARAMETER", "JSAPI_PAY须传op_app_id，且与小程序一致")
            if asked.get("buyer_open_id") not in self.open_ids.get(call.app.app_id, []):
                raise BusinessError("ACQ.INVALID_PARAMETER", "buyer_open_id不存在或不属于该应用")
            trade = self.trade_for(call.app.name, asked, call.notify_url)
            trade.buyer_open_id = asked["buyer_open_id"]
        if self.faults["pay_before_answer"]:
            self._pay_at_once(trade)
        return {"out_trade_no": trade.out_trade_no, "trade_no": trade.trade_no}

    def trade_for(self, app: str, asked: dict[str, Any], notify_url: str) -> Trade:
        """The trade of this number, made when new; the same number for another order is refused."""
        now, key = time.time(), self.key_of(app, asked["out_trade_no"])
        trade = self.trades.get(key)
        if trade is None:
            trade = Trade(app, asked["out_trade_no"], asked, notify_url, expiry_of(asked, now=now))
            self.trades[key] = trade
        if trade.look(now).state == "TRADE_CLOSED":
            raise BusinessError("ACQ.TRADE_HAS_CLOSE", "交易已经关闭")
        if trade.state != "WAIT_BUYER_PAY":
            raise BusinessError("ACQ.TRADE_HAS_SUCCESS", "交易已被支付")
        if trade.asked != asked or trade.app != app:
            raise BusinessError("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改")
        return trade

    def _pay_at_once(self, trade: Trade) -> None:
        with self.lock:
            trade.pay(now=time.time(), amount_fen=None, trade_no=None, paid_at=None, force=True)
        self.courier.wait(self.notify(trade), timeout_s=10)

    def _query(self, call: Call) -> dict[str, Any]:
        with self.lock:
            trade = self._named(call)
            amount = yuan_of(trade.paid_fen or trade.total_fen)
            content: dict[str, Any] = {
                "trade_no": trade.trade_no,
                "out_trade_no": trade.out_trade_no,
                "trade_status": trade.state,
                "total_amount": amount,
                "buyer_open_id": trade.buyer_open_id,
                "buyer_logon_id": "138****0000",
                "point_amount": "0.00",
            }
            if trade.paid_fen:
                paid = dict.fromkeys(("receipt_amount", "buyer_pay_amount", "invoice_amount"), amount)
                content |= paid | {"send_pay_date": beijing(trade.paid_at)}
        return content

    def _close(self, call: Call) -> dict[str, Any]:
        with self.lock:
            trade = self._named(call)
            trade.close(time.time())
        if self.faults["notify_closed"]:
            self.notify(trade)
        return {"out_trade_no": trade.out_trade_no, "trade_no": trade.trade_no}

    def _named(self, call: Call) -> Trade:
        trade_no, number = call.content.get("trade_no"), call.content.get("out_trade_no")
        if not trade_no and not number:
            raise BusinessError("ACQ.INVALID_PARAMETER", "out_trade_no和trade_no不能同时为空")
        for (seller, known), trade in self.trades.items():
            wanted = trade.trade_no == trade_no if trade_no else known == number
            if seller == call.app.seller_id and wanted:
                return trade.look(time.time())
        raise BusinessError("ACQ.TRADE_NOT_EXIST", "交易不存在")

    def _dress(self, delivery: Delivery) -> Dressed:
        """Signs one try of a notify; its id stays, its time is new."""
        params = delivery.payload["params"] | {"notify_time": beijing(time.time())}
        return signed_form(self.world, self.world.alipay[delivery.payload["app"]], params)


if __name__ == "__main__":
    main("alipay", lambda world, speed: Alipay(world, speed=speed))
