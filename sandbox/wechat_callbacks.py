"""WeChat Pay's callbacks: sealed, signed, spoilt in a chosen way; as a server sends them or for tests to send."""

import base64
import json
import secrets
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from sandbox.signatures import SIGNTEST, sealed, signature_of, wechat_answer_message
from sandbox.wechat_trades import beijing, new_transaction_id
from sandbox.world import SigningKey, World

# 15s 15s 30s 3m 10m 20m 30m 30m 30m 60m 3h 3h 3h 6h 6h: 15 repetitions in 24 h 4 min (pay.weixin.qq.com, notices)
LADDER_S = (15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600)
ALGORITHM = "AEAD_AES_256_GCM"

Signed = tuple[dict[str, str], bytes]


def signing_key(world: World, name: str, *, merchant: str = "direct") -> SigningKey:
    """A key by its name: public_key, platform_certificate, next_platform_certificate or foreign."""
    return {
        "public_key": world.wechat[merchant].public_key,
        "platform_certificate": world.platform[0],
        "next_platform_certificate": world.platform[1],
        "foreign": world.foreign,
    }[name]


def signed_headers(key: SigningKey, body: bytes, *, at: float, serial: str | None = None) -> dict[str, str]:
    """The Wechatpay-* headers of a response or callback; `serial` claims another key than the one that signs."""
    timestamp, nonce = str(int(at)), secrets.token_hex(16)
    message = wechat_answer_message(timestamp=timestamp, nonce=nonce, body=body)
    return {
        "Wechatpay-Timestamp": timestamp,
        "Wechatpay-Nonce": nonce,
        "Wechatpay-Signature": signature_of(key.private, message),
        "Wechatpay-Serial": key.serial if serial is None else serial,
        "Wechatpay-Signature-Type": "WECHATPAY2-SHA256-RSA2048",
    }


def probe(headers: dict[str, str]) -> dict[str, str]:
    """The same with the wrong signature of WeChat's probe traffic, which must be refused."""
    return headers | {"Wechatpay-Signature": SIGNTEST + base64.b64encode(secrets.token_bytes(190)).decode()}


def mchids(world: World, merchant: str) -> dict[str, str]:
    """The merchant numbers as transactions carry them."""
    known = world.wechat[merchant]
    if known.mode == "partner":
        return {"sp_mchid": known.mchid, "sub_mchid": known.sub_mchid}
    return {"mchid": known.mchid}


def transaction(  # a payment of which no server knows
    world: World,
    *,
    out_trade_no: str,
    amount_fen: int,
    merchant: str = "direct",
    openid: str = "sandbox-openid",
    transaction_id: str | None = None,
    paid_at: float | None = None,
) -> dict[str, Any]:
    """The plaintext of a genuine payment's callback."""
    known, now = world.wechat[merchant], time.time()
    partner = known.mode == "partner"
    apps = {"sp_appid": known.appid, "sub_appid": known.sub_appid} if partner else {"appid": known.appid}
    return {
        **mchids(world, merchant),
        **apps,
        "out_trade_no": out_trade_no,
        "transaction_id": transaction_id or new_transaction_id(now),
        "trade_type": "JSAPI",
        "trade_state": "SUCCESS",
        "trade_state_desc": "支付成功",
        "bank_type": "OTHERS",
        "attach": "",
        "success_time": beijing(now if paid_at is None else paid_at),
        "payer": {"sub_openid" if partner else "openid": openid},
        "amount": {"total": amount_fen, "payer_total": amount_fen, "currency": "CNY", "payer_currency": "CNY"},
    }


def sealed_event(apiv3_key: bytes, resource: Mapping[str, Any], *, nonce: str | None = None) -> dict[str, Any]:
    """The body of a callback around `resource`, sealed for the merchant; its id stays for all tries."""
    nonce = secrets.token_hex(6) if nonce is None else nonce
    text = json.dumps(resource, ensure_ascii=False, separators=(",", ":")).encode()
    # AES-GCM itself wants 8 bytes or more, so a nonce of a wrong length is written over a sealed text.
    real_nonce = nonce if len(nonce) >= 8 else secrets.token_hex(6)
    return {
        "id": str(uuid.uuid4()),
        "create_time": beijing(time.time()),
        "resource_type": "encrypt-resource",
        "event_type": "TRANSACTION.SUCCESS",
        "summary": "支付成功",
        "resource": {
            "original_type": "transaction",
            "algorithm": ALGORITHM,
            "ciphertext": sealed(apiv3_key, nonce=real_nonce, associated_data="transaction", plaintext=text),
            "associated_data": "transaction",
            "nonce": nonce,
        },
    }


def signed_callback(
    world: World,
    *,
    out_trade_no: str,
    amount_fen: int,
    merchant: str = "direct",
    openid: str = "sandbox-openid",
    transaction_id: str | None = None,
    paid_at: float | None = None,
    resource: Mapping[str, Any] | None = None,
    event: Mapping[str, Any] | None = None,
    sign_with: str = "public_key",
    serial: str | None = None,
    at: float | None = None,
    resource_nonce: str | None = None,
    alter: str = "",
    drop_headers: Iterable[str] = (),
    headers: Mapping[str, str] | None = None,
) -> Signed:
    """Headers and body of a callback for a payment of `amount_fen`, genuine unless the rest says otherwise.

    `resource` and `event` are merged (deeply; None removes a field) into the plaintext and into the envelope before
    sealing and signing. `sign_with` names a key (`signing_key`), `serial` claims another, `at` (epoch seconds) is the
    signature's clock. `alter` spoils afterwards: body, signature, signtest, or - under a good signature - tag,
    ciphertext. `drop_headers` and `headers` have the last word.
    """
    paid = transaction(
        world,
        out_trade_no=out_trade_no,
        amount_fen=amount_fen,
        merchant=merchant,
        openid=openid,
        transaction_id=transaction_id,
        paid_at=paid_at,
    )
    envelope = sealed_event(world.wechat[merchant].apiv3_key, merged(paid, resource or {}), nonce=resource_nonce)
    if alter in {"tag", "ciphertext"}:
        envelope["resource"]["ciphertext"] = _one_bit_off(envelope["resource"]["ciphertext"], last=alter == "tag")
    body = json.dumps(merged(envelope, event or {}), ensure_ascii=False).encode()
    key = signing_key(world, sign_with, merchant=merchant)
    made = signed_headers(key, body, at=time.time() if at is None else at, serial=serial)
    made |= {"Content-Type": "application/json", "User-Agent": "Mozilla/4.0"}
    made, body = _spoiled(made, body, alter)
    unwanted = {name.lower() for name in drop_headers}
    kept = {name: value for name, value in made.items() if name.lower() not in unwanted}
    return kept | dict(headers or {}), body


def _spoiled(made: dict[str, str], body: bytes, alter: str) -> Signed:
    """What somebody on the way, or WeChat's own test, makes of it after it was signed."""
    if alter == "signtest":
        return probe(made), body
    if alter == "signature":
        return made | {"Wechatpay-Signature": _one_bit_off(made["Wechatpay-Signature"], last=False)}, body
    if alter == "body":
        return made, body[:-1] + b" }"
    return made, body


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid upon it, objects within objects too; None takes a field away."""
    result = dict(base)
    for name, value in over.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(result.get(name), Mapping):
            result[name] = merged(result[name], value)
        else:
            result[name] = value
    return result


def _one_bit_off(text: str, *, last: bool) -> str:
    raw = bytearray(base64.b64decode(text))
    raw[-1 if last else 0] ^= 1
    return base64.b64encode(raw).decode()
