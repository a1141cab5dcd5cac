"""A tenant lists their bills: each month says what its bill says."""

from __future__ import annotations

from datetime import date

import pytest

from accounts.models import Member
from billing.models import Draw, UsageMonth
from tests import makers
from tests.billing.rating import world
from tests.billing.rating.world import PERIODS_AND_TIERS, START
from tests.portal.test_usage_api import tell

pytestmark = pytest.mark.django_db


@pytest.fixture
def draw() -> Draw:
    draw = world.a_draw(world.a_version(PERIODS_AND_TIERS))
    assert draw.tenancy
    Member.objects.create(tenancy=draw.tenancy, user=makers.a_user(), role="holder", joined_at=START)
    tell(draw, *((h, 100_000 + 500 * h) for h in (0.25, 6, 12, 18, 24, 30)))
    return draw


@pytest.fixture
def tenant(draw):
    return makers.a_login(draw.tenancy.members.get().user)


def a_month(draw, month_date, *, wh=1000, nano=5_000_000_000, days=30):
    UsageMonth.objects.create(
        draw=draw, month_date=month_date, property=draw.property, purse=draw.purse, days=days, energy_wh=wh,
        cost_nano=nano, fee_nano=100_000_000,
    )  # fmt: skip


def get(client, draw, headers, path="bills", **query):
    return client.get(f"/api/v1/homes/{draw.tenancy_id}/{path}", query, headers=headers)


def test_a_month_in_the_list_says_what_its_bill_says(client, draw, tenant):
    (month,) = get(client, draw, tenant).json()["bills"]

    bill = get(client, draw, tenant, f"bills/{month['month']}").json()
    assert (month["month"], month["is_final"]) == ("2026-11", False)
    assert (month["energy_kwh"], month["amount"]) == (bill["energy_kwh"], bill["amount"])


def test_months_come_newest_first_and_go_on_page_by_page(client, draw, tenant):
    for month in range(1, 11):
        a_month(draw, date(2026, month, 1))

    first = get(client, draw, tenant, limit=4).json()
    second = get(client, draw, tenant, limit=4, cursor=first["next"]).json()
    third = get(client, draw, tenant, limit=4, cursor=second["next"]).json()

    told = [one["month"] for page in (first, second, third) for one in page["bills"]]
    assert told == [f"2026-{month:02}" for month in range(11, 0, -1)]
    assert (first["next"], third["next"]) == ("2026-08", None)


def test_a_month_is_final_when_its_days_are_closed(client, draw, tenant):
    a_month(draw, date(2026, 10, 1))
    Draw.objects.update(starts_at=START.replace(month=10), closed_until=date(2026, 10, 31))
    assert [one["is_final"] for one in get(client, draw, tenant).json()["bills"]] == [False, False]

    Draw.objects.update(closed_until=date(2026, 11, 1))

    assert [one["is_final"] for one in get(client, draw, tenant).json()["bills"]] == [False, True]


def test_a_meter_that_was_taken_down_keeps_no_month_open(client, draw, tenant):
    a_month(draw, date(2026, 10, 1))
    Draw.objects.update(
        starts_at=START.replace(month=9), ends_at=START.replace(month=10), closed_until=date(2026, 10, 10)
    )

    assert [one["is_final"] for one in get(client, draw, tenant).json()["bills"]] == [True, True]


def test_energy_of_two_meters_is_one_month_and_is_rounded_once(client, draw, tenant):
    world.a_draw(draw.version)
    Draw.objects.exclude(pk=draw.pk).update(tenancy=draw.tenancy, purse=draw.purse)
    for one in Draw.objects.all():
        a_month(one, date(2026, 10, 1), wh=500, nano=400_000_000)

    month = get(client, draw, tenant).json()["bills"][1]

    assert (month["energy_kwh"], month["amount"]["fen"]) == ("1.000", 1)  # 0.5 fen each


def test_the_list_asks_four_questions_however_long_it_is(client, draw, tenant, django_assert_num_queries):
    for month in range(1, 11):
        a_month(draw, date(2026, month, 1))

    with django_assert_num_queries(4):  # token, home, draws, months
        get(client, draw, tenant)


@pytest.mark.parametrize("query", [{"cursor": "2026-13"}, {"cursor": "1999-01"}, {"limit": 0}, {"limit": 61}])
def test_a_page_that_cannot_be_is_refused(client, draw, tenant, query):
    assert get(client, draw, tenant, **query).status_code == 400


def test_nobody_else_sees_them(client, draw, tenant):
    Draw.objects.update(tenancy=None)
    assert get(client, draw, tenant).json() == {"bills": [], "next": None}
    assert get(client, draw, makers.a_login(makers.a_user())).status_code == 404
