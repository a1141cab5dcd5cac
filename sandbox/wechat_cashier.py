"""WeChat's page for a payment from a browser outside of WeChat (H5): it would open the app; here it has two buttons."""

import time
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from werkzeug.routing import Rule
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from sandbox.payers import CannotPayError
from sandbox.wechat_trades import Trade

if TYPE_CHECKING:
    from sandbox.wechat import WeChat

CASHIER: Final = "/cgi-bin/mmpayweb-bin/checkmweb"
ADDRESS_VALID_S: Final = 300
STYLE: Final = """
body{margin:0;font:16px/1.5 -apple-system,"PingFang SC","Microsoft YaHei",sans-serif;background:#ededed;color:#111}
header{background:#07803e;color:#fff;padding:14px 16px;font-size:18px}
main{max-width:28em;margin:16px auto;padding:0 16px}
.card{background:#fff;border-radius:12px;padding:20px 16px;text-align:center}
.amount{font-size:40px;font-weight:600;margin:8px 0}
.small{color:#666;font-size:14px;overflow-wrap:anywhere}
button{width:100%;min-height:48px;margin-top:16px;border:0;border-radius:8px;font-size:18px}
.pay{background:#07803e;color:#fff}.cancel{background:#ddd;color:#111}
"""


def h5_url(request: Request, prepay_id: str) -> str:
    """The address that the merchant sends the payer's browser to; it may append `&redirect_url=`."""
    return f"{request.host_url.rstrip('/')}{CASHIER}?prepay_id={quote(prepay_id)}&package=1"


class H5Cashier:
    """The page, and what its buttons do. The caller holds the box's lock."""

    def __init__(self, box: "WeChat") -> None:
        self._box = box

    def routes(self) -> Iterator[Rule]:
        """For the box's map."""
        yield Rule(CASHIER, methods=["GET", "POST"], endpoint=self._visit)

    def _visit(self, request: Request) -> Response:
        prepay_id = request.args.get("prepay_id", "")
        trade = next((one for one in self._box.trades.values() if one.is_h5 and prepay_id in one.prepays), None)
        if trade is None or time.time() > trade.prepays[prepay_id] + ADDRESS_VALID_S:
            return _page('<div class="card">支付请求已失效，请重新发起支付</div>', status=400)
        if request.method == "POST":
            return self._decided(request, trade)
        # WeChat compares the Referer with the domains that the merchant named.
        if urlsplit(request.headers.get("Referer", "")).scheme not in {"http", "https"}:
            return _page('<div class="card">商家参数格式有误，请联系商家解决（Referer 为空）</div>', status=400)
        return _page(
            f'<div class="card"><div>{escape(str(trade.asked["description"]))}</div>'
            f'<div class="amount">¥{trade.amount_fen // 100}.{trade.amount_fen % 100:02d}</div>'
            f'<div class="small">商户订单号 {escape(trade.out_trade_no)}</div></div>'
            '<form method="post"><button class="pay" name="action" value="pay">确认付款</button>'
            '<button class="cancel" name="action" value="cancel">取消</button></form>'
        )

    def _decided(self, request: Request, trade: Trade) -> Response:
        if request.form.get("action") == "pay":
            try:
                trade.pay(now=time.time(), amount_fen=None, transaction_id=None, paid_at=None, force=False)
            except CannotPayError as refused:
                return _page(f'<div class="card">无法支付：{escape(str(refused))}</div>', status=400)
            self._box.notify(trade)
            self._box.changed()
        else:
            trade.payers_refusal = "cancel"
        back = request.args.get("redirect_url", "")
        is_address = urlsplit(back).scheme in {"http", "https"}
        return redirect(back, 302) if is_address else _page('<div class="card">请返回商家页面</div>')


def _page(content: str, *, status: int = 200) -> Response:
    title = "微信支付（沙箱）"
    return Response(
        '<!doctype html><html lang="zh-CN"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>"
        f"<body><header>{title}</header><main>{content}</main></body></html>",
        status=status,
        mimetype="text/html",
    )
