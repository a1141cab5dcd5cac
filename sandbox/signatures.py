"""The two vendors' signatures, from their documents: pure functions over bytes, no clock, no network.

Written with `cryptography` alone, so that the product's own code and its SDKs are checked by somebody else's reading.
"""

import base64
import binascii
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

SIGNTEST = "WECHATPAY/SIGNTEST/"  # what WeChat's probes begin with: they must never verify


def signature_of(key: RSAPrivateKey, message: bytes) -> str:
    """Base64 of RSA PKCS#1 v1.5 over SHA-256: WeChat's WECHATPAY2-SHA256-RSA2048 and Alipay's RSA2 alike."""
    return base64.b64encode(key.sign(message, PKCS1v15(), SHA256())).decode()


def is_signed(key: RSAPublicKey, message: bytes, signature: str) -> bool:
    """Whether `signature` (base64) is the key owner's over `message`; nonsense instead of base64 is a plain no."""
    try:
        key.verify(base64.b64decode(signature, validate=True), message, PKCS1v15(), SHA256())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def wechat_request_message(*, method: str, url: str, timestamp: str, nonce: str, body: bytes) -> bytes:
    """What a merchant signs in Authorization; `url` is path and query as sent (pay.weixin.qq.com 4012365334)."""
    return f"{method}\n{url}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"


def wechat_answer_message(*, timestamp: str, nonce: str, body: bytes) -> bytes:
    """What WeChat signs in its responses and callbacks: the raw body, also when it is empty (204)."""
    return f"{timestamp}\n{nonce}\n".encode() + body + b"\n"


def wechat_pay_message(*, appid: str, timestamp: str, nonce: str, package: str) -> bytes:
    """What a merchant signs as paySign; `package` is `prepay_id=…` (pay.weixin.qq.com 4012365341)."""
    return f"{appid}\n{timestamp}\n{nonce}\n{package}\n".encode()


def sealed(apiv3_key: bytes, *, nonce: str, associated_data: str, plaintext: bytes) -> str:
    """Base64 of AES-256-GCM with the tag at the end, as in a callback's `resource.ciphertext`."""
    return base64.b64encode(AESGCM(apiv3_key).encrypt(nonce.encode(), plaintext, associated_data.encode())).decode()


def unsealed(apiv3_key: bytes, *, nonce: str, associated_data: str, ciphertext: str) -> bytes:
    """The plaintext of `sealed`; raises `cryptography.exceptions.InvalidTag` where one bit differs."""
    return AESGCM(apiv3_key).decrypt(nonce.encode(), base64.b64decode(ciphertext), associated_data.encode())


def alipay_request_message(params: Mapping[str, str], charset: str) -> bytes:
    """What an app signs in a gateway request: all but `sign` and empty values, sorted; `sign_type` is in it."""
    return _joined({k: v for k, v in params.items() if k != "sign" and v != ""}, charset)


def alipay_notify_message(params: Mapping[str, str], charset: str) -> bytes:
    """What Alipay signs in a notify: all but `sign` and `sign_type`, sorted; blank values stay."""
    return _joined({k: v for k, v in params.items() if k not in {"sign", "sign_type"}}, charset)


def _joined(params: Mapping[str, str], charset: str) -> bytes:
    return "&".join(f"{k}={v}" for k, v in sorted(params.items())).encode(charset)
