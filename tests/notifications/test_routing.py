"""When and by which way a person is told: pure decisions, over every hour of the day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications import routing
from notifications.kinds import TOLD
from notifications.models import Channel
from notifications.routing import Person

MINUTES = st.integers(0, 24 * 60 - 1)
INSTANTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
ALL = {
    Channel.WECHAT_SUBSCRIBE: "openid",
    Channel.WECHAT_TEMPLATE: "follower",
    Channel.ALIPAY_TEMPLATE: "open_id",
    Channel.SMS_ALIYUN: "13800000000",
    Channel.SMS_TENCENT: "13800000000",
}
LOW, PAID, CUT = TOLD["low_balance"], TOLD["recharge_received"], TOLD["cut_notice"]


def a_person(**about: object) -> Person:
    return Person(**{"user_id": 1, "addresses": {str(name): to for name, to in ALL.items()}} | about)  # type: ignore[arg-type]


def anything(_channel: str) -> bool:
    return True


def minute_of(at: datetime) -> int:
    here = at.astimezone(routing.SHANGHAI)
    return here.hour * 60 + here.minute


@given(now=INSTANTS, quiet_from=MINUTES, quiet_until=MINUTES)
def test_nothing_ordinary_is_sent_in_quiet_hours_and_nothing_waits_longer_than_they_last(now, quiet_from, quiet_until):
    person = a_person(quiet_from=quiet_from, quiet_until=quiet_until)

    at = routing.not_before(person, about=LOW, now=now)

    lasts = (quiet_until - quiet_from) % (24 * 60)
    assert now <= at <= now + timedelta(minutes=lasts)
    if lasts:
        assert (minute_of(at) - quiet_from) % (24 * 60) >= lasts
    if (minute_of(now) - quiet_from) % (24 * 60) >= lasts:
        assert at == now


@given(now=INSTANTS, quiet_from=MINUTES, quiet_until=MINUTES)
def test_what_is_urgent_never_waits(now, quiet_from, quiet_until):
    person = a_person(quiet_from=quiet_from, quiet_until=quiet_until)

    assert routing.not_before(person, about=CUT, now=now) == now


def test_what_costs_nothing_comes_first_and_what_was_tried_is_not_tried_again():
    tried: list[str] = []
    while channel := routing.next_channel(a_person(), about=LOW, tried=tried, can=anything):
        tried.append(channel)

    assert tried == [
        "wechat_subscribe", "wechat_template", "alipay_template", "sms_aliyun", "sms_tencent", "console",
    ]  # fmt: skip


def test_what_is_not_serious_never_costs():
    person = a_person(addresses={"sms_aliyun": "13800000000"})

    assert routing.next_channel(person, about=PAID, tried=(), can=lambda one: one != "console") is None


def test_who_had_enough_today_is_told_what_is_urgent_alone():
    person = a_person(has_enough=True)

    assert routing.next_channel(person, about=LOW, tried=(), can=anything) is None
    assert routing.next_channel(person, about=CUT, tried=(), can=anything) == "wechat_subscribe"


@pytest.mark.parametrize(
    ("kind", "off", "is_holder", "is_told"),
    [
        ("low_balance", ["low_balance"], True, False),
        ("cut_notice", ["cut_notice"], True, True),  # compulsory, whatever a row may say
        ("monthly_bill", [], False, False),
        ("monthly_bill", [], True, True),
        ("low_balance", [], False, True),
    ],
)
def test_who_is_told_at_all(kind, off, is_holder, is_told):
    person = a_person(off_kinds=frozenset(off), is_holder=is_holder)

    assert routing.wants(person, kind=kind, about=TOLD[kind]) is is_told


@given(tries=st.integers(1, 1000))
def test_a_vendor_is_asked_again_ever_more_seldom_and_at_least_each_hour(tries):
    wait = routing.again_after(tries)

    assert timedelta(seconds=30) <= wait <= timedelta(hours=1)
    assert wait <= routing.again_after(tries + 1)
