"""Whatever a vendor answers, a channel says what came of it and raises nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from accounts import wechat
from accounts.alipay import AlipayGateway, AlipayKeys
from notifications.channels.alipay_template import AlipayMessages
from notifications.channels.base import Carries, Letter, Outcome
from notifications.channels.sms_aliyun import AliyunSms
from notifications.channels.sms_tencent import TencentSms
from notifications.channels.wechat_subscribe import SubscribeMessages
from notifications.channels.wechat_template import TemplateMessages
from tests.vendors import Shelf, Vendor, rsa_key, vendor

PHONE = "13811112222"
LETTER = Letter(
    reference="0123456789abcdef0123456789abcdef",
    address=PHONE,
    template_id="SMS_1",
    fields={"thing1": "1-101"},
    text="…",
)


def aliyun(url: str) -> AliyunSms:
    return AliyunSms(url=url, key_id="id", secret="key", sign_name="s", timeout_s=1)


def tencent(url: str) -> TencentSms:
    return TencentSms(url=url, region="r", secret_id="id", secret_key="key", app_id="1", sign_name="s", timeout_s=1)


def with_token() -> Shelf:
    shelf = Shelf()
    shelf.set("wechat-token:wx1", "token", None)
    return shelf


def subscribe(url: str) -> SubscribeMessages:
    return SubscribeMessages(wechat.MiniProgram("wx1", "secret", tokens=with_token(), base_url=url, timeout_s=1))


def template(url: str) -> TemplateMessages:
    return TemplateMessages(wechat.OfficialAccount("wx1", "secret", tokens=with_token(), base_url=url, timeout_s=1))


def alipay(url: str) -> AlipayMessages:
    keys = AlipayKeys(app_id="1", private_key=rsa_key("us"), provider_keys={"alipay": rsa_key("alipay").public_key()})
    return AlipayMessages(AlipayGateway(keys, gateway_url=url, timeout_s=1))


CHANNELS: dict[str, Callable[[str], Carries]] = {
    "aliyun": aliyun,
    "tencent": tencent,
    "subscribe": subscribe,
    "template": template,
    "alipay": alipay,
}


@pytest.fixture
def box():
    with vendor() as box:
        yield box


@pytest.fixture(params=CHANNELS)
def channel(request, box: Vendor) -> Carries:
    return CHANNELS[request.param](box.url)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (502, b"<html>Bad Gateway</html>"),
        (503, b""),
        (200, b"<html>login to the hotel's network</html>"),
        (200, b""),
        (200, b"[]"),
        (200, b"null"),
        (200, b'{"a": '),
        (200, b"[" * 30_000),
        (200, b"\xff\xfe"),
        (302, b""),
    ],
)
def test_an_answer_that_says_nothing_is_unknown(channel, box, status, body):
    box.answer = lambda _asked: (status, {}, body)

    assert channel.send(LETTER).outcome == Outcome.UNKNOWN


def test_no_answer_is_unknown(channel, box):
    box.answer = lambda _asked: None

    assert channel.send(LETTER).outcome == Outcome.UNKNOWN


def test_nobody_there_is_no_fault_of_the_letter(channel, box):
    box.answer = lambda _asked: (429, {}, b"")

    assert channel.send(LETTER).outcome == Outcome.LATER


ODD: list[Any] = [None, True, -1, 10**30, 1.5, "", "abc", "a\x00b", [], {}, [[]], [{}], ["x"], {"a": []}]


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("make", [aliyun, tencent])
def test_odd_values_in_an_answer_are_taken_for_what_they_are(box, make, odd):
    for name in ("Code", "Message", "BizId"):
        box.says({"Code": "OK", "BizId": "1"} | {name: odd})
        text_is_clean(aliyun(box.url).send(LETTER))
    for name in ("Code", "Message", "SerialNo", "Fee"):
        status = {"Code": "Ok", "SerialNo": "1", "Fee": 1} | {name: odd}
        box.says({"Response": {"SendStatusSet": [status]}})
        text_is_clean(tencent(box.url).send(LETTER))
    for answer in ({"Response": odd}, {"Response": {"SendStatusSet": odd}}, {"Response": {"Error": odd}}):
        box.says(answer)
        assert tencent(box.url).send(LETTER).outcome != Outcome.HANDED


def text_is_clean(answer) -> None:
    for text in (answer.vendor_id, answer.code, answer.detail):
        assert text.isprintable()
    assert 0 <= answer.parts <= 100


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_odd_values_in_a_look_up_are_none(box, odd):
    row = {"OutId": LETTER.reference, "SendStatus": 3, "ReceiveDate": "2026-03-04 05:06:07", "ErrCode": "DELIVERED"}
    for name in ("SendStatus", "ReceiveDate", "ErrCode"):
        box.says({"Code": "OK", "SmsSendDetailDTOs": {"SmsSendDetailDTO": [row | {name: odd}]}})
        found = aliyun(box.url).look_up(reference=LETTER.reference, address=PHONE, sent_on=date(2026, 3, 4))
        assert found is not None
        assert len(found) == 1
    status = {
        "SessionContext": LETTER.reference,
        "ReportStatus": "SUCCESS",
        "UserReceiveTime": 1,
        "Description": "",
        "SerialNo": "1",
    }
    for name in ("ReportStatus", "UserReceiveTime", "Description", "SerialNo"):
        box.says({"Response": {"PullSmsSendStatusSet": [status | {name: odd}]}})
        found = tencent(box.url).look_up(reference=LETTER.reference, address=PHONE, sent_on=date(2026, 3, 4))
        assert found is not None
        assert len(found) <= 1
    for listed in ({"SmsSendDetailDTO": odd}, odd):
        box.says({"Code": "OK", "SmsSendDetailDTOs": listed})
        assert not aliyun(box.url).look_up(reference=LETTER.reference, address=PHONE, sent_on=date(2026, 3, 4))


def test_a_number_that_the_vendor_repeats_is_not_kept(box):
    box.says({"Code": "isv.MOBILE_NUMBER_ILLEGAL", "Message": f"{PHONE} is no number"})

    answer = aliyun(box.url).send(LETTER)

    assert (answer.outcome, answer.is_person_gone) == (Outcome.REFUSED, True)
    assert answer.detail == "… is no number"
    assert PHONE not in repr(LETTER)


def test_what_goes_out_is_what_the_letter_says(box):
    box.says({"Code": "OK", "BizId": "1"})

    aliyun(box.url).send(LETTER)

    (asked,) = box.asked
    assert "OutId=0123456789abcdef0123456789abcdef" in asked.path
    assert f"PhoneNumbers={PHONE}" in asked.path
    assert (
        json.dumps({"thing1": "1-101"}).replace(" ", "%20").replace('"', "%22").replace(":", "%3A")[1:-1] in asked.path
    )
