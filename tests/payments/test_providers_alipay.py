"""Calls to Alipay: asked for the right product, believed when Alipay signed, and never a bare exception."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from payments.providers.alipay import Alipay, AlipayKeys
from payments.providers.base import ProviderBadAnswer, ProviderRefused, ProviderUnsure, Receiver
from tests.vendors import NOW, Vendor, alipay_answer, rsa_key, vendor

APP, ALIPAY = rsa_key("app"), rsa_key("alipay")
KEYS = AlipayKeys(app_id="2021000000000001", private_key=APP, provider_keys={"": ALIPAY.public_key()})
NUMBER = "A260304ABCDEF"
OK = {"code": "10000", "msg": "Success"}
PAID = OK | {
    "trade_no": "2026030422001412345678901234",
    "out_trade_no": NUMBER,
    "trade_status": "TRADE_SUCCESS",
    "total_amount": "50.00",
    "send_pay_date": "2026-03-04 13:06:01",
    "buyer_open_id": "074a1Cc",
}


@pytest.fixture
def alipay():
    with vendor() as desk:
        yield desk


def client(desk: Vendor, **changes) -> Alipay:
    return Alipay(KEYS, gateway_url=f"{desk.url}/gateway.do", timeout_s=5, clock=lambda: NOW, **changes)


def fields_of(asked) -> dict[str, str]:
    """All parameters; the signature over them is checked as Alipay does."""
    text = "&".join((urlsplit(asked.path).query, asked.body.decode()))
    fields = dict(parse_qsl(text, keep_blank_values=True))
    message = "&".join(f"{k}={v}" for k, v in sorted(fields.items()) if k != "sign" and v).encode()
    APP.public_key().verify(base64.b64decode(fields["sign"]), message, PKCS1v15(), SHA256())
    return fields


def says(desk, content, *, key=ALIPAY):
    """Whatever is asked, this is the answer to it."""
    desk.answer = lambda asked: (200, {}, alipay_answer(fields_of(asked)["method"], content, key=key))


def says_by_method(desk, **contents):
    def answer(asked):
        method = fields_of(asked)["method"]
        return 200, {}, alipay_answer(method, contents[method.rpartition(".")[2]], key=ALIPAY)

    desk.answer = answer


def refused(sub_code: str) -> dict[str, str]:
    return {"code": "40004", "msg": "Business Failed", "sub_code": sub_code, "sub_msg": "因为"}


def order(pay, **changes):
    wish = {
        "number": NUMBER,
        "amount_fen": 5000,
        "description": "电费充值 50.00元",
        "payer": "074a1Cc",
        "expires_at": NOW + timedelta(minutes=30),
        "notify_url": "https://example.org/payments/notify/alipay/m/",
    }
    return pay.create(**wish | changes)


def test_a_trade_for_the_mini_program_is_asked_for_in_alipays_words(alipay):
    says(alipay, OK | {"out_trade_no": NUMBER, "trade_no": "20260304"})

    assert order(client(alipay)) == "20260304"

    (asked,) = alipay.asked
    fields = fields_of(asked)
    assert (asked.method, fields["method"], fields["charset"]) == ("POST", "alipay.trade.create", "utf-8")
    assert (fields["app_id"], fields["sign_type"]) == ("2021000000000001", "RSA2")
    assert fields["notify_url"] == "https://example.org/payments/notify/alipay/m/"
    assert json.loads(fields["biz_content"]) == {
        "out_trade_no": NUMBER,
        "total_amount": "50.00",
        "subject": "电费充值 50.00元",
        "time_expire": "2026-03-04 13:36:07",
        "product_code": "JSAPI_PAY",
        "op_app_id": "2021000000000001",
        "buyer_open_id": "074a1Cc",
    }
    assert asked.body.startswith(b"biz_content=")
    assert "biz_content" not in asked.path


def test_the_timestamp_is_beijings_whatever_the_machine_thinks(alipay, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    says(alipay, OK | {"out_trade_no": NUMBER, "trade_no": "20260304"})

    order(client(alipay))

    assert fields_of(alipay.asked[0])["timestamp"] == "2026-03-04 13:06:07"


def test_a_mini_program_of_its_own_and_an_old_payer_are_named_as_such(alipay):
    says(alipay, OK | {"out_trade_no": NUMBER, "trade_no": "20260304"})

    order(client(alipay, mini_app_id="2021000000000009"), payer="2088102169481075")

    content = json.loads(fields_of(alipay.asked[0])["biz_content"])
    assert (content["op_app_id"], content["buyer_id"]) == ("2021000000000009", "2088102169481075")
    assert "buyer_open_id" not in content


def test_what_alipay_stumbles_over_stays_out_of_the_subject(alipay):
    says(alipay, OK | {"out_trade_no": NUMBER, "trade_no": "20260304"})

    order(client(alipay), description="3/4 = {a} & b" + "长" * 300)

    subject = json.loads(fields_of(alipay.asked[0])["biz_content"])["subject"]
    assert not set(subject) & set("/=&{}")
    assert len(subject) == 256


@pytest.mark.parametrize("number", ["", "a" * 65, "with-hyphen", "汉字", "a b"])
def test_a_number_alipay_would_not_take_is_not_sent(alipay, number):
    for ask in (client(alipay).query, client(alipay).close):
        with pytest.raises(ValueError, match="out_trade_no"):
            ask(number)
    assert alipay.asked == []


@pytest.mark.parametrize(
    "content", [OK | {"out_trade_no": "other", "trade_no": "1"}, OK | {"out_trade_no": NUMBER}, OK | {"trade_no": "1"}]
)
def test_a_trade_without_its_number_is_not_believed(alipay, content):
    says(alipay, content)

    with pytest.raises(ProviderBadAnswer):
        order(client(alipay))


def test_a_page_to_pay_on_is_an_address_and_no_call(alipay):
    url = client(alipay).wap_pay_url(
        number=NUMBER,
        amount_fen=5000,
        description="电费充值",
        expires_at=NOW + timedelta(minutes=30),
        notify_url="https://example.org/n/",
        return_url="https://example.org/r",
        quit_url="https://example.org/q",
    )

    assert alipay.asked == []
    assert url.startswith(f"{alipay.url}/gateway.do?")
    fields = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert (fields["method"], fields["return_url"]) == ("alipay.trade.wap.pay", "https://example.org/r")
    content = json.loads(fields["biz_content"])
    assert content["product_code"] == "QUICK_WAP_WAY"
    assert (content["total_amount"], content["quit_url"]) == ("50.00", "https://example.org/q")
    message = "&".join(f"{k}={v}" for k, v in sorted(fields.items()) if k != "sign").encode()
    APP.public_key().verify(base64.b64decode(fields["sign"]), message, PKCS1v15(), SHA256())


def test_certificate_mode_names_both_certificates(alipay):
    keys = AlipayKeys(
        app_id="2021000000000001",
        private_key=APP,
        provider_keys={"sn-of-alipay": ALIPAY.public_key()},
        app_cert_sn="sn-of-app",
        root_cert_sn="sn-of-root",
    )
    alipay.answer = lambda _asked: (
        200,
        {},
        alipay_answer("alipay.trade.query", PAID, key=ALIPAY, serial="sn-of-alipay"),
    )

    receipt = Alipay(keys, gateway_url=alipay.url, timeout_s=5).query(NUMBER)

    assert receipt.trade_state == "paid"
    fields = fields_of(alipay.asked[0])
    assert (fields["app_cert_sn"], fields["alipay_root_cert_sn"]) == ("sn-of-app", "sn-of-root")


# ---- query and close ----


def test_a_query_translates_into_the_same_receipt_as_a_notify(alipay):
    says(alipay, PAID)

    receipt = client(alipay).query(NUMBER)

    assert (receipt.kind, receipt.trade_state, receipt.provider_state) == ("payment", "paid", "TRADE_SUCCESS")
    assert (receipt.amount_fen, receipt.provider_transaction, receipt.payer) == (5000, PAID["trade_no"], "074a1Cc")
    assert receipt.paid_at == datetime(2026, 3, 4, 5, 6, 1, tzinfo=UTC)
    assert receipt.receiver == Receiver()
    receipt.check_receiver(Receiver("2088000000000101", "", "2021000000000001", ""))


@pytest.mark.parametrize(
    ("word", "kind", "state"),
    [
        ("WAIT_BUYER_PAY", "nothing", "unpaid"),
        ("TRADE_CLOSED", "nothing", "closed"),
        ("TRADE_FINISHED", "payment", "paid"),
    ],
)
def test_each_state_of_a_trade_has_its_meaning(alipay, word, kind, state):
    says(alipay, {**PAID, "trade_status": word, "send_pay_date": ""})

    receipt = client(alipay).query(NUMBER)

    assert (receipt.kind, receipt.trade_state, receipt.paid_at) == (kind, state, None)


def test_a_trade_that_was_paid_and_is_closed_was_refunded_whole(alipay):
    says(alipay, PAID | {"trade_status": "TRADE_CLOSED"})

    receipt = client(alipay).query(NUMBER)

    assert (receipt.kind, receipt.trade_state, receipt.is_refund_done()) == ("refund", "paid", True)
    assert (receipt.amount_fen, receipt.refund_fen, receipt.is_refund_total) == (5000, 5000, True)


@pytest.mark.parametrize(
    "change",
    [{"trade_status": "TRADE_PENDING"}, {"trade_status": 5}, {"total_amount": "1.001"}, {"total_amount": "0.00"},
     {"total_amount": None}, {"trade_no": ""}, {"out_trade_no": "other"}],
)  # fmt: skip
def test_a_signed_answer_that_makes_no_sense_is_not_believed(alipay, change):
    says(alipay, PAID | change)

    with pytest.raises(ProviderBadAnswer):
        client(alipay).query(NUMBER)


def test_a_number_alipay_never_heard_of_is_unknown_and_not_an_error(alipay):
    says(alipay, refused("ACQ.TRADE_NOT_EXIST"))

    receipt = client(alipay).query(NUMBER)

    assert (receipt.kind, receipt.trade_state, receipt.attempt_number) == ("nothing", "unknown", NUMBER)
    assert client(alipay).close(NUMBER) == "unknown"


def test_closing_says_closed(alipay):
    says(alipay, OK | {"out_trade_no": NUMBER})

    assert client(alipay).close(NUMBER) == "closed"
    assert fields_of(alipay.asked[0])["method"] == "alipay.trade.close"
    assert json.loads(fields_of(alipay.asked[0])["biz_content"]) == {"out_trade_no": NUMBER}


@pytest.mark.parametrize(("word", "paid_at", "state"), [("TRADE_SUCCESS", "x", "paid"), ("TRADE_CLOSED", "", "closed")])
def test_what_cannot_be_closed_is_asked_about(alipay, word, paid_at, state):
    query = PAID | {"trade_status": word, "send_pay_date": paid_at}
    says_by_method(alipay, close=refused("ACQ.TRADE_STATUS_ERROR"), query=query)

    assert client(alipay).close(NUMBER) == state


def test_a_refusal_is_final_and_names_alipays_code(alipay):
    says(alipay, refused("ACQ.ACCESS_FORBIDDEN"))

    for ask in (order, lambda pay: pay.query(NUMBER), lambda pay: pay.close(NUMBER)):
        with pytest.raises(ProviderRefused) as no:
            ask(client(alipay))
        assert (no.value.code, no.value.message) == ("ACQ.ACCESS_FORBIDDEN", "因为")


def test_after_their_fault_nobody_knows(alipay):
    says(alipay, {"code": "20000", "msg": "Service Currently Unavailable", "sub_code": "isp.unknow-error"})

    for ask in (order, lambda pay: pay.query(NUMBER), lambda pay: pay.close(NUMBER)):
        with pytest.raises(ProviderUnsure):
            ask(client(alipay))
