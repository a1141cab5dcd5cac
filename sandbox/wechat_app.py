"""api.weixin.qq.com: mini-program login, tokens, phone numbers and shipping information, with the vendor's errcodes."""

import json
import secrets
import time
import uuid
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from sandbox.server import as_json
from sandbox.wechat_trades import Trade
from sandbox.world import World

BROWSERS_PERSON = "sandbox_openid"  # a cookie
CODE_VALID_S = 300
TOKEN_VALID_S = 7200
REFRESH_EARLY_S = 300
FORCED_A_DAY = 20
FORCED_APART_S = 30


class AppError(Exception):
    """An errcode with its message; the status is 200 all the same."""

    def __init__(self, errcode: int, errmsg: str) -> None:
        super().__init__(errmsg)
        self.errcode, self.errmsg = errcode, errmsg

    def as_answer(self) -> Response:
        """The body."""
        return as_json({"errcode": self.errcode, "errmsg": self.errmsg})


@dataclass
class Code:
    """What `wx.login` or the phone-number button gave to the mini-program: good once, for five minutes."""

    kind: str  # login, phone, web
    appid: str
    openid: str
    unionid: str
    phone: str
    made_at: float
    used: bool = False


@dataclass
class Tokens:
    """The access tokens of one app: the stable one, and those of the older call, which end each other."""

    stable: str = ""
    stable_until: float = 0.0
    forced: list[float] = field(default_factory=list)
    ordinary: str = ""
    ordinary_until: float = 0.0


