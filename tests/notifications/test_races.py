"""The same thing from two sides at the same instant: it happens once, and nothing is lost."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from django.db.models import F
from django.utils import timezone

from accounts import followers
from accounts.models import Identity
from notifications import desk, inbox, outbox, preferences, routes, tracing
from notifications.models import Channel, Delivery, Message, Preference
from tests import makers
from tests.notifications.post import Box, Post, a_home, a_template, at_kind, deliveries, leave, states
from tests.racing import race

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 6


@pytest.fixture(autouse=True)
def _never_quiet():
    with at_kind("low_balance", is_urgent=True):
        yield


def test_a_message_is_withdrawn_or_sent_and_its_floor_is_told_which(sms: Box, post: Post) -> None:
    a_template()
    for n in range(ROUNDS):
        home = a_home()
        message = leave(home, key=f"one:{n}")

        _carried, *unseen = race([post.carry, *[partial(outbox.withdraw, key=message.key, now=timezone.now())] * 3])
        post.carry()  # what was routed and not sent yet

        was_sent = len(sms.sent(str(home.members.get().user.phone)))
        assert was_sent in (0, 1)
        if was_sent:
            assert unseen.count(True) == 0
        else:
            assert unseen.count(True) == 1
            assert "handed" not in {state for name, state in states(message).items() if name != "inbox"}
        message.refresh_from_db()
        assert message.state == "withdrawn"


def test_two_carriers_follow_one_refusal_by_one_other_channel(sms: Box, post: Post) -> None:
    a_template(template_id="NO_SUCH")
    a_template(channel=Channel.SMS_TENCENT, template_id="449739")
    message = leave(a_home())
    post.carry()
    assert states(message)["sms_aliyun"] == "refused"
    Delivery.objects.filter(follow_at__isnull=False).update(follow_at=timezone.now())

    race([partial(routes.follow, channels=post.channels, now=timezone.now())] * 6)

    assert sorted(Delivery.objects.filter(message=message).values_list("channel", flat=True)) == [
        "inbox", "sms_aliyun", "sms_tencent",
    ]  # fmt: skip


def test_two_who_ask_the_vendor_about_one_message_send_it_again_once(sms: Box, post: Post) -> None:
    a_template()
    message = leave(a_home())
    sms.spoil(answers=[{"match": "SendSms", "drop": True}])
    post.carry()
    later = timezone.now() + timedelta(minutes=3)
    vendor = post.channels["sms_aliyun"]

    race([partial(tracing.trace, channel="sms_aliyun", carries=vendor, now=later)] * 5)
    Delivery.objects.filter(state="waiting").update(next_at=timezone.now())
    race([post.carry] * 4)

    assert (states(message)["sms_aliyun"], len(sms.sent())) == ("handed", 1)


def test_staff_who_press_send_again_together_make_one_delivery(sms: Box, post: Post) -> None:
    a_template()
    message = leave(a_home())
    post.carry()
    former, clerk = deliveries(message)["sms_aliyun"], makers.a_user(is_staff=True)

    def again() -> int:
        return desk.send_again(delivery_id=former.pk, by=clerk, reason="the phone was off", now=timezone.now())

    answers = race([again] * 8)

    assert sum(isinstance(answer, int) for answer in answers) == 1
    assert sum(isinstance(answer, desk.DeskRefused) for answer in answers) == 7
    assert Delivery.objects.filter(message=message, channel="sms_aliyun").count() == 2


def test_kinds_that_are_switched_off_together_are_all_off() -> None:
    user = makers.a_user()
    kinds = ["monthly_bill", "recharge_received", "power_back", "balance_is_well"]

    race([partial(preferences.switch_off, user=user, kind=kind, now=timezone.now()) for kind in kinds * 2])

    assert Preference.objects.get().off_kinds == sorted(kinds)


def test_a_message_that_is_opened_while_another_way_is_looked_for_is_not_sent_there(sms: Box, post: Post) -> None:
    a_template("cut_notice")
    a_template("cut_notice", channel=Channel.SMS_TENCENT, template_id="449739")
    for n in range(ROUNDS):
        home = a_home()
        message = leave(home, key=f"one:{n}", kind="cut_notice", available_fen=-1, hours=24)
        post.carry()
        Delivery.objects.filter(message=message, follow_at__isnull=False).update(follow_at=timezone.now())
        box, user = deliveries(message)["inbox"], home.members.get().user

        race(
            [
                partial(inbox.read, user=user, up_to=box.pk, only=True, now=timezone.now()),
                partial(routes.follow, channels=post.channels, now=timezone.now()),
            ]
        )

        assert states(message)["inbox"] == "read"
        assert not Delivery.objects.filter(message=message, follow_at__isnull=False).exists()
        assert Delivery.objects.filter(message=message).count() in (2, 3)  # whoever was first


def test_who_follows_is_joined_once_however_many_hear_of_it(settings) -> None:
    settings.WECHAT_OFFICIAL_APP_ID = "wxsandboxofficial"
    identity = makers.an_identity()
    Identity.objects.filter(pk=identity.pk).update(union_id="union-1")

    race([partial(followers.join, {"openid": "union-1"}, app_id="wxsandboxofficial")] * 8)

    assert Identity.objects.filter(app_id="wxsandboxofficial", user=F("user")).count() == 1
    assert Identity.objects.get(app_id="wxsandboxofficial").user == identity.user
    assert not Message.objects.exists()
