"""Alipay's gateway for an app of ours: signed calls, believed answers, and who logs in.

python-alipay-sdk puts requests together and signs them; it neither sends them nor reads the answers, because there it
has traps: no connection reuse, the machine's proxies and redirects, a crash on an HTML page or an unsigned refusal, a
brace within a text that ends the signed part, one certificate of Alipay's and no successor. The timestamp is given to
it, in Beijing time, whatever the machine's zone is.
Sources: opendocs.alipay.com/common/02kdnc (answers), 02khjo (certificates), open/02ailc (alipay.system.oauth.token).
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from alipay import AliPay
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from accounts import pem, vendors
from accounts.vendors import ProviderBadAnswer, ProviderError, ProviderRefused, ProviderUnsure

GATEWAY_URL = "https://openapi.alipay.com/gateway.do"
BEIJING = ZoneInfo("Asia/Shanghai")
OK = "10000"
UNSURE = {"10003", "20000", "40005", "ACQ.SYSTEM_ERROR", "SYSTEM_ERROR", "aop.unknow-error"}  # the vendor's spelling
# As in Alipay's own SDK: these go into the query string, the rest - money and people - into the body.
IN_QUERY = {
    "app_id", "method", "charset", "sign_type", "sign", "timestamp", "version", "notify_url", "app_cert_sn",
    "alipay_root_cert_sn",
}  # fmt: skip
RSA_SIGNATURES = "1.2.840.113549.1.1."


@dataclass(frozen=True, slots=True, kw_only=True)
class AlipayKeys:
    """An app's id and keys. `provider_keys` maps Alipay's `alipay_cert_sn` to its public keys; in key mode Alipay names
    none, so any other word will do for a serial, and several keys are good while Alipay's key is changed.

    In certificate mode `app_cert_sn` and `root_cert_sn` are set: see `certificate_sn` and `root_sn`.
    """

    app_id: str
    private_key: RSAPrivateKey = field(repr=False)
    provider_keys: Mapping[str, RSAPublicKey]
    app_cert_sn: str = ""
    root_cert_sn: str = ""

    def __post_init__(self) -> None:
        if not self.provider_keys:
            raise ValueError("Alipay's public key is missing")
        if bool(self.app_cert_sn) != bool(self.root_cert_sn):
            raise ValueError("certificate mode needs the app's certificate and Alipay's root certificates")


class Person(NamedTuple):
    """Who logs in. New apps get an `open_id` of their own, old ones a `user_id` (2088…); `union_id` may be empty."""

    open_id: str
    user_id: str
    union_id: str

    @property
    def subject(self) -> str:
        """What tells this person from others in this app."""
        return self.open_id or self.user_id


class AlipayGateway:
    """Calls for one app. Safe to share between threads; no network until something is asked.

    Errors: ProviderRefused with Alipay's sub_code, ProviderUnsure, ProviderBadAnswer.
    """

    def __init__(
        self,
        keys: AlipayKeys,
        *,
        gateway_url: str = GATEWAY_URL,
        timeout_s: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._keys = keys
        self._gateway_url = gateway_url
        self._timeout_s = timeout_s
        self._clock = clock
        self._sdk = _sdk(
            keys.app_id, _private_pem(keys.private_key), _public_pem(next(iter(keys.provider_keys.values())))
        )

    @property
    def app_id(self) -> str:
        return self._keys.app_id

    def oauth_token(self, auth_code: str) -> Person:
        """Who gave this code (`my.getAuthCode`); good once. A wrong one is ProviderRefused isv.code-invalid."""
        answer = self.call("alipay.system.oauth.token", grant_type="authorization_code", code=auth_code)
        person = Person(*(str(answer.get(name) or "") for name in Person._fields))
        if not person.subject:
            raise ProviderBadAnswer("malformed", "nobody logged in")
        return person

    def call(self, method: str, content: Mapping[str, Any] | None = None, **params: str) -> dict[str, Any]:
        """The signed content of a successful answer (code 10000, which never means "paid").

        `content` becomes biz_content; amounts in it are texts ("10.00"), never numbers. `params` are top-level.
        """
        pairs = self.signed(method, content, **params).split("&")
        query = [pair for pair in pairs if pair.partition("=")[0] in IN_QUERY]
        body = [pair for pair in pairs if pair.partition("=")[0] not in IN_QUERY]
        answer = vendors.call(
            "POST",
            f"{self._gateway_url}?{'&'.join(query)}",
            headers={"Content-Type": "application/x-www-form-urlencoded;charset=utf-8"},
            body="&".join(body).encode(),
            timeout_s=self._timeout_s,
        )
        return self._believed(answer, method)

    def signed(self, method: str, content: Mapping[str, Any] | None = None, **params: str) -> str:
        """The request as a signed, quoted query string: what `call` sends, and the address of a page to pay on."""
        at = self._clock().astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S")
        names = {"app_cert_sn": self._keys.app_cert_sn, "alipay_root_cert_sn": self._keys.root_cert_sn}
        given = {name: value for name, value in (names | params).items() if value}
        signed: str = self._sdk.client_api(method, dict(content or {}), timestamp=at, **given)
        return signed

    def _believed(self, answer: vendors.Answer, method: str) -> dict[str, Any]:
        if answer.status != 200:
            raise ProviderBadAnswer(f"HTTP {answer.status}", vendors.excerpt(answer.body), status=answer.status)
        members = _members(answer.body)
        name = method.replace(".", "_") + "_response"
        content, text = members.get(name) or members.get("error_response") or (None, "")
        if not isinstance(content, dict):
            raise ProviderBadAnswer("malformed", vendors.excerpt(answer.body))
        is_refused = name not in members or content.get("code", OK) != OK
        signature, _ = members.get("sign", ("", ""))
        serial, _ = members.get("alipay_cert_sn", ("", ""))
        # Only refusals may come unsigned (a wrong app id has no key to sign with).
        if signature or not is_refused:
            self._check(text, serial=str(serial), signature=str(signature))
        if is_refused:
            raise _refusal(content)
        return content

    def _check(self, text: str, *, serial: str, signature: str) -> None:
        if not is_signed(text.encode(), signature, serial=serial, keys=self._keys.provider_keys):
            raise ProviderBadAnswer("signature", f"alipay_cert_sn {serial}" if serial else "")


def is_signed(message: bytes, signature: str, *, serial: str, keys: Mapping[str, RSAPublicKey]) -> bool:
    """Whether Alipay signed this with RSA2 (base64): with the key of this serial, or with any where it names none."""
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    candidates = [keys[serial]] if serial in keys else list(keys.values()) if not serial else []
    return any(_verifies(key, message, raw) for key in candidates)


def certificate_sn(text: str) -> str:
    """Alipay's name of a certificate (PEM): app_cert_sn of ours, alipay_cert_sn of theirs. Raises pem.BadKeyError."""
    return _sn(pem.certificates(text)[0])


