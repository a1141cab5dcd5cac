"""Calls to WeChat Pay: signed as WeChat publishes it, believed when WeChat signed, and never a bare exception."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from accounts import pem
from payments.providers.base import (
    BadSignature,
    ProviderBadAnswer,
    ProviderError,
    ProviderRefused,
    ProviderUnsure,
    Receiver,
)
from payments.providers.wechat import WeChatKeys, WeChatPay
from payments.providers.wechat_signatures import pay_message, request_message, sign, verify
from tests.vendors import APIV3_KEY, NOW, Vendor, certificate_pem, rsa_key, sealed, serial_of, vendor, wechat_headers

VECTORS = json.loads((Path(__file__).parent.parent / "vectors/wechat_signatures.json").read_text())
KEY_ID = "PUB_KEY_ID_0119000001092024000000000000"
PLATFORM, MERCHANT = rsa_key("platform"), rsa_key("merchant")
KEYS = WeChatKeys(
    account="1900000109",
    app_id="wx1",
    private_key=MERCHANT,
    certificate_serial="AABBCC",
    apiv3_key=APIV3_KEY,
    provider_keys={KEY_ID: PLATFORM.public_key()},
)
PARTNER = replace(KEYS, account="1900000309", app_id="wx9", sub_account="1900000409", sub_app_id="wx1")
NUMBER = "A260304ABCDEF"
PAID = {
    "mchid": "1900000109",
    "appid": "wx1",
    "out_trade_no": NUMBER,
    "transaction_id": "4200000000202603040000000001",
    "trade_state": "SUCCESS",
    "success_time": "2026-03-04T13:06:01+08:00",
    "payer": {"openid": "oUpF8uMuAJO"},
    "amount": {"total": 5000, "currency": "CNY"},
}


@pytest.fixture
def wechat():
    with vendor() as desk:
        yield desk


def client(desk: Vendor, keys: WeChatKeys = KEYS, timeout_s: float = 5) -> WeChatPay:
    return WeChatPay(keys, base_url=desk.url, timeout_s=timeout_s, clock=lambda: NOW)


def signed(content: object, status: int = 200, *, key=PLATFORM, serial: str = KEY_ID, at: datetime = NOW):
    """An answer with WeChat's signature over it."""
    body = b"" if status == 204 else json.dumps(content, ensure_ascii=False).encode()
    return status, wechat_headers(body, key=key, serial=serial, at=at), body


def order(pay, **changes):
    wish = {
        "number": NUMBER,
        "amount_fen": 5000,
        "description": "电费充值",
        "payer": "oUpF8uMuAJO",
        "expires_at": NOW + timedelta(minutes=30),
        "notify_url": "https://example.org/payments/notify/wechat/m/",
    }
    return pay.create(**wish | changes)


# ---- WeChat's published signatures, over the messages that our code builds ----


@pytest.mark.parametrize("vector", VECTORS["signed_by_merchant"], ids=lambda v: v["what"])
def test_what_we_sign_is_what_wechat_publishes(vector):
    key = pem.public_key(VECTORS["merchant_public_key"])
    if "prepay_id" in vector:
        parts = {name: vector[name] for name in ("timestamp", "nonce", "prepay_id")}
        message = pay_message(app_id=vector["appid"], **parts)
    else:
        parts = {name: vector[name] for name in ("method", "url", "timestamp", "nonce")}
        message = request_message(**parts, body=vector["body"].encode())

    assert message.decode() == vector["message"]
    key.verify(base64.b64decode(vector["signature"]), message, PKCS1v15(), SHA256())


@pytest.mark.parametrize("vector", VECTORS["signed_by_platform"], ids=lambda v: v["what"])
def test_what_wechat_signed_in_the_world_is_believed(vector):
    keys = {KEY_ID: pem.public_key(VECTORS["platform_public_key"])}
    headers = {f"Wechatpay-{name.title()}": vector[name] for name in ("timestamp", "nonce", "signature")}
    headers["Wechatpay-Serial"] = KEY_ID
    at = datetime.fromtimestamp(int(vector["timestamp"]), UTC)

    verify(headers, vector["body"].encode(), keys=keys, now=at)

    with pytest.raises(BadSignature):
        verify(headers, vector["body"].encode() + b" ", keys=keys, now=at)


