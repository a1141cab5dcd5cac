"""A notify of Alipay is believed when Alipay signed the bytes as they came; a refund is known by its fields."""

from __future__ import annotations

import json
from datetime import datetime
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo

import pytest

from payments.providers.alipay import AlipayKeys, read_notify
from payments.providers.base import (
    BadCallback,
    BadContent,
    BadSignature,
    Receipt,
    Receiver,
    WrongReceiver,
    fen_of,
    yuan_of,
)
from tests.vendors import NOW, alipay_form, rsa_key

ALIPAY, NEXT_ALIPAY = rsa_key("alipay"), rsa_key("next alipay")
KEYS = AlipayKeys(
    app_id="2021000000000001",
    private_key=rsa_key("app"),
    provider_keys={"sn-of-today": ALIPAY.public_key(), "sn-of-tomorrow": NEXT_ALIPAY.public_key()},
)
US = Receiver("2088000000000101", "", "2021000000000001", "")
PAID = {
    "notify_time": "2026-03-04 13:06:02",
    "notify_type": "trade_status_sync",
    "notify_id": "2026030400222130602012345678901234",
    "charset": "utf-8",
    "version": "1.0",
    "sign_type": "RSA2",
    "app_id": "2021000000000001",
    "seller_id": "2088000000000101",
    "trade_no": "2026030422001412345678901234",
    "out_trade_no": "A260304ABCDEF",
    "trade_status": "TRADE_SUCCESS",
    "subject": "电费充值 50元",
    "total_amount": "50.00",
    "gmt_create": "2026-03-04 13:05:50",
    "gmt_payment": "2026-03-04 13:06:01",
    "buyer_open_id": "074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5",
    "fund_bill_list": '[{"amount":"50.00","fundChannel":"ALIPAYACCOUNT"}]',
}
REFUNDED = PAID | {
    "refund_fee": "12.00",
    "gmt_refund": "2026-03-05 10:00:00.123",
    "out_biz_no": "CONSOLE1",
}
BEIJING = ZoneInfo("Asia/Shanghai")


def notify(fields=PAID, *, key=ALIPAY, charset="utf-8", **after: str) -> bytes:
    return alipay_form(fields, key=key, charset=charset, **after)


def read(body: bytes, content_type: str = "application/x-www-form-urlencoded; charset=utf-8") -> Receipt:
    return read_notify(body, content_type, keys=KEYS, now=NOW)


def without(fields, name):
    return {n: v for n, v in fields.items() if n != name}


def refusal(body: bytes, kind: type[BadCallback]) -> str:
    with pytest.raises(kind) as refused:
        read(body)
    return refused.value.reason


def test_a_payment_is_translated_whole():
    receipt = read(notify())

    assert receipt == Receipt(
        provider="alipay",
        kind="payment",
        trade_state="paid",
        provider_state="TRADE_SUCCESS",
        event_id="2026030400222130602012345678901234",
        attempt_number="A260304ABCDEF",
        provider_transaction="2026030422001412345678901234",
        amount_fen=5000,
        paid_at=datetime(2026, 3, 4, 13, 6, 1, tzinfo=BEIJING),
        payer="074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5",
        receiver=US,
    )
    receipt.check_receiver(US)
    assert Receipt.from_json(json.loads(json.dumps(receipt.as_json()))) == receipt


@pytest.mark.parametrize("charset", ["GBK", "gb2312", "GB18030", "utf-8", "UTF8"])
def test_the_notifys_own_charset_reads_it(charset):
    fields = PAID | {"charset": charset, "out_trade_no": "电费1"}

    assert read(notify(fields, charset=charset)).attempt_number == "电费1"


def test_a_charset_may_stand_in_the_header_alone():
    body = notify(without(PAID, "charset") | {"out_trade_no": "电费1"}, charset="gbk")

    assert read(body, "application/x-www-form-urlencoded; charset=GBK").attempt_number == "电费1"
    assert read(notify(without(PAID, "charset")), "").attempt_number == "A260304ABCDEF"