class MiniPrograms:
    """All mini-programs of the world. The caller holds the box's lock."""

    def __init__(self, world: World) -> None:
        self._secrets = world.app_secrets
        self.codes: dict[str, Code] = {}
        self.openids: dict[str, set[str]] = {}
        self.tokens: dict[str, Tokens] = {}

    def snapshot(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "codes": {code: asdict(c) for code, c in self.codes.items()},
            "openids": {appid: sorted(known) for appid, known in self.openids.items()},
            "tokens": {appid: asdict(t) for appid, t in self.tokens.items()},
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Continues from a snapshot."""
        self.codes = {code: Code(**c) for code, c in saved["codes"].items()}
        self.openids = {appid: set(known) for appid, known in saved["openids"].items()}
        self.tokens = {appid: Tokens(**t) for appid, t in saved["tokens"].items()}

    def give_code(self, kind: str, *, appid: str, openid: str, unionid: str, phone: str) -> str:
        """A person taps "log in" (or "use my phone number"): a code, and WeChat knows their openid from now on."""
        code = f"0sandbox{secrets.token_hex(12)}"
        self.openids.setdefault(appid, set()).add(openid)
        self.codes[code] = Code(kind, appid, openid, unionid, phone, made_at=time.time())
        return code

    def code2session(self, request: Request) -> Response:
        """GET /sns/jscode2session."""
        appid = self._authentic(request.args.get("appid", ""), request.args.get("secret", ""))
        if request.args.get("grant_type") != "authorization_code":
            raise AppError(40002, "invalid grant_type")
        code = self._use_code(request.args.get("js_code", ""), kind="login", appid=appid)
        session = {"openid": code.openid, "session_key": secrets.token_urlsafe(18)}
        return as_json(session | ({"unionid": code.unionid} if code.unionid else {}))

    def authorize(self, request: Request) -> Response:
        """GET open.weixin.qq.com/connect/oauth2/authorize (snsapi_base): leads the browser straight back with a code.

        Whose WeChat this is, a cookie of the browser tells; without one it is somebody new.
        """
        appid, back = request.args.get("appid", ""), urlsplit(request.args.get("redirect_uri", ""))
        wanted = (request.args.get("response_type"), request.args.get("scope"))
        if appid not in self._secrets or not back.scheme or wanted != ("code", "snsapi_base"):
            return Response("参数错误", status=400, mimetype="text/plain")
        openid = request.cookies.get(BROWSERS_PERSON) or f"oSANDBOX{uuid.uuid4().hex[:20]}"
        code = self.give_code("web", appid=appid, openid=openid, unionid="", phone="")
        query = urlencode([*parse_qsl(back.query), ("code", code), ("state", request.args.get("state", ""))])
        answer = redirect(urlunsplit(back._replace(query=query)), 302)
        answer.set_cookie(BROWSERS_PERSON, openid)
        return answer

    def who_came(self, request: Request) -> Response:
        """GET /sns/oauth2/access_token."""
        appid = self._authentic(request.args.get("appid", ""), request.args.get("secret", ""))
        if request.args.get("grant_type") != "authorization_code":
            raise AppError(40002, "invalid grant_type")
        code = self._use_code(request.args.get("code", ""), kind="web", appid=appid)
        token = {"access_token": f"sandbox_web_{secrets.token_hex(24)}", "expires_in": TOKEN_VALID_S}
        return as_json(token | {"openid": code.openid, "scope": "snsapi_base"})

    def stable_token(self, request: Request) -> Response:
        """POST /cgi-bin/stable_token: the same token for everybody while it is valid."""
        asked = _object(request)
        appid = self._authentic(str(asked.get("appid")), str(asked.get("secret")))
        if asked.get("grant_type") != "client_credential":
            raise AppError(40002, "invalid grant_type")
        now, tokens = time.time(), self.tokens.setdefault(appid, Tokens())
        forced = asked.get("force_refresh") is True
        if forced:
            self._count_force(tokens, now)
        if forced or now > tokens.stable_until - REFRESH_EARLY_S:
            tokens.stable, tokens.stable_until = f"sandbox_stable_{secrets.token_hex(24)}", now + TOKEN_VALID_S
        return as_json({"access_token": tokens.stable, "expires_in": int(tokens.stable_until - now)})

    def ordinary_token(self, request: Request) -> Response:
        """GET /cgi-bin/token: each call makes a new one, and the one before is worth nothing."""
        appid = self._authentic(request.args.get("appid", ""), request.args.get("secret", ""))
        tokens = self.tokens.setdefault(appid, Tokens())
        tokens.ordinary, tokens.ordinary_until = f"sandbox_{secrets.token_hex(24)}", time.time() + TOKEN_VALID_S
        return as_json({"access_token": tokens.ordinary, "expires_in": TOKEN_VALID_S})

    def phone_number(self, request: Request) -> Response:
        """POST /wxa/business/getuserphonenumber."""
        appid = self.token_owner(request)
        code = self._use_code(str(_object(request).get("code")), kind="phone", appid=appid)
        info = {
            "phoneNumber": code.phone,
            "purePhoneNumber": code.phone,
            "countryCode": "86",
            "watermark": {"timestamp": int(time.time()), "appid": appid},
        }
        return as_json({"errcode": 0, "errmsg": "ok", "phone_info": info})

    def is_trade_managed(self, request: Request) -> Response:
        """POST /wxa/sec/order/is_trade_managed: here every mini-program must ship."""
        if _object(request).get("appid") != self.token_owner(request):
            raise AppError(268485216, "appid 与 access_token 不匹配")
        return as_json({"errcode": 0, "errmsg": "ok", "is_trade_managed": True})

    def token_owner(self, request: Request) -> str:
        """The app whose access token this is; raises 40001 or 42001 as the vendor does."""
        token, now = request.args.get("access_token", ""), time.time()
        for appid, known in self.tokens.items():
            for mine, until in ((known.stable, known.stable_until), (known.ordinary, known.ordinary_until)):
                if token and token == mine:
                    if now > until:
                        raise AppError(42001, "access_token expired")
                    return appid
        raise AppError(40001, "invalid credential, access_token is invalid or not latest")

    def _authentic(self, appid: str, secret: str) -> str:
        if appid not in self._secrets:
            raise AppError(40013, "invalid appid")
        if not secrets.compare_digest(self._secrets[appid].encode(), secret.encode()):
            raise AppError(40125, "invalid appsecret")
        return appid

    def _use_code(self, text: str, *, kind: str, appid: str) -> Code:
        code = self.codes.get(text)
        if code is None or code.kind != kind or code.appid != appid or time.time() > code.made_at + CODE_VALID_S:
            raise AppError(40029, "invalid code")
        if code.used:
            raise AppError(40163, "code been used")
        code.used = True
        return code

    def _count_force(self, tokens: Tokens, now: float) -> None:
        tokens.forced = [at for at in tokens.forced if at > now - 86400]
        if len(tokens.forced) >= FORCED_A_DAY:
            raise AppError(45009, "reach max api daily quota limit")
        if tokens.forced and now < tokens.forced[-1] + FORCED_APART_S:
            raise AppError(45011, "api minute-quota reach limit")
        tokens.forced.append(now)


def ship(trade: Trade | None, asked: dict[str, Any]) -> None:
    """upload_shipping_info for one trade: the money moves from frozen to shipped; raises AppError otherwise."""
    _check_shipment(asked)
    if trade is None or trade.state == "NOTPAY":
        raise AppError(10060001, "支付单不存在")
    if trade.state != "SUCCESS":
        raise AppError(10060004, "支付单处于不可发货的状态")
    if asked.get("payer", {}).get("openid") != trade.openid:
        raise AppError(10060024, "payer 与支付单的支付者不一致")
    if len(trade.shipments) > 1:
        raise AppError(10060003, "支付单已使用重新发货机会")
    items = {"shipping_list": asked["shipping_list"], "logistics_type": asked["logistics_type"]}
    if trade.shipments and trade.shipments[-1] == items:
        raise AppError(10060023, "发货信息未更新")
    trade.shipments.append(items)
    trade.money = "shipped"


def _check_shipment(asked: dict[str, Any]) -> None:
    if asked.get("logistics_type") not in {1, 2, 3, 4}:
        raise AppError(268485222, "物流模式非法")
    if asked.get("delivery_mode") not in {1, 2}:
        raise AppError(268485224, "发货模式非法")
    items = asked.get("shipping_list")
    if asked["delivery_mode"] == 1 and (not isinstance(items, list) or len(items) != 1):
        raise AppError(268485228, "统一发货模式下，物流信息列表长度必须为1")
    if not all(isinstance(i, dict) and 0 < len(str(i.get("item_desc") or "")) <= 120 for i in items or [{}]):
        raise AppError(268485227, "商品信息不能为空，限120个字以内")
    try:
        at = datetime.fromisoformat(str(asked.get("upload_time")))
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise AppError(268485216, "上传时间非法，请使用 RFC 3339 格式")


def _object(request: Request) -> dict[str, Any]:
    try:
        content = json.loads(request.get_data())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise AppError(47001, "data format error")
    return content
