"""The doctor says where tenants who would pay by WeChat are refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from config.doctor import EXAMINATIONS
from config.ways_to_pay import ways_to_pay
from tests import makers

pytestmark = pytest.mark.django_db
MINI, OFFICIAL = "wxsandboxmini", "wxofficial"


@pytest.fixture(autouse=True)
def _apps(settings):
    settings.WECHAT_MINI_APP_ID, settings.WECHAT_OFFICIAL_APP_ID = MINI, OFFICIAL


@pytest.fixture
def place():
    return makers.a_property(code="garden")


def told() -> list[tuple[str, str]]:
    return [(one.where, one.what) for one in ways_to_pay(timezone.now())]


def test_it_is_part_of_the_examination():
    assert ways_to_pay in EXAMINATIONS


def test_a_property_that_takes_money_in_the_mini_program_alone_is_named(place):
    makers.a_merchant(place=place, app_id=MINI)

    assert told() == [("Property garden", "takes no WeChat Pay in WeChat's own browser")]


def test_nothing_ails_who_takes_it_in_both(place):
    for app_id in (MINI, OFFICIAL):
        makers.a_merchant(place=place, app_id=app_id)

    assert told() == []


def test_an_app_that_is_not_set_up_is_not_missed(place, settings):
    settings.WECHAT_OFFICIAL_APP_ID = ""
    makers.a_merchant(place=place, app_id=MINI)

    assert told() == []


def test_who_takes_no_wechat_pay_at_all_wants_none(place):
    makers.a_merchant(provider="alipay", place=place)

    assert told() == []


@pytest.mark.parametrize("ended", [{"retired_at": timezone.now()}, {}])
def test_a_merchant_that_takes_money_no_more_counts_for_nothing(place, ended):
    makers.a_merchant(place=place, app_id=MINI)
    gone = makers.a_merchant(place=place, app_id=OFFICIAL, **ended)
    if not ended:
        gone.assignments.update(ends_at=timezone.now() - timedelta(days=1))

    assert len(told()) == 1
