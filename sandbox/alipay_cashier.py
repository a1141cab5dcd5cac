"""The page on which a wap payment is made: as plain as a phone needs it, and what its buttons do."""

import secrets
import time
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from werkzeug.exceptions import NotFound
from werkzeug.routing import Rule
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from sandbox.alipay_gateway import Call
from sandbox.alipay_trades import BusinessError, Trade, beijing, check_wap, yuan_of
from sandbox.payers import CannotPayError
from sandbox.signatures import alipay_notify_message, signature_of

if TYPE_CHECKING:
    from sandbox.alipay import Alipay

WAP = "alipay.trade.wap.pay"

STYLE = """
body{margin:0;font:16px/1.5 -apple-system,"PingFang SC","Microsoft YaHei",sans-serif;background:#f5f5f9;color:#222}
header{background:#1677ff;color:#fff;padding:14px 16px;font-size:18px}
main{max-width:28em;margin:16px auto;padding:0 16px}
.card{background:#fff;border-radius:12px;padding:20px 16px;text-align:center}
.amount{font-size:40px;font-weight:600;margin:8px 0}
.small{color:#767676;font-size:14px;overflow-wrap:anywhere}
button{width:100%;min-height:48px;margin-top:16px;border:0;border-radius:8px;font-size:18px}
.pay{background:#1677ff;color:#fff}.cancel{background:#e9e9ee;color:#222}
"""


class Cashier:
    """Visits to the cashier: each signed wap.pay request gets an address of its own."""

    def __init__(self, box: "Alipay") -> None:
        self._box = box
        self.visits: dict[str, dict[str, Any]] = {}

    def routes(self) -> Iterator[Rule]:
        """For the box's map."""
        yield Rule("/cashier/<token>", methods=["GET"], endpoint=self._show)
        yield Rule("/cashier/<token>", methods=["POST"], endpoint=self._decided)

    def open(self, request: Request, call: Call) -> Response:
        """Sends the payer from the gateway to the page."""
        try:
            check_wap(call.content)
        except BusinessError as refused:
            return told(f"{refused.sub_code} {refused.sub_msg}", status=400)
        token = secrets.token_urlsafe(16)
        with self._box.lock:
            self.visits[token] = {"app": call.app.name, "asked": call.content, "params": call.params}
        return redirect(f"{request.host_url}cashier/{token}", 302)

    def _show(self, _request: Request, token: str) -> Response:
        """The trade begins when the payer sees the page: until then a query answers TRADE_NOT_EXIST."""
        visit = self._visit(token)
        try:
            with self._box.lock:
                trade = self._box.trade_for(visit["app"], visit["asked"], visit["params"].get("notify_url", ""))
        except BusinessError as refused:
            return told(f"{refused.sub_code} {refused.sub_msg}", status=400)
        return cashier(subject=trade.asked["subject"], amount=yuan_of(trade.total_fen), out_trade_no=trade.out_trade_no)

    def _decided(self, request: Request, token: str) -> Response:
        visit = self._visit(token)
        trade = self._box.trades.get(self._box.key_of(visit["app"], visit["asked"]["out_trade_no"]))
        if trade is None:
            return told("请重新打开收银台", status=400)
        if request.form.get("action") != "pay":
            trade.payers_refusal = "cancel"
            return redirect(visit["asked"]["quit_url"], 302)
        try:
            with self._box.lock:
                trade.pay(now=time.time(), amount_fen=None, trade_no=None, paid_at=None, force=False)
        except CannotPayError as refused:
            return told(f"无法支付：{refused}", status=400)
        self._box.notify(trade)
        back = visit["params"].get("return_url")
        return redirect(self._signed_return(trade, back), 302) if back else told("支付成功")

    def _visit(self, token: str) -> dict[str, Any]:
        if token not in self.visits:
            raise NotFound
        return self.visits[token]

    def _signed_return(self, trade: Trade, back: str) -> str:
        """The address the payer comes back to: signed, and for display only."""
        app = self._box.world.alipay[trade.app]
        params = {
            "app_id": app.app_id,
            "auth_app_id": app.app_id,
            "method": f"{WAP}.return",
            "charset": "utf-8",
            "version": "1.0",
            "sign_type": "RSA2",
            "timestamp": beijing(time.time()),
            "out_trade_no": trade.out_trade_no,
            "trade_no": trade.trade_no,
            "total_amount": yuan_of(trade.paid_fen),
            "seller_id": app.seller_id,
        }
        params["sign"] = signature_of(app.signing.private, alipay_notify_message(params, "utf-8"))
        return back + ("&" if urlsplit(back).query else "?") + urlencode(params)


def cashier(*, subject: str, amount: str, out_trade_no: str) -> Response:
    """What is paid, and two buttons: pay, cancel."""
    return _page(
        "支付宝收银台（沙箱）",
        f'<div class="card"><div>{escape(subject)}</div><div class="amount">¥{escape(amount)}</div>'
        f'<div class="small">商户订单号 {escape(out_trade_no)}</div></div>'
        '<form method="post"><button class="pay" name="action" value="pay">确认付款</button>'
        '<button class="cancel" name="action" value="cancel">取消</button></form>',
    )


def told(text: str, *, status: int = 200) -> Response:
    """A page with one sentence."""
    return _page("支付宝收银台（沙箱）", f'<div class="card">{escape(text)}</div>', status=status)


def _page(title: str, content: str, *, status: int = 200) -> Response:
    return Response(
        '<!doctype html><html lang="zh-CN"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>"
        f"<body><header>{title}</header><main>{content}</main></body></html>",
        status=status,
        mimetype="text/html",
    )