# ---- requests ----


def check_authorization(asked) -> None:
    """As WeChat does: the signature covers what came over the wire."""
    scheme, _, rest = asked.headers["authorization"].partition(" ")
    given = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    assert scheme == "WECHATPAY2-SHA256-RSA2048"
    assert set(given) == {"mchid", "nonce_str", "signature", "timestamp", "serial_no"}
    assert (given["timestamp"], given["serial_no"]) == (str(int(NOW.timestamp())), "AABBCC")
    message = (
        f"{asked.method}\n{asked.path}\n{given['timestamp']}\n{given['nonce_str']}\n".encode() + asked.body + b"\n"
    )
    MERCHANT.public_key().verify(base64.b64decode(given["signature"]), message, PKCS1v15(), SHA256())
    assert asked.headers["accept"] == "application/json"
    assert asked.headers["user-agent"]


def test_a_prepay_asks_for_what_is_wanted_and_signs_what_it_sends(wechat):
    wechat.answer = lambda _asked: signed({"prepay_id": "wx20141027"})

    assert order(client(wechat)) == "wx20141027"

    (asked,) = wechat.asked
    assert (asked.method, asked.path) == ("POST", "/v3/pay/transactions/jsapi")
    assert asked.json == {
        "appid": "wx1",
        "mchid": "1900000109",
        "description": "电费充值",
        "out_trade_no": NUMBER,
        "time_expire": "2026-03-04T05:36:07+00:00",
        "notify_url": "https://example.org/payments/notify/wechat/m/",
        "amount": {"total": 5000, "currency": "CNY"},
        "payer": {"openid": "oUpF8uMuAJO"},
    }
    check_authorization(asked)
    assert asked.headers["wechatpay-serial"] == KEY_ID


def test_the_same_prepay_again_sends_the_same_parameters(wechat):
    wechat.answer = lambda _asked: signed({"prepay_id": "wx20141027"})
    pay = client(wechat)

    order(pay)
    order(pay)

    assert wechat.asked[0].body == wechat.asked[1].body
    assert wechat.asked[0].headers["authorization"] != wechat.asked[1].headers["authorization"]


@pytest.mark.parametrize(("sub_app_id", "field"), [("wx1", "sub_openid"), ("", "sp_openid")])
def test_a_service_provider_asks_for_its_sub_merchant(wechat, sub_app_id, field):
    wechat.answer = lambda _asked: signed({"prepay_id": "wx20141027"})
    pay = client(wechat, replace(PARTNER, sub_app_id=sub_app_id))

    order(pay)

    (asked,) = wechat.asked
    assert asked.path == "/v3/pay/partner/transactions/jsapi"
    names = {"sp_appid": "wx9", "sp_mchid": "1900000309", "sub_mchid": "1900000409"}
    names |= {"sub_appid": sub_app_id} if sub_app_id else {}
    assert {n: v for n, v in asked.json.items() if n.startswith(("s", "mchid", "appid"))} == names
    assert asked.json["payer"] == {field: "oUpF8uMuAJO"}
    assert pay.app_id == (sub_app_id or "wx9")


def test_the_phone_gets_parameters_that_wechat_will_believe(wechat):
    shown = client(wechat).pay_parameters("wx20141027")

    assert set(shown) == {"appId", "timeStamp", "nonceStr", "package", "signType", "paySign"}
    assert (shown["appId"], shown["timeStamp"], shown["signType"]) == ("wx1", str(int(NOW.timestamp())), "RSA")
    message = f"wx1\n{shown['timeStamp']}\n{shown['nonceStr']}\n{shown['package']}\n".encode()
    assert shown["package"] == "prepay_id=wx20141027"
    assert shown["paySign"] == sign(MERCHANT, message)
    assert wechat.asked == []


def test_in_certificate_mode_wechat_is_not_asked_to_use_its_public_key(wechat):
    wechat.answer = lambda _asked: signed({"prepay_id": "wx20141027"}, serial="0ABC")
    pay = client(wechat, replace(KEYS, provider_keys={"ABC": PLATFORM.public_key()}))

    assert order(pay) == "wx20141027"
    assert "wechatpay-serial" not in wechat.asked[0].headers


