"""WeChat's events count when WeChat says them, and only then."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import pytest

from notifications.channels import wechat_events
from notifications.channels.base import BadReceiptError, Fate
from notifications.channels.wechat_events import Keys
from sandbox.wechat_messages import signed_event

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
APP = "wx0000000000000001"
TOKEN, AES_KEY = "a-token", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
PLAIN, SAFE = Keys(APP, TOKEN), Keys(APP, TOKEN, AES_KEY)
# As on developers.weixin.qq.com.
SENT = """<xml><ToUserName><![CDATA[gh_123456789abc]]></ToUserName>
<FromUserName><![CDATA[otFpruAK8D-E6EfStSYonYSBZ8_4]]></FromUserName><CreateTime>1610969440</CreateTime>
<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[subscribe_msg_sent_event]]></Event>
<SubscribeMsgSentEvent><List><TemplateId><![CDATA[VRR0UEO9VJOLs0MHlU0OilqX6MVFDwH3_3gz3Oc0NIc]]></TemplateId>
<MsgID>1700827132819554304</MsgID><ErrorCode>0</ErrorCode><ErrorStatus><![CDATA[success]]></ErrorStatus></List>
</SubscribeMsgSentEvent></xml>"""
SENT_IN_JSON = """{"ToUserName": "gh_123456789abc", "FromUserName": "o7esq5PHRGBQYmeNyfG064wEFVpQ",
"CreateTime": "1620963428", "MsgType": "event", "Event": "subscribe_msg_sent_event",
"List": {"TemplateId": "BEwX0BOT3MqK3Uc5oTU3CGBqzjpndk2jzUf7VfExd8", "MsgID": 1864323726461255680,
"ErrorCode": "43101", "ErrorStatus": "user refuse to accept the msg"}}"""
CHANGED_IN_JSON = """{"FromUserName": "o7esq5OI1Uej6Xixw1lA2H7XDVbc", "CreateTime": 1620963428, "MsgType": "event",
"Event": "subscribe_msg_change_event", "List": [{"TemplateId": "A", "SubscribeStatusString": "reject"},
{"TemplateId": "B", "SubscribeStatusString": "accept"}, {"TemplateId": "C", "SubscribeStatusString": "reject"}]}"""
CHANGED = """<xml><FromUserName>o1</FromUserName><Event>subscribe_msg_change_event</Event>
<SubscribeMsgChangeEvent><List><TemplateId>A</TemplateId><SubscribeStatusString>reject</SubscribeStatusString></List>
</SubscribeMsgChangeEvent></xml>"""
JOB = """<xml><ToUserName><![CDATA[gh_7f083739789a]]></ToUserName>
<FromUserName><![CDATA[oia2TjuEGTNoeX76QEjQNrcURxG8]]></FromUserName><CreateTime>1395658984</CreateTime>
<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[TEMPLATESENDJOBFINISH]]></Event><MsgID>200163840</MsgID>
<Status><![CDATA[failed:user block]]></Status></xml>"""
BOMB = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><xml><Event>&b;</Event></xml>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><xml><Event>&a;</Event></xml>'


def said(content: str, *, keys: Keys = PLAIN, by: Keys | None = None, at: datetime = NOW):
    """A call as it comes, signed (and sealed) by somebody with `by`'s keys."""
    by = by or keys
    pair = {"token": by.token, "aes_key": by.aes_key}
    return signed_event(pair, content, appid=by.app_id, encrypts=bool(by.aes_key), at=at.timestamp())


def signature_of(*parts: str) -> str:
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()  # noqa: S324 - WeChat's choice


def heard(content: str, *, keys: Keys = PLAIN, by: Keys | None = None, at: datetime = NOW, now: datetime = NOW):
    query, body = said(content, keys=keys, by=by, at=at)
    return wechat_events.read(dict(parse_qsl(query)), body.encode(), keys, now=now)


@pytest.mark.parametrize("keys", [PLAIN, SAFE], ids=["plain", "safe"])
def test_a_message_of_the_mini_program_arrived(keys):
    event = heard(SENT, keys=keys)

    (receipt,) = wechat_events.receipts_of(event)
    assert (receipt.fate, receipt.vendor_id) == (Fate.DELIVERED, "1700827132819554304")
    assert event.openid == "otFpruAK8D-E6EfStSYonYSBZ8_4"
    assert event.at == datetime(2021, 1, 18, 11, 30, 40, tzinfo=UTC)
    assert wechat_events.templates_refused(event) == []


@pytest.mark.parametrize("keys", [PLAIN, SAFE], ids=["plain", "safe"])
def test_json_says_the_same(keys):
    event = heard(SENT_IN_JSON, keys=keys)

    (receipt,) = wechat_events.receipts_of(event)
    assert (receipt.fate, receipt.vendor_id, receipt.code) == (Fate.UNDELIVERED, "1864323726461255680", "43101")
    assert wechat_events.templates_refused(event) == ["BEwX0BOT3MqK3Uc5oTU3CGBqzjpndk2jzUf7VfExd8"]


@pytest.mark.parametrize(("content", "refused"), [(CHANGED_IN_JSON, ["A", "C"]), (CHANGED, ["A"])])
def test_a_person_takes_back_what_they_allowed(content, refused):
    event = heard(content)

    assert wechat_events.templates_refused(event) == refused
    assert wechat_events.receipts_of(event) == []


