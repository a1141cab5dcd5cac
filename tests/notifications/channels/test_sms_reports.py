"""What SMS vendors report is read, whatever it is made of."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.channels import sms_reports
from notifications.channels.base import BadReceiptError, Fate, Receipt

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
# As on the vendors' pages, with a time of ours.
ALIYUN = {
    "phone_number": "13811110000",
    "send_time": "2026-03-04 13:00:00",
    "report_time": "2026-03-04 13:00:05",
    "success": True,
    "err_code": "DELIVERED",
    "err_msg": "用户接收成功",
    "sms_size": "2",
    "biz_id": "1234567890^0",
    "out_id": "0123456789abcdef0123456789abcdef",
}
TENCENT = {
    "user_receive_time": "2026-03-04 13:00:05",
    "nationcode": "86",
    "mobile": "13811110000",
    "report_status": "SUCCESS",
    "errmsg": "DELIVRD",
    "description": "用户短信送达成功",
    "sid": "5000:1045710669157053657849499619",
}
ARRIVED_AT = datetime(2026, 3, 4, 5, 0, 5, tzinfo=UTC)


def aliyun(*rows):
    return sms_reports.aliyun(json.dumps(rows).encode(), now=NOW)


def tencent(*rows):
    return sms_reports.tencent(json.dumps(rows).encode(), now=NOW)


def test_aliyun_says_by_our_number_that_an_sms_arrived():
    (receipt,) = aliyun(ALIYUN)

    assert receipt == Receipt(
        fate=Fate.DELIVERED,
        reference="0123456789abcdef0123456789abcdef",
        vendor_id="1234567890^0",
        at=ARRIVED_AT,
        parts=2,
    )


def test_aliyun_says_why_it_did_not():
    (receipt,) = aliyun(ALIYUN | {"success": False, "err_code": "UNDELIVERABLE"})

    assert (receipt.fate, receipt.code) == (Fate.UNDELIVERED, "UNDELIVERABLE")


def test_tencent_says_so_by_its_own_number():
    (receipt,) = tencent(TENCENT)

    assert receipt == Receipt(fate=Fate.DELIVERED, vendor_id=TENCENT["sid"], at=ARRIVED_AT)


def test_tencent_says_why_it_did_not():
    (receipt,) = tencent(TENCENT | {"report_status": "FAIL", "errmsg": "MK:0001"})

    assert (receipt.fate, receipt.code) == (Fate.UNDELIVERED, "MK:0001")


def test_several_come_at_once_and_one_that_says_nothing_spoils_no_other():
    found = aliyun(ALIYUN, "?", {}, ALIYUN | {"success": "perhaps"}, ALIYUN | {"biz_id": None}, ALIYUN)

    assert len(found) == 2


@pytest.mark.parametrize("time", ["", "yesterday", "2017-01-01 00:00:00", "2999-01-01 00:00:00", None, 0])
def test_a_time_that_cannot_be_is_none(time):
    assert aliyun(ALIYUN | {"report_time": time})[0].at is None
    assert tencent(TENCENT | {"user_receive_time": time})[0].at is None


@pytest.mark.parametrize("parts", ["", "many", "-1", "99999", "²", None, [2]])
def test_parts_that_cannot_be_are_not_counted(parts):
    assert aliyun(ALIYUN | {"sms_size": parts})[0].parts == 0


@pytest.mark.parametrize("text", ["a\x00b", "\ud800", "a\nb"])
def test_a_text_that_no_table_takes_is_left_out(text):
    assert aliyun(ALIYUN | {"out_id": text})[0].reference == ""
    assert tencent(TENCENT | {"sid": text}) == []


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"\xff", b"[" * 50_000, b'{"a": 1', b"1" * 9_000])
def test_what_is_no_list_is_malformed(body):
    for read in (sms_reports.aliyun, sms_reports.tencent):
        with pytest.raises(BadReceiptError, match="malformed"):
            read(body, now=NOW)


ODD = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.sampled_from([*ALIYUN.values(), [], {}])


@given(st.lists(st.dictionaries(st.sampled_from([*ALIYUN, *TENCENT]), ODD, max_size=9), max_size=3))
def test_whatever_a_row_holds_is_a_receipt_or_nothing(rows):
    for receipt in aliyun(*rows) + tencent(*rows):
        assert 0 < len(receipt.vendor_id) <= 64
        assert receipt.vendor_id.isprintable()