def test_a_genuine_notify_in_a_charset_that_does_not_fit_is_not_read():
    assert refusal(notify(PAID | {"charset": "big5"}), BadContent) == "charset"
    assert refusal(notify(PAID | {"charset": "utf-8"}, charset="gbk"), BadContent) == "charset"


def test_plus_ampersand_equals_and_percent_are_decoded_once():
    body = notify(PAID | {"subject": "a+b&c=d%41 e{}", "passback_params": "x%26y"})

    assert read(body).kind == "payment"
    with pytest.raises(BadSignature):
        read(body.replace(b"%2541", b"%41"))


def test_blank_fields_are_covered_whether_alipay_signed_them_or_not():
    blank = {"body": "", "passback_params": ""}

    assert read(notify(PAID | blank)).kind == "payment"
    assert read(notify(PAID) + b"&" + urlencode(blank).encode()).kind == "payment"
    assert refusal(notify(PAID) + b"&body=something", BadSignature) == "bad_signature"


def test_the_key_is_chosen_by_the_certificate_that_alipay_names():
    assert read(notify(PAID | {"alipay_cert_sn": "sn-of-tomorrow"}, key=NEXT_ALIPAY)).kind == "payment"
    assert read(notify(PAID, key=NEXT_ALIPAY)).kind == "payment"

    assert refusal(notify(PAID | {"alipay_cert_sn": "sn-of-tomorrow"}), BadSignature) == "bad_signature"
    assert refusal(notify(PAID | {"alipay_cert_sn": "sn-of-nobody"}), BadSignature) == "unknown_serial"


def test_a_foreign_signature_is_refused():
    assert refusal(notify(key=rsa_key("nobody")), BadSignature) == "bad_signature"


@pytest.mark.parametrize("name", [n for n in PAID if n != "sign_type"])
def test_every_field_is_covered_by_the_signature(name):
    altered = dict(parse_qsl(notify().decode())) | {name: "1"}

    assert refusal(urlencode(altered).encode(), BadSignature) == "bad_signature"


@pytest.mark.parametrize("sign_type", ["RSA", "rsa2", "MD5", ""])
def test_no_other_signature_than_rsa2_is_looked_at(sign_type):
    assert refusal(notify(sign_type=sign_type), BadSignature) == "sign_type"
    assert refusal(alipay_form(without(PAID, "sign_type"), key=ALIPAY), BadSignature) == "sign_type"


@pytest.mark.parametrize("sign", ["", " ", "%%%", "YWJj", "签名", "A" * 344, "é"])
def test_a_signature_that_is_none_is_refused(sign):
    assert refusal(notify(sign=sign), BadSignature) in {"missing_field", "bad_signature"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"&&&",
        b"\xff\xfe\x00",
        b"sign",
        b'{"a": 1}',
        b"a=1&" * 200,
        "电费=1".encode("gbk"),
        b"%",
        b"=&=",
        b"x" * 65536,
    ],
)
def test_noise_is_refused_and_nothing_worse(body):
    with pytest.raises(BadCallback) as refused:
        read(body)
    assert not refused.value.is_signed


def test_a_field_that_comes_twice_is_not_chosen_between():
    assert refusal(notify() + b"&total_amount=5000.00", BadCallback) == "malformed"


@pytest.mark.parametrize(
    ("word", "kind", "state"),
    [
        ("WAIT_BUYER_PAY", "nothing", "unpaid"),
        ("TRADE_SUCCESS", "payment", "paid"),
        ("TRADE_FINISHED", "payment", "paid"),
        ("TRADE_CLOSED", "nothing", "closed"),
    ],
)
def test_each_state_of_a_trade_has_its_meaning(word, kind, state):
    receipt = read(notify(PAID | {"trade_status": word}))

    assert (receipt.kind, receipt.trade_state, receipt.provider_state) == (kind, state, word)


def test_a_state_nobody_knows_is_not_guessed_at():
    assert refusal(notify(PAID | {"trade_status": "TRADE_PENDING"}), BadContent) == "trade_status"


