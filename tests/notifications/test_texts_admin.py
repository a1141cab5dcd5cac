"""Staff edit what messages say: what a vendor would refuse is refused here, and a preview reads as a tenant would."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from notifications.models import Channel, Template
from tests import makers
from tests.desk import address, at_work, staff_of
from tests.notifications.post import a_template

pytestmark = pytest.mark.django_db


@pytest.fixture
def place():
    return makers.a_property(name="Hereyard")


@pytest.fixture
def desk(place):
    return at_work(staff_of(place))


@pytest.fixture
def operator():
    return at_work(makers.a_user(is_staff=True, is_superuser=True, name="operator"))


def enter(client, **about: Any):
    answers = {"kind": "low_balance", "channel": "sms_aliyun", "language": "zh-hans", "template_id": "SMS_1",
               "text": "{room}余额{balance}元", "fields": "{}", "property": ""}  # fmt: skip
    return client.post(address(Template, "add"), answers | about)


def refused(page: Any) -> dict[str, list[str]]:
    return dict(page.context["adminform"].form.errors) if page.status_code == 200 else {}


def preview(client, template: Template) -> str:
    page = client.get(reverse("admin:notifications_template_preview", args=[template.pk]))
    assert page.status_code == 200
    return str(page.content.decode())


def test_a_manager_writes_the_text_of_their_own_property(place, desk):
    page = enter(desk, property=place.pk)

    assert page.status_code == 302
    row = Template.objects.get()
    assert (row.property, row.text, row.changed_by.name) == (place, "{room}余额{balance}元", "manager of Hereyard")


def test_what_holds_for_all_properties_is_the_operators(desk, operator):
    assert refused(enter(desk)) != {}
    assert enter(operator).status_code == 302


def test_nobody_writes_the_text_of_somebody_elses_property(desk):
    assert refused(enter(desk, property=makers.a_property().pk)) != {}
    assert not Template.objects.exists()


def test_finance_and_service_change_no_text(place):
    for role in ("finance", "service"):
        assert enter(at_work(staff_of(place, role)), property=place.pk).status_code == 403


@pytest.mark.parametrize(
    ("about", "field", "says"),
    [
        ({"text": "{room}余额{amount}元"}, "text", "Nobody knows {amount}"),
        ({"fields": '{"a": "{moon}"}'}, "fields", "Nobody knows {moon}"),
        ({"template_id": ""}, "template_id", "only templates of the vendor"),
        ({"fields": "[1]"}, "fields", "Write them as"),
        ({"fields": '{"a": 5}'}, "fields", "Write them as"),
        ({"channel": "sms_tencent", "fields": '{"room": "{room}"}'}, "fields", "are numbered"),
        ({"channel": "wechat_subscribe", "fields": '{"room": "{room}"}'}, "fields", "no field of WeChat"),
    ],
)
def test_what_cannot_be_sent_is_not_saved(place, desk, about, field, says):
    page = enter(desk, property=place.pk, **about)

    assert says in " ".join(refused(page)[field])
    assert not Template.objects.exists()


def test_there_is_one_text_for_a_kind_a_channel_and_a_language(place, desk):
    enter(desk, property=place.pk)

    page = enter(desk, property=place.pk)

    assert "There is one already" in str(refused(page))


def test_a_text_is_changed_by_the_same_rules(place, desk):
    row = a_template(property=place, text="余额{balance}元")
    answers = {"kind": "low_balance", "template_id": "SMS_2", "fields": "{}"}

    page = desk.post(address(row, "change"), answers | {"text": "{moon}"})
    assert "Nobody knows {moon}" in str(refused(page))
    page = desk.post(address(row, "change"), answers | {"text": "还有{balance}元"})

    assert page.status_code == 302
    row.refresh_from_db()
    assert (row.text, row.template_id, row.channel) == ("还有{balance}元", "SMS_2", "sms_aliyun")


def test_our_own_channels_need_no_template(place, desk):
    assert enter(desk, property=place.pk, channel="inbox", template_id="").status_code == 302


def test_a_preview_shows_the_text_filled_in_and_what_it_costs(place, desk):
    short = a_template(property=place, text="{room}余额{balance}元")
    long = a_template("cut_notice", property=place, text="{room}余额{balance}元。" + "请充值" * 20)

    assert "1号楼-1203余额12.34元" in preview(desk, short)
    assert "charged" not in preview(desk, short)
    assert "this is charged 2 times" in preview(desk, long)


@pytest.mark.parametrize("channel", [one for one in Channel.values if one not in {"inbox", "console"}])
def test_the_text_for_all_properties_has_a_preview_by_every_channel(operator, channel):
    assert "12.34" in preview(operator, a_template(channel=channel))


def test_a_preview_shows_how_much_room_a_field_of_wechat_has(place, desk):
    row = a_template(
        property=place, channel=Channel.WECHAT_SUBSCRIBE, fields={"thing1": "{room}", "amount2": "{balance}"}
    )

    page = preview(desk, row)

    assert "8 / 20" in page
    assert "12.34" in page


def test_a_preview_says_what_wechat_would_refuse(place, desk):
    row = a_template("cut_notice", property=place, channel=Channel.WECHAT_TEMPLATE, fields={"amount2": "{balance}"})

    assert "amount2 does not take “-1.20”" in preview(desk, row)


def test_an_english_text_is_shown_in_english(place, desk):
    assert "Please recharge" in preview(desk, a_template(property=place, language="en"))


def test_staff_of_elsewhere_see_no_preview(place):
    row = a_template(property=place)
    elsewhere = at_work(staff_of(makers.a_property(name="Elsewhere")))

    assert elsewhere.get(reverse("admin:notifications_template_preview", args=[row.pk])).status_code == 404
