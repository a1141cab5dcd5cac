"""A callback of WeChat Pay is believed when WeChat signed it just now, and says what WeChat said."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta, timezone

import pytest

from payments.providers.base import (
    BadCallback,
    BadContent,
    BadSignature,
    Probe,
    Receipt,
    Receiver,
    WrongReceiver,
)
from payments.providers.wechat import WeChatKeys, read_callback
from payments.providers.wechat_signatures import serial_form
from tests.vendors import APIV3_KEY, NOW, rsa_key, sealed, wechat_headers

KEY_ID = "PUB_KEY_ID_0119000001092024000000000000"
CERT_SERIAL = "0A1B2C3D4E5F"
PLATFORM, OLD_PLATFORM = rsa_key("platform"), rsa_key("old platform")
KEYS = WeChatKeys(
    account="1900000109",
    app_id="wx1111111111111111",
    private_key=rsa_key("merchant"),
    certificate_serial="AABBCC",
    apiv3_key=APIV3_KEY,
    provider_keys={KEY_ID: PLATFORM.public_key(), CERT_SERIAL: OLD_PLATFORM.public_key()},
)
PAID = {
    "mchid": "1900000109",
    "appid": "wx1111111111111111",
    "out_trade_no": "A260304ABCDEF",
    "transaction_id": "4200000000202603040000000001",
    "trade_type": "JSAPI",
    "trade_state": "SUCCESS",
    "success_time": "2026-03-04T13:06:01+08:00",
    "payer": {"openid": "oUpF8uMuAJO"},
    "amount": {"total": 5000, "payer_total": 4900, "currency": "CNY"},
}
REFUNDED = {
    "mchid": "1900000109",
    "out_trade_no": "A260304ABCDEF",
    "transaction_id": "4200000000202603040000000001",
    "out_refund_no": "CONSOLE1",
    "refund_status": "SUCCESS",
    "success_time": "2026-03-05T10:00:00+08:00",
    "amount": {"total": 5000, "refund": 1200, "payer_total": 4900, "payer_refund": 1200},
}


def event(content: object = PAID, *, event_type: str = "TRANSACTION.SUCCESS", **changes: object) -> bytes:
    envelope = {
        "id": "EV-2018022511223320873",
        "create_time": "2026-03-04T13:06:02+08:00",
        "resource_type": "encrypt-resource",
        "event_type": event_type,
        "resource": sealed(content if isinstance(content, bytes) else json.dumps(content).encode()),
    }
    kept = {name: value for name, value in (envelope | changes).items() if value is not None}
    return json.dumps(kept, ensure_ascii=False).encode()


def read(body: bytes, *, key=PLATFORM, serial: str = KEY_ID, at: datetime = NOW, now: datetime = NOW, **headers: str):
    signed = wechat_headers(body, key=key, serial=serial, at=at)
    return read_callback(signed | headers, body, keys=KEYS, now=now)


def without(content, *path):
    """The same without one field."""
    if len(path) > 1:
        return content | {path[0]: without(content[path[0]], *path[1:])}
    return {name: value for name, value in content.items() if name != path[0]}


def test_a_payment_is_translated_whole():
    receipt = read(event())

    assert receipt == Receipt(
        provider="wechat",
        kind="payment",
        trade_state="paid",
        provider_state="SUCCESS",
        event_id="EV-2018022511223320873",
        attempt_number="A260304ABCDEF",
        provider_transaction="4200000000202603040000000001",
        amount_fen=5000,
        currency="CNY",
        paid_at=datetime(2026, 3, 4, 13, 6, 1, tzinfo=timezone(timedelta(hours=8))),
        payer="oUpF8uMuAJO",
        receiver=Receiver("1900000109", "", "wx1111111111111111", ""),
    )
    receipt.check_receiver(KEYS.receiver)


def test_a_service_providers_payment_names_both_merchants():
    content = without(without(PAID, "mchid"), "appid") | {
        "sp_mchid": "1900000309",
        "sub_mchid": "1900000409",
        "sp_appid": "wx9",
        "sub_appid": "wx1",
        "payer": {"sp_openid": "of-provider", "sub_openid": "of-sub"},
    }

    assert read(event(content)).receiver == Receiver("1900000309", "1900000409", "wx9", "wx1")
    assert read(event(content)).payer == "of-sub"

    receipt = read(event(without(content, "sub_appid") | {"payer": {"sp_openid": "of-provider"}}))

    assert receipt.receiver == Receiver("1900000309", "1900000409", "wx9", None)
    assert receipt.payer == "of-provider"
    receipt.check_receiver(Receiver("1900000309", "1900000409", "wx9", "wx1"))


@pytest.mark.parametrize(("key", "serial"), [(PLATFORM, KEY_ID), (OLD_PLATFORM, CERT_SERIAL)])
def test_public_key_and_platform_certificate_both_count_while_wechat_switches(key, serial):
    assert read(event(), key=key, serial=serial).kind == "payment"
    assert read(event(), key=key, serial=serial.lower()).kind == "payment"

    with pytest.raises(BadSignature, match="bad_signature"):
        read(event(), key=rsa_key("nobody"), serial=serial)


def test_a_key_counts_for_its_own_serial_alone():
    with pytest.raises(BadSignature, match="bad_signature"):
        read(event(), key=OLD_PLATFORM, serial=KEY_ID)


@pytest.mark.parametrize("serial", ["7777", "not hexadecimal", "PUB_KEY_ID_77", "0x0A1B2C3D4E5F"])
def test_an_unknown_serial_is_refused_without_asking_anybody(serial):
    with pytest.raises(BadSignature) as refused:
        read(event(), serial=serial)

    assert refused.value.reason == "unknown_serial"
    assert refused.value.detail == serial_form(serial)


def test_headers_come_in_any_case():
    body = event()
    headers = wechat_headers(body, key=PLATFORM, serial=KEY_ID)

    for form in (str.lower, str.upper, str.title):
        assert read_callback({form(n): v for n, v in headers.items()}, body, keys=KEYS, now=NOW).kind == "payment"


@pytest.mark.parametrize("name", ["Timestamp", "Nonce", "Signature", "Serial"])
def test_a_missing_or_empty_header_is_refused(name):
    body = event()
    headers = wechat_headers(body, key=PLATFORM, serial=KEY_ID)
    missing = {n: v for n, v in headers.items() if n != f"Wechatpay-{name}"}

    for given in (missing, missing | {f"Wechatpay-{name}": ""}):
        with pytest.raises(BadSignature) as refused:
            read_callback(given, body, keys=KEYS, now=NOW)
        assert (refused.value.reason, refused.value.detail) == ("missing_header", name.lower())
    assert read_callback(headers, body, keys=KEYS, now=NOW).kind == "payment"


def test_the_sender_does_not_choose_the_algorithm():
    with pytest.raises(BadSignature, match="signature_type"):
        read(event(), **{"Wechatpay-Signature-Type": "WECHATPAY2-SM2-WITH-SM3"})

    body = event()
    headers = without(wechat_headers(body, key=PLATFORM, serial=KEY_ID), "Wechatpay-Signature-Type")
    assert read_callback(headers, body, keys=KEYS, now=NOW).kind == "payment"


@pytest.mark.parametrize("seconds", [-300, 300])
def test_five_minutes_either_way_are_the_limit_of_the_clock(seconds):
    body, at = event(), NOW + timedelta(seconds=seconds)

    assert read(body, at=at).kind == "payment"
    with pytest.raises(BadSignature, match="clock"):
        read(body, at=at + timedelta(seconds=seconds / abs(seconds)))


@pytest.mark.parametrize("timestamp", ["", "soon", "-5", "1e9", "²³", "9" * 400])
def test_a_timestamp_that_is_none_is_refused(timestamp):
    with pytest.raises(BadSignature):
        read(event(), **{"Wechatpay-Timestamp": timestamp})


@pytest.mark.parametrize("given", ["", "%%%", "YWJj", "é", "QUJD" * 86, "\udc80"])
def test_a_signature_that_is_none_is_refused(given):
    with pytest.raises(BadSignature):
        read(event(), **{"Wechatpay-Signature": given})


def test_wechats_probe_is_refused_and_known_for_what_it_is():
    probe = "WECHATPAY/SIGNTEST/" + base64.b64encode(b"x" * 190).decode()

    with pytest.raises(Probe):
        read(event(), **{"Wechatpay-Signature": probe})


@pytest.mark.parametrize("position", [0, 40, -1])
def test_one_altered_byte_of_the_body_is_refused(position):
    body = bytearray(event())
    headers = wechat_headers(bytes(body), key=PLATFORM, serial=KEY_ID)
    body[position] ^= 1

    with pytest.raises(BadSignature, match="bad_signature"):
        read_callback(headers, bytes(body), keys=KEYS, now=NOW)


def test_the_bytes_are_signed_and_not_what_they_mean():
    body = event()
    headers = wechat_headers(body, key=PLATFORM, serial=KEY_ID)

    with pytest.raises(BadSignature, match="bad_signature"):
        read_callback(headers, json.dumps(json.loads(body), indent=1).encode(), keys=KEYS, now=NOW)


def bad_content(body: bytes) -> str:
    """Why a body that WeChat signed cannot be read."""
    with pytest.raises(BadContent) as refused:
        read(body)
    assert refused.value.is_signed
    return refused.value.reason


@pytest.mark.parametrize("last", [False, True])
def test_an_altered_ciphertext_or_tag_under_a_good_signature_is_not_read(last):
    resource = sealed(json.dumps(PAID).encode())
    raw = bytearray(base64.b64decode(resource["ciphertext"]))
    raw[-1 if last else 0] ^= 1
    resource["ciphertext"] = base64.b64encode(raw).decode()

    assert bad_content(event(resource=resource)) == "decrypt"


@pytest.mark.parametrize(
    "nonce", ["", "short", "abcdefghijk", "abcdefghijklm", "a" * 200, "abcdefghijk\ud800", "é" * 12]
)
def test_a_nonce_of_another_length_is_not_tried(nonce):
    body = json.dumps(json.loads(event()) | {"resource": sealed(b"{}") | {"nonce": nonce}}).encode()

    assert bad_content(body) == "nonce_length"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"algorithm": "AEAD_SM4_GCM"}, "algorithm"),
        ({"nonce": 12}, "malformed"),
        ({"ciphertext": None}, "malformed"),
        ({"associated_data": ["transaction"]}, "malformed"),
        ({"ciphertext": "not base64 at all"}, "decrypt"),
        ({"ciphertext": "汉字"}, "decrypt"),
        ({"ciphertext": ""}, "decrypt"),
        ({"ciphertext": "YWJj"}, "decrypt"),
        ({"associated_data": "certificate"}, "decrypt"),
        ({"associated_data": None}, "decrypt"),
    ],
)
def test_a_resource_that_is_not_what_it_should_be_is_not_read(changes, reason):
    assert bad_content(event(resource=sealed(json.dumps(PAID).encode()) | changes)) == reason


def test_a_resource_may_come_without_associated_data():
    assert read(event(resource=sealed(json.dumps(PAID).encode(), associated=""))).kind == "payment"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{", b"\xff\xfe", b'{"a":' * 100_000, event(id=None), event(resource="sealed")]
)
def test_a_body_that_is_no_event_is_not_read(body):
    assert bad_content(body) in {"malformed", "missing_field"}


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 50_000])
def test_a_sealed_text_that_is_no_object_is_not_read(content):
    assert bad_content(event(content)) == "malformed"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (("mchid",), "missing_field"),
        (("appid",), "missing_field"),
        (("out_trade_no",), "missing_field"),
        (("transaction_id",), "missing_field"),
        (("trade_state",), "missing_field"),
        (("success_time",), "missing_field"),
        (("amount",), "missing_field"),
        (("amount", "total"), "amount"),
    ],
)
def test_a_payment_without_what_proves_it_is_not_read(path, reason):
    assert bad_content(event(without(PAID, *path))) == reason


@pytest.mark.parametrize("total", [0, -1, 50.0, "5000", True, None, 2**31])
def test_an_amount_is_a_positive_whole_number_of_fen(total):
    assert bad_content(event(PAID | {"amount": {"total": total, "currency": "CNY"}})) == "amount"


@pytest.mark.parametrize("instant", ["yesterday", "2026-03-04T13:06:01"])
def test_an_instant_without_its_zone_is_none(instant):
    assert bad_content(event(PAID | {"success_time": instant})) == "instant"


def test_a_payment_may_leave_out_currency_and_payer():
    receipt = read(event(without(PAID, "payer") | {"amount": {"total": 1}}))

    assert (receipt.amount_fen, receipt.currency, receipt.payer) == (1, "CNY", "")


@pytest.mark.parametrize(
    ("word", "kind", "state"),
    [
        ("SUCCESS", "payment", "paid"),
        ("REFUND", "payment", "paid"),
        ("NOTPAY", "nothing", "unpaid"),
        ("CLOSED", "nothing", "closed"),
        ("REVOKED", "nothing", "closed"),
    ],
)
def test_each_state_of_a_transaction_has_its_meaning(word, kind, state):
    receipt = read(event(PAID | {"trade_state": word}))

    assert (receipt.kind, receipt.trade_state, receipt.provider_state) == (kind, state, word)


def test_a_state_nobody_knows_is_not_guessed_at():
    assert bad_content(event(PAID | {"trade_state": "HALFPAID"})) == "trade_state"
    assert bad_content(event(event_type="COUPON.USE")) == "event_type"
    assert bad_content(event(REFUNDED | {"refund_status": "PONDERING"}, event_type="REFUND.SUCCESS")) == "refund_status"


def test_a_refund_is_a_refund_and_not_a_payment():
    receipt = read(event(REFUNDED, event_type="REFUND.SUCCESS"))

    assert (receipt.kind, receipt.is_refund_done()) == ("refund", True)
    assert (receipt.amount_fen, receipt.refund_fen, receipt.is_refund_total) == (5000, 1200, False)
    assert receipt.refund_number == "CONSOLE1"
    assert receipt.refunded_at == datetime(2026, 3, 5, 2, tzinfo=NOW.tzinfo)
    assert receipt.receiver == Receiver("1900000109", "", None, None)
    receipt.check_receiver(KEYS.receiver)


@pytest.mark.parametrize(("word", "state"), [("ABNORMAL", "abnormal"), ("CLOSED", "closed")])
def test_a_refund_that_did_not_arrive_has_moved_nothing(word, state):
    content = without(REFUNDED, "success_time") | {"refund_status": word}

    receipt = read(event(content, event_type=f"REFUND.{word}"))

    assert (receipt.kind, receipt.refund_state, receipt.is_refund_done()) == ("refund", state, False)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mchid": "1900000209"}, "wrong_account"),
        ({"appid": "wx2222222222222222"}, "wrong_app_id"),
        ({"sp_mchid": "1900000109", "sub_mchid": "1900000409", "sp_appid": "wx1"}, "wrong_sub_account"),
        ({"amount": {"total": 5000, "currency": "HKD"}}, "wrong_currency"),
    ],
)
def test_a_genuine_payment_to_somebody_else_says_what_differs(change, reason):
    receipt = read(event(PAID | change))

    with pytest.raises(WrongReceiver) as refused:
        receipt.check_receiver(KEYS.receiver)
    assert refused.value.reason == reason
    assert refused.value.is_signed


def test_noise_is_refused_and_nothing_worse():
    body = event()
    good = wechat_headers(body, key=PLATFORM, serial=KEY_ID)
    for name in good:
        for noise in ("\x00", "é", "汉", "A" * 100_000, "\ud800", " ", "0", "-1"):
            with pytest.raises(BadCallback):
                read_callback(good | {name: noise}, body, keys=KEYS, now=NOW)


def test_a_receipt_survives_its_evidence():
    for receipt in (read(event()), read(event(REFUNDED, event_type="REFUND.SUCCESS"))):
        assert Receipt.from_json(json.loads(json.dumps(receipt.as_json()))) == receipt


def test_an_apiv3_key_has_32_bytes_and_shows_itself_to_nobody():
    with pytest.raises(ValueError, match="32 bytes"):
        WeChatKeys(
            account="1",
            app_id="wx1",
            private_key=rsa_key("merchant"),
            certificate_serial="1",
            apiv3_key=b"short",
        )
    assert APIV3_KEY.decode() not in repr(KEYS)
