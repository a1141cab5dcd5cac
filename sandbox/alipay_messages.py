"""Messages of an Alipay mini-program to its subscribers (小程序模板消息).

Sources: opendocs.alipay.com, alipay.open.app.mini.templatemessage.send; the sub_codes USER_TEMPLATE_ILLEGAL and
USER_KEYWORD_LENGTH_ERROR (50 characters) from AlipayDocs/open-docs. For who is unknown or has not subscribed none was
found: those two names are our own.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from werkzeug.routing import Rule
from werkzeug.wrappers import Request, Response

from sandbox.alipay_gateway import Call
from sandbox.alipay_trades import BusinessError
from sandbox.server import as_json, json_of

KEYWORD_AT_MOST = 50


@dataclass
class Said:
    """One message that Alipay took."""

    app: str
    to: str
    template: str
    data: dict[str, str]
    page: str
    at: float


class Messages:
    """What apps send to people who subscribed; everybody has until they say otherwise."""

    def __init__(self, known: Callable[[str], list[str]]) -> None:
        self._known = known  # the open ids of an app
        self.sent: list[Said] = []
        self.unsubscribed: list[str] = []

    def routes(self) -> Iterator[Rule]:
        """The control paths."""
        yield Rule("/sandbox/messages", methods=["GET"], endpoint=self._list)
        yield Rule("/sandbox/unsubscribe", methods=["POST"], endpoint=self._unsubscribe)

    def snapshot(self) -> dict[str, Any]:
        """As JSON."""
        return {"sent": [asdict(one) for one in self.sent], "unsubscribed": self.unsubscribed}

    def restore(self, saved: dict[str, Any]) -> None:
        """Continues from a snapshot; from an empty one it forgets."""
        self.sent = [Said(**one) for one in saved.get("sent", [])]
        self.unsubscribed = list(saved.get("unsubscribed", []))

    def send(self, call: Call) -> dict[str, Any]:
        """alipay.open.app.mini.templatemessage.send: `data` is JSON within the JSON, `{"keyword1": {"value": …}}`."""
        asked = call.content
        to = str(asked.get("to_open_id") or asked.get("to_user_id") or "")
        if to not in self._known(call.app.app_id):
            raise BusinessError("USER_NOT_EXIST", "用户不存在")
        if to in self.unsubscribed:
            raise BusinessError("USER_NOT_SUBSCRIBED", "用户未订阅该消息")
        if not asked.get("user_template_id"):
            raise BusinessError("USER_TEMPLATE_ILLEGAL", "模板非法")
        try:
            data = {name: str(one["value"]) for name, one in json.loads(asked["data"]).items()}
        except (KeyError, TypeError, ValueError, AttributeError):
            raise BusinessError("INVALID_PARAMETER", "data格式错误") from None
        if any(len(value) > KEYWORD_AT_MOST for value in data.values()):
            raise BusinessError("USER_KEYWORD_LENGTH_ERROR", "关键词长度错误")
        page = str(asked.get("page") or "")
        self.sent.append(Said(call.app.app_id, to, str(asked["user_template_id"]), data, page, time.time()))
        return {}

    def _list(self, request: Request) -> Response:
        to = request.args.get("to", "")
        return as_json({"messages": [asdict(one) for one in self.sent if to in {"", one.to}]})

    def _unsubscribe(self, request: Request) -> Response:
        self.unsubscribed.append(json_of(request)["open_id"])
        return as_json({"unsubscribed": self.unsubscribed})
