"""Our clients and the vendors' servers in the box, each written from the documents: they understand each other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from accounts import pem, vendors
from accounts.alipay import AlipayGateway, AlipayKeys, certificate_sn, root_sn
from accounts.wechat import MiniProgram, Phone
from payments.providers.alipay import Alipay, read_notify
from payments.providers.base import (
    BadCallback,
    BadContent,
    BadSignature,
    Probe,
    ProviderBadAnswer,
    ProviderRefused,
    ProviderUnsure,
    Receiver,
    WrongReceiver,
)
from payments.providers.wechat import WeChatKeys, WeChatPay, read_callback
from sandbox import alipay as alipay_box
from sandbox import wechat as wechat_box
from sandbox.keys import make_world
from sandbox.server import running
from sandbox.world import load_world
from tests.vendors import Shelf

NUMBER = "A260304ABCDEF"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("world")


@pytest.fixture(scope="module")
def info(folder):
    return make_world(folder)


@pytest.fixture(scope="module")
def wechat_url(folder):
    with running(wechat_box.WeChat(load_world(folder))) as url:
        yield url
    vendors._session().close()


@pytest.fixture(scope="module")
def alipay_url(folder):
    with running(alipay_box.Alipay(load_world(folder))) as url:
        yield url
    vendors._session().close()


@pytest.fixture(autouse=True)
def _fresh(request):
    """Every test finds empty books and no fault."""
    for name in ("wechat_url", "alipay_url"):
        if name in request.fixturenames:
            tell(request.getfixturevalue(name), "reset", {})


def tell(url, path, content):
    """The box's control API."""
    answer = requests.post(f"{url}/sandbox/{path}", json=content, timeout=10)
    answer.raise_for_status()
    return answer.json()


def text(path: str) -> str:
    return Path(path).read_text()


def wechat_keys(info, name="direct", mode="public_key"):
    merchant = info["wechat"][name]
    key = {merchant["public_key_id"]: pem.public_key(text(merchant["public_key_file"]))}
    certificates = {one["serial"]: pem.public_key(text(one["cert_file"])) for one in info["wechat"]["platform"]}
    return WeChatKeys(
        account=merchant["mchid"],
        app_id=merchant["appid"],
        sub_account=merchant.get("sub_mchid", ""),
        sub_app_id=merchant.get("sub_appid", ""),
        private_key=pem.private_key(text(merchant["key_file"])),
        certificate_serial=merchant["serial"],
        apiv3_key=text(merchant["apiv3_key_file"]).encode(),
        provider_keys={"public_key": key, "certificate": certificates, "both": key | certificates}[mode],
    )


def alipay_keys(info, name="key"):
    app = info["alipay"][name]
    given = {"app_id": app["app_id"], "private_key": pem.private_key(text(app["app_private_key_file"]))}
    if app["mode"] == "key":
        return AlipayKeys(**given, provider_keys={"": pem.public_key(text(app["alipay_public_key_file"]))})
    certificate = text(app["alipay_cert_file"])
    return AlipayKeys(
        **given,
        provider_keys={certificate_sn(certificate): pem.public_key(certificate)},
        app_cert_sn=certificate_sn(text(app["app_cert_file"])),
        root_cert_sn=root_sn(text(app["root_cert_file"])),
    )


def order(client, payer, **changes):
    wish = {
        "number": NUMBER,
        "amount_fen": 5000,
        "description": "电费充值 50.00元",
        "payer": payer,
        "expires_at": soon(),
        "notify_url": "http://127.0.0.1:9/payments/notify/x/m/",
    }
    return client.create(**wish | changes)


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=30)


# ---- WeChat ----


@pytest.mark.parametrize("mode", ["public_key", "certificate", "both"])
@pytest.mark.parametrize("name", ["direct", "partner"])
def test_a_wechat_order_from_prepay_to_payment(info, wechat_url, name, mode):
    keys = wechat_keys(info, name, mode)
    pay = WeChatPay(keys, base_url=wechat_url, timeout_s=5)
    person = tell(wechat_url, "login_code", {"appid": pay.app_id})
    assert pay.query(NUMBER).trade_state == "unknown"

    prepay_id = order(pay, person["openid"])
    assert pay.query(NUMBER).trade_state == "unpaid"
    shown = tell(wechat_url, "request_payment", pay.pay_parameters(prepay_id) | {"notify": False})
    assert shown["errMsg"] == "requestPayment:ok"

    receipt = pay.query(NUMBER)
    assert (receipt.kind, receipt.amount_fen, receipt.payer) == ("payment", 5000, person["openid"])
    receipt.check_receiver(keys.receiver)
    assert pay.close(NUMBER) == "paid"
    tell(wechat_url, f"trades/{NUMBER}/refund", {"amount_fen": 100})
    assert pay.query(NUMBER).kind == "payment"


