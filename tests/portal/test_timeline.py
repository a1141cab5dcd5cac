"""A tenant reads what happened to their home, in order and to the end, and nothing of anybody else's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Member
from billing import prepaid, timeline
from billing.models import Alert, Draw, Emergency, Interruption, StaffHold, SupplyDecision, UsageDay
from billing.policy import Verdict
from portal import homes
from tests import makers
from tests.billing.rating import world

pytestmark = pytest.mark.django_db
NOON = world.NOW


@pytest.fixture
def purse():
    draw = world.a_draw()
    assert draw.tenancy
    Member.objects.create(tenancy=draw.tenancy, user=makers.a_user(), role="holder", joined_at=world.START)
    return draw.purse


@pytest.fixture
def tenant(purse):
    return makers.a_login(purse.tenancy.members.get().user)


def recharge(purse, key: str, *, at) -> None:
    prepaid.top_up(
        key=key, kind="recharge", purse_id=purse.pk, amount_fen=5000, source=prepaid.Source("clearing", "merchant:x"),
        meter_id=None, happened_at=at, trace="", actor_id=None, reason="", now=at,
    )  # fmt: skip


def decide(purse, verdict: str, *, at, because=()) -> SupplyDecision:
    return SupplyDecision.objects.create(
        purse=purse, room=purse.tenancy.room, property=purse.property, decided_at=at, verdict=verdict, wants="closed",
        because=list(because), available_fen=-120,
    )  # fmt: skip


def fill(purse) -> None:
    """One of each kind, a minute apart."""
    room, meter = purse.tenancy.room, Draw.objects.get(purse=purse).meter

    def minute(n):
        return NOON + timedelta(minutes=n)

    recharge(purse, "r1", at=minute(0))
    Alert.objects.create(
        purse=purse, level="fen:500", recharge=1, raised_at=minute(1), available_fen=480, over_at=minute(9)
    )
    decide(purse, Verdict.SPARED, at=minute(2), because=[["notice_running", {}]])
    decide(purse, Verdict.SPENT, at=minute(3))
    Interruption.objects.create(
        property=purse.property, room=room, meter=meter, purse=purse, state="over", cause="spent",
        ordered_at=minute(3), off_at=minute(4), restore_ordered_at=minute(6), on_at=minute(7), seconds=3.2,
    )  # fmt: skip
    Emergency.objects.create(
        purse=purse, property=purse.property, recharge=1, amount_fen=1000, taken_at=minute(5),
        taken_by=makers.a_user(), repaid_at=minute(8),
    )  # fmt: skip
    StaffHold.objects.create(
        room=room, property=purse.property, position="open", reason="water in the cellar", placed_at=minute(10),
        placed_by=makers.a_user(), lifted_at=minute(11),
    )  # fmt: skip


def get(client, purse, headers, **query):
    language = {"Accept-Language": query.pop("language", "en")}
    return client.get(f"/api/v1/homes/{purse.tenancy_id}/timeline", query, headers=headers | language)


def test_everything_is_told_newest_first_with_its_words(client, purse, tenant):
    fill(purse)

    told = get(client, purse, tenant).json()

    assert [one["kind"] for one in told["events"]] == [
        "hold_over", "hold", "warning_over", "emergency_credit_repaid", "power_on", "emergency_credit", "power_off",
        "decision", "decision", "warning", "money",
    ]  # fmt: skip
    texts = {one["kind"]: one["text"] for one in told["events"]}
    assert texts["hold"] == "The property has switched the power off: water in the cellar"
    assert texts["power_on"] == "The power is back, 3 seconds after it was ordered."
    assert texts["decision"] == "used up, not cut: the period of the notice is running"
    assert texts["warning"] == "Balance: below ¥5.00."
    last = told["events"][-1]
    assert (last["kind"], last["text"], last["amount"]) == ("money", "recharge", {"fen": 5000, "yuan": "50.00"})
    assert told["next"] is None


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_pages_go_on_where_the_last_ended_also_within_one_instant(client, purse, tenant, limit):
    fill(purse)
    for n in range(4):
        recharge(purse, f"same-{n}", at=NOON + timedelta(minutes=3))
        decide(purse, Verdict.PAID, at=NOON + timedelta(minutes=3))
    whole = get(client, purse, tenant, limit=100).json()["events"]

    pages, before = [], {}
    while True:
        page = get(client, purse, tenant, limit=limit, **before).json()
        pages += page["events"]
        if page["next"] is None:
            break
        before = {"before": page["next"]}

    assert len(whole) == 19
    assert pages == whole


def test_what_goes_into_a_meter_says_how_much(client):
    room = makers.a_room()
    makers.a_meter(room=room, held_by="meter", is_online=True)
    tenant = makers.a_user()
    purse = makers.a_purse(tenancy=makers.a_tenancy(room=room, holder=tenant))
    recharge(purse, "r1", at=timezone.now())

    (event,) = timeline.events(tenancy=purse.tenancy)

    assert (event.kind, event.amount_fen) == ("money", 5000)


def test_next_goes_into_an_address_as_it_is(client, purse, tenant):
    fill(purse)
    page = get(client, purse, tenant, limit=2).json()

    answer = client.get(f"/api/v1/homes/{purse.tenancy_id}/timeline?before={page['next']}", headers=tenant)

    assert answer.status_code == 200
    assert [one["kind"] for one in answer.json()["events"]][:2] == ["warning_over", "emergency_credit_repaid"]


@pytest.mark.parametrize(
    "before",
    [
        "x",
        "~",
        "2026-11-23~0~1",
        "2026-11-23T00:00:00Z~99~1",
        "2026-11-23T00:00:00Z~0~0",
        f"2026-11-23T00:00:00Z~0~{2**63}",
        "2026-11-23T00:00:00~0~1",
        "2026-11-23T00:00:00+23:59~0~1",
        "2026-11-23T00:00:00+08:00:30.5~0~1",
        "0001-01-01T00:00:00+08:00~0~1",
        "20261123T000000Z~0~1",
        "a~b~c",
        "1" * 90,
    ],
)
def test_a_place_that_is_none_is_refused_in_words(client, purse, tenant, before):
    answer = get(client, purse, tenant, before=before, language="zh-hans")

    assert answer.status_code == 400
    assert "before" in str(answer.json())


def test_others_see_nothing_of_it(client, purse):
    fill(purse)
    neighbour, former = makers.a_user(), purse.tenancy.members.get().user
    makers.a_tenancy(room=makers.a_room(place=purse.property), holder=neighbour)
    purse.tenancy.members.update(left_at=NOON)

    assert get(client, purse, makers.a_login(neighbour)).status_code == 404
    assert get(client, purse, makers.a_login(former)).status_code == 404
    assert get(client, purse, {}).status_code == 401


def test_holds_of_who_lived_there_before_are_not_theirs(purse):
    StaffHold.objects.create(
        room=purse.tenancy.room, property=purse.property, position="open", reason="x",
        placed_at=world.START - timedelta(days=9), placed_by=makers.a_user(), lifted_at=NOON,
    )  # fmt: skip

    assert timeline.events(tenancy=purse.tenancy) == []


class TestDaysLeft:
    def test_the_balance_lasts_for_as_many_days_as_the_usual_use_says(self, purse):
        draw = Draw.objects.get(purse=purse)
        recharge(purse, "r1", at=NOON)
        for n, fen in enumerate([700, 800, 900]):
            UsageDay.objects.create(**a_day(draw, n, fen))

        balance = seen(purse).balance

        assert (balance.posted_fen, balance.accrued_fen, balance.available_fen) == (5000, 0, 5000)
        assert balance.days_left == 5000 // 800

    def test_what_lies_in_a_meter_counts_where_the_server_counts_none(self, purse):
        """As the warnings look at it: beside a meter that the server counts, it does not keep the light on there."""
        draw = Draw.objects.get(purse=purse)
        recharge(purse, "r1", at=NOON)
        UsageDay.objects.create(**a_day(draw, 0, 1000))
        makers.a_meter(room=draw.room, held_by="meter", balance_fen=90_000, reported_at=NOON)
        assert seen(purse).balance.days_left == 5

        draw.installation.ends_at = NOON
        draw.installation.save(update_fields=["ends_at"])

        assert seen(purse).balance.days_left == 95

    def test_a_debt_lasts_no_day_and_without_any_use_nobody_knows(self, purse):
        assert seen(purse).balance.days_left is None
        Draw.objects.filter(purse=purse).update(day_nano=100 * 10**9, total_nano=100 * 10**9)
        assert seen(purse).balance.days_left == 0
        assert seen(purse).balance.accrued_fen == 100


def seen(purse):
    found = homes.home(user=purse.tenancy.members.get().user, home_id=purse.tenancy_id, now=NOON)
    assert found
    return found


def a_day(draw: Draw, n: int, fen: int) -> dict[str, Any]:
    at = NOON - timedelta(days=n + 1)
    return {
        "draw": draw, "usage_date": at.date(), "property": draw.property, "purse": draw.purse, "opens_at": at,
        "opens_wh": 0, "closes_at": at, "closes_wh": 0, "cycle_before_wh": 0, "energy_wh": 0,
        "cost_nano": fen * 10**9, "fee_nano": 0, "slot_wh": [0] * 24, "lines": [], "notes": [], "posted_fen": fen,
    }  # fmt: skip
