"""The tenant's phone: logs in through the product's API, recharges, and pays at the sandbox, as a person would.

The product's requests and answers are named in `Shapes` alone, so that a change of the API is a change of one place.
"""

import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import requests

POLL_EVERY_S = 0.1


class PhoneError(Exception):
    """The product or a vendor answered something that a person would notice; `status` and `answer` tell what."""

    def __init__(self, what: str, status: int, answer: Any) -> None:
        super().__init__(f"{what}: {status} {answer}")
        self.status, self.answer = status, answer


class Shapes:
    """The product's API as this phone knows it."""

    WECHAT_LOGIN = "/api/v1/auth/wechat"
    ALIPAY_LOGIN = "/api/v1/auth/alipay"
    LOGOUT = "/api/v1/auth/logout"
    PRIVACY = "/api/v1/privacy"
    CONSENT = "/api/v1/privacy/consent"
    HOMES = "/api/v1/homes"
    RECHARGES = "/api/v1/recharges"
    PAID_STATES = frozenset({"paid", "credited", "done"})

    @staticmethod
    def invitation(code: str, phone_code: str) -> dict[str, str]:
        """Body of joining a home: by the printed code where there is one, else by WeChat's phone-number code."""
        return {"code": code} if code else {"phone_code": phone_code}

    @staticmethod
    def recharge(home: int, amount: str, channel: str) -> dict[str, str | int]:
        """Body of a recharge; `amount` in yuan with two decimals."""
        return {"home": home, "amount": amount, "channel": channel}

    @staticmethod
    def headers(token: str) -> dict[str, str]:
        """Who is asking."""
        return {"Authorization": f"Bearer {token}"} if token else {}