def test_a_wechat_order_is_asked_for_again_and_closed(info, wechat_url):
    pay = WeChatPay(wechat_keys(info), base_url=wechat_url, timeout_s=5)
    person = tell(wechat_url, "login_code", {"appid": pay.app_id})
    expires_at = soon()
    assert pay.close(NUMBER) == "unknown"

    first, second = (order(pay, person["openid"], expires_at=expires_at) for _each in range(2))

    assert first != second
    with pytest.raises(ProviderRefused, match="OUT_TRADE_NO_USED"):
        order(pay, person["openid"], expires_at=expires_at, amount_fen=1)
    assert pay.close(NUMBER) == pay.close(NUMBER) == "closed"
    assert pay.query(NUMBER).trade_state == "closed"
    with pytest.raises(ProviderRefused, match="ORDER_CLOSED"):
        order(pay, person["openid"], expires_at=expires_at)


def test_certificates_are_downloaded_and_then_verify_callbacks(info, folder, wechat_url):
    empty = wechat_keys(info, mode="certificate")
    found = WeChatPay(empty, base_url=wechat_url, timeout_s=5).certificates()

    assert set(found) == {one["serial"].lstrip("0") for one in info["wechat"]["platform"]}
    headers, body = wechat_box.signed_callback(
        load_world(folder), out_trade_no=NUMBER, amount_fen=1, sign_with="next_platform_certificate"
    )
    assert read_callback(headers, body, keys=empty, now=datetime.now(UTC)).amount_fen == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"code": "SYSTEM_ERROR", "status": 500}, ProviderUnsure),
        ({"code": "FREQUENCY_LIMITED", "status": 429}, ProviderUnsure),
        ({"html": "<html>"}, ProviderUnsure),
        ({"drop": True}, ProviderUnsure),
        ({"signature": "none"}, ProviderBadAnswer),
        ({"signature": "foreign"}, ProviderBadAnswer),
        ({"signature": "altered"}, ProviderBadAnswer),
        ({"signature": "signtest", "times": 2}, ProviderUnsure),
    ],
    ids=str,
)
def test_a_spoilt_answer_of_wechat_is_typed_and_the_next_one_counts(info, wechat_url, fault, error):
    pay = WeChatPay(wechat_keys(info), base_url=wechat_url, timeout_s=5)
    person = tell(wechat_url, "login_code", {"appid": pay.app_id})
    expires_at = soon()
    tell(wechat_url, "faults", {"answers": [{"match": "/jsapi", "work_done": True} | fault]})

    with pytest.raises(error):
        order(pay, person["openid"], expires_at=expires_at)

    assert order(pay, person["openid"], expires_at=expires_at)


CALLBACK_FAULTS = [
    ({"sign_with": "foreign"}, BadSignature),
    ({"sign_with": "foreign", "serial": "claimed"}, BadSignature),
    ({"alter": "body"}, BadSignature),
    ({"alter": "signature"}, BadSignature),
    ({"alter": "signtest"}, Probe),
    ({"alter": "tag"}, BadContent),
    ({"alter": "ciphertext"}, BadContent),
    ({"resource_nonce": "short"}, BadContent),
    ({"resource_nonce": "longer than twelve"}, BadContent),
    ({"at": 0.0}, BadSignature),
    ({"drop_headers": ["Wechatpay-Serial"]}, BadSignature),
    ({"event": {"resource": None}}, BadContent),
    ({"resource": {"amount": {"total": None}}}, BadContent),
]


@pytest.mark.parametrize(("spoilt", "error"), CALLBACK_FAULTS, ids=str)
def test_a_spoilt_callback_of_wechat_is_refused(info, folder, spoilt, error):
    keys, now = wechat_keys(info, mode="both"), datetime.now(UTC)
    spoilt = {k: keys.public_key_id if v == "claimed" else v for k, v in spoilt.items()}
    headers, body = wechat_box.signed_callback(load_world(folder), out_trade_no=NUMBER, amount_fen=5000, **spoilt)

    with pytest.raises(error):
        read_callback(headers, body, keys=keys, now=now)

    headers, body = wechat_box.signed_callback(load_world(folder), out_trade_no=NUMBER, amount_fen=5000)
    read_callback(headers, body, keys=keys, now=now).check_receiver(keys.receiver)


