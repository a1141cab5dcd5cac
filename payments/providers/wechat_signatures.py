"""WeChat Pay API v3: keys, the messages that are signed, verifying and unsealing. Pure functions, no network, no clock.

Sources: pay.weixin.qq.com/doc/v3/merchant/4012365336 (requests), 4012365341 (paySign), 4012365337 (answers and
callbacks), 4012071382 (AES-256-GCM).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from payments.providers.base import BadContent, BadSignature, Probe, Receiver

ALGORITHM = "WECHATPAY2-SHA256-RSA2048"
SEAL = "AEAD_AES_256_GCM"
NONCE_BYTES = 12
CLOCK_S = 300
SIGNTEST = "WECHATPAY/SIGNTEST/"
PUBLIC_KEY_ID = "PUB_KEY_ID_"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeChatKeys:
    """A merchant's numbers and keys. In partner mode `account` and `app_id` are the service provider's.

    `provider_keys` maps serials to WeChat's public keys: its public key (PUB_KEY_ID_…) and its platform certificates,
    all of which may sign while a merchant switches. `apiv3_key` is 32 bytes.
    """

    account: str
    app_id: str
    private_key: RSAPrivateKey = field(repr=False)
    certificate_serial: str
    apiv3_key: bytes = field(repr=False)
    provider_keys: Mapping[str, RSAPublicKey] = field(default_factory=dict)
    sub_account: str = ""
    sub_app_id: str = ""

    def __post_init__(self) -> None:
        if len(self.apiv3_key) != 32:
            raise ValueError("an APIv3 key has 32 bytes")
        by_serial = {serial_form(serial): key for serial, key in self.provider_keys.items()}
        object.__setattr__(self, "provider_keys", by_serial)

    @property
    def receiver(self) -> Receiver:
        """What genuine callbacks to this merchant name."""
        return Receiver(self.account, self.sub_account, self.app_id, self.sub_app_id)

    @property
    def public_key_id(self) -> str:
        """The id of WeChat's public key where we hold it; "" in platform-certificate mode."""
        return next((serial for serial in self.provider_keys if serial.startswith(PUBLIC_KEY_ID)), "")


def serial_form(serial: str) -> str:
    """One way to write a serial: upper case, without the leading zeros that some tools add."""
    return serial.strip().upper().lstrip("0")


def request_message(*, method: str, url: str, timestamp: str, nonce: str, body: bytes) -> bytes:
    """What we sign in Authorization; `url` is path and query as sent."""
    return f"{method}\n{url}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"


def pay_message(*, app_id: str, timestamp: str, nonce: str, prepay_id: str) -> bytes:
    """What we sign as paySign, for the phone to show to WeChat."""
    return f"{app_id}\n{timestamp}\n{nonce}\nprepay_id={prepay_id}\n".encode()


def answer_message(*, timestamp: str, nonce: str, body: bytes) -> bytes:
    """What WeChat signs in answers and callbacks: the raw body, also where it is empty (204)."""
    return f"{timestamp}\n{nonce}\n".encode() + body + b"\n"


def sign(key: RSAPrivateKey, message: bytes) -> str:
    """Base64 of RSA PKCS#1 v1.5 over SHA-256."""
    return base64.b64encode(key.sign(message, PKCS1v15(), SHA256())).decode()


def verify(headers: Mapping[str, str], body: bytes, *, keys: Mapping[str, RSAPublicKey], now: datetime) -> None:
    """Raises BadSignature (Probe for WeChat's own test) unless one of `keys`, by serial, signed this within 300 s.

    `headers` come in any case. The algorithm is ours to know and not the sender's to choose. A repeated callback
    carries a fresh timestamp, so the window does not refuse the vendor's retries.
    """
    given = {name.lower(): value for name, value in headers.items()}
    if given.get("wechatpay-signature-type", ALGORITHM) != ALGORITHM:
        raise BadSignature("signature_type")
    timestamp, nonce = _header(given, "timestamp"), _header(given, "nonce")
    signature, serial = _header(given, "signature"), serial_form(_header(given, "serial"))
    if signature.startswith(SIGNTEST):
        raise Probe("signtest")
    key = keys.get(serial)
    if key is None:
        raise BadSignature("unknown_serial", serial)
    _check_clock(timestamp, now)
    _check(key, answer_message(timestamp=timestamp, nonce=nonce, body=body), signature)


def unseal(resource: Mapping[str, object], apiv3_key: bytes) -> bytes:
    """The plaintext of a sealed resource (a transaction, a refund, a certificate). Raises BadContent."""
    algorithm, nonce = resource.get("algorithm"), resource.get("nonce")
    sealed, associated = resource.get("ciphertext"), resource.get("associated_data") or ""
    if algorithm != SEAL:
        raise BadContent("algorithm")
    if not (isinstance(nonce, str) and isinstance(sealed, str) and isinstance(associated, str)):
        raise BadContent("malformed", "resource")
    # Ours to check: GCM takes other lengths, and other code has crashed on them.
    if len(nonce) != NONCE_BYTES or not nonce.isascii():
        raise BadContent("nonce_length")
    try:
        ciphertext = base64.b64decode(sealed, validate=True)
        return AESGCM(apiv3_key).decrypt(nonce.encode(), ciphertext, associated.encode())
    except (InvalidTag, ValueError):
        # One reason for both: nothing is learned from the difference, and both mean "look at the APIv3 key".
        raise BadContent("decrypt") from None


def _header(given: Mapping[str, str], name: str) -> str:
    value = given.get(f"wechatpay-{name}", "")
    if not value:
        raise BadSignature("missing_header", name)
    if not value.isascii():
        raise BadSignature("malformed_header", name)
    return value


def _check_clock(timestamp: str, now: datetime) -> None:
    if not timestamp.isdigit() or len(timestamp) > 11:
        raise BadSignature("malformed_header", "timestamp")
    if abs(now.timestamp() - int(timestamp)) > CLOCK_S:
        raise BadSignature("clock")


def _check(key: RSAPublicKey, message: bytes, signature: str) -> None:
    try:
        key.verify(base64.b64decode(signature, validate=True), message, PKCS1v15(), SHA256())
    except (InvalidSignature, binascii.Error):
        raise BadSignature("bad_signature") from None