@pytest.mark.parametrize(
    ("status", "fate", "code"),
    [
        ("success", Fate.DELIVERED, ""),
        ("failed:user block", Fate.UNDELIVERED, "failed:user block"),
        ("failed: system failed", Fate.UNDELIVERED, "failed: system failed"),
    ],
)
def test_a_message_of_the_official_account_came_to_an_end(status, fate, code):
    (receipt,) = wechat_events.receipts_of(heard(JOB.replace("failed:user block", status)))

    assert (receipt.fate, receipt.vendor_id, receipt.code) == (fate, "200163840", code)


@pytest.mark.parametrize("content", ["<xml/>", "<xml><Event/></xml>", "<xml><Content>hello</Content></xml>", "{}"])
def test_what_says_nothing_of_messages_is_none(content):
    if content == "<xml/>":
        with pytest.raises(BadReceiptError, match="malformed"):
            heard(content)
        return
    event = heard(content)

    assert wechat_events.receipts_of(event) == []
    assert wechat_events.templates_refused(event) == []


@pytest.mark.parametrize("keys", [PLAIN, SAFE], ids=["plain", "safe"])
def test_nobody_else_can_say_it(keys):
    with pytest.raises(BadReceiptError, match="bad_signature"):
        heard(SENT, keys=keys, by=Keys(APP, "another-token", keys.aes_key))


@pytest.mark.parametrize("keys", [PLAIN, SAFE], ids=["plain", "safe"])
@pytest.mark.parametrize("minutes", [-11, 11])
def test_a_call_of_another_time_does_not_count(keys, minutes):
    with pytest.raises(BadReceiptError, match="clock"):
        heard(SENT, keys=keys, at=NOW + timedelta(minutes=minutes))


@pytest.mark.parametrize("missing", ["timestamp", "signature"])
def test_a_call_without_a_signature_does_not_count(missing):
    query, body = said(SENT)
    asked = dict(parse_qsl(query))
    del asked[missing]

    with pytest.raises(BadReceiptError, match="missing_field"):
        wechat_events.read(asked, body.encode(), PLAIN, now=NOW)


@pytest.mark.parametrize("timestamp", ["", "now", "1" * 400, "²", "-1"])
def test_a_time_that_is_none_does_not_count(timestamp):
    asked = {"timestamp": timestamp, "nonce": "1", "signature": signature_of(TOKEN, timestamp, "1")}

    with pytest.raises(BadReceiptError, match=r"clock|missing_field"):
        wechat_events.read(asked, SENT.encode(), PLAIN, now=NOW)


class TestSafeMode:
    def test_what_is_not_sealed_does_not_count(self):
        with pytest.raises(BadReceiptError, match="signature_type"):
            heard(SENT, keys=SAFE, by=PLAIN)

    def test_another_sealed_body_under_the_same_signature_does_not_count(self):
        query, _body = said(SENT, keys=SAFE)
        _query, other = said(JOB, keys=SAFE)

        with pytest.raises(BadReceiptError, match="bad_signature"):
            wechat_events.read(dict(parse_qsl(query)), other.encode(), SAFE, now=NOW)

    def test_what_is_sealed_for_another_app_does_not_count(self):
        with pytest.raises(BadReceiptError, match="decrypt"):
            heard(SENT, keys=SAFE, by=Keys("wx0000000000000002", TOKEN, AES_KEY))

    def test_what_is_sealed_with_another_key_does_not_count(self):
        with pytest.raises(BadReceiptError, match="decrypt"):
            heard(SENT, keys=SAFE, by=Keys(APP, TOKEN, AES_KEY[::-1]))

    @pytest.mark.parametrize("sealed", ["", "!!!", "YQ==", "é"])
    def test_what_is_no_cipher_text_does_not_count(self, sealed):
        stamp = str(int(NOW.timestamp()))
        asked = {"timestamp": stamp, "nonce": "1", "msg_signature": signature_of(TOKEN, stamp, "1", sealed)}
        body = f"<xml><Encrypt><![CDATA[{sealed}]]></Encrypt></xml>".encode()

        with pytest.raises(BadReceiptError, match=r"decrypt|signature_type"):
            wechat_events.read(asked, body, SAFE, now=NOW)

    @pytest.mark.parametrize("aes_key", ["short", "é" * 43, "!" * 43])
    def test_a_key_that_is_none_opens_nothing(self, aes_key):
        query, body = said(SENT, keys=SAFE)

        with pytest.raises(BadReceiptError, match="decrypt"):
            wechat_events.read(dict(parse_qsl(query)), body.encode(), Keys(APP, TOKEN, aes_key), now=NOW)

    def test_without_the_key_we_say_that_it_is_ours_to_mend(self):
        with pytest.raises(BadReceiptError, match="keys_unusable"):
            heard(SENT, keys=PLAIN, by=SAFE)


@pytest.mark.parametrize("content", ["", "no xml", "<xml>", "<html><xml/></html>", "[]", '{"a"', BOMB, OUTSIDE])
def test_what_cannot_be_read_is_malformed(content):
    with pytest.raises(BadReceiptError, match="malformed"):
        heard(content)


def test_nothing_happens_later_than_now():
    assert heard(SENT.replace("1610969440", "99999999999")).at == NOW
    assert heard(SENT.replace("1610969440", "soon")).at == NOW


def test_wechat_gets_its_echo_when_the_address_is_entered():
    query, _body = said("")
    asked = dict(parse_qsl(query)) | {"echostr": "5838423829489012"}

    assert wechat_events.echo(asked, PLAIN, now=NOW) == "5838423829489012"
    with pytest.raises(BadReceiptError, match="bad_signature"):
        wechat_events.echo(asked | {"signature": "0" * 40}, PLAIN, now=NOW)
