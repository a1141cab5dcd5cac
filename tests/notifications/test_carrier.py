"""A message that was left reaches its people once, by a channel that works, and we can say what became of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from notifications import outbox, tracing
from notifications.models import Delivery, Message
from tests import makers
from tests.notifications.post import Box, Post, a_home, a_phone, a_template, at_kind, deliveries, leave, states

pytestmark = pytest.mark.django_db(transaction=True)
A_DAY_AWAKE = {"is_urgent": True}  # so that no test depends on the hour at which it runs


@pytest.fixture(autouse=True)
def _never_quiet():
    with at_kind("low_balance", **A_DAY_AWAKE), at_kind("recharge_received", **A_DAY_AWAKE):
        yield


def holder_phone(tenancy) -> str:
    return str(tenancy.members.get(role="holder").user.phone)


def test_a_low_balance_is_told_by_sms_and_stands_in_the_inbox(sms: Box, post: Post) -> None:
    a_template()
    home = a_home()
    message = leave(home)

    post.carry()

    (sent,) = sms.sent(holder_phone(home))
    by = deliveries(message)
    assert states(message) == {"inbox": "handed", "sms_aliyun": "handed"}
    assert sent["params"]["room"] == str(home.room)
    assert sent["params"]["balance"] == "4.20"
    assert sent["reference"] == by["sms_aliyun"].reference
    assert (by["sms_aliyun"].vendor_id, by["sms_aliyun"].parts) == (sent["number"], 1)
    assert by["sms_aliyun"].cost_milli_fen == 4500
    assert "4.20元" in by["sms_aliyun"].text
    assert "4.20元" in by["inbox"].text
    assert Message.objects.get().state == "carried"


def test_it_is_told_once_however_often_the_carrier_looks(sms: Box, post: Post) -> None:
    a_template()
    home = a_home()
    leave(home)

    for _ in range(3):
        post.carry()
        leave(home)

    assert len(sms.sent(holder_phone(home))) == 1


def test_what_is_not_serious_costs_no_sms(sms: Box, post: Post) -> None:
    a_template("recharge_received")
    message = leave(a_home(), kind="recharge_received", amount_fen=5000)

    post.carry()

    assert states(message) == {"inbox": "handed"}
    assert sms.sent() == []


def test_nobody_is_told_where_nobody_lives(post: Post) -> None:
    message = leave(makers.a_tenancy())

    post.carry()

    message.refresh_from_db()
    assert (message.state, message.deliveries.count()) == ("nobody", 0)


def test_what_would_come_too_late_lapses(sms: Box, post: Post) -> None:
    a_template()
    message = leave(a_home(), now=timezone.now() - timedelta(days=3))

    post.carry()

    message.refresh_from_db()
    assert (message.state, sms.sent()) == ("lapsed", [])


def test_a_kind_that_nobody_knows_holds_up_nobody_else(sms: Box, post: Post) -> None:
    a_template()
    odd, plain = leave(a_home(), kind="a_new_kind"), leave(a_home())

    post.carry()

    odd.refresh_from_db()
    assert odd.state == "nobody"
    assert states(plain)["sms_aliyun"] == "handed"


def test_what_was_withdrawn_is_not_sent_and_says_so(sms: Box, post: Post) -> None:
    a_template()
    message = leave(a_home())

    assert outbox.withdraw(key=message.key, now=timezone.now()) is True
    post.carry()

    message.refresh_from_db()
    assert (message.state, sms.sent()) == ("withdrawn", [])


def test_what_waits_for_the_morning_can_still_be_withdrawn(sms: Box, post: Post) -> None:
    a_template()
    message = leave(a_home())
    post.carry()
    Delivery.objects.filter(channel="sms_aliyun").update(
        state="waiting", next_at=timezone.now() + timedelta(hours=1), handed_at=None
    )

    assert outbox.withdraw(key=message.key, now=timezone.now()) is True

    assert states(message) == {"inbox": "handed", "sms_aliyun": "withdrawn"}


def test_who_was_told_cannot_be_untold(sms: Box, post: Post) -> None:
    a_template()
    message = leave(a_home())
    post.carry()

    assert outbox.withdraw(key=message.key, now=timezone.now()) is False

    message.refresh_from_db()
    assert message.state == "withdrawn"  # the inbox says that it is no longer true


def test_everybody_of_the_home_is_told_and_who_left_before_is_not(sms: Box, post: Post) -> None:
    a_template()
    home = a_home()
    sharer, gone = makers.a_user(phone=a_phone()), makers.a_user(phone=a_phone())
    home.members.create(user=sharer, role="sharer", joined_at=makers.LONG_AGO)
    home.members.create(user=gone, role="sharer", joined_at=makers.LONG_AGO, left_at=makers.LONG_AGO)
    leave(home)

    post.carry()

    assert {one["to"] for one in sms.sent()} == {holder_phone(home), sharer.phone}


# ---- what vendors do ----


def test_a_refusal_for_good_is_kept_with_its_code_and_not_tried_again(sms: Box, post: Post) -> None:
    a_template(template_id="NO_SUCH")
    message = leave(a_home())

    for _ in range(3):
        post.carry()

    refused = deliveries(message)["sms_aliyun"]
    assert (refused.state, refused.code, refused.tries) == ("refused", "isv.SMS_TEMPLATE_ILLEGAL", 1)


def test_a_vendor_that_puts_us_off_is_asked_again_later(sms: Box, post: Post) -> None:
    a_template()
    message = leave(a_home())
    sms.spoil(answers=[{"match": "SendSms", "code": "isv.BUSINESS_LIMIT_CONTROL"}])

    post.carry()
    waits = deliveries(message)["sms_aliyun"]
    assert (waits.state, waits.code, waits.tries) == ("waiting", "isv.BUSINESS_LIMIT_CONTROL", 1)
    assert waits.next_at is not None
    assert waits.next_at > timezone.now() + timedelta(seconds=20)
    post.carry()
    assert sms.sent() == []
    Delivery.objects.filter(pk=waits.pk).update(next_at=timezone.now())
    post.carry()

    assert (states(message)["sms_aliyun"], len(sms.sent())) == ("handed", 1)


@pytest.mark.parametrize("fault", [{"drop": True}, {"html": "<h1>502"}, {"delay_ms": 1500}], ids=str)
def test_an_answer_that_never_came_is_looked_up_and_not_sent_again(sms: Box, post: Post, fault) -> None:
    a_template()
    message = leave(a_home())
    sms.spoil(answers=[{"match": "SendSms", "work_done": True} | fault])

    post.carry()
    assert states(message)["sms_aliyun"] == "unknown"
    post.trace(after=timedelta(seconds=20))

    assert states(message)["sms_aliyun"] == "delivered"
    assert len(sms.sent()) == 1


def test_what_the_vendor_never_took_is_sent_again_after_it_was_asked_for_long_enough(sms: Box, post: Post) -> None:
    a_template()
    message = leave(a_home())
    sms.spoil(answers=[{"match": "SendSms", "drop": True}])

    post.carry()
    post.trace(after=timedelta(seconds=20))
    assert states(message)["sms_aliyun"] == "unknown"  # it may still turn up
    post.trace(after=timedelta(minutes=3))
    assert states(message)["sms_aliyun"] == "waiting"
    Delivery.objects.update(next_at=timezone.now())
    post.carry()

    assert (states(message)["sms_aliyun"], len(sms.sent())) == ("handed", 1)


def test_a_vendor_that_cannot_be_asked_leaves_it_unknown_until_nobody_can_say(sms: Box, post: Post) -> None:
    a_template()
    message = leave(a_home())
    sms.spoil(answers=[{"match": "SendSms", "drop": True}, {"match": "QuerySendDetails", "drop": True, "times": 9}])

    post.carry()
    post.trace(after=timedelta(minutes=5))
    assert states(message)["sms_aliyun"] == "unknown"
    post.trace(after=timedelta(minutes=31))

    assert (states(message)["sms_aliyun"], sms.sent()) == ("lost", [])


def test_a_claim_whose_carrier_died_is_looked_up(sms: Box, post: Post) -> None:
    a_template()
    message = leave(a_home())
    post.carry()
    Delivery.objects.filter(channel="sms_aliyun").update(  # as if it had died before it wrote the answer down
        state="claimed", handed_at=None, vendor_id=""
    )

    post.trace()
    assert states(message)["sms_aliyun"] == "claimed"  # somebody may be sending it
    post.trace(after=tracing.lease() + timedelta(seconds=1))

    assert (states(message)["sms_aliyun"], len(sms.sent())) == ("delivered", 1)


def test_the_second_sms_vendor_is_used_when_the_first_refuses(sms: Box, post: Post) -> None:
    a_template(template_id="NO_SUCH")
    a_template(channel="sms_tencent", template_id="449739")
    message = leave(a_home())

    post.carry()
    post.carry()

    assert states(message) == {"inbox": "handed", "sms_aliyun": "refused", "sms_tencent": "handed"}


def test_a_number_that_had_fifty_today_is_not_sent_a_fifty_first(sms: Box, post: Post) -> None:
    a_template()
    home = a_home()
    for n in range(51):
        leave(home, key=f"one:{n}")
        post.carry()

    assert len(sms.sent(holder_phone(home))) == 50
    assert Delivery.objects.filter(channel="inbox").count() == 51


def test_the_inbox_of_a_person_who_had_enough_today_still_has_everything(sms: Box, post: Post) -> None:
    a_template()
    home = a_home()
    with at_kind("low_balance", is_urgent=False):
        for n in range(20):
            leave(home, key=f"one:{n}")
            post.carry()

    assert Delivery.objects.filter(channel="sms_aliyun").count() == 12
    assert Delivery.objects.filter(channel="inbox").count() == 20


def test_a_message_rings_when_its_transaction_commits() -> None:
    import psycopg

    from tests.gateways import database_url

    with psycopg.connect(database_url(), autocommit=True) as listener:
        listener.execute("listen messages")
        leave(a_home())
        rung = list(listener.notifies(timeout=5, stop_after=1))

    assert [one.channel for one in rung] == ["messages"]


def test_two_messages_of_a_kind_to_one_number_keep_the_distance_that_the_vendor_wants(sms: Box, post: Post) -> None:
    a_template(channel="sms_tencent", template_id="449739")
    home = a_home()
    leave(home, key="one")
    leave(home, key="two")

    post.carry()

    first, second = Delivery.objects.filter(channel="sms_tencent").order_by("pk")
    assert (first.state, second.state) == ("handed", "waiting")
    assert second.next_at is not None
    assert timedelta(seconds=25) < second.next_at - timezone.now() <= timedelta(seconds=30)
    leave(home, key="three")
    post.carry()
    third = Delivery.objects.get(channel="sms_tencent", message__key="three")
    assert third.next_at is not None
    assert third.next_at - second.next_at == timedelta(seconds=30)


def test_what_is_withdrawn_while_its_vendor_puts_us_off_is_not_sent_later(sms: Box, post: Post) -> None:
    a_template()
    message = leave(a_home())
    post.carry()
    Delivery.objects.filter(channel="sms_aliyun").update(state="claimed", handed_at=None)  # it is being sent …
    outbox.withdraw(key=message.key, now=timezone.now())
    Delivery.objects.filter(channel="sms_aliyun").update(state="waiting", next_at=timezone.now())  # … and put off

    post.carry()

    assert states(message)["sms_aliyun"] == "withdrawn"
    assert len(sms.sent()) == 1


def test_what_waits_for_the_morning_keeps_no_other_message_waiting(sms: Box, post: Post) -> None:
    a_template(channel="sms_tencent", template_id="449739")
    home = a_home()
    leave(home, key="quiet")
    post.carry()
    morning = timezone.now() + timedelta(hours=5)
    Delivery.objects.filter(channel="sms_tencent").update(
        state="waiting", claimed_at=None, handed_at=None, next_at=morning
    )

    leave(home, key="now")
    post.carry()

    assert Delivery.objects.get(channel="sms_tencent", message__key="now").state == "handed"


def test_a_vendor_that_has_it_after_all_is_still_waited_for(sms: Box, post: Post) -> None:
    a_template("cut_notice")
    sms.spoil(answers=[{"match": "SendSms", "work_done": True, "drop": True}], receipts="never")
    message = leave(a_home(), kind="cut_notice", available_fen=-1, hours=24)

    post.carry()
    post.trace(after=timedelta(seconds=20))

    handed = deliveries(message)["sms_aliyun"]
    assert handed.state == "handed"
    assert handed.follow_at is not None  # the next way is tried when no receipt comes