def test_a_callback_for_another_merchant_is_not_even_ours_to_verify(info, folder):
    headers, body = wechat_box.signed_callback(
        load_world(folder), out_trade_no=NUMBER, amount_fen=5000, merchant="other"
    )
    with pytest.raises(BadSignature, match="unknown_serial"):
        read_callback(headers, body, keys=wechat_keys(info), now=datetime.now(UTC))

    keys = wechat_keys(info)
    headers, body = wechat_box.signed_callback(
        load_world(folder), out_trade_no=NUMBER, amount_fen=5000, resource={"mchid": "1900000209"}
    )
    with pytest.raises(WrongReceiver, match="wrong_account"):
        read_callback(headers, body, keys=keys, now=datetime.now(UTC)).check_receiver(keys.receiver)


def test_the_mini_program_logs_in_ships_and_shares_a_token(info, wechat_url):
    app_id = info["wechat"]["direct"]["appid"]
    secret = text(info["wechat"]["apps"][app_id]["secret_file"])
    shelf = Shelf()
    app = MiniProgram(app_id, secret, tokens=shelf, base_url=wechat_url, timeout_s=5)
    person = tell(wechat_url, "login_code", {"unionid": "u-1", "phone": "13800000000"})

    session = app.code_to_session(person["code"])

    assert (session.openid, session.union_id) == (person["openid"], "u-1")
    with pytest.raises(ProviderRefused, match="40163"):
        app.code_to_session(person["code"])
    assert app.phone_number(person["phone_code"]) == Phone("86", "13800000000")
    assert app.is_trade_managed() is True

    pay = WeChatPay(wechat_keys(info), base_url=wechat_url, timeout_s=5)
    with pytest.raises(ProviderUnsure, match="10060001"):
        app.upload_shipping_info(
            transaction_id="42000", openid=session.openid, item="电费", uploaded_at=datetime.now(UTC)
        )
    order(pay, session.openid)
    tell(wechat_url, f"trades/{NUMBER}/pay", {"notify": False})
    for _again in range(3):
        app.upload_shipping_info(
            transaction_id=pay.query(NUMBER).provider_transaction,
            openid=session.openid,
            item="电费充值 50.00元",
            uploaded_at=datetime.now(UTC),
        )

    shelf.kept[f"wechat-token:{app_id}"] = "a token of yesterday"
    assert app.is_trade_managed() is True


# ---- Alipay ----


@pytest.mark.parametrize("name", ["key", "certificate"])
def test_an_alipay_trade_from_login_to_payment(info, alipay_url, name):
    keys, gateway = alipay_keys(info, name), f"{alipay_url}/gateway.do"
    person = tell(alipay_url, "login_code", {"app_id": keys.app_id})
    known = AlipayGateway(keys, gateway_url=gateway, timeout_s=5).oauth_token(person["auth_code"])
    assert known.subject == person["open_id"]
    pay = Alipay(keys, gateway_url=gateway, timeout_s=5)
    assert pay.query(NUMBER).trade_state == "unknown"
    assert pay.close(NUMBER) == "unknown"

    trade_no = order(pay, known.subject)
    assert pay.query(NUMBER).trade_state == "unpaid"
    assert tell(alipay_url, "trade_pay", {"tradeNO": trade_no, "notify": False})["resultCode"] == "9000"

    receipt = pay.query(NUMBER)
    assert (receipt.kind, receipt.amount_fen, receipt.payer) == ("payment", 5000, known.subject)
    assert receipt.provider_transaction == trade_no
    assert pay.close(NUMBER) == "paid"

    tell(alipay_url, f"trades/{NUMBER}/refund", {"amount_fen": 5000, "notify": False})
    receipt = pay.query(NUMBER)
    assert (receipt.kind, receipt.refund_fen, receipt.trade_state) == ("refund", 5000, "paid")


