"""WeChat Pay API v3, the vendor's side of JSAPI payments: who asks, what for, is it allowed, and the answer."""

import json
import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from werkzeug.wrappers import Request

from sandbox.keys import MINI_APPID, OFFICIAL_APPID
from sandbox.signatures import is_signed, sealed, wechat_request_message
from sandbox.wechat_callbacks import ALGORITHM
from sandbox.wechat_trades import Trade
from sandbox.world import SigningKey, WeChatMerchant, World

CLOCK_S = 300
SCHEME = "WECHATPAY2-SHA256-RSA2048"
PAIR = re.compile(r'(\w+)="([^"]*)"')
OUT_TRADE_NO = re.compile(r"[0-9A-Za-z_\-|*]{6,32}")
DAY_S = 86400
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class RefusedError(Exception):
    """An error of the API: status, vendor's code, message for people. Errors carry no signature."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def as_json(self) -> dict[str, Any]:
        """The body."""
        return {"code": self.code, "message": self.message}


def param_error(field: str, issue: str) -> RefusedError:
    """A parameter that is missing or against the rules."""
    return RefusedError(400, "PARAM_ERROR", f"输入源“/body/{field}”映射到字段“{field}”：{issue}")


def asking_merchant(world: World, request: Request, *, now: float) -> WeChatMerchant:
    """The merchant that signed this request; raises RefusedError for anything WeChat would not accept."""
    if not request.headers.get("Accept") or not request.headers.get("User-Agent"):
        raise RefusedError(400, "INVALID_REQUEST", "Http头缺少Accept或User-Agent")
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    pairs = dict(PAIR.findall(rest))
    if scheme != SCHEME or not {"mchid", "serial_no", "nonce_str", "timestamp", "signature"} <= pairs.keys():
        raise RefusedError(401, "SIGN_ERROR", "Http头Authorization值格式错误，请参考《微信支付商户REST API签名规则》")
    if not pairs["timestamp"].isdigit() or abs(now - int(pairs["timestamp"])) > CLOCK_S:
        raise RefusedError(401, "SIGN_ERROR", "Http头Authorization中的timestamp与发起请求的时间不得超过5分钟")
    merchant = world.merchant_of(pairs["mchid"])
    if merchant is None:
        raise RefusedError(401, "SIGN_ERROR", "商户号不存在")
    if pairs["serial_no"].upper() != merchant.serial:
        raise RefusedError(401, "SIGN_ERROR", "商户证书序列号有误。请使用签名私钥匹配的证书序列号")
    message = wechat_request_message(
        method=request.method,
        url=raw_url(request),
        timestamp=pairs["timestamp"],
        nonce=pairs["nonce_str"],
        body=request.get_data(),
    )
    if not is_signed(merchant.certified, message, pairs["signature"]):
        raise RefusedError(401, "SIGN_ERROR", "错误的签名，验签失败")
    return merchant


def raw_url(request: Request) -> str:
    """Path and query as they came over the wire: what the client signed, before any decoding."""
    parts = urlsplit(str(request.environ["REQUEST_URI"]))
    return parts.path + (f"?{parts.query}" if parts.query else "")


def body_of(request: Request) -> dict[str, Any]:
    """The JSON object of a request."""
    try:
        content = json.loads(request.get_data())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise RefusedError(400, "PARAM_ERROR", "请求体不是合法的JSON")
    return content


def check_prepay(
    merchant: WeChatMerchant, asked: Mapping[str, Any], *, partner: bool, openids: Mapping[str, set[str]], h5: bool
) -> None:
    """The rules of the prepay request (pay.weixin.qq.com 4012791897, partner 4012738519, H5 4012791834).

    `openids` by appid: in WeChat a payer is named, in another browser a scene.
    """
    _check_parties(merchant, asked, partner=partner)
    _check_texts(asked)
    amount = asked.get("amount")
    total = amount.get("total") if isinstance(amount, dict) else None
    if type(total) is not int or total <= 0:
        raise param_error("amount/total", "必须是大于0的整数，单位为分")
    if amount is not None and amount.get("currency", "CNY") != "CNY":
        raise param_error("amount/currency", "境内商户号仅支持人民币CNY")
    if h5:
        _check_scene(asked)
    else:
        _check_payer(asked, partner=partner, openids=openids)


def _check_scene(asked: Mapping[str, Any]) -> None:
    scene = asked.get("scene_info")
    if "payer" in asked or not isinstance(scene, dict):
        raise param_error("scene_info", "必填")
    try:
        ip_address(str(scene.get("payer_client_ip")))
    except ValueError:
        raise param_error("scene_info/payer_client_ip", "用户的客户端IP，支持IPv4和IPv6") from None
    info = scene.get("h5_info")
    if not isinstance(info, dict) or info.get("type") not in {"Wap", "iOS", "Android"}:
        raise param_error("scene_info/h5_info/type", "场景类型，枚举值：iOS, Android, Wap")


def _check_parties(merchant: WeChatMerchant, asked: Mapping[str, Any], *, partner: bool) -> None:
    if partner != (merchant.mode == "partner"):
        raise RefusedError(403, "NO_AUTH", "商户号该产品权限未开通或商户类型不符")
    prefix = "sp_" if partner else ""
    if asked.get(f"{prefix}mchid") != merchant.mchid:
        raise RefusedError(400, "INVALID_REQUEST", "商户号与Authorization中的mchid不一致")
    bound = {merchant.appid, OFFICIAL_APPID} if merchant.appid == MINI_APPID else {merchant.appid}
    if asked.get(f"{prefix}appid") not in bound:
        raise RefusedError(400, "APPID_MCHID_NOT_MATCH", "appid和mchid不匹配，请检查后再试")
    if not partner:
        return
    if asked.get("sub_mchid") != merchant.sub_mchid:
        raise RefusedError(403, "NO_AUTH", "特约子商户商户号未授权服务商的产品权限")
    if asked.get("sub_appid", merchant.sub_appid) != merchant.sub_appid:
        raise RefusedError(400, "APPID_MCHID_NOT_MATCH", "sub_appid和sub_mchid不匹配")


def _check_texts(asked: Mapping[str, Any]) -> None:
    for field, longest, required in (("description", 127, True), ("attach", 128, False), ("notify_url", 255, True)):
        value = asked.get(field)
        if value is None and not required:
            continue
        if not isinstance(value, str) or len(value) > longest or (required and not value):
            raise param_error(field, f"字符串必填，长度不得超过{longest}")
    if not isinstance(asked.get("out_trade_no"), str) or not OUT_TRADE_NO.fullmatch(asked["out_trade_no"]):
        raise param_error("out_trade_no", "只能是6到32个数字、大小写字母_-|*")
    _check_notify_url(asked["notify_url"])


def _check_notify_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.query or parts.fragment or "?" in url:
        raise param_error("notify_url", "不允许携带查询串")
    # The real one wants https and a public host; plain http is let through to this machine alone.
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)):
        raise param_error("notify_url", "必须为https的外网可访问地址")


def _check_payer(asked: Mapping[str, Any], *, partner: bool, openids: Mapping[str, set[str]]) -> None:
    payer = asked.get("payer")
    if not isinstance(payer, dict):
        raise param_error("payer", "必填")
    apps = {"sp_openid": asked.get("sp_appid"), "sub_openid": asked.get("sub_appid")}
    wanted = apps if partner else {"openid": asked.get("appid")}
    given = {field: appid for field, appid in wanted.items() if payer.get(field)}
    if len(given) != 1:
        raise param_error("payer", "openid必填；服务商模式下sp_openid与sub_openid二选一")
    for field, appid in given.items():
        if appid is None:
            raise param_error("sub_appid", "传sub_openid时必填")
        if payer[field] not in openids.get(str(appid), set()):
            raise RefusedError(400, "PARAM_ERROR", "无效的openid，或appid和openid不匹配")


def expiry_of(asked: Mapping[str, Any], *, now: float) -> float:
    """The last instant at which the order can be paid; earlier than in a minute is lifted to a minute."""
    given = asked.get("time_expire")
    if given is None:
        return now + 7 * DAY_S
    try:
        wanted = datetime.fromisoformat(given)
    except (TypeError, ValueError):
        raise param_error("time_expire", "格式应为rfc3339") from None
    if wanted.tzinfo is None:
        raise param_error("time_expire", "格式应为rfc3339，须带时区")
    if wanted.timestamp() > now + 90 * DAY_S:
        raise param_error("time_expire", "支付结束时间最长不超过90天")
    return max(wanted.timestamp(), now + 60)


def check_reuse(trade: Trade, asked: Mapping[str, Any]) -> None:
    """The same number again is an answer while it is unpaid and every parameter is the same."""
    if trade.asked != asked:
        raise RefusedError(403, "OUT_TRADE_NO_USED", "商户订单号重复，请核实参数是否与首次下单一致")
    if trade.state == "CLOSED":
        raise RefusedError(400, "ORDER_CLOSED", "该订单已关闭")
    if trade.state != "NOTPAY":
        raise RefusedError(400, "ORDER_PAID", "该订单已支付")


def check_asks_for_itself(merchant: WeChatMerchant, numbers: Mapping[str, Any], *, partner: bool) -> None:
    """Query and close name the merchant's own numbers."""
    expected = {"sp_mchid": merchant.mchid, "sub_mchid": merchant.sub_mchid} if partner else {"mchid": merchant.mchid}
    for field, value in expected.items():
        if not numbers.get(field):
            raise param_error(field, "必填")
        if numbers[field] != value:
            raise RefusedError(400, "INVALID_REQUEST", f"{field}与签名的商户不一致")


def check_closable(trade: Trade) -> None:
    """Closing again is fine; a paid order is not closed but queried."""
    if trade.state in {"SUCCESS", "REFUND"}:
        raise RefusedError(400, "ORDER_PAID", "订单已支付，不能发起关单，请当作已支付的正常交易")


def downloadable(key: SigningKey, merchant: WeChatMerchant) -> dict[str, Any]:
    """A platform certificate as GET /v3/certificates hands it out, sealed for the asking merchant."""
    certificate = Path(key.facts["cert_file"]).read_bytes()
    nonce = secrets.token_hex(6)
    return {
        "serial_no": key.serial,
        "effective_time": key.facts["not_before"],
        "expire_time": key.facts["not_after"],
        "encrypt_certificate": {
            "algorithm": ALGORITHM,
            "nonce": nonce,
            "associated_data": "certificate",
            "ciphertext": sealed(merchant.apiv3_key, nonce=nonce, associated_data="certificate", plaintext=certificate),
        },
    }
