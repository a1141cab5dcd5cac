"""What people do around Alipay (log in, pay, cancel, refund) as an API on the loopback; notifies made to order."""

import base64
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import BadRequest
from werkzeug.routing import Rule
from werkzeug.wrappers import Request, Response

from sandbox.alipay_notify import signed_notify
from sandbox.alipay_trades import BusinessError, CannotPayError, Trade
from sandbox.callbacks import send_once
from sandbox.keys import ALIPAY_APP_IDS
from sandbox.server import as_json, json_of

if TYPE_CHECKING:
    from sandbox.alipay import Alipay


class AlipayControl:
    """The paths under /sandbox/ that are Alipay's own."""

    def __init__(self, box: "Alipay") -> None:
        self._box = box

    def routes(self) -> Iterator[Rule]:
        """For the box's map."""
        yield Rule("/sandbox/login_code", methods=["POST"], endpoint=self._login_code)
        yield Rule("/sandbox/trade_pay", methods=["POST"], endpoint=self._trade_pay)
        yield Rule("/sandbox/trades", methods=["GET"], endpoint=self._list)
        yield Rule("/sandbox/trades/<out_trade_no>", methods=["GET"], endpoint=self._get)
        yield Rule("/sandbox/trades/<out_trade_no>/pay", methods=["POST"], endpoint=self._pay)
        yield Rule("/sandbox/trades/<out_trade_no>/cancel", methods=["POST"], endpoint=self._cancel)
        yield Rule("/sandbox/trades/<out_trade_no>/notify", methods=["POST"], endpoint=self._notify)
        yield Rule("/sandbox/trades/<out_trade_no>/refund", methods=["POST"], endpoint=self._refund)
        yield Rule("/sandbox/callbacks/craft", methods=["POST"], endpoint=self._craft)

    def _login_code(self, request: Request) -> Response:
        wanted = json_of(request)
        app_id = wanted.get("app_id", ALIPAY_APP_IDS["key"])
        open_id = wanted.get("open_id") or f"SANDBOX{uuid.uuid4().hex[:24]}"
        code = uuid.uuid4().hex
        with self._box.lock:
            known = self._box.open_ids.setdefault(app_id, [])
            if open_id not in known:
                known.append(open_id)
            self._box.codes[code] = {
                "app_id": app_id,
                "open_id": open_id,
                "union_id": wanted.get("union_id", ""),
                "user_id": wanted.get("user_id", ""),
                "made_at": time.time(),
                "used": False,
            }
        self._box.changed()
        return as_json({"auth_code": code, "open_id": open_id})

    def _trade_pay(self, request: Request) -> Response:
        """my.tradePay: 9000 paid, 6001 cancelled, 4000 refused."""
        asked = json_of(request)
        with self._box.lock:
            found = [t for t in self._box.trades.values() if t.trade_no == asked.get("tradeNO")]
        if not found or asked.get("open_id", found[0].buyer_open_id) != found[0].buyer_open_id:
            return as_json({"resultCode": "4000"})
        trade = found[0]
        if asked.get("action") == "cancel":
            trade.payers_refusal = "cancel"
            return as_json({"resultCode": "6001", "out_trade_no": trade.out_trade_no})
        answer = self._paid(trade, asked)
        code = "4000" if "refused" in answer else "9000"
        return as_json({"resultCode": code, "out_trade_no": trade.out_trade_no} | answer)

    def _list(self, _request: Request) -> Response:
        with self._box.lock:
            return as_json({"trades": [asdict(t.look(time.time())) for t in self._box.trades.values()]})

    def _get(self, request: Request, out_trade_no: str) -> Response:
        with self._box.lock:
            return as_json(asdict(self._trade(request, out_trade_no)))

    def _pay(self, request: Request, out_trade_no: str) -> Response:
        answer = self._paid(self._trade(request, out_trade_no), json_of(request))
        return as_json(answer, status=409 if "refused" in answer else 200)

    def _paid(self, trade: Trade, wanted: dict[str, Any]) -> dict[str, Any]:
        """Pays, sends `notify` notifies (true, false or a number) after `delay_ms`; `wait` for their first answers."""
        try:
            with self._box.lock:
                trade.pay(
                    now=time.time(),
                    amount_fen=wanted.get("amount_fen"),
                    trade_no=wanted.get("trade_no"),
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
        return as_json(self._notified(self._trade(request, out_trade_no), json_of(request)))

    def _cancel(self, request: Request, out_trade_no: str) -> Response:
        trade = self._trade(request, out_trade_no)
        with self._box.lock:
            trade.payers_refusal = "cancel"  # the trade itself waits on, as at the vendor's
        self._box.changed()
        return as_json(asdict(trade))

    def _refund(self, request: Request, out_trade_no: str) -> Response:
        """Somebody refunds in Alipay's console: the notify goes to the payment's notify_url."""
        trade, wanted = self._trade(request, out_trade_no), json_of(request)
        try:
            with self._box.lock:
                trade.refund(
                    amount_fen=int(wanted.get("amount_fen", trade.paid_fen - trade.refunded_fen)),
                    out_biz_no=wanted.get("out_request_no") or f"console{uuid.uuid4().hex[:16]}",
                    now=time.time(),
                )
        except BusinessError as refused:
            raise BadRequest(refused.sub_msg) from None
        return as_json(self._notified(trade, wanted))

    def _craft(self, request: Request) -> Response:
        """Headers and body of `signed_notify`; `send_to` posts it once."""
        wanted = json_of(request)
        target = wanted.pop("send_to", "")
        try:
            headers, body = signed_notify(self._box.world, **wanted)
        except (TypeError, KeyError, ValueError) as error:
            raise BadRequest(f"cannot craft that: {error!r}") from None
        answer = {"headers": headers, "body": body.decode(), "body_base64": base64.b64encode(body).decode()}
        return as_json(answer | ({"answer": send_once(target, headers, body)} if target else {}))

    def _trade(self, request: Request, out_trade_no: str) -> Trade:
        return self._box.trade_called(out_trade_no, request.args.get("app_id", ""))