def test_an_alipay_trade_is_asked_for_again_and_closed(info, alipay_url):
    keys = alipay_keys(info)
    pay = Alipay(keys, gateway_url=f"{alipay_url}/gateway.do", timeout_s=5)
    open_id, expires_at = tell(alipay_url, "login_code", {"app_id": keys.app_id})["open_id"], soon()

    first, second = (order(pay, open_id, expires_at=expires_at) for _each in range(2))

    assert first == second
    with pytest.raises(ProviderRefused, match=r"ACQ\.CONTEXT_INCONSISTENT"):
        order(pay, open_id, expires_at=expires_at, amount_fen=1)
    assert pay.close(NUMBER) == pay.close(NUMBER) == "closed"


def test_a_page_to_pay_on_opens_at_alipay(info, alipay_url):
    pay = Alipay(alipay_keys(info), gateway_url=f"{alipay_url}/gateway.do", timeout_s=5)
    url = pay.wap_pay_url(
        number=NUMBER,
        amount_fen=5000,
        description="电费充值",
        expires_at=soon(),
        notify_url="http://127.0.0.1:9/n/",
        return_url="http://127.0.0.1:9/r",
        quit_url="http://127.0.0.1:9/q",
    )

    page = requests.get(url, timeout=10)
    assert "/cashier/" in page.url + page.text
    tell(alipay_url, f"trades/{NUMBER}/pay", {"notify": False})

    assert pay.query(NUMBER).amount_fen == 5000


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"code": "20000"}, ProviderUnsure),
        ({"code": "ACQ.SYSTEM_ERROR"}, ProviderUnsure),
        ({"code": "ACQ.ACCESS_FORBIDDEN"}, ProviderRefused),
        ({"html": "<html>"}, ProviderUnsure),
        ({"drop": True}, ProviderUnsure),
        ({"signature": "none"}, ProviderBadAnswer),
        ({"signature": "foreign"}, ProviderBadAnswer),
        ({"signature": "altered"}, ProviderBadAnswer),
    ],
    ids=str,
)
def test_a_spoilt_answer_of_alipay_is_typed_and_the_next_one_counts(info, alipay_url, fault, error):
    keys = alipay_keys(info)
    pay = Alipay(keys, gateway_url=f"{alipay_url}/gateway.do", timeout_s=5)
    open_id, expires_at = tell(alipay_url, "login_code", {"app_id": keys.app_id})["open_id"], soon()
    tell(alipay_url, "faults", {"answers": [{"match": "trade.create", "work_done": True} | fault]})

    with pytest.raises(error):
        order(pay, open_id, expires_at=expires_at)

    assert order(pay, open_id, expires_at=expires_at)


@pytest.mark.parametrize("name", ["key", "certificate"])
@pytest.mark.parametrize("charset", ["utf-8", "gbk"])
@pytest.mark.parametrize("blank", [False, True])
def test_a_notify_of_alipay_is_read_in_every_dress(info, folder, name, charset, blank):
    keys, app = alipay_keys(info, name), info["alipay"][name]
    headers, body = alipay_box.signed_notify(
        load_world(folder), out_trade_no=NUMBER, amount_fen=5000, app=name, charset=charset, blank_fields=blank
    )

    receipt = read_notify(body, headers["Content-Type"], keys=keys, now=datetime.now(UTC))

    assert (receipt.kind, receipt.amount_fen) == ("payment", 5000)
    receipt.check_receiver(Receiver(app["seller_id"], "", app["app_id"], ""))


@pytest.mark.parametrize(("state", "refunded_fen"), [("TRADE_SUCCESS", 1200), ("TRADE_CLOSED", 5000)])
def test_a_refund_in_alipays_console_is_a_refund(info, folder, state, refunded_fen):
    headers, body = alipay_box.signed_notify(
        load_world(folder), out_trade_no=NUMBER, amount_fen=5000, state=state, refunded_fen=refunded_fen
    )

    receipt = read_notify(body, headers["Content-Type"], keys=alipay_keys(info), now=datetime.now(UTC))

    assert (receipt.kind, receipt.refund_fen, receipt.amount_fen) == ("refund", refunded_fen, 5000)


@pytest.mark.parametrize(
    "spoilt", [{"sign_with": "foreign"}] + [{"alter": a} for a in ("body", "signature", "unsigned", "sign_type")]
)
def test_a_spoilt_notify_of_alipay_is_refused(info, folder, spoilt):
    headers, body = alipay_box.signed_notify(load_world(folder), out_trade_no=NUMBER, amount_fen=5000, **spoilt)

    with pytest.raises(BadCallback) as refused:
        read_notify(body, headers["Content-Type"], keys=alipay_keys(info), now=datetime.now(UTC))
    assert not refused.value.is_signed
