"""WeChat's API for our apps there, the mini-program and the official account: who logs in, phone numbers, shipping
information, messages, one token each.

Plain `requests` and not wechatpy: its code2session first fetches an access token that it does not need, its token calls
have no timeout and a hard-coded address, it keeps a token a process (each kills the others' - there is no stable_token)
and it repeats a refused token until the stack ends. What is left is four JSON calls.
Sources: developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/user-login/code2Session.html, user-info/phone-number/
getPhoneNumber.html, mp-access-token/getStableAccessToken.html, dev/server/API/order_shipping/api_uploadshippinginfo.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

from accounts import vendors
from accounts.vendors import ProviderBadAnswer, ProviderRefused, ProviderUnsure

BASE_URL = "https://api.weixin.qq.com"
TOKEN_REFUSED = {40001, 40014, 42001}  # invalid or not the latest, malformed, expired
# Busy; quotas of a day and a minute; the order is not there yet; a fault of the order's side.
UNSURE = {-1, 45009, 45011, 10060001, 10060012, 10060019}
# Shipped already, re-upload used up, nothing to ship any more (settled or closed), nothing new: done, all of them.
SHIPPED = {10060002, 10060003, 10060004, 10060023, 268440065}
VIRTUAL_GOODS = 3  # logistics_type, "for instance topping up a phone"
AT_ONCE = 1  # delivery_mode
BY_TRANSACTION = 2  # order_number_type
LONGEST_ITEM = 120
KEEP_BACK_S = 300  # WeChat renews the stable token five minutes before its end, and both are good meanwhile
REMEMBERED_S = 5.0
FORCE_EVERY_S = 4500  # WeChat allows 20 forced renewals a day


class TokenStore(Protocol):
    """Where all processes find the one token: Django's cache, where it is shared (a database, Redis), is one."""

    def get(self, key: str) -> Any:
        """The value, or None."""

    def set(self, key: str, value: Any, timeout: float | None) -> None:
        """Keeps a value for `timeout` seconds."""

    def add(self, key: str, value: Any, timeout: float | None) -> bool:
        """Keeps a value unless there is one; whether it did."""


@dataclass(frozen=True, slots=True)
class Session:
    """Who logged in. `union_id` is empty where the app belongs to no open platform account."""

    openid: str
    union_id: str
    session_key: str = field(repr=False)


class Phone(NamedTuple):
    """A phone number that WeChat vouches for: `country_code` 86 and 11 digits in China."""

    country_code: str
    number: str


