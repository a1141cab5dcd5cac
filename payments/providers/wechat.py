"""WeChat Pay API v3, outgoing: JSAPI prepay, H5, query, close, platform certificates; direct and partner mode.

Plain `requests` and our own signing, not wechatpayv3: that library signs one serialisation and lets `requests` make
another, verifies decoded text instead of the raw bytes, knows no clock window, downloads certificates from within a
verification and trusts them, empties its shared list meanwhile, and opens a connection a call. What is left of it after
covering that is less than this file.
Sources: pay.weixin.qq.com/docs/merchant/products/mini-program-payment/apilist.html, partner/4012738519.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from accounts import pem, vendors
from payments.providers.base import (
    CLOSED,
    CURRENCY,
    NOTHING,
    UNKNOWN,
    BadContent,
    BadSignature,
    Probe,
    ProviderBadAnswer,
    ProviderRefused,
    ProviderUnsure,
    Receipt,
)
from payments.providers.wechat_callback import read_callback, transaction_receipt
from payments.providers.wechat_signatures import (
    ALGORITHM,
    WeChatKeys,
    pay_message,
    request_message,
    serial_form,
    sign,
    unseal,
    verify,
)

__all__ = ["WeChatKeys", "WeChatPay", "read_callback"]

BASE_URL = "https://api.mch.weixin.qq.com"
TRANSACTIONS = "/v3/pay/transactions"
PARTNER_TRANSACTIONS = "/v3/pay/partner/transactions"
CERTIFICATES = "/v3/certificates"
USER_AGENT = "meterpay"  # a request without one is refused
NUMBER = re.compile(r"[0-9A-Za-z_-]{6,32}")  # WeChat also takes | and *, which HTTP libraries quote after we signed
LONGEST_DESCRIPTION = 127
UNSURE = {"SYSTEM_ERROR", "FREQUENCY_LIMITED", "FREQUENCY_LIMIT_EXCEED", "RATELIMIT_EXCEEDED", "SERVICE_UNAVAILABLE"}
NO_SUCH_ORDER = {"ORDER_NOT_EXIST", "ORDERNOTEXIST", "RESOURCE_NOT_EXISTS"}
PAID_ALREADY = {"ORDER_PAID", "ORDERPAID"}
USED_OTHERWISE = "OUT_TRADE_NO_USED"
NOT_TO_BE_CLOSED = {"ORDER_PAID", "ORDERPAID", "TRADE_ERROR", "ORDER_CLOSED", "ORDERCLOSED"}


class WeChatPay:
    """Outgoing calls for one merchant. Safe to share between threads; no network until something is asked.

    Errors: ProviderRefused with WeChat's code, ProviderUnsure, ProviderBadAnswer. `clock` is the real one: WeChat
    refuses a request whose timestamp is five minutes off, and we refuse such an answer.
    """

    def __init__(
        self,
        keys: WeChatKeys,
        *,
        base_url: str = BASE_URL,
        timeout_s: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._keys = keys
        self._base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        self._clock = clock
        self._is_partner = bool(keys.sub_account)
        self._path = PARTNER_TRANSACTIONS if self._is_partner else TRANSACTIONS

    @property
    def app_id(self) -> str:
        """The mini-program in which people pay."""
        return self._keys.sub_app_id or self._keys.app_id

    def create(
        self, *, number: str, amount_fen: int, description: str, payer: str, expires_at: datetime, notify_url: str
    ) -> str:
        """The prepay_id (good for two hours) of a JSAPI order. `payer` is the openid at `app_id`.

        The same number with the same parameters gives a fresh prepay_id; with others OUT_TRADE_NO_USED. An order paid
        or closed is refused (ORDER_PAID, ORDER_CLOSED).
        """
        content = self._order(number, amount_fen, description, expires_at, notify_url)
        content["payer"] = {self._payer_field(): payer}
        prepay_id = self._post(f"{self._path}/jsapi", content).get("prepay_id")
        if not isinstance(prepay_id, str) or not prepay_id:
            raise ProviderBadAnswer("malformed", "no prepay_id")
        return prepay_id

    def create_h5(
        self,
        *,
        number: str,
        amount_fen: int,
        description: str,
        payer_ip: str,
        expires_at: datetime,
        notify_url: str,
    ) -> str:
        """The address of WeChat's page for a phone's browser, good for five minutes; append `&redirect_url=`.

        The same number with the same parameters, the payer's address among them, gives a fresh one; with others
        OUT_TRADE_NO_USED. Source: pay.weixin.qq.com 4012791834.
        """
        content = self._order(number, amount_fen, description, expires_at, notify_url)
        content["scene_info"] = {"payer_client_ip": payer_ip, "h5_info": {"type": "Wap"}}
        address = self._post(f"{self._path}/h5", content).get("h5_url")
        if not isinstance(address, str) or not address.startswith(("https://", "http://")):
            raise ProviderBadAnswer("malformed", "no h5_url")
        return address

    def pay_parameters(self, prepay_id: str) -> dict[str, str]:
        """What the mini-program hands to `wx.requestPayment`, signed now."""
        timestamp, nonce = self._timestamp(), secrets.token_hex(16)
        message = pay_message(app_id=self.app_id, timestamp=timestamp, nonce=nonce, prepay_id=prepay_id)
        return {
            "appId": self.app_id,
            "timeStamp": timestamp,
            "nonceStr": nonce,
            "package": f"prepay_id={prepay_id}",
            "signType": "RSA",
            "paySign": sign(self._keys.private_key, message),
        }

    def query(self, number: str) -> Receipt:
        """How the order stands; `trade_state` unknown where WeChat has never heard of the number."""
        try:
            content = self._get(f"{self._path}/out-trade-no/{_checked(number)}?{urlencode(self._mchids())}")
        except ProviderRefused as refused:
            if refused.code not in NO_SUCH_ORDER:
                raise
            return Receipt(
                provider="wechat", kind=NOTHING, trade_state=UNKNOWN, provider_state=refused.code, attempt_number=number
            )
        try:
            receipt = transaction_receipt(content)
        except BadContent as error:
            raise ProviderBadAnswer("malformed", str(error)) from error
        if receipt.attempt_number != number:
            raise ProviderBadAnswer("other_number", receipt.attempt_number)
        return receipt

    def close(self, number: str) -> str:
        """Closes an unpaid order and returns its state then; closing it again is fine.

        An order that was paid meanwhile is `paid` (query it); a number of which WeChat knows nothing is `unknown`.
        """
        try:
            self._post(f"{self._path}/out-trade-no/{_checked(number)}/close", self._mchids())
        except ProviderRefused as refused:
            if refused.code in NO_SUCH_ORDER:
                return UNKNOWN
            if refused.code not in NOT_TO_BE_CLOSED:
                raise
            return self.query(number).trade_state
        return CLOSED

    def certificates(self) -> dict[str, str]:
        """WeChat's platform certificates that are good now: serial -> PEM. Poll at least every 12 hours.

        A merchant in public-key mode may have none: ProviderRefused RESOURCE_NOT_EXISTS. The answer is signed by one of
        them, which is how they are first learned: what vouches for them is the APIv3 key they are sealed with.
        """
        headers, body = self._signed_call("GET", CERTIFICATES, b"")
        found = self._unsealed_certificates(_json_object(body))
        keys: dict[str, RSAPublicKey] = {serial: pem.public_key(text) for serial, text in found.items()}
        self._believe(headers, body, {**keys, **self._keys.provider_keys})
        return found

    def _unsealed_certificates(self, content: Mapping[str, Any]) -> dict[str, str]:
        now, found = self._clock(), {}
        try:
            for entry in content["data"]:
                text = unseal(entry["encrypt_certificate"], self._keys.apiv3_key).decode()
                certificate = pem.certificates(text)[0]
                serial = serial_form(f"{certificate.serial_number:X}")
                if serial_form(entry["serial_no"]) != serial:
                    raise ProviderBadAnswer("other_serial", serial)
                if _is_good(certificate, now):
                    found[serial] = text
        except (BadContent, KeyError, TypeError, AttributeError, ValueError) as error:
            raise ProviderBadAnswer("malformed", f"certificates: {type(error).__name__}") from error
        return found

    def _order(
        self, number: str, amount_fen: int, description: str, expires_at: datetime, notify_url: str
    ) -> dict[str, Any]:
        """What every way of paying wants to know of an order."""
        return {
            **self._names(),
            "description": description[:LONGEST_DESCRIPTION],
            "out_trade_no": _checked(number),
            "time_expire": expires_at.isoformat(timespec="seconds"),
            "notify_url": notify_url,
            "amount": {"total": amount_fen, "currency": CURRENCY},
        }

    def _names(self) -> dict[str, str]:
        keys = self._keys
        if not self._is_partner:
            return {"appid": keys.app_id, "mchid": keys.account}
        names = {"sp_appid": keys.app_id, "sp_mchid": keys.account, "sub_mchid": keys.sub_account}
        return names | ({"sub_appid": keys.sub_app_id} if keys.sub_app_id else {})

    def _payer_field(self) -> str:
        if not self._is_partner:
            return "openid"
        return "sub_openid" if self._keys.sub_app_id else "sp_openid"

    def _mchids(self) -> dict[str, str]:
        if self._is_partner:
            return {"sp_mchid": self._keys.account, "sub_mchid": self._keys.sub_account}
        return {"mchid": self._keys.account}

    def _get(self, url: str) -> dict[str, Any]:
        return self._call("GET", url, b"")

    def _post(self, url: str, content: Mapping[str, Any]) -> dict[str, Any]:
        # These very bytes are signed and sent.
        return self._call("POST", url, json.dumps(content, ensure_ascii=False).encode())

    def _call(self, method: str, url: str, body: bytes) -> dict[str, Any]:
        """A believed answer's JSON object; {} for 204. A probe is discarded and the call made once more."""
        for _attempt in range(2):
            headers, content = self._signed_call(method, url, body)
            try:
                verify(headers, content, keys=self._keys.provider_keys, now=self._clock())
            except Probe:
                continue
            except BadSignature as error:
                raise ProviderBadAnswer("signature", str(error)) from error
            return _json_object(content) if content else {}
        raise ProviderUnsure("signtest", "two probes in a row")

    def _believe(self, headers: Mapping[str, str], body: bytes, keys: Mapping[str, RSAPublicKey]) -> None:
        try:
            verify(headers, body, keys=keys, now=self._clock())
        except BadSignature as error:
            raise ProviderBadAnswer("signature", str(error)) from error

    def _signed_call(self, method: str, url: str, body: bytes) -> tuple[Mapping[str, str], bytes]:
        """Headers and body of a 2xx answer, not yet verified; refusals carry no signature and are typed here."""
        answer = vendors.call(
            method, self._base_url + url, headers=self._headers(method, url, body), body=body, timeout_s=self._timeout_s
        )
        if answer.status in (200, 204):
            return answer.headers, answer.body
        raise _refusal(answer)

    def _headers(self, method: str, url: str, body: bytes) -> dict[str, str]:
        keys, timestamp, nonce = self._keys, self._timestamp(), secrets.token_hex(16)
        message = request_message(method=method, url=url, timestamp=timestamp, nonce=nonce, body=body)
        signature = sign(keys.private_key, message)
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "Authorization": f'{ALGORITHM} mchid="{keys.account}",nonce_str="{nonce}",signature="{signature}",'
            f'timestamp="{timestamp}",serial_no="{keys.certificate_serial}"',
        }
        # Without it WeChat signs its answer with a platform certificate, which a merchant with its key may not have.
        return headers | ({"Wechatpay-Serial": keys.public_key_id} if keys.public_key_id else {})

    def _timestamp(self) -> str:
        return str(int(self._clock().timestamp()))


def _checked(number: str) -> str:
    if not NUMBER.fullmatch(number):
        raise ValueError("an out_trade_no has 6 to 32 letters, digits, _ or -")
    return number


def _is_good(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ProviderBadAnswer("malformed", vendors.excerpt(body))
    return content


def _refusal(answer: vendors.Answer) -> Exception:
    """What an answer other than 200 and 204 means. WeChat's code decides, never its message."""
    content = _json_object(answer.body)
    code, message = str(content.get("code") or f"HTTP {answer.status}"), str(content.get("message") or "")
    if code in UNSURE:
        return ProviderUnsure(code, message, status=answer.status)
    return ProviderRefused(code, message, status=answer.status)
