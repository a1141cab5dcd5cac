"""Which way a message takes: the cheapest that reaches the person first, the next one where it does not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from accounts.models import Identity, Tenancy, User
from notifications import outbox, proof
from notifications.models import Channel, Delivery, Permit, Template
from tests import makers
from tests.notifications.post import Box, a_phone, a_template, at_kind, leave, states
from tests.racing import race

pytestmark = pytest.mark.django_db(transaction=True)
MINI_TEMPLATE, OFFICIAL_TEMPLATE, ALIPAY_TEMPLATE = "tmpl-mini", "tmpl-official", "tmpl-alipay"


@pytest.fixture(autouse=True)
def _never_quiet():
    with at_kind("low_balance", is_urgent=True):
        yield


@pytest.fixture
def home() -> Tenancy:
    return makers.a_tenancy(holder=makers.a_user(phone=a_phone()))


@pytest.fixture
def holder(home: Tenancy) -> User:
    return home.members.get().user


def in_the_mini_program(user: User, wechat: Box, *, permits: int = 0) -> Identity:
    told = wechat.tell("/sandbox/login_code", unionid=f"union-{user.pk}")
    identity = Identity.objects.create(
        user=user, provider="wechat", app_id=settings.WECHAT_MINI_APP_ID, subject=told["openid"],
        union_id=f"union-{user.pk}",
    )  # fmt: skip
    for n in range(permits):
        wechat.tell("/sandbox/permits", openid=identity.subject, template_id=MINI_TEMPLATE)
        permit_of(identity, n)
    return identity


def permit_of(identity: Identity, n: int) -> Permit:
    now = timezone.now()
    return Permit.objects.create(identity=identity, template_id=MINI_TEMPLATE, reported_as=f"tap-{n}", given_at=now)


def following(user: User, wechat: Box) -> Identity:
    told = wechat.tell("/sandbox/follow", unionid=f"union-{user.pk}")
    return Identity.objects.create(
        user=user, provider="wechat", app_id=settings.WECHAT_OFFICIAL_APP_ID, subject=told["openid"]
    )


def in_alipay(user: User, alipay: Box) -> Identity:
    told = alipay.tell("/sandbox/login_code")
    return Identity.objects.create(user=user, provider="alipay", app_id=settings.ALIPAY_APP_ID, subject=told["open_id"])


def all_templates() -> None:
    a_template()
    a_template(channel=Channel.WECHAT_SUBSCRIBE, template_id=MINI_TEMPLATE)
    a_template(channel=Channel.WECHAT_TEMPLATE, template_id=OFFICIAL_TEMPLATE)
    a_template(channel=Channel.ALIPAY_TEMPLATE, template_id=ALIPAY_TEMPLATE)


def test_a_permit_of_the_mini_program_is_used_before_anything_that_costs(home, holder, whole_post, wechat, sms):
    all_templates()
    identity = in_the_mini_program(holder, wechat, permits=2)
    message = leave(home)

    whole_post.carry()

    (said,) = wechat.sent(identity.subject)
    assert states(message) == {"inbox": "handed", "wechat_subscribe": "handed"}
    assert said["data"]["amount2"] == "4.20"
    assert said["data"]["thing1"] == str(home.room)
    assert Permit.objects.filter(ended_at=None).count() == 1
    used = Delivery.objects.get(channel="wechat_subscribe").permit
    assert used is not None
    assert used.used_at is not None
    assert sms.sent() == []


def test_without_a_permit_the_official_account_tells_the_same_person(home, holder, whole_post, wechat, sms):
    all_templates()
    in_the_mini_program(holder, wechat)
    official = following(holder, wechat)
    message = leave(home)

    whole_post.carry()

    assert states(message) == {"inbox": "handed", "wechat_template": "handed"}
    assert [one["to"] for one in wechat.sent()] == [official.subject]


def test_who_pays_with_alipay_is_told_there(home, holder, whole_post, alipay, sms):
    all_templates()
    identity = in_alipay(holder, alipay)
    message = leave(home)

    whole_post.carry()

    (said,) = alipay.sent(identity.subject)
    assert states(message) == {"inbox": "handed", "alipay_template": "handed"}
    assert said["data"]["keyword2"] == "4.20"


def test_permits_that_wechat_does_not_know_end_and_an_sms_goes_out(home, holder, whole_post, wechat, sms):
    all_templates()
    identity = in_the_mini_program(holder, wechat)
    for n in range(3):
        permit_of(identity, n)  # taken back in WeChat's own settings meanwhile
    message = leave(home)

    whole_post.carry()
    whole_post.carry()

    assert states(message) == {"inbox": "handed", "wechat_subscribe": "refused", "sms_aliyun": "handed"}
    assert Delivery.objects.get(channel="wechat_subscribe").code == "43101"
    assert not Permit.objects.filter(ended_at=None).exists()
    assert len(sms.sent(holder.phone or "")) == 1


def test_a_permit_that_wechat_did_not_use_is_given_back(home, holder, whole_post, wechat, sms):
    all_templates()
    in_the_mini_program(holder, wechat, permits=1)
    wechat.spoil(answers=[{"match": "subscribe/send", "code": "47003", "message": "argument invalid!"}])
    leave(home)

    whole_post.carry()

    permit = Permit.objects.get()
    assert (permit.used_at, permit.ended_at) == (None, None)
    assert Delivery.objects.get(channel="wechat_subscribe").permit is None


def test_who_stopped_following_is_not_written_to_there_again(home, holder, whole_post, wechat, sms):
    all_templates()
    official = following(holder, wechat)
    wechat.tell("/sandbox/follow", openid=official.subject, leave=True)
    message = leave(home)

    whole_post.carry()
    whole_post.carry()

    official.refresh_from_db()
    assert official.left_at is not None
    assert states(message) == {"inbox": "handed", "wechat_template": "refused", "sms_aliyun": "handed"}


def test_a_message_of_the_official_account_that_nobody_answered_is_sent_again_and_arrives_once(
    home, holder, whole_post, wechat, sms
):
    all_templates()
    following(holder, wechat)
    wechat.spoil(answers=[{"match": "template/send", "drop": True, "work_done": True}])
    message = leave(home)

    whole_post.carry()
    assert states(message)["wechat_template"] == "unknown"
    whole_post.trace(after=timedelta(seconds=20))
    Delivery.objects.filter(state="waiting").update(next_at=timezone.now())
    whole_post.carry()

    assert states(message) == {"inbox": "handed", "wechat_template": "handed"}
    assert len(wechat.sent()) == 1


def test_a_subscribe_message_that_nobody_answered_is_lost_and_what_is_serious_goes_by_sms(
    home, holder, whole_post, wechat, sms
):
    all_templates()
    in_the_mini_program(holder, wechat, permits=1)
    wechat.spoil(answers=[{"match": "subscribe/send", "drop": True, "work_done": True}])
    message = leave(home)

    whole_post.carry()
    whole_post.trace(after=timedelta(seconds=20))
    Delivery.objects.filter(follow_at__isnull=False).update(follow_at=timezone.now())
    whole_post.carry()

    assert states(message) == {"inbox": "handed", "wechat_subscribe": "lost", "sms_aliyun": "handed"}


def test_wechat_that_is_busy_is_asked_again_later(home, holder, whole_post, wechat, sms):
    all_templates()
    in_the_mini_program(holder, wechat, permits=1)
    wechat.spoil(answers=[{"match": "subscribe/send", "code": "45009", "message": "reach max api daily quota limit"}])
    message = leave(home)

    whole_post.carry()

    assert states(message)["wechat_subscribe"] == "waiting"
    assert Delivery.objects.get(channel="wechat_subscribe").code == "45009"


def test_a_vendor_that_keeps_putting_us_off_is_left_for_another(home, holder, whole_post, wechat, sms):
    all_templates()
    in_the_mini_program(holder, wechat, permits=1)
    wechat.spoil(answers=[{"match": "subscribe/send", "code": "45009", "times": 9}])
    message = leave(home)

    for _ in range(5):
        whole_post.carry()
        Delivery.objects.filter(state="waiting").update(next_at=timezone.now())

    assert states(message) == {"inbox": "handed", "wechat_subscribe": "given_up", "sms_aliyun": "handed"}
    assert Permit.objects.filter(ended_at=None).count() == 1  # WeChat has not used it


def test_where_no_receipt_comes_a_notice_of_a_cut_goes_by_sms_too(home, holder, whole_post, wechat, sms):
    a_template("cut_notice")
    a_template("cut_notice", channel=Channel.WECHAT_SUBSCRIBE, template_id=MINI_TEMPLATE)
    in_the_mini_program(holder, wechat, permits=1)
    message = leave(home, kind="cut_notice", available_fen=-120, hours=24)
    whole_post.carry()
    assert states(message) == {"inbox": "handed", "wechat_subscribe": "handed"}

    Delivery.objects.filter(channel="wechat_subscribe").update(follow_at=timezone.now())  # ten minutes later
    whole_post.carry()

    assert states(message) == {"inbox": "handed", "wechat_subscribe": "handed", "sms_aliyun": "handed"}


def test_a_withdrawn_message_gives_its_permit_back(home, holder, whole_post, wechat, sms):
    all_templates()
    in_the_mini_program(holder, wechat, permits=1)
    message = leave(home)
    wechat.spoil(answers=[{"match": "subscribe/send", "code": "45009"}])
    whole_post.carry()

    assert outbox.withdraw(key=message.key, now=timezone.now()) is True

    assert states(message)["wechat_subscribe"] == "withdrawn"
    assert Permit.objects.filter(ended_at=None).count() == 1


def test_two_carriers_use_one_permit_once(home, holder, whole_post, wechat, sms):
    all_templates()
    in_the_mini_program(holder, wechat, permits=1)
    for n in range(6):
        leave(home, key=f"one:{n}")

    race([whole_post.carry] * 3)

    assert len(wechat.sent()) == 1
    assert Delivery.objects.filter(channel="sms_aliyun", state="handed").count() == 5


def test_a_wish_for_english_is_met_where_there_is_an_english_text(home, holder, whole_post, sms):
    from notifications.models import Preference

    a_template(language="en", template_id="SMS_2000")
    Preference.objects.create(user=holder, language="en", changed_at=timezone.now())
    leave(home)

    whole_post.carry()

    assert sms.sent()[0]["template"] == "SMS_2000"
    assert "electricity balance 4.20 yuan" in Delivery.objects.get(channel="sms_aliyun").text
    assert Template.objects.count() == 1


# ---- proof ----


def test_what_was_handed_over_is_proven_only_so_far(home, holder, whole_post, sms):
    a_template()
    message = leave(home)
    whole_post.carry()

    assert proof.of(keys=[message.key], level="delivered") == {}
    (found,) = proof.of(keys=[message.key], level="handed").values()
    assert (found.channel, found.level, found.to) == ("sms_aliyun", "handed", holder.pk)


def test_the_inbox_proves_nothing_until_it_was_opened(home, holder, whole_post):
    message = leave(home)
    whole_post.carry()
    assert proof.of(keys=[message.key], level="handed") == {}
    assert proof.hopeless(keys=[message.key]) == {message.key}

    Delivery.objects.filter(channel="inbox").update(state="read", read_at=timezone.now())

    assert proof.of(keys=[message.key], level="delivered")[message.key].channel == "inbox"
    assert proof.hopeless(keys=[message.key]) == set()