class Phone:
    """One person's phone: one session with the product, one WeChat or Alipay identity."""

    def __init__(self, api_url: str, *, wechat_url: str = "", alipay_url: str = "", timeout_s: float = 10.0) -> None:
        self.api_url, self.wechat_url, self.alipay_url = (u.rstrip("/") for u in (api_url, wechat_url, alipay_url))
        self.timeout_s = timeout_s
        self.token = ""
        self.openid = ""  # WeChat's openid or Alipay's open_id
        self.appid = ""  # of the mini-program that runs; WeChat itself knows it, the product does not hand it over
        self.phone_code = ""  # what WeChat's "use my phone number" button gave, once
        self._http = requests.Session()
        self._http.trust_env = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the phone's connections."""
        self._http.close()

    def log_in_wechat(self, openid: str = "", *, unionid: str = "", phone: str = "", appid: str = "") -> dict[str, Any]:
        """wx.login and the product's login with the code; returns the product's answer."""
        wanted = {"openid": openid, "unionid": unionid, "phone": phone, "appid": appid}
        given = self._vendor(self.wechat_url, "/sandbox/login_code", {k: v for k, v in wanted.items() if v})
        self.openid, self.appid, self.phone_code = given["openid"], given["appid"], given.get("phone_code", "")
        return self._logged_in(self.api("POST", Shapes.WECHAT_LOGIN, {"code": given["code"]}))

    def log_in_alipay(self, open_id: str = "", *, user_id: str = "", app_id: str = "") -> dict[str, Any]:
        """my.getAuthCode and the product's login with it; returns the product's answer."""
        wanted = {"open_id": open_id, "user_id": user_id, "app_id": app_id}
        given = self._vendor(self.alipay_url, "/sandbox/login_code", {k: v for k, v in wanted.items() if v})
        self.openid = given["open_id"]
        return self._logged_in(self.api("POST", Shapes.ALIPAY_LOGIN, {"auth_code": given["auth_code"]}))

    def consent(self) -> dict[str, Any]:
        """Reads the privacy notice and consents to it, as the mini-program asks for at the first login."""
        return self.api("POST", Shapes.CONSENT, {"version": self.api("GET", Shapes.PRIVACY)["version"]})

    def bind(self, *, invitation: str = "") -> dict[str, Any]:
        """Binds a home: by the code that staff printed, else by the phone number WeChat knows."""
        return self.api("POST", Shapes.HOMES, Shapes.invitation(invitation, self.phone_code))

    def homes(self) -> Any:
        """The homes that the product shows to this person."""
        return self.api("GET", Shapes.HOMES)

    def recharge(self, home: int, amount: str, channel: str = "wechat_mini", *, key: str = "") -> dict[str, Any]:
        """Places a recharge of `amount` yuan; `channel` is wechat_mini, alipay_mini or alipay_wap."""
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        return self.api("POST", Shapes.RECHARGES, Shapes.recharge(home, amount, channel), headers=headers)

    def order(self, number: str) -> dict[str, Any]:
        """The recharge as the product sees it now."""
        return self.api("GET", f"{Shapes.RECHARGES}/{number}")

    def cancel_order(self, number: str) -> dict[str, Any]:
        """Takes the recharge back at the product."""
        return self.api("POST", f"{Shapes.RECHARGES}/{number}/cancel", {})

    def pay(self, order: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        """Pays what the product handed over in `pay`. `options` are the sandbox's (amount_fen, notify, wait, …).

        The vendor's client checks what it is given: paySign against the merchant's certificate, the payer's identity.
        Raises PhoneError where the payer would read a refusal.
        """
        return self._decide(order["pay"], "pay", options)

    def cancel(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Opens the cashier and closes it again."""
        return self._decide(order["pay"], "cancel", {})

    def pay_twice(self, order: Mapping[str, Any], **options: Any) -> list[dict[str, Any] | PhoneError]:
        """Two taps at once. The vendor lets one through; the other answer is the PhoneError of its refusal."""
        with ThreadPoolExecutor(2) as taps:
            return list(taps.map(lambda _: self._tapped(order, options), range(2)))

    def wait_for(
        self, number: str, arrived: Callable[[dict[str, Any]], bool] | None = None, *, timeout_s: float = 30.0
    ) -> dict[str, Any]:
        """Asks the product again and again until the order is paid (or `arrived` says so); PhoneError in the end."""
        over = time.monotonic() + timeout_s
        while True:
            order = self.order(number)
            if arrived(order) if arrived else order["state"] in Shapes.PAID_STATES:
                return order
            if time.monotonic() > over:
                raise PhoneError(f"{number} did not arrive within {timeout_s} s", 200, order)
            time.sleep(POLL_EVERY_S)

    def api(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """One request to the product; the JSON of a 2xx answer, PhoneError for any other."""
        answer = self._http.request(
            method,
            self.api_url + path,
            json=body,
            headers=Shapes.headers(self.token) | dict(headers or {}),
            timeout=self.timeout_s,
        )
        return _content(f"{method} {path}", answer)

    def _logged_in(self, answer: dict[str, Any]) -> dict[str, Any]:
        self.token = answer["token"]
        if answer.get("user", {}).get("consent_needed"):
            self.consent()
        return answer

    def _tapped(self, order: Mapping[str, Any], options: dict[str, Any]) -> dict[str, Any] | PhoneError:
        try:
            return self.pay(order, **options)
        except PhoneError as refused:
            return refused

    def _decide(self, handed: Mapping[str, Any], action: str, options: dict[str, Any]) -> dict[str, Any]:
        if "paySign" in handed:
            return self._in_wechat(handed, action, options)
        if "tradeNO" in handed:
            return self._in_alipay(handed, action, options)
        return self._on_page(str(handed["url"]), action)

    def _in_wechat(self, handed: Mapping[str, Any], action: str, options: dict[str, Any]) -> dict[str, Any]:
        """wx.requestPayment."""
        asked = {**options, **handed, "appId": self.appid, "openid": self.openid, "action": action}
        answer = self._vendor(self.wechat_url, "/sandbox/request_payment", asked)
        if answer["errMsg"] not in {"requestPayment:ok", "requestPayment:fail cancel"}:
            raise PhoneError("wx.requestPayment", 200, answer["errMsg"])
        return answer

    def _in_alipay(self, handed: Mapping[str, Any], action: str, options: dict[str, Any]) -> dict[str, Any]:
        """my.tradePay."""
        asked = {**options, "tradeNO": handed["tradeNO"], "open_id": self.openid, "action": action}
        answer = self._vendor(self.alipay_url, "/sandbox/trade_pay", asked)
        if answer["resultCode"] not in {"9000", "6001"}:
            raise PhoneError("my.tradePay", 200, answer)
        return answer

    def _on_page(self, url: str, action: str) -> dict[str, Any]:
        """Opens the cashier page and presses a button; `back` is where the page would lead the browser."""
        page = self._http.get(url, timeout=self.timeout_s)
        if page.status_code != 200:
            raise PhoneError("the cashier", page.status_code, page.text)
        done = self._http.post(page.url, data={"action": action}, timeout=self.timeout_s, allow_redirects=False)
        if done.status_code not in {200, 302}:
            raise PhoneError("the cashier", done.status_code, done.text)
        return {"page": page.text, "back": done.headers.get("Location", ""), "text": done.text}

    def _vendor(self, base_url: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return _content(path, self._http.post(base_url + path, json=body, timeout=self.timeout_s))


def _content(what: str, answer: requests.Response) -> dict[str, Any]:
    try:
        content: dict[str, Any] = answer.json() if answer.content else {}
    except ValueError:
        raise PhoneError(what, answer.status_code, answer.text[:200]) from None
    if not answer.ok:
        raise PhoneError(what, answer.status_code, content)
    return content
