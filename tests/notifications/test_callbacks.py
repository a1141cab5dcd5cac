"""Vendors call us back about messages: what counts, what does not, how it is answered, what it leaves."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client
from django.urls import Resolver404, resolve
from django.utils import timezone
from django_q.models import OrmQ

from accounts import followers
from accounts.models import Identity
from notifications import receipts
from notifications.models import Channel, Delivery, EarlyReceipt, Permit
from sandbox.keys import MINI_APPID, OFFICIAL_APPID
from sandbox.wechat_messages import signed_event
from sandbox.world import World
from tests import makers
from tests.notifications.post import Box, Post, a_home, a_phone, a_template, at_kind, leave
from tests.notifications.test_ways import all_templates, in_the_mini_program

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "sandbox-secret-of-the-address"
WITHIN_S = 10.0


@pytest.fixture(autouse=True)
def _never_quiet():
    with at_kind("low_balance", is_urgent=True):
        yield


@pytest.fixture(autouse=True)
def _addresses(world: World, settings: LazySettings, tmp_path) -> None:
    """All addresses are open: the secret of SMS reports, the tokens of events (plain mode)."""
    path = tmp_path / "secret"
    path.write_text(SECRET)
    settings.RECEIPTS_SECRET_REF = f"file:{path}"
    events = world.info["wechat"]["events"]
    settings.WECHAT_MINI_APP_ID, settings.WECHAT_OFFICIAL_APP_ID = MINI_APPID, OFFICIAL_APPID
    settings.WECHAT_MINI_TOKEN_REF = f"file:{events[MINI_APPID]['token_file']}"
    settings.WECHAT_OFFICIAL_TOKEN_REF = f"file:{events[OFFICIAL_APPID]['token_file']}"
    settings.WECHAT_MINI_AES_KEY_REF = settings.WECHAT_OFFICIAL_AES_KEY_REF = ""


@pytest.fixture
def safe_mode(world: World, settings: LazySettings) -> None:
    events = world.info["wechat"]["events"]
    settings.WECHAT_MINI_AES_KEY_REF = f"file:{events[MINI_APPID]['aes_key_file']}"
    settings.WECHAT_OFFICIAL_AES_KEY_REF = f"file:{events[OFFICIAL_APPID]['aes_key_file']}"


def eventually(is_so: Callable[[], object]) -> None:
    """Waits, and looks after what came too early, as the carrier does."""
    until = time.monotonic() + WITHIN_S
    while not is_so():
        receipts.use_left(now=timezone.now())
        states = list(Delivery.objects.values_list("channel", "state", "code"))
        assert time.monotonic() < until, f"it did not come to that: {states}"
        time.sleep(0.02)


def report(vendor: str, rows: object, *, secret: str = SECRET, **headers: Any):
    body = rows if isinstance(rows, bytes) else json.dumps(rows).encode()
    return Client().post(
        f"/notifications/sms/{vendor}/{secret}/", data=body, content_type="application/json", **headers
    )


def an_aliyun_row(**kwargs: Any) -> dict[str, Any]:
    return {"success": True, "biz_id": "900619746936498440^0", "out_id": "", "sms_size": "1"} | kwargs


class TestSms:
    @pytest.mark.parametrize("how", ["soon", "twice"])
    def test_it_is_noted_that_an_sms_arrived(self, sms: Box, post: Post, live_server, how):
        sms.tell("/sandbox/report_to", aliyun=f"{live_server.url}/notifications/sms/aliyun/{SECRET}/")
        sms.spoil(receipts=how)
        a_template()
        leave(a_home())

        post.carry()

        eventually(lambda: Delivery.objects.filter(channel="sms_aliyun", state="delivered").exists())
        delivery = Delivery.objects.get(channel="sms_aliyun")
        assert delivery.delivered_at is not None
        assert (delivery.parts, delivery.follow_at) == (1, None)

    def test_what_aliyun_could_not_deliver_goes_by_tencent_which_says_so(self, sms: Box, post: Post, live_server):
        for vendor in ("aliyun", "tencent"):
            sms.tell("/sandbox/report_to", **{vendor: f"{live_server.url}/notifications/sms/{vendor}/{SECRET}/"})
        a_template()
        a_template(channel=Channel.SMS_TENCENT, template_id="1234")
        sms.spoil(carriers="fail")
        leave(a_home())
        post.carry()
        eventually(lambda: Delivery.objects.filter(channel="sms_aliyun", state="undelivered").exists())
        sms.spoil(carriers="deliver")

        post.carry()

        eventually(lambda: Delivery.objects.filter(channel="sms_tencent", state="delivered").exists())
        assert Delivery.objects.get(channel="sms_aliyun").code == "UNDELIVERABLE"

    def test_vendors_are_answered_as_they_expect(self):
        aliyun, tencent = report("aliyun", [an_aliyun_row()]), report("tencent", [])

        assert (aliyun.status_code, aliyun.json()["code"]) == (200, 0)
        assert (tencent.status_code, tencent.json()) == (200, {"result": 0, "errmsg": "OK"})

    def test_a_report_that_comes_before_the_vendors_answer_is_kept(self):
        report("tencent", [{"sid": "5000:1", "report_status": "SUCCESS"}])

        assert EarlyReceipt.objects.get().vendor_id == "5000:1"

    def test_a_report_that_comes_in_the_moment_of_the_vendors_answer_is_not_lost(self, sms: Box, post: Post):
        a_template()
        leave(a_home())
        post.carry()
        delivery = Delivery.objects.get(channel="sms_aliyun")
        EarlyReceipt.objects.create(  # as two transactions leave it that did not see each other
            channel="sms_aliyun", vendor_id=delivery.vendor_id, fate="delivered", received_at=timezone.now()
        )

        found = receipts.use_left(now=timezone.now())

        delivery.refresh_from_db()
        assert (found, delivery.state) == (1, "delivered")
        assert not EarlyReceipt.objects.exists()

    @pytest.mark.parametrize("secret", ["x", SECRET[:-1], SECRET + "x", "%00", "é", "%F0%9F"])
    def test_who_does_not_know_the_address_says_nothing(self, secret):
        response = report("aliyun", [an_aliyun_row()], secret=secret)

        assert response.status_code == 404
        assert not EarlyReceipt.objects.exists()

    @pytest.mark.parametrize("secret", ["", "short"])
    def test_without_a_secret_worth_its_name_there_is_no_address(self, settings, tmp_path, secret):
        (tmp_path / "other").write_text(secret or "\n")
        settings.RECEIPTS_SECRET_REF = f"file:{tmp_path / 'other'}" if secret else ""

        assert report("aliyun", [an_aliyun_row()], secret=secret or "x").status_code == 404

    def test_a_secret_that_cannot_be_read_is_ours_to_mend(self, settings):
        settings.RECEIPTS_SECRET_REF = "file:/nowhere"

        assert report("aliyun", [an_aliyun_row()]).status_code == 503

    @pytest.mark.parametrize(
        ("body", "status"), [(b"", 400), (b"{}", 400), (b"\xff", 400), (b"[" * 50_000, 400), (b" " * 65_537, 413)]
    )
    @pytest.mark.parametrize("vendor", ["aliyun", "tencent"])
    def test_what_is_no_report_is_refused(self, vendor, body, status):
        assert report(vendor, body).status_code == status

    def test_only_a_post_is_a_report(self):
        assert Client().get(f"/notifications/sms/aliyun/{SECRET}/").status_code == 405

    @pytest.mark.parametrize("body", [b"[]", b"no list"])
    def test_neither_the_number_nor_the_secret_stands_in_the_log(self, caplog, body):
        from config.logs import PrivacyFilter

        caplog.handler.addFilter(PrivacyFilter())
        with caplog.at_level(logging.INFO):
            report("aliyun", body)

        assert "sms_aliyun" in caplog.text
        assert SECRET not in caplog.text


def event(
    app_id: str, inner: str, world: World, *, openid: str = "oSOMEBODY", at: float | None = None, seals: bool = False
):
    """POSTs an event as WeChat would."""
    xml = (
        f"<xml><ToUserName>gh_1</ToUserName><FromUserName>{openid}</FromUserName>"
        f"<CreateTime>{int(at or time.time())}</CreateTime><MsgType>event</MsgType>{inner}</xml>"
    )
    query, body = signed_event(world.event_keys[app_id], xml, appid=app_id, encrypts=seals, at=at)
    return Client().post(f"{address(app_id)}?{query}", data=body, content_type="text/xml")


def address(app_id: str) -> str:
    return f"/notifications/wechat/{'mini' if app_id == MINI_APPID else 'official'}/"


def listen(wechat: Box, live_server, *, seals: bool = False) -> None:
    told = {name: f"{live_server.url}/notifications/wechat/{name}/" for name in ("mini", "official")}
    wechat.tell("/sandbox/events_to", **told, encrypt=seals)


class TestMessagesOfWeChat:
    def test_the_mini_program_says_that_its_message_arrived(self, whole_post: Post, wechat: Box, live_server):
        listen(wechat, live_server)
        all_templates()
        home = a_home()
        in_the_mini_program(home.members.get().user, wechat, permits=1)
        leave(home)

        whole_post.carry()

        eventually(lambda: Delivery.objects.filter(channel="wechat_subscribe", state="delivered").exists())

    @pytest.mark.usefixtures("safe_mode")
    def test_it_says_so_in_the_safe_mode(self, whole_post: Post, wechat: Box, live_server):
        listen(wechat, live_server, seals=True)
        all_templates()
        home = a_home()
        in_the_mini_program(home.members.get().user, wechat, permits=1)
        leave(home)

        whole_post.carry()

        eventually(lambda: Delivery.objects.filter(channel="wechat_subscribe", state="delivered").exists())

    def test_the_official_account_says_that_its_message_did_not(self, whole_post: Post, wechat: Box, sms, live_server):
        listen(wechat, live_server)
        all_templates()
        home = a_home()
        holder = home.members.get().user
        in_the_mini_program(holder, wechat)
        wechat.tell("/sandbox/follow", unionid=f"union-{holder.pk}")
        followers.look_through()
        wechat.spoil(messages="block")
        leave(home)

        whole_post.carry()
        eventually(lambda: Delivery.objects.filter(channel="wechat_template", state="undelivered").exists())
        whole_post.carry()

        assert Delivery.objects.get(channel="wechat_template").code == "failed:user block"
        assert len(sms.sent(str(holder.phone))) == 1


class TestPermits:
    INNER = (
        "<Event>subscribe_msg_change_event</Event><SubscribeMsgChangeEvent><List><TemplateId>A</TemplateId>"
        "<SubscribeStatusString>reject</SubscribeStatusString></List></SubscribeMsgChangeEvent>"
    )

    @pytest.fixture
    def identity(self) -> Identity:
        return makers.an_identity(app_id=MINI_APPID)

    def a_permit(self, identity: Identity, **kwargs: Any) -> Permit:
        about = {"template_id": "A", "reported_as": f"{Permit.objects.count()}", "given_at": timezone.now()}
        return Permit.objects.create(identity=identity, **about | kwargs)

    def test_what_a_person_takes_back_is_over(self, world, identity):
        self.a_permit(identity)
        self.a_permit(identity)
        other_template = self.a_permit(identity, template_id="B")
        other_person = self.a_permit(makers.an_identity(app_id=MINI_APPID))

        response = event(MINI_APPID, self.INNER, world, openid=identity.subject, at=time.time() + 1)

        assert (response.status_code, response.content) == (200, b"success")
        assert list(Permit.objects.filter(ended_at=None).order_by("pk")) == [other_template, other_person]

    def test_what_they_allow_afterwards_stands(self, world, identity):
        self.a_permit(identity)

        event(MINI_APPID, self.INNER, world, openid=identity.subject, at=time.time() - 60)

        assert Permit.objects.filter(ended_at=None).exists()

    def test_the_official_accounts_word_is_not_the_mini_programs(self, world, identity):
        self.a_permit(identity)

        event(OFFICIAL_APPID, self.INNER, world, openid=identity.subject, at=time.time() + 1)

        assert Permit.objects.filter(ended_at=None).exists()


class TestFollowers:
    def test_who_follows_is_the_same_person_by_the_union_id(self, wechat: Box, live_server):
        listen(wechat, live_server)
        user = makers.a_user(phone=a_phone())
        in_the_mini_program(user, wechat)

        told = wechat.tell("/sandbox/follow", unionid=f"union-{user.pk}")
        eventually(OrmQ.objects.exists)
        task = OrmQ.objects.get().task
        followers.look_up(*task["args"])

        assert task["func"] == "accounts.followers.look_up"
        official = Identity.objects.get(app_id=OFFICIAL_APPID)
        assert (official.user, official.subject, official.left_at) == (user, told["openid"], None)

    def test_who_leaves_and_comes_back_can_be_reached_again(self, world):
        identity = makers.an_identity(app_id=OFFICIAL_APPID)

        event(OFFICIAL_APPID, "<Event>unsubscribe</Event>", world, openid=identity.subject)
        identity.refresh_from_db()
        was_left = identity.left_at is not None
        event(OFFICIAL_APPID, "<Event>subscribe</Event>", world, openid=identity.subject, at=time.time() + 1)

        identity.refresh_from_db()
        assert (was_left, identity.left_at) == (True, None)
        assert not OrmQ.objects.exists()

    def test_an_old_event_that_comes_late_does_not_bring_them_back(self, world):
        identity = makers.an_identity(app_id=OFFICIAL_APPID)
        event(OFFICIAL_APPID, "<Event>unsubscribe</Event>", world, openid=identity.subject)

        event(OFFICIAL_APPID, "<Event>subscribe</Event>", world, openid=identity.subject, at=time.time() - 60)

        identity.refresh_from_db()
        assert identity.left_at is not None

    def test_the_mini_program_has_no_followers(self, world):
        identity = makers.an_identity(app_id=MINI_APPID)

        event(MINI_APPID, "<Event>unsubscribe</Event>", world, openid=identity.subject)

        identity.refresh_from_db()
        assert identity.left_at is None


class TestWhoSaysIt:
    JOB = "<Event>TEMPLATESENDJOBFINISH</Event><MsgID>77</MsgID><Status>success</Status>"

    @pytest.mark.parametrize("app_id", [MINI_APPID, OFFICIAL_APPID])
    def test_wechat_gets_its_echo(self, world, app_id):
        query, _body = signed_event(world.event_keys[app_id], "", appid=app_id, encrypts=False)

        response = Client().get(f"{address(app_id)}?{query}&echostr=58384238")

        assert (response.status_code, response.content) == (200, b"58384238")
        assert response["Content-Type"] == "text/plain"

    def test_nobody_else_gets_one(self, world):
        query, _body = signed_event(world.event_keys[MINI_APPID], "", appid=MINI_APPID, encrypts=False)

        response = Client().get(f"{address(OFFICIAL_APPID)}?{query}&echostr=58384238")

        assert (response.status_code, response.content) == (403, b"fail")

    def test_an_event_of_the_other_app_does_not_count(self, world):
        query, body = signed_event(world.event_keys[MINI_APPID], "<xml><a/></xml>", appid=MINI_APPID, encrypts=False)

        response = Client().post(f"{address(OFFICIAL_APPID)}?{query}", data=body, content_type="text/xml")

        assert response.status_code == 403

    @pytest.mark.usefixtures("safe_mode")
    def test_an_open_event_does_not_count_in_the_safe_mode(self, world):
        assert event(OFFICIAL_APPID, self.JOB, world).status_code == 403
        assert event(OFFICIAL_APPID, self.JOB, world, seals=True).status_code == 200
        assert EarlyReceipt.objects.count() == 1

    def test_an_event_of_an_hour_ago_does_not_count(self, world):
        assert event(OFFICIAL_APPID, self.JOB, world, at=time.time() - 3600).status_code == 403

    def test_without_a_token_there_is_no_address(self, world, settings):
        settings.WECHAT_OFFICIAL_TOKEN_REF = ""

        assert event(OFFICIAL_APPID, self.JOB, world).status_code == 404

    def test_there_is_no_third_app(self):
        assert Client().post("/notifications/wechat/other/", data=b"", content_type="text/xml").status_code == 404

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"", 400),
            (b"<xml>", 400),
            (b'<!DOCTYPE x [<!ENTITY a "b">]><xml><Event>&a;</Event></xml>', 400),
            (b"<xml>" + b"a" * 65_536 + b"</xml>", 413),
        ],
    )
    def test_what_is_no_event_is_refused(self, world, body, status):
        query, _body = signed_event(world.event_keys[MINI_APPID], "", appid=MINI_APPID, encrypts=False)

        response = Client().post(f"{address(MINI_APPID)}?{query}", data=body, content_type="text/xml")

        assert (response.status_code, response.content) == (status, b"fail")


@pytest.mark.parametrize("path", ["/notifications/sms/aliyun/x/", "/notifications/wechat/mini/"])
def test_the_callbacks_pool_serves_them(path):
    assert resolve(path, urlconf="config.callback_urls").func == resolve(path).func
    with pytest.raises(Resolver404):
        resolve("/admin/", urlconf="config.callback_urls")