@pytest.mark.parametrize("word", ["TRADE_SUCCESS", "TRADE_FINISHED", "TRADE_CLOSED"])
def test_a_refund_is_a_refund_whatever_the_state_says(word):
    receipt = read(notify(REFUNDED | {"trade_status": word}))

    assert (receipt.kind, receipt.trade_state, receipt.is_refund_done()) == ("refund", "paid", True)
    assert (receipt.amount_fen, receipt.refund_fen, receipt.is_refund_total) == (5000, 1200, True)
    assert receipt.refund_number == "CONSOLE1"
    assert receipt.refunded_at == datetime(2026, 3, 5, 10, 0, 0, 123000, tzinfo=BEIJING)
    assert receipt.provider_transaction == PAID["trade_no"]
    receipt.check_receiver(US)


@pytest.mark.parametrize("fields", [{"refund_fee": "0.00"}, {"refund_fee": ""}, {"gmt_refund": "", "refund_fee": "0"}])
def test_nothing_refunded_is_no_refund(fields):
    assert read(notify(PAID | fields)).kind == "payment"


@pytest.mark.parametrize("fee", ["", "0.00", "1.234", "much"])
def test_a_refund_of_nobody_knows_how_much_is_not_read(fee):
    assert refusal(notify(REFUNDED | {"refund_fee": fee}), BadContent) == "amount"


@pytest.mark.parametrize(
    "amount", ["", "0", "0.00", "50.001", "50.", "-1", "1e3", "\uff15", "50,00", "99999999.99", " 5"]
)
def test_an_amount_is_exact_or_none(amount):
    assert refusal(notify(PAID | {"total_amount": amount}), BadContent) == "amount"


@pytest.mark.parametrize(
    ("amount", "fen"), [("0.01", 1), ("0.1", 10), ("5", 500), ("50.00", 5000), ("21474836.47", 2**31 - 1)]
)
def test_yuan_become_fen_exactly(amount, fen):
    assert read(notify(PAID | {"total_amount": amount})).amount_fen == fen
    assert fen_of(yuan_of(fen)) == fen


@pytest.mark.parametrize("name", ["notify_id", "app_id", "seller_id", "out_trade_no", "trade_no", "trade_status"])
def test_a_payment_without_what_proves_it_is_not_read(name):
    assert refusal(notify(without(PAID, name)), BadContent) == "missing_field"
    too_long = "1" * (129 if name == "notify_id" else 65)
    assert refusal(notify(PAID | {name: too_long}), BadContent) in {"missing_field", "trade_status"}


def test_when_it_was_paid_is_the_best_that_is_known():
    assert read(notify(without(PAID, "gmt_payment"))).paid_at == datetime(2026, 3, 4, 13, 6, 2, tzinfo=BEIJING)
    assert read(notify(PAID | {"gmt_payment": "?", "notify_time": ""})).paid_at == NOW
    assert read(notify(PAID | {"gmt_payment": "2026-03-04T05:06:07Z"})).paid_at == NOW


def test_an_older_app_names_its_payer_otherwise():
    assert read(notify(without(PAID, "buyer_open_id") | {"buyer_id": "2088102169481075"})).payer == "2088102169481075"
    assert read(notify(without(PAID, "buyer_open_id"))).payer == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seller_id": "2088000000000202"}, "wrong_account"),
        ({"app_id": "2021000000000002"}, "wrong_app_id"),
        ({"trans_currency": "USD"}, "wrong_currency"),
    ],
)
def test_a_genuine_payment_to_somebody_else_says_what_differs(change, reason):
    receipt = read(notify(PAID | change))

    with pytest.raises(WrongReceiver) as refused:
        receipt.check_receiver(US)
    assert refused.value.reason == reason


def test_a_notify_read_again_by_another_parser_has_the_same_fields():
    fields = dict(parse_qsl(notify().decode(), keep_blank_values=True))

    assert without(fields, "sign") == PAID
