"""How to know what belongs to a sandbox, so that production can refuse it where it would be used.

Our own sandbox marks everything that it makes (sandbox/README.md), and Alipay's sandbox has app ids of its own. Nothing
of the sandbox is imported: a mark is a fact about ids and keys, as a vendor's would be.
"""

from __future__ import annotations

from collections.abc import Iterable

from cryptography.x509.oid import NameOID

from accounts import pem

WECHAT_APP = "wxsandbox"
ALIPAY_APP = "9021"  # also those of Alipay's own sandbox, open.alipay.com/develop/sandbox
WECHAT_ACCOUNTS = frozenset({"1900000109", "1900000209", "1900000309", "1900000409"})  # the first is WeChat's example
ALIPAY_SELLERS = frozenset({"2088000000000101", "2088000000000202"})
ORGANIZATION = "meterpay sandbox"  # in the subject and the issuer of certificates
KEY = "sandbox"  # in secrets, APIv3 keys and the serials of public keys, in either case


def first_of(*, ids: Iterable[str] = (), secrets: Iterable[str] = (), pems: Iterable[str] = ()) -> str:
    """The first thing that is a sandbox's, in words; empty where nothing is.

    `ids` are app ids, merchant numbers and serials, `pems` keys or certificates. A secret is never repeated.
    """
    for name in ids:
        if is_sandbox_id(name):
            return f"{name} is a sandbox's"
    if any(KEY in secret.lower() for secret in secrets):
        return "a key is a sandbox's"
    if any(_is_of_our_sandbox(text) for text in pems):
        return "a certificate is a sandbox's"
    return ""


def is_sandbox_id(name: str) -> bool:
    """Whether an app id, a merchant number or the serial of a public key is a sandbox's."""
    return (
        name.startswith((WECHAT_APP, ALIPAY_APP))
        or name in WECHAT_ACCOUNTS
        or name in ALIPAY_SELLERS
        or KEY in name.lower()
    )


def _is_of_our_sandbox(text: str) -> bool:
    if pem.CERTIFICATE.decode() not in text:
        return False  # a bare key has no name in it
    try:
        found = pem.certificates(text)
    except pem.BadKeyError:
        return False  # whoever uses it will say so
    names = [name for one in found for name in (one.subject, one.issuer)]
    return any(
        attribute.value == ORGANIZATION
        for name in names
        for attribute in name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    )
