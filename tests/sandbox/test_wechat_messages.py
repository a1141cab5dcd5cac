"""WeChat's messages in a box: permits that are used up, followers, doubles, and the events about all of it."""

import hashlib
import time
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from sandbox.keys import MINI_APPID, OFFICIAL_APPID
from sandbox.server import running
from sandbox.wechat import WeChat

TEMPLATE = "template"


@pytest.fixture
def box(world):
    with running(WeChat(world, speed=300)) as url, requests.Session() as http:
        http.trust_env = False
        yield Box(url, world, http)


class Box:
    def __init__(self, url, world, http):
        self.url, self.world, self.http = url, world, http

    def control(self, path, **content):
        return self.http.post(f"{self.url}/sandbox/{path}", json=content, timeout=5).json()

    def sent(self):
        return self.http.get(f"{self.url}/sandbox/messages", timeout=5).json()["messages"]

    def call(self, appid, path, content):
        asked = {"grant_type": "client_credential", "appid": appid, "secret": self.world.app_secrets[appid]}
        token = self.http.post(f"{self.url}/cgi-bin/stable_token", json=asked, timeout=5).json()["access_token"]
        return self.http.post(f"{self.url}{path}?access_token={token}", json=content, timeout=5).json()

    def subscriber(self, *, permits=0):
        openid = self.control("login_code")["openid"]
        if permits:
            self.control("permits", openid=openid, template_id=TEMPLATE, count=permits)
        return openid

    def subscribe(self, openid, **fields):
        data = {name: {"value": value} for name, value in (fields or {"thing1": "1号楼-101"}).items()}
        content = {"touser": openid, "template_id": TEMPLATE, "data": data}
        return self.call(MINI_APPID, "/cgi-bin/message/subscribe/send", content)["errcode"]

    def template(self, openid, *, client_msg_id=""):
        content = {"touser": openid, "template_id": TEMPLATE, "data": {"thing1": {"value": "x"}}}
        answer = self.call(OFFICIAL_APPID, "/cgi-bin/message/template/send", content | {"client_msg_id": client_msg_id})
        return answer["errcode"], answer.get("msgid")


def test_each_permit_allows_one_message(box):
    openid = box.subscriber(permits=2)

    assert [box.subscribe(openid) for _ in range(3)] == [0, 0, 43101]
    assert len(box.sent()) == 2


@pytest.mark.parametrize(
    "fields", [{"thing1": "x" * 21}, {"amount1": "much"}, {"phrase1": "六个汉字不行"}, {"thing1": ""}]
)
def test_a_field_that_does_not_fit_is_refused_and_uses_no_permit(box, fields):
    openid = box.subscriber(permits=1)

    assert box.subscribe(openid, **fields) == 47003
    assert (box.sent(), box.subscribe(openid)) == ([], 0)


def test_who_is_unknown_and_who_does_not_follow_gets_nothing(box):
    assert box.subscribe("nobody") == 40003
    assert box.template("nobody")[0] == 43004
    assert box.sent() == []


def test_the_same_client_msg_id_is_one_message_to_a_person(box):
    one, other = (box.control("follow", unionid=f"union-{n}")["openid"] for n in range(2))

    first, again = box.template(one, client_msg_id="a"), box.template(one, client_msg_id="a")
    elsewhere = box.template(other, client_msg_id="a")

    assert first == again
    assert elsewhere[1] != first[1]
    assert len(box.sent()) == 2


def test_events_tell_of_a_prompt_and_of_what_arrived_signed_with_the_token(box, receiver):
    box.control("events_to", mini=f"{receiver.url}events/")
    openid = box.subscriber(permits=1)
    box.subscribe(openid)

    came = receiver.wait_for(2)
    bodies = sorted(body.decode() for _headers, body in came)
    assert "subscribe_msg_popup_event" in bodies[0] + bodies[1]
    assert "subscribe_msg_sent_event" in bodies[0] + bodies[1]
    assert all(openid in body for body in bodies)


def test_an_event_is_signed_over_token_time_and_nonce(box, receiver):
    box.control("events_to", official=f"{receiver.url}events/")
    box.control("follow", unionid="union-1")
    receiver.wait_for(1)

    (callback,) = box.http.get(f"{box.url}/sandbox/callbacks", timeout=5).json()["callbacks"]
    query = {name: one for name, (one,) in parse_qs(urlsplit(callback["url"]).query).items()}
    token = box.world.event_keys[OFFICIAL_APPID]["token"]
    wanted = hashlib.sha1("".join(sorted([token, query["timestamp"], query["nonce"]])).encode()).hexdigest()  # noqa: S324
    assert query["signature"] == wanted
    assert abs(int(query["timestamp"]) - time.time()) < 60