def root_sn(text: str) -> str:
    """Alipay's name of its root certificates (PEM): those signed with RSA, in order. Raises pem.BadKeyError."""
    return "_".join(
        _sn(one)
        for one in pem.certificates(text)
        if one.signature_algorithm_oid.dotted_string.startswith(RSA_SIGNATURES)
    )


def _sn(certificate: x509.Certificate) -> str:
    name = certificate.issuer.rfc4514_string() + str(certificate.serial_number)
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()


def _verifies(key: RSAPublicKey, message: bytes, raw: bytes) -> bool:
    try:
        key.verify(raw, message, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def _members(body: bytes) -> dict[str, tuple[Any, str]]:
    """The members of the answer's object, each with the exact text that stands for it: the signature covers that text.

    Read by a JSON parser: whoever counts braces stumbles over one within a text. Raises ProviderBadAnswer.
    """
    members: dict[str, tuple[Any, str]] = {}
    try:
        text = body.decode()
        at = _after(text, 0, "{")
        while not members or text[at] == ",":
            name, at = _value(text, at + 1 if members else at)
            start = _after(text, at, ":")
            value, at = _value(text, start)
            members[name] = (value, text[start:at].strip())
            at = _skipped(text, at)
        _after(text, at, "}")
    except (ValueError, IndexError, TypeError, RecursionError):
        raise ProviderBadAnswer("malformed", vendors.excerpt(body)) from None
    return members


def _value(text: str, at: int) -> tuple[Any, int]:
    return json.JSONDecoder().raw_decode(text, _skipped(text, at))


def _after(text: str, at: int, mark: str) -> int:
    at = _skipped(text, at)
    if text[at] != mark:
        raise ValueError("not a JSON object")
    return at + 1


def _skipped(text: str, at: int) -> int:
    while text[at : at + 1].isspace():
        at += 1
    return at


def _refusal(content: Mapping[str, Any]) -> ProviderError:
    """What Alipay's refusal means; sub_code decides, never a message."""
    code = str(content.get("code", "error_response"))
    sub_code = str(content.get("sub_code") or code)
    message = str(content.get("sub_msg") or content.get("msg") or "")
    if code in UNSURE or sub_code in UNSURE or sub_code.startswith("isp."):
        return ProviderUnsure(sub_code, message)
    return ProviderRefused(sub_code, message)


@functools.lru_cache(maxsize=64)
def _sdk(app_id: str, private_pem: str, public_pem: str) -> AliPay:
    """The SDK, which signs; kept because it takes 30 ms to read its keys. It has no state beside them."""
    return AliPay(
        appid=app_id, app_private_key_string=private_pem, alipay_public_key_string=public_pem, sign_type="RSA2"
    )


def _private_pem(key: RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _public_pem(key: RSAPublicKey) -> str:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