class App:
    """Calls for one app. Safe to share between threads; no network until something is asked.

    Errors: ProviderRefused with the errcode, ProviderUnsure (also for a token that WeChat keeps refusing),
    ProviderBadAnswer.
    """

    def __init__(
        self, app_id: str, secret: str, *, tokens: TokenStore, base_url: str = BASE_URL, timeout_s: float
    ) -> None:
        self.app_id = app_id
        self._secret = secret
        self._tokens = tokens
        self._base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        self._remembered = ("", 0.0)  # the token, and until when it is not looked for again

    def post(self, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """A call that needs the token. A refused token is renewed once; the call is made twice at most."""
        return self._ask("POST", path, {}, content)

    def get(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        """As `post`, for what WeChat reads from the address."""
        return self._ask("GET", path, query, None)

    def _ask(
        self, method: str, path: str, query: Mapping[str, str], content: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        def ask(token: str) -> dict[str, Any]:
            return self._exchange(method, f"{path}?{urlencode({'access_token': token, **query})}", content)

        token = self.token()
        answer = ask(token)
        if answer.get("errcode") in TOKEN_REFUSED:
            self._remembered = ("", 0.0)
            answer = ask(self._renewed(token))
        if answer.get("errcode") in TOKEN_REFUSED:
            self._tokens.set(self._key, "", KEEP_BACK_S)
            raise ProviderUnsure(str(answer["errcode"]), "the renewed token is refused too")
        return _accepted(answer)

    def token(self) -> str:
        """The stable token that all processes share: asked of WeChat when the store has none.

        Kept in mind for some seconds: the store is a table, and a burst of messages would read it for each.
        """
        token, until = self._remembered
        if time.monotonic() > until:
            token = str(self._tokens.get(self._key) or "") or self._fetch(is_forced=False)
            self._remembered = (token, time.monotonic() + REMEMBERED_S)
        return token

    @property
    def _key(self) -> str:
        return f"wechat-token:{self.app_id}"

    def _renewed(self, refused: str) -> str:
        """Another token than the refused one: somebody may have renewed it, WeChat may have; else by force, rarely."""
        stored = str(self._tokens.get(self._key) or "")
        token = stored if stored and stored != refused else self._fetch(is_forced=False)
        if token != refused:
            return token
        if not self._tokens.add(f"{self._key}:forced", 1, FORCE_EVERY_S):
            raise ProviderUnsure("token", "refused, and renewed by force not long ago")
        return self._fetch(is_forced=True)

    def _fetch(self, *, is_forced: bool) -> str:
        # The stable token is the same for whoever asks, so two processes asking at once do no harm.
        wanted = {
            "grant_type": "client_credential",
            "appid": self.app_id,
            "secret": self._secret,
            "force_refresh": is_forced,
        }
        answer = _accepted(self._exchange("POST", "/cgi-bin/stable_token", wanted))
        token, lifetime_s = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(token, str) or not token or not isinstance(lifetime_s, int):
            raise ProviderBadAnswer("malformed", "no token")
        if lifetime_s > KEEP_BACK_S:
            self._tokens.set(self._key, token, lifetime_s - KEEP_BACK_S)
        return token

    def _exchange(self, method: str, path: str, content: Mapping[str, Any] | None = None) -> dict[str, Any]:
        # Not escaped to ASCII: WeChat shows \uXXXX as it stands.
        body = b"" if content is None else json.dumps(content, ensure_ascii=False).encode()
        answer = vendors.call(
            method,
            self._base_url + path,
            headers={"Content-Type": "application/json"},
            body=body,
            timeout_s=self._timeout_s,
        )
        try:
            found = json.loads(answer.body)
        except (ValueError, RecursionError):
            found = None
        if answer.status != 200 or not isinstance(found, dict):
            raise ProviderBadAnswer(f"HTTP {answer.status}", vendors.excerpt(answer.body), status=answer.status)
        return found


class MiniProgram(App):
    """The mini-program that tenants log in with."""

    def code_to_session(self, code: str) -> Session:
        """Who gave this code (`wx.login`); good once, for five minutes (else ProviderRefused 40029). No token."""
        query = {"appid": self.app_id, "secret": self._secret, "js_code": code, "grant_type": "authorization_code"}
        return _session(_accepted(self._exchange("GET", f"/sns/jscode2session?{urlencode(query)}")))

    def phone_number(self, code: str) -> Phone:
        """The number behind a phone-number button's code; good once, for five minutes."""
        answer = self.post("/wxa/business/getuserphonenumber", {"code": code})
        info = answer.get("phone_info")
        number = info.get("purePhoneNumber") if isinstance(info, dict) else None
        if not isinstance(info, dict) or not isinstance(number, str) or not number:
            raise ProviderBadAnswer("malformed", "no phone number")
        return Phone(str(info.get("countryCode") or ""), number)

    def upload_shipping_info(self, *, transaction_id: str, openid: str, item: str, uploaded_at: datetime) -> None:
        """Says that what was paid has been delivered, or WeChat keeps the money (发货信息管理).

        To be called again until it returns; an order that is shipped, settled or closed already is done. Too early
        (10060001: WeChat does not know the order yet) is ProviderUnsure.
        """
        content = {
            "order_key": {"order_number_type": BY_TRANSACTION, "transaction_id": transaction_id},
            "logistics_type": VIRTUAL_GOODS,
            "delivery_mode": AT_ONCE,
            "shipping_list": [{"item_desc": item[:LONGEST_ITEM]}],  # exactly one, for virtual goods too
            "upload_time": uploaded_at.isoformat(timespec="milliseconds"),
            "payer": {"openid": openid},
        }
        try:
            self.post("/wxa/sec/order/upload_shipping_info", content)
        except ProviderRefused as refused:
            if int(refused.code) not in SHIPPED:
                raise

    def is_trade_managed(self) -> bool:
        """Whether WeChat wants shipping information from this mini-program at all."""
        return bool(self.post("/wxa/sec/order/is_trade_managed", {"appid": self.app_id}).get("is_trade_managed"))

    def send_subscribe_message(
        self, *, openid: str, template_id: str, fields: Mapping[str, str], page: str, language: str
    ) -> str:
        """A message that the person allowed once (订阅消息); WeChat's number of it, which its events name.

        Refused 43101 where no permit is left.
        """
        content = {
            "touser": openid,
            "template_id": template_id,
            "data": {name: {"value": value} for name, value in fields.items()},
            "miniprogram_state": "formal",
            "lang": language,
        }
        answer = self.post("/cgi-bin/message/subscribe/send", content | ({"page": page} if page else {}))
        return str(answer.get("msgid") or "")


class OfficialAccount(App):
    """The official account (公众号) that the same people follow."""

    AT_ONCE = 100  # union ids a call

    def authorize_url(self, *, oauth_url: str, redirect_uri: str, state: str) -> str:
        """Where WeChat's browser is sent so that it comes back to `redirect_uri` with a code: without a question to the
        person (snsapi_base), and good for telling who pays.

        WeChat compares the order of these parameters. Source: developers.weixin.qq.com/doc/service/guide/h5/auth.html
        """
        query = {
            "appid": self.app_id,
            "redirect_uri": redirect_uri,
            "response_type": "code",
            "scope": "snsapi_base",
            "state": state,
        }
        return f"{oauth_url}/connect/oauth2/authorize?{urlencode(query)}#wechat_redirect"

    def who_came(self, code: str) -> Session:
        """Who came back with this code; good once, for five minutes (else ProviderRefused 40029, 40163)."""
        query = {"appid": self.app_id, "secret": self._secret, "code": code, "grant_type": "authorization_code"}
        return _session(_accepted(self._exchange("GET", f"/sns/oauth2/access_token?{urlencode(query)}")))

    def send_template(
        self, *, openid: str, template_id: str, fields: Mapping[str, str], url: str, client_msg_id: str
    ) -> str:
        """A template message; WeChat's number of it. A second one of the same `client_msg_id` within ten minutes is
        not sent. Refused 43004 where the person does not follow.
        """
        content = {
            "touser": openid,
            "template_id": template_id,
            "data": {name: {"value": value} for name, value in fields.items()},
            "client_msg_id": client_msg_id,
        }
        answer = self.post("/cgi-bin/message/template/send", content | ({"url": url} if url else {}))
        return str(answer.get("msgid") or "")

    def followers(self, *, after: str = "") -> tuple[list[str], str]:
        """Openids of who follows, 10,000 at most, and the one to go on after; no openids when there are no more."""
        answer = self.get("/cgi-bin/user/get", {"next_openid": after} if after else {})
        data = answer.get("data")
        openids = data.get("openid") if isinstance(data, dict) else []
        if not isinstance(openids, list):
            raise ProviderBadAnswer("malformed", "no followers")
        return [str(openid) for openid in openids], str(answer.get("next_openid") or "")

    def union_ids(self, openids: Sequence[str]) -> dict[str, str]:
        """What tells the same person in all apps of ours, by openid, AT_ONCE of them at most. Who does not follow, or
        has none, is missing.
        """
        asked = [{"openid": openid, "lang": "zh_CN"} for openid in openids]
        told = self.post("/cgi-bin/user/info/batchget", {"user_list": asked}).get("user_info_list")
        if not isinstance(told, list):
            raise ProviderBadAnswer("malformed", "no followers")
        return {str(one["openid"]): str(one["unionid"]) for one in told if isinstance(one, dict) and one.get("unionid")}


def _session(answer: Mapping[str, Any]) -> Session:
    openid = answer.get("openid")
    if not isinstance(openid, str) or not openid:
        raise ProviderBadAnswer("malformed", "nobody logged in")
    return Session(openid, str(answer.get("unionid") or ""), str(answer.get("session_key") or ""))


def _accepted(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer, unless its errcode says no. Success has errcode 0 or none at all; the HTTP status is always 200."""
    code = answer.get("errcode", 0)
    if code == 0:
        return answer
    message = str(answer.get("errmsg") or "")
    if not isinstance(code, int):
        raise ProviderBadAnswer("malformed", "errcode")
    if code in UNSURE:
        raise ProviderUnsure(str(code), message)
    raise ProviderRefused(str(code), message)
