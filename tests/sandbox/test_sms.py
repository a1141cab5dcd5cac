"""The SMS vendors in a box: what they take, refuse, charge and report. Requests are signed by hand here, so that the
box is held against the vendors' documents and not against the product.
"""

import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
import requests

from sandbox.server import running
from sandbox.sms import SmsBox
from sandbox.sms_signatures import BEIJING

PHONE = "13800000001"


@pytest.fixture
def box(world):
    with running(SmsBox(world, speed=300)) as url, requests.Session() as http:
        http.trust_env = False
        yield Vendors(url, world, http)


class Vendors:
    def __init__(self, url, world, http):
        self.url, self.http = url, http
        self.aliyun_account, self.tencent_account = world.sms["aliyun"], world.sms["tencent"]

    def control(self, path, **content):
        return self.http.post(f"{self.url}/sandbox/{path}", json=content, timeout=5).json()

    def sent(self):
        return self.http.get(f"{self.url}/sandbox/messages?to={PHONE}", timeout=5).json()["messages"]

    def aliyun(self, action, *, secret="", date="", **params):
        query = "&".join(f"{name}={quote(str(params[name]), safe='')}" for name in sorted(params))
        headers = {
            "host": self.url.removeprefix("http://"),
            "x-acs-action": action,
            "x-acs-content-sha256": hashlib.sha256(b"").hexdigest(),
            "x-acs-date": date or f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "x-acs-signature-nonce": "n",
            "x-acs-version": "2017-05-25",
        }
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        request = f"POST\n/\n{query}\n{lines}\n{names}\n{headers['x-acs-content-sha256']}"
        to_sign = f"ACS3-HMAC-SHA256\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = secret or self.aliyun_account["secret"]
        sign = hmac.new(key.encode(), to_sign.encode(), hashlib.sha256).hexdigest()
        headers["Authorization"] = (
            f"ACS3-HMAC-SHA256 Credential={self.aliyun_account['key_id']},SignedHeaders={names},Signature={sign}"
        )
        return self.http.post(f"{self.url}/?{query}", headers=headers, timeout=5)

    def send(self, text="5.00", **about):
        wanted = {
            "PhoneNumbers": PHONE,
            "SignName": "meterpay",
            "TemplateCode": "SMS_1",
            "TemplateParam": json.dumps({"balance": text}),
            "OutId": "ours",
        }
        return self.aliyun("SendSms", **wanted | about).json()

    def details(self):
        day = f"{datetime.now(BEIJING):%Y%m%d}"
        told = self.aliyun("QuerySendDetails", PhoneNumber=PHONE, SendDate=day, PageSize=10, CurrentPage=1).json()
        return told["SmsSendDetailDTOs"]["SmsSendDetailDTO"]

    def tencent(self, action, content):
        body, now = json.dumps(content).encode(), int(time.time())
        day, host = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}", self.url.removeprefix("http://")
        kind = "application/json; charset=utf-8"
        digest = hashlib.sha256(body).hexdigest()
        request = f"POST\n/\n\ncontent-type:{kind}\nhost:{host}\n\ncontent-type;host\n{digest}"
        scope = f"{day}/sms/tc3_request"
        to_sign = f"TC3-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = f"TC3{self.tencent_account['secret_key']}".encode()
        for part in (day, "sms", "tc3_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        sign = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        account = self.tencent_account["secret_id"]
        headers = {
            "Content-Type": kind,
            "X-TC-Action": action,
            "X-TC-Timestamp": str(now),
            "Authorization": f"TC3-HMAC-SHA256 Credential={account}/{scope}, SignedHeaders=content-type;host, "
            f"Signature={sign}",
        }
        return self.http.post(f"{self.url}/", data=body, headers=headers, timeout=5).json()["Response"]

    def send_by_tencent(self, *texts):
        content = {
            "PhoneNumberSet": [f"+86{PHONE}"],
            "SmsSdkAppId": self.tencent_account["app_id"],
            "SignName": "meterpay",
            "TemplateId": "1",
            "TemplateParamSet": list(texts),
            "SessionContext": "ours",
        }
        return self.tencent("SendSms", content)["SendStatusSet"][0]

    def statuses(self):
        asked = {"BeginTime": int(time.time()) - 60, "PhoneNumber": f"+86{PHONE}", "Limit": 10, "Offset": 0}
        return self.tencent("PullSmsSendStatusByPhoneNumber", asked)["PullSmsSendStatusSet"]


def until(holds, within_s=5):
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_what_aliyun_took_is_listed_under_our_own_number(box):
    assert box.send()["Code"] == "OK"

    (row,) = box.details()
    assert (row["OutId"], row["SendStatus"], row["PhoneNum"]) == ("ours", 3, PHONE)


@pytest.mark.parametrize(
    ("about", "code"),
    [
        ({"PhoneNumbers": "123"}, "isv.MOBILE_NUMBER_ILLEGAL"),
        ({"SignName": "somebody"}, "isv.SMS_SIGNATURE_ILLEGAL"),
        ({"TemplateCode": "1"}, "isv.SMS_TEMPLATE_ILLEGAL"),
        ({"TemplateParam": "{"}, "isv.INVALID_JSON_PARAM"),
    ],
    ids=str,
)
def test_aliyun_refuses_and_sends_nothing(box, about, code):
    assert box.send(**about)["Code"] == code
    assert box.sent() == []


@pytest.mark.parametrize("how", [{"secret": "wrong"}, {"date": "2020-01-01T00:00:00Z"}, {"date": "yesterday"}], ids=str)
def test_a_signature_that_does_not_hold_sends_nothing(box, how):
    answer = box.aliyun("SendSms", PhoneNumbers=PHONE, SignName="meterpay", TemplateCode="SMS_1", **how)

    assert answer.status_code == 400
    assert answer.json()["Code"] in {"SignatureDoesNotMatch", "InvalidTimeStamp.Expired", "InvalidTimeStamp.Format"}
    assert box.sent() == []


def test_a_parameter_that_is_missing_and_an_action_that_is_none_are_told_apart(box):
    assert box.aliyun("SendSms", SignName="meterpay", TemplateCode="SMS_1").json()["Code"] == "MissingParameter"
    assert box.aliyun("SendLetters").json()["Code"] == "InvalidAction.NotFound"


def test_long_texts_are_charged_by_parts_under_the_approved_text(box):
    box.control("templates", SMS_1="余" * 60 + "${balance}", **{"1": "余" * 60 + "{1}"})

    box.send("5")
    assert box.sent()[-1]["parts"] == 2  # 60 and 1 and the sign name in its brackets
    assert box.send_by_tencent("5")["Fee"] == 2


def test_a_receipt_on_hold_is_known_to_nobody_and_then_to_everybody(box, receiver):
    box.control("report_to", aliyun=receiver.url, tencent=receiver.url)
    box.control("faults", receipts="hold")
    receiver.answers = [(200, '{"code": 0, "result": 0}')]
    box.send()
    box.send_by_tencent("5")
    assert (box.details()[0]["SendStatus"], box.statuses()) == (1, [])

    box.control("callbacks/release", wait=True)

    until(lambda: len(receiver.came) == 2)
    assert box.details()[0]["SendStatus"] == 3
    assert [row["ReportStatus"] for row in box.statuses()] == ["SUCCESS"]
    assert {one["state"] for one in box.sent()} == {"delivered"}


def test_what_a_carrier_cannot_deliver_is_said_everywhere(box):
    box.control("faults", carriers="fail")
    box.send()
    box.send_by_tencent("5")

    assert (box.details()[0]["SendStatus"], box.statuses()[0]["ReportStatus"]) == (2, "FAIL")


def test_a_limit_of_the_vendor_refuses_the_next_one(box):
    box.control("limits", aliyun={"a_day": 1}, tencent={"apart_s": 30})

    assert [box.send()["Code"], box.send()["Code"]] == ["OK", "isv.BUSINESS_LIMIT_CONTROL"]
    codes = [box.send_by_tencent("5")["Code"], box.send_by_tencent("5")["Code"]]
    assert codes == ["Ok", "LimitExceeded.PhoneNumberThirtySecondLimit"]


def test_a_reset_forgets_what_was_sent_and_what_was_laid_down(box):
    box.control("limits", aliyun={"a_day": 0})
    box.control("report_to", aliyun="http://127.0.0.1:1/")

    box.control("reset")

    assert box.send()["Code"] == "OK"
    assert box.control("report_to") == {}
