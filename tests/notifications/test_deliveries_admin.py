"""Staff see how messages went and what they cost, send one again with a reason, and try a channel out."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse
from django.utils import timezone

from accounts.models import Tenancy, User
from notifications.models import Delivery, Message
from tests import makers
from tests.desk import address, at_work, do, staff_of, told
from tests.notifications.carried import a_delivery
from tests.notifications.post import a_home, a_template, deliveries, leave, states

pytestmark = pytest.mark.django_db


@pytest.fixture
def home():
    return a_home()


@pytest.fixture
def holder(home: Tenancy) -> User:
    return home.members.get().user


@pytest.fixture
def desk(home):
    return at_work(staff_of(home.property, "service"))


def sent(home, holder, *, state: str = "undelivered", channel: str = "sms_aliyun") -> Delivery:
    made = a_delivery(leave(home, key=f"{channel}:{state}"), state=state, channel=channel)
    Delivery.objects.filter(pk=made.pk).update(
        user=holder, address=holder.phone, text="余额4.20元", parts=2, cost_milli_fen=9_000, handed_at=made.made_at
    )
    made.refresh_from_db()
    return made


def costs(client, **asked: object) -> str:
    return str(client.get(reverse("admin:notifications_delivery_costs", query=asked or None)).content.decode())


def test_what_did_not_arrive_is_sent_again_with_a_reason(home, holder, desk):
    a_template()
    former = sent(home, holder)

    page = do(desk, "send_again", [former], reason="the phone was off")

    assert "It is being sent again." in told(page)
    again = Delivery.objects.get(turn=former.turn + 1)
    assert (again.state, again.user, again.channel, again.address) == ("waiting", holder, "sms_aliyun", holder.phone)
    assert (again.reason, again.sent_again_by.name) == ("the phone was off", f"service of {home.property.name}")
    assert again.reference != former.reference
    assert "the phone was off" in LogEntry.objects.latest("pk").change_message


def test_it_is_not_sent_again_without_a_reason_nor_twice(home, holder, desk):
    a_template()
    former = sent(home, holder)

    do(desk, "send_again", [former], reason=" ")
    assert Delivery.objects.count() == 1
    do(desk, "send_again", [former], reason="the phone was off")
    page = do(desk, "send_again", [former], reason="once more")

    assert "It was sent again already." in page.content.decode() + told(page)
    assert Delivery.objects.count() == 2


def test_what_is_on_its_way_is_not_sent_again(home, holder, desk):
    a_template()
    former = sent(home, holder)
    Delivery.objects.filter(pk=former.pk).update(state="waiting", next_at=timezone.now())

    do(desk, "send_again", [former], reason="impatient")

    assert Delivery.objects.count() == 1


def test_the_inbox_needs_no_sending(home, holder, desk):
    former = sent(home, holder, state="handed", channel="inbox")

    do(desk, "send_again", [former], reason="impatient")

    assert Delivery.objects.count() == 1


def test_a_test_message_goes_out_by_exactly_the_channel_that_was_chosen(home, holder, desk, whole_post, sms):
    a_template("trial", channel="sms_tencent")

    desk.post(
        address(Delivery, "add"),
        {"property": home.property.pk, "phone": holder.phone, "channel": "sms_tencent", "_answered": "1"},
    )
    whole_post.carry()

    message = Message.objects.get(kind="trial")
    assert states(message) == {"sms_tencent": "handed"}
    assert len(sms.sent(holder.phone)) == 1
    page = desk.get(address(deliveries(message)["sms_tencent"], "change"))
    assert "handed" in page.content.decode()


def test_a_test_message_does_not_go_to_who_lives_elsewhere(home, desk):
    a_template("trial")
    stranger = a_home().members.get().user

    page = desk.post(
        address(Delivery, "add"),
        {"property": home.property.pk, "phone": stranger.phone, "channel": "sms_aliyun", "_answered": "1"},
    )

    assert "Nobody here has this number." in page.content.decode()
    assert not Delivery.objects.exists()


def test_without_a_template_a_test_message_is_refused_in_the_page(home, holder, desk):
    page = desk.post(
        address(Delivery, "add"),
        {"property": home.property.pk, "phone": holder.phone, "channel": "sms_aliyun", "_answered": "1"},
        follow=True,
    )

    assert "There is no template for this kind of message there." in page.content.decode()
    assert not Message.objects.filter(kind="trial").exists()


def test_no_page_shows_a_whole_phone_number(home, holder, desk):
    made = sent(home, holder)
    pages = (address(made, "changelist"), address(made, "change"), address(made.message, "change"))

    shown = [desk.get(page).content.decode() for page in pages]

    assert [holder.phone in page for page in shown] == [False] * 3
    assert f"{holder.phone[:3]}****{holder.phone[-4:]}" in shown[1]


def test_a_message_shows_each_way_that_it_took(home, holder, desk):
    made = sent(home, holder, state="delivered")
    a_delivery(made.message, state="read", channel="inbox")

    page = desk.get(address(made.message, "change")).content.decode()

    for word in ("SMS", "delivered", "inbox", "read"):
        assert word.lower() in page.lower()


def test_costs_stand_by_day_property_and_channel(home, holder, desk):
    for state in ("delivered", "undelivered"):
        sent(home, holder, state=state)
    sent(home, holder, state="refused", channel="inbox")

    page = costs(desk)

    assert "¥0.180" in page  # two messages of two parts at 4.5 fen
    assert page.count(f"{timezone.localdate():%Y-%m-%d}</td>") == 1


def test_costs_of_other_properties_and_days_are_not_counted(home, holder, desk):
    made = sent(home, holder)
    elsewhere = at_work(staff_of(makers.a_property(name="Elsewhere")))
    before = timezone.localdate() - timedelta(days=3)

    assert "¥0.090" not in costs(elsewhere)
    assert "¥0.090" in costs(desk)
    Delivery.objects.filter(pk=made.pk).update(made_at=timezone.now() - timedelta(days=3))
    assert "¥0.090" in costs(desk, from_date=f"{before}", to_date=f"{before}")
    assert "¥0.090" not in costs(desk, from_date=f"{timezone.localdate()}", to_date=f"{timezone.localdate()}")


def test_costs_are_shown_for_a_month_at_most(home, desk):
    page = costs(desk, from_date="2026-01-01", to_date="2026-03-01")

    assert "Choose up to 31 days." in page
