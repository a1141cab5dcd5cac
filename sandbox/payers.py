"""What people do around either vendor, as an API on the loopback: look at trades, pay, cancel; callbacks made to order.

Each vendor's own control API derives from it and says what differs: logging in, the phone's way to pay, refunds.
"""

import base64
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, ClassVar

from werkzeug.exceptions import BadRequest
from werkzeug.routing import Rule
from werkzeug.wrappers import Request, Response

from sandbox.callbacks import send_once
from sandbox.server import as_json, json_of


class CannotPayError(Exception):
    """What the payer reads on the phone instead of a receipt."""


class PayersControl(ABC):
    """The paths under /sandbox/ that both vendors have. Trades are dataclasses with `pay` and `payers_refusal`."""

    _box: Any  # the vendor's server: its lock, courier, trades, trade_called(), notify() and changed()

    number: ClassVar[str]  # what the vendor calls its own number of a payment
    owner: ClassVar[str]  # by what a query names whose trade is meant, where several have one of this number

    def __init__(self, box: Any) -> None:
        self._box = box

    def routes(self) -> Iterator[Rule]:
        """For the box's map."""
        yield Rule("/sandbox/login_code", methods=["POST"], endpoint=self._login_code)
        yield Rule("/sandbox/trades", methods=["GET"], endpoint=self._list)
        yield Rule("/sandbox/trades/<out_trade_no>", methods=["GET"], endpoint=self._get)
        yield Rule("/sandbox/trades/<out_trade_no>/pay", methods=["POST"], endpoint=self._pay)
        yield Rule("/sandbox/trades/<out_trade_no>/cancel", methods=["POST"], endpoint=self._cancel)
        yield Rule("/sandbox/trades/<out_trade_no>/notify", methods=["POST"], endpoint=self._notify)
        yield Rule("/sandbox/trades/<out_trade_no>/refund", methods=["POST"], endpoint=self._refund)
        yield Rule("/sandbox/callbacks/craft", methods=["POST"], endpoint=self._craft)

    @abstractmethod
    def _login_code(self, request: Request) -> Response:
        """A code that the app would get from the vendor's phone."""

    @abstractmethod
    def _refund(self, request: Request, out_trade_no: str) -> Response:
        """Somebody refunds in the vendor's console."""

    @abstractmethod
    def crafted(self, wanted: dict[str, Any]) -> tuple[dict[str, str], bytes]:
        """Headers and body of a callback with a genuine signature. Raises TypeError, KeyError or ValueError."""

    def look(self, trade: Any) -> Any:
        """The trade as it is now: time may have closed it."""
        return trade

    def _list(self, _request: Request) -> Response:
        with self._box.lock:
            return as_json({"trades": [asdict(self.look(trade)) for trade in self._box.trades.values()]})

    def _get(self, request: Request, out_trade_no: str) -> Response:
        with self._box.lock:
            return as_json(asdict(self._trade(request, out_trade_no)))

    def _pay(self, request: Request, out_trade_no: str) -> Response:
        answer = self._paid(self._trade(request, out_trade_no), json_of(request))
        return as_json(answer, status=409 if "refused" in answer else 200)

    def _paid(self, trade: Any, wanted: dict[str, Any]) -> dict[str, Any]:
        """Pays, sends `notify` callbacks (true, false or a number) after `delay_ms`; `wait` for their first answers."""
        how = {name: wanted.get(name) for name in ("amount_fen", self.number, "paid_at")}
        try:
            with self._box.lock:
                trade.pay(now=time.time(), force=bool(wanted.get("force")), **how)
        except CannotPayError as refused:
            return {"refused": str(refused), "trade": asdict(trade)}
        return self._notified(trade, wanted)

    def _notified(self, trade: Any, wanted: dict[str, Any]) -> dict[str, Any]:
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
            trade.payers_refusal = "cancel"  # the trade itself waits on, as at the vendors'
        self._box.changed()
        return as_json(asdict(trade))

    def _craft(self, request: Request) -> Response:
        """Headers and body of `crafted`; `send_to` posts it once."""
        wanted = json_of(request)
        target = wanted.pop("send_to", "")
        try:
            headers, body = self.crafted(wanted)
        except (TypeError, KeyError, ValueError) as error:
            raise BadRequest(f"cannot craft that: {error!r}") from None
        answer = {"headers": headers, "body": body.decode(), "body_base64": base64.b64encode(body).decode()}
        return as_json(answer | ({"answer": send_once(target, headers, body)} if target else {}))

    def _trade(self, request: Request, out_trade_no: str) -> Any:
        return self._box.trade_called(out_trade_no, request.args.get(self.owner, ""))