@pytest.mark.parametrize("number", ["", "short", "a" * 33, "with|pipe", "../close", "with space", "汉字汉字汉字"])
def test_a_number_that_would_be_signed_otherwise_than_sent_is_not_sent(wechat, number):
    for ask in (client(wechat).query, client(wechat).close):
        with pytest.raises(ValueError, match="out_trade_no"):
            ask(number)
    assert wechat.asked == []


# ---- query and close ----


def test_a_query_translates_like_a_callback(wechat):
    wechat.answer = lambda _asked: signed(PAID)

    receipt = client(wechat).query(NUMBER)

    assert (receipt.kind, receipt.trade_state, receipt.amount_fen) == ("payment", "paid", 5000)
    assert receipt.receiver == Receiver("1900000109", "", "wx1", "")
    assert wechat.asked[0].path == f"/v3/pay/transactions/out-trade-no/{NUMBER}?mchid=1900000109"
    check_authorization(wechat.asked[0])


def test_a_service_providers_query_names_both(wechat):
    wechat.answer = lambda _asked: signed(
        {**PAID, "trade_state": "NOTPAY", "sp_mchid": "1", "sub_mchid": "2", "sp_appid": "3"}
    )

    receipt = client(wechat, PARTNER).query(NUMBER)

    assert (receipt.kind, receipt.trade_state) == ("nothing", "unpaid")
    assert wechat.asked[0].path.endswith(f"/{NUMBER}?sp_mchid=1900000309&sub_mchid=1900000409")


def test_a_number_wechat_never_heard_of_is_unknown_and_not_an_error(wechat):
    wechat.says({"code": "ORDER_NOT_EXIST", "message": "订单不存在"}, status=404)

    receipt = client(wechat).query(NUMBER)

    assert (receipt.kind, receipt.trade_state, receipt.attempt_number) == ("nothing", "unknown", NUMBER)


def test_an_answer_about_another_order_is_not_believed(wechat):
    wechat.answer = lambda _asked: signed(PAID | {"out_trade_no": "A260304OTHER"})

    with pytest.raises(ProviderBadAnswer, match="other_number"):
        client(wechat).query(NUMBER)


def test_a_signed_answer_that_is_no_transaction_is_not_believed(wechat):
    wechat.answer = lambda _asked: signed(PAID | {"amount": {"total": 0}})

    with pytest.raises(ProviderBadAnswer, match="amount"):
        client(wechat).query(NUMBER)


def test_closing_says_closed(wechat):
    wechat.answer = lambda _asked: signed(None, status=204)

    assert client(wechat).close(NUMBER) == "closed"
    assert wechat.asked[0].path == f"/v3/pay/transactions/out-trade-no/{NUMBER}/close"
    assert wechat.asked[0].json == {"mchid": "1900000109"}
    check_authorization(wechat.asked[0])


@pytest.mark.parametrize(("word", "state"), [("SUCCESS", "paid"), ("CLOSED", "closed")])
def test_what_cannot_be_closed_is_asked_about(wechat, word, state):
    refusal = 400, {}, json.dumps({"code": "ORDER_PAID", "message": "订单已支付"}).encode()
    wechat.answer = lambda asked: refusal if asked.method == "POST" else signed(PAID | {"trade_state": word})

    assert client(wechat).close(NUMBER) == state


def test_closing_what_wechat_never_heard_of_is_unknown(wechat):
    wechat.says({"code": "ORDER_NOT_EXIST", "message": "订单不存在"}, status=404)

    assert client(wechat).close(NUMBER) == "unknown"


# ---- errors by blame ----


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "PARAM_ERROR"), (401, "SIGN_ERROR"), (403, "OUT_TRADE_NO_USED"), (400, "APPID_MCHID_NOT_MATCH")],
)
def test_a_refusal_is_final_and_names_wechats_code(wechat, status, code):
    wechat.says({"code": code, "message": "因为"}, status=status)

    for ask in (order, lambda pay: pay.query(NUMBER), lambda pay: pay.close(NUMBER)):
        with pytest.raises(ProviderRefused) as refused:
            ask(client(wechat))
        assert (refused.value.code, refused.value.message, refused.value.status) == (code, "因为", status)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (500, "SYSTEM_ERROR"),
        (503, "SERVICE_UNAVAILABLE"),
        (429, "FREQUENCY_LIMITED"),
        (202, "AGAIN"),
        (403, "SYSTEM_ERROR"),
    ],
)
def test_after_their_fault_nobody_knows_and_we_may_ask_again(wechat, status, code):
    wechat.says({"code": code}, status=status)

    with pytest.raises(ProviderUnsure) as unsure:
        order(client(wechat))
    assert unsure.value.status == status


