"""What people do around Alipay (log in, pay, cancel, refund) as an API on the loopback; notifies made to order."""

import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import BadRequest
from werkzeug.routing import Rule
from werkzeug.wrappers import Request, Response

from sandbox.alipay_notify import signed_notify
from sandbox.alipay_trades import BusinessError, Trade
from sandbox.keys import ALIPAY_APP_IDS
from sandbox.payers import PayersControl
from sandbox.server import as_json, json_of

if TYPE_CHECKING:
    from sandbox.alipay import Alipay


class AlipayControl(PayersControl):
    """The paths under /sandbox/ that are Alipay's own."""

    _box: "Alipay"
    number, owner = "trade_no", "app_id"

    def routes(self) -> Iterator[Rule]:
        """For the box's map."""
        yield from super().routes()
        yield Rule("/sandbox/trade_pay", methods=["POST"], endpoint=self._trade_pay)

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

    def crafted(self, wanted: dict[str, Any]) -> tuple[dict[str, str], bytes]:
        """`signed_notify` with these arguments."""
        return signed_notify(self._box.world, **wanted)

    def look(self, trade: Trade) -> Trade:
        return trade.look(time.time())
