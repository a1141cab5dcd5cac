"""Alipay's gateway: whose request is it, is it allowed to ask, and the signed JSON it gets."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from werkzeug.wrappers import Request, Response

from sandbox.alipay_trades import BEIJING
from sandbox.signatures import alipay_request_message, is_signed, signature_of
from sandbox.world import AlipayApp, World

CLOCK_S = 300
CHARSETS = {"utf-8": "utf-8", "gbk": "gbk", "gb2312": "gbk"}
REQUIRED = ("app_id", "method", "charset", "sign_type", "sign", "timestamp", "version")


class GatewayError(Exception):
    """A request that the gateway refuses before any business: code 40001 or 40002, answered without a signature."""

    def __init__(self, sub_code: str, sub_msg: str, *, code: str = "40002") -> None:
        super().__init__(sub_msg)
        self.code, self.sub_code, self.sub_msg = code, sub_code, sub_msg

    def as_json(self) -> dict[str, str]:
        """The content of the response."""
        msg = "Missing Required Arguments" if self.code == "40001" else "Invalid Arguments"
        return {"code": self.code, "msg": msg, "sub_code": self.sub_code, "sub_msg": self.sub_msg}


@dataclass(frozen=True)
class Call:
    """A request whose signature has been checked."""

    app: AlipayApp
    method: str
    params: dict[str, str]
    content: dict[str, Any]  # biz_content
    charset: str

    @property
    def notify_url(self) -> str:
        """Where the merchant wants the notify; it may be empty."""
        return self.params.get("notify_url", "")


def params_of(request: Request) -> dict[str, str]:
    """All parameters of query and body, decoded once with the charset that they name."""
    raw = "&".join(part for part in (request.query_string.decode("ascii", "replace"), _body(request)) if part)
    named = re.search(r"(?:^|&)charset=([\w-]+)", raw)
    charset = CHARSETS.get(named[1].lower() if named else "", "utf-8")
    return dict(parse_qsl(raw, keep_blank_values=True, encoding=charset))


def _body(request: Request) -> str:
    return request.get_data().decode("ascii", "replace") if request.method == "POST" else ""


def checked_call(world: World, params: dict[str, str], *, now: float) -> Call:
    """The call these parameters make; raises GatewayError for anything the gateway would not let in."""
    for name in REQUIRED:
        if not params.get(name):
            raise GatewayError(f"isv.missing-{name.replace('_', '-')}", f"缺少{name}参数", code="40001")
    _check_fixed(params)
    app = world.app_of(params["app_id"])
    if app is None:
        raise GatewayError("isv.invalid-app-id", "无效的AppID参数")
    _check_clock(params["timestamp"], now=now)
    _check_certificates(app, params)
    charset = CHARSETS[params["charset"].lower()]
    if not is_signed(app.public, alipay_request_message(params, charset), params["sign"]):
        raise GatewayError("isv.invalid-signature", "验签出错，建议检查签名字符串或签名私钥与应用公钥是否匹配")
    _check_notify_url(params.get("notify_url", ""))
    return Call(app, params["method"], params, _content(params.get("biz_content", "{}")), charset)


def _check_fixed(params: dict[str, str]) -> None:
    if params["charset"].lower() not in CHARSETS:
        raise GatewayError("isv.invalid-charset", "字符集错误")
    if params["sign_type"] != "RSA2":
        raise GatewayError("isv.invalid-signature-type", "无效的签名类型")
    if params["version"] != "1.0" or params.get("format", "JSON").upper() != "JSON":
        raise GatewayError("isv.invalid-format", "无效的版本或数据格式")


def _check_clock(timestamp: str, *, now: float) -> None:
    try:
        at = datetime.strptime(timestamp, "%Y-%m-%d %H:%M:%S").replace(tzinfo=BEIJING).timestamp()
    except ValueError:
        at = 0.0
    if abs(now - at) > CLOCK_S:
        raise GatewayError("isv.invalid-timestamp", "非法的时间戳参数（北京时间，相差不得超过5分钟）")


def _check_certificates(app: AlipayApp, params: dict[str, str]) -> None:
    if app.mode != "certificate":
        return
    if params.get("app_cert_sn") != app.app_cert_sn:
        raise GatewayError("isv.invalid-app-cert-sn", "应用公钥证书序列号app_cert_sn错误")
    if params.get("alipay_root_cert_sn") != app.root_cert_sn:
        raise GatewayError("isv.invalid-alipay-root-cert-sn", "支付宝根证书序列号alipay_root_cert_sn错误")


def _check_notify_url(url: str) -> None:
    parts = urlsplit(url)
    if url and (parts.scheme not in {"http", "https"} or "?" in url or len(url) > 256):
        raise GatewayError("isv.invalid-parameter", "notify_url：256个字符以内的http/https路径，不可携带参数")


def _content(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise GatewayError("isv.invalid-parameter", "biz_content不是合法的JSON")
    return content


def unsigned(params: dict[str, str], error: GatewayError) -> Response:
    """The gateway's refusal, under the method's own name and without a signature."""
    name = params.get("method", "").replace(".", "_") + "_response" if params.get("method") else "error_response"
    return _as_response(f'{{"{name}":{_text(error.as_json())}}}', "utf-8")


def signed(call: Call, content: dict[str, Any], *, name: str = "", how: str = "", world: World) -> Response:
    """An answer signed over the exact text of the response object.

    `how` spoils it: none, foreign, altered. Slashes are escaped, so that whoever serialises it again gets other bytes.
    """
    text = _text(content)
    node = name or call.method.replace(".", "_") + "_response"
    key = world.foreign.private if how == "foreign" else call.app.signing.private
    sign = signature_of(key, text.encode(call.charset))
    if how == "altered":
        text = text[:-1] + ',"altered":"yes"}'
    serial = f',"alipay_cert_sn":"{call.app.signing.serial}"' if call.app.mode == "certificate" else ""
    tail = "" if how == "none" else f',"sign":"{sign}"'
    return _as_response(f'{{"{node}":{text}{serial}{tail}}}', call.charset)


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/")


def _as_response(text: str, charset: str) -> Response:
    return Response(text.encode(charset), content_type=f"text/html;charset={charset}")