@pytest.mark.parametrize("status", [200, 302, 404, 502])
def test_a_page_instead_of_an_answer_is_not_believed(wechat, status):
    page = b"<html>Bad Gateway</html>"
    wechat.answer = lambda _asked: (
        status,
        {**wechat_headers(page, key=PLATFORM, serial=KEY_ID), "Location": "/x"},
        page,
    )

    with pytest.raises(ProviderUnsure):
        order(client(wechat))
    assert len(wechat.asked) == 1


def test_a_refusal_without_a_code_is_a_refusal_all_the_same(wechat):
    wechat.says({}, status=403)

    with pytest.raises(ProviderRefused, match="HTTP 403"):
        order(client(wechat))


def test_a_silent_wechat_is_given_up_in_time(wechat):
    let_go = threading.Event()
    wechat.answer = lambda _asked: let_go.wait(5) and None
    began = time.monotonic()

    with pytest.raises(ProviderUnsure, match="ReadTimeout"):
        order(client(wechat, timeout_s=0.2))

    assert time.monotonic() - began < 2
    let_go.set()


def test_a_broken_connection_and_a_closed_port_are_unsure(wechat):
    wechat.answer = lambda _asked: None
    with pytest.raises(ProviderUnsure):
        order(client(wechat))

    nobody = WeChatPay(KEYS, base_url="http://127.0.0.1:1", timeout_s=1)
    with pytest.raises(ProviderUnsure, match="ConnectionError"):
        order(nobody)


def test_an_answer_without_end_is_not_read_to_its_end(wechat):
    wechat.answer = lambda _asked: (200, {}, b" " * (1024 * 1024 + 1))

    with pytest.raises(ProviderBadAnswer, match="too_large"):
        order(client(wechat))


@pytest.mark.parametrize("answer", [{}, {"prepay_id": ""}, {"prepay_id": 5}, []])
def test_a_prepay_without_its_id_is_not_believed(wechat, answer):
    wechat.answer = lambda _asked: signed(answer)

    with pytest.raises(ProviderBadAnswer):
        order(client(wechat))


# ---- whose answer is it? ----


def altered(_asked):
    status, headers, body = signed({"prepay_id": "wx20141027"})
    return status, headers, body.replace(b"wx2", b"wx3")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda _asked: (200, {}, b'{"prepay_id": "wx20141027"}'), id="unsigned"),
        pytest.param(lambda _asked: signed({"prepay_id": "wx20141027"}, key=rsa_key("nobody")), id="foreign"),
        pytest.param(lambda _asked: signed({"prepay_id": "wx20141027"}, serial="ABC"), id="unknown serial"),
        pytest.param(lambda _asked: signed({"prepay_id": "wx20141027"}, at=NOW - timedelta(seconds=301)), id="old"),
        pytest.param(altered, id="altered"),
    ],
)
def test_an_answer_that_wechat_did_not_sign_is_forged(wechat, answer):
    wechat.answer = answer
    with pytest.raises(ProviderBadAnswer, match="signature"):
        order(client(wechat))

    wechat.answer = lambda _asked: signed({"prepay_id": "wx20141027"})
    assert order(client(wechat)) == "wx20141027"


def probed(content: object):
    status, headers, body = signed(content)
    return status, headers | {"Wechatpay-Signature": "WECHATPAY/SIGNTEST/AAAA"}, body


def test_a_probe_is_discarded_and_the_call_made_again(wechat):
    wechat.answer = lambda _asked: (probed if len(wechat.asked) == 1 else signed)(
        {"prepay_id": f"wx{len(wechat.asked)}"}
    )

    assert order(client(wechat)) == "wx2"


def test_probes_without_end_are_not_followed(wechat):
    wechat.answer = lambda _asked: probed({"prepay_id": "wx1"})

    with pytest.raises(ProviderUnsure, match="signtest"):
        order(client(wechat))
    assert len(wechat.asked) == 2


