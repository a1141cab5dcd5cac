"""RSA keys and certificates as vendors hand them out: PEM, or the bare base64 of Alipay's key tool.

Messages name what is wrong and never what was read: it may be a key.
"""

from __future__ import annotations

import base64
import binascii
import functools

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
AT_LEAST_BITS = 2048  # both vendors ask for RSA 2048; less is no longer a signature
UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm)


class BadKeyError(ValueError):
    """A text that is no usable RSA key or certificate. An operator mends it."""


@functools.lru_cache(maxsize=64)
def private_key(text: str) -> RSAPrivateKey:
    """An RSA private key from PEM or bare base64, PKCS#1 or PKCS#8, without a password. Raises BadKeyError.

    Kept once parsed: checking its primes takes 45 ms, and a callback waits for it.
    """
    raw = text.strip().encode()
    key: object
    try:
        if raw.startswith(b"-----BEGIN"):
            key = serialization.load_pem_private_key(raw, password=None)
        else:
            key = serialization.load_der_private_key(_from_base64(raw), password=None)
    except UNREADABLE:
        key = None
    if not isinstance(key, RSAPrivateKey) or key.key_size < AT_LEAST_BITS:
        raise BadKeyError(f"not an RSA private key of {AT_LEAST_BITS} bits or more without a password")
    return key


def public_key(text: str) -> RSAPublicKey:
    """An RSA public key from PEM, bare base64 or a certificate. Raises BadKeyError."""
    raw = text.strip().encode()
    key: object
    try:
        if CERTIFICATE in raw:
            key = x509.load_pem_x509_certificate(raw).public_key()
        elif raw.startswith(b"-----BEGIN"):
            key = serialization.load_pem_public_key(raw)
        else:
            key = serialization.load_der_public_key(_from_base64(raw))
    except UNREADABLE:
        key = None
    if not isinstance(key, RSAPublicKey) or key.key_size < AT_LEAST_BITS:
        raise BadKeyError(f"not an RSA public key or certificate of {AT_LEAST_BITS} bits or more")
    return key


def certificates(text: str) -> list[x509.Certificate]:
    """The certificates of a PEM file, one or a chain, whatever lies between them. Raises BadKeyError."""
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except UNREADABLE:
        raise BadKeyError("not a certificate in PEM") from None


def _from_base64(raw: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(raw.split()), validate=True)
    except binascii.Error:
        raise BadKeyError("neither PEM nor base64") from None