# ---- platform certificates ----

OLD, NEW = (certificate_pem(rsa_key(name), begins=NOW) for name in ("old platform", "new platform"))
OVER = certificate_pem(rsa_key("platform of last year"), begins=NOW - timedelta(days=500))


def entry(certificate: str, **changes: object) -> dict[str, object]:
    resource = sealed(certificate.encode(), associated="certificate")
    return {"serial_no": serial_of(certificate), "encrypt_certificate": resource} | changes


def test_certificates_are_learned_from_nothing_but_the_apiv3_key(wechat):
    wechat.answer = lambda _asked: signed(
        {"data": [entry(OLD), entry(NEW), entry(OVER)]}, key=rsa_key("old platform"), serial=serial_of(OLD)
    )

    found = client(wechat, replace(KEYS, provider_keys={})).certificates()

    assert found == {serial_of(OLD).lstrip("0"): OLD, serial_of(NEW).lstrip("0"): NEW}
    assert wechat.asked[0].path == "/v3/certificates"
    check_authorization(wechat.asked[0])


def test_certificates_signed_by_wechats_public_key_are_believed(wechat):
    wechat.answer = lambda _asked: signed({"data": [entry(NEW)]})

    assert list(client(wechat).certificates().values()) == [NEW]


def test_certificates_that_neither_they_nor_we_know_the_signer_of_are_not(wechat):
    wechat.answer = lambda _asked: signed({"data": [entry(NEW)]}, key=rsa_key("nobody"), serial="ABC")

    with pytest.raises(ProviderBadAnswer, match="unknown_serial"):
        client(wechat).certificates()


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"data": None},
        {"data": ["certificate"]},
        {"data": [{"serial_no": "ABC"}]},
        {"data": [entry(NEW, serial_no="ABC")]},
        {"data": [entry(NEW, serial_no=5)]},
        {"data": [entry(NEW, encrypt_certificate=sealed(b"no certificate", associated="certificate"))]},
        {"data": [entry(NEW, encrypt_certificate=sealed(b"\xff", associated="certificate"))]},
        {"data": [entry(NEW, encrypt_certificate=sealed(NEW.encode()) | {"nonce": "abcdefghijkm"})]},
    ],
)
def test_what_is_no_list_of_certificates_is_not_believed(wechat, content):
    wechat.answer = lambda _asked: signed(content)

    with pytest.raises(ProviderBadAnswer):
        client(wechat).certificates()


def test_a_merchant_without_certificates_is_refused_by_name(wechat):
    wechat.says({"code": "RESOURCE_NOT_EXISTS", "message": "无可用的平台证书"}, status=404)

    with pytest.raises(ProviderRefused, match="RESOURCE_NOT_EXISTS"):
        client(wechat).certificates()


# ---- connections ----


def test_a_thread_keeps_its_connection_and_shares_it_with_nobody(wechat):
    wechat.answer = lambda _asked: signed(PAID)
    pay = client(wechat)
    barrier = threading.Barrier(2)

    def ask_twice() -> None:
        barrier.wait()
        for _each in range(2):
            pay.query(NUMBER)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: ask_twice(), range(2)))

    connections = [asked.connection for asked in wechat.asked]
    assert len(connections) == 4
    assert {connections.count(one) for one in connections} == {2}


def test_the_machines_netrc_and_proxy_have_no_say(wechat, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login nobody password nothing\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    wechat.answer = lambda _asked: signed(PAID)

    assert client(wechat).query(NUMBER).trade_state == "paid"
    check_authorization(wechat.asked[0])


def test_nothing_is_asked_when_a_client_is_made():
    WeChatPay(KEYS, base_url="http://127.0.0.1:1", timeout_s=1)


def test_the_real_clock_is_used_unless_told_otherwise(wechat):
    wechat.answer = lambda _asked: signed(PAID, at=datetime.now(UTC))

    assert WeChatPay(KEYS, base_url=wechat.url, timeout_s=5).query(NUMBER).trade_state == "paid"


def test_errors_have_one_family():
    for kind in (ProviderRefused, ProviderUnsure, ProviderBadAnswer):
        assert issubclass(kind, ProviderError)
    assert str(ProviderRefused("CODE")) == "CODE"
