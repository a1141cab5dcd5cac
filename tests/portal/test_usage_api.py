"""Every charge can be explained to the tenant who pays it, and to nobody else."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from accounts.models import Member, Tenancy
from billing import draws as drawing
from billing import tariffs
from billing.models import Draw, PriceSlot, UsageDay
from billing.rating import accrue, careful, days
from portal import usage
from tests import makers
from tests.billing.rating import world
from tests.billing.rating.world import HOUR, NOW, PERIODS_AND_TIERS, START

pytestmark = pytest.mark.django_db


@pytest.fixture
def draw(monkeypatch) -> Draw:
    draw = world.a_draw(world.a_version(PERIODS_AND_TIERS), cycle_wh=2_875_000)
    assert draw.tenancy
    Member.objects.create(tenancy=draw.tenancy, user=makers.a_user(), role="holder", joined_at=START)
    for module in ("portal.usage_api",):
        monkeypatch.setattr(f"{module}.timezone.now", lambda: NOW)
    tell(draw, *((h, 100_000 + 500 * h) for h in (0.25, 6, 12, 18, 24, 30, 36)))
    return draw


@pytest.fixture
def tenant(draw):
    return makers.a_login(draw.tenancy.members.get().user)


def tell(draw, *told, now=NOW):
    world.tell([(draw.meter, START + h * HOUR, int(wh)) for h, wh in told], stored_at=now)
    accrue.accrue(now=now)
    careful.work(now=now)
    days.close(now=now)
    draw.refresh_from_db()


def get(client, path, headers, **query):
    return client.get(f"/api/v1/{path}", query, headers={"Accept-Language": "en"} | headers)


def test_a_closed_day_is_explained_to_the_last_line_and_the_lines_add_up(client, draw, tenant):
    told = get(client, f"homes/{draw.tenancy_id}/usage/2026-11-10", tenant).json()

    (part,) = told["meters"]
    assert (told["date"], told["energy_kwh"], told["is_final"], told["is_priced"]) == (
        *("2026-11-10", "12.000"),
        *(True, True),
    )
    assert part["opens"] == {"at": "2026-11-10T00:00:00+08:00", "import_kwh": "100.000"}
    assert part["closes"] == {"at": "2026-11-11T00:00:00+08:00", "import_kwh": "112.000"}
    assert sum(float(line["energy_kwh"]) for line in part["lines"]) == 12
    assert {line["name"] for line in part["lines"]} == {"peak", "valley"}
    cents = sum(round(float(line["amount"]) * 100 + float(line["service_amount"]) * 100) for line in part["lines"])
    assert abs(cents - round(float(part["amount"]) * 100)) <= len(part["lines"]) // 2 + 1
    assert part["posted"] == part["amount"] == told["amount"]
    assert part["lines"][0]["tariff"] == {
        "name": "home", "version": 1, "starts": "2026-01-01", "is_provisional": False,
    }  # fmt: skip
    assert part["lines"][0]["service_fee"] == "0.03"
    assert sum(float(kwh) for kwh in part["hours_kwh"]) == 12
    assert part["revisions"] == []
    assert part["ratio"] == 1


def test_what_the_day_says_is_what_the_engine_kept(draw):
    kept = UsageDay.objects.get()

    explained = usage.day(tenancy=draw.tenancy, on=kept.usage_date, now=NOW)

    (part,) = explained.meters
    assert sum(line.cost_nano + line.fee_nano for line in part.lines) == explained.nano == draw.closed_nano
    assert all(line.cost_nano == line.energy_wh * line.price for line in part.lines)


def test_a_day_that_is_still_open_is_told_as_it_stands(client, draw, tenant):
    told = get(client, f"homes/{draw.tenancy_id}/usage/2026-11-11", tenant).json()

    assert (told["energy_kwh"], told["is_final"]) == ("6.000", False)
    assert told["meters"][0]["closes"]["import_kwh"] == "118.000"
    assert told["meters"][0]["posted"] == "0.00"
    explained = usage.day(tenancy=draw.tenancy, on=date(2026, 11, 11), now=NOW)
    assert draw.closed_nano + explained.nano == draw.total_nano


def test_what_a_day_was_before_it_was_corrected_is_told(client, draw, tenant):
    tell(draw, (20, 112_000), now=NOW + HOUR)

    told = get(client, f"homes/{draw.tenancy_id}/usage/2026-11-10", tenant).json()

    (before,) = told["meters"][0]["revisions"]
    assert (before["revision"], before["reason"], before["energy_kwh"]) == (1, "usage_corrected", "12.000")


def test_sums_by_hour_day_month_and_year_say_the_same(client, draw, tenant):
    path = f"homes/{draw.tenancy_id}/usage"
    asked = {"from": "2026-11-01", "to": "2026-11-12"}

    by_day = get(client, path, tenant, by="day", **asked).json()["usage"]
    by_hour = get(client, path, tenant, by="hour", **{"from": "2026-11-10", "to": "2026-11-11"}).json()["usage"]
    (month,) = get(client, path, tenant, by="month", **asked).json()["usage"]
    (year,) = get(client, path, tenant, by="year", **asked).json()["usage"]

    assert [one["energy_kwh"] for one in by_day] == ["12.000", "6.000"]
    assert [one["is_final"] for one in by_day] == [True, False]
    assert len(by_hour) == 36
    assert sum(float(one["energy_kwh"]) for one in by_hour) == 18
    assert by_hour[0]["amount"] is None
    assert (month["energy_kwh"], month["is_final"]) == ("18.000", False)
    assert (year["energy_kwh"], year["amount"]) == (month["energy_kwh"], month["amount"])
    assert {one["period"]: one["energy_kwh"] for one in month["periods"]}.keys() == {"peak", "valley"}
    assert abs(sum(float(one["amount"]) for one in by_day) - float(month["amount"])) < 0.015


def test_months_are_right_while_days_are_open_again(client, draw, tenant):
    whole = get(client, f"homes/{draw.tenancy_id}/usage", tenant, by="month").json()["usage"]
    careful.leave(installation_ids=[draw.installation_id], from_at=START, reason="late", now=NOW)
    careful.work(now=NOW)
    assert Draw.objects.get().closed_until == START.date()

    (again,) = get(client, f"homes/{draw.tenancy_id}/usage", tenant, by="month").json()["usage"]

    assert (again["energy_kwh"], again["amount"]) == (whole[0]["energy_kwh"], whole[0]["amount"])


def test_what_power_costs_today(client, draw, tenant):
    PriceSlot.objects.filter(usage_date__lt=date(2026, 11, 12)).delete()

    (told,) = get(client, f"homes/{draw.tenancy_id}/prices", tenant).json()["meters"]

    assert [(slot["period"], slot["from_at"][11:16]) for slot in told["today"]] == [
        ("valley", "00:00"),
        ("peak", "08:30"),
        ("valley", "22:00"),
    ]
    assert told["today"][1]["prices"] == ["0.56800001", "0.61800001", "0.86800001"]
    assert told["today"][1]["limits_kwh"] == ["2880", "4800"]
    assert (told["tariff"]["name"], told["coming"], told["supply"]) == ("home", None, None)


def test_the_price_that_comes_next_and_what_the_property_itself_pays_are_told_too(client, draw, tenant):
    makers.a_supply_price(draw.property, yuan="0.95")
    draft = makers.a_version(draw.version.tariff, starts_date=date(2026, 12, 1))
    tariffs.publish(version_id=draft.pk, by=None, reason="", now=NOW)

    (told,) = get(client, f"homes/{draw.tenancy_id}/prices", tenant).json()["meters"]

    assert (told["coming"]["version"], told["coming"]["starts"]) == (2, "2026-12-01")
    assert told["supply"] == {"all": "0.95"}


@pytest.mark.parametrize(
    "written",
    [
        "20261110",
        "2026-1-5",
        "\uff12\uff10\uff12\uff16-11-10",
        "1999-12-31",
        "0001-01-01",
        "9999-12-31",
        "2026-W46-2",
        "10.11.2026",
        "2026-13-01",
        "yesterday",
    ],
)
def test_a_day_is_written_in_one_way(client, draw, tenant, written):
    day = get(client, f"homes/{draw.tenancy_id}/usage/{written}", tenant)
    since = get(client, f"homes/{draw.tenancy_id}/usage", tenant, **{"from": written})

    assert (day.status_code, since.status_code) == (400, 400)
    assert "2026-11-23" in str(day.json())


def test_a_months_bill_is_told_line_by_line(client, draw, tenant):
    told = get(client, f"homes/{draw.tenancy_id}/bills/2026-11", tenant).json()

    (part,) = told["meters"]
    assert (told["month"], told["energy_kwh"], told["put_right"]["fen"]) == ("2026-11", "12.000", 0)
    assert (part["opens_kwh"], part["closes_kwh"], part["days"]) == ("100.000", "112.000", 1)
    assert sum(float(line["energy_kwh"]) for line in part["lines"]) == 12
    assert {line["name"] for line in part["lines"]} == {"peak", "valley"}
    assert told["energy_amount"]["fen"] + told["service_amount"]["fen"] == told["amount"]["fen"]
    assert abs(told["amount"]["fen"] - told["posted"]["fen"]) <= 1


@pytest.mark.parametrize("month", ["2026-10", "2026-1", "202611", "2026-00", "1999-01", "2100-01"])
def test_a_month_without_a_bill_is_not_found_or_refused(client, draw, tenant, month):
    answer = get(client, f"homes/{draw.tenancy_id}/bills/{month}", tenant)

    assert answer.status_code == (404 if month == "2026-10" else 400)


def test_a_home_without_a_price_says_so(client, tenant, draw):
    room = makers.a_room(place=draw.property)
    tenancy = makers.a_tenancy(room=room, holder=draw.tenancy.members.get().user, starts_at=START)
    draw.version.tariff.assignments.all().delete()
    meter = makers.a_meter(room=room)
    drawing.align(room_ids=[room.pk], now=NOW)
    world.tell([(meter, START + HOUR, 500)])

    told = get(client, f"homes/{tenancy.pk}/usage/2026-11-10", tenant).json()

    assert (told["is_priced"], told["meters"]) == (False, [])


class TestSomebodyElse:
    paths = ("usage", "usage/2026-11-10", "prices", "bills/2026-11", "timeline")

    @pytest.mark.parametrize("path", paths)
    def test_a_neighbour_finds_nothing(self, client, draw, path):
        neighbour = makers.a_user()
        makers.a_tenancy(room=makers.a_room(place=draw.property), holder=neighbour)

        assert get(client, f"homes/{draw.tenancy_id}/{path}", makers.a_login(neighbour)).status_code == 404

    @pytest.mark.parametrize("path", paths)
    def test_nobody_finds_nothing(self, client, draw, path):
        assert get(client, f"homes/{draw.tenancy_id}/{path}", {}).status_code == 401

    @pytest.mark.parametrize("path", paths)
    def test_who_was_removed_finds_nothing(self, client, draw, tenant, path):
        Member.objects.all().delete()

        assert get(client, f"homes/{draw.tenancy_id}/{path}", tenant).status_code == 404

    def test_the_next_tenant_sees_nothing_of_the_one_before(self, client, draw):
        Tenancy.objects.filter(pk=draw.tenancy_id).update(ends_at=START + 30 * HOUR)
        after = makers.a_user()
        tenancy = makers.a_tenancy(room=draw.room, holder=after, starts_at=START + 30 * HOUR)
        drawing.align(room_ids=[draw.room_id], now=NOW)
        careful.work(now=NOW)
        headers = makers.a_login(after)

        first = get(client, f"homes/{tenancy.pk}/usage/2026-11-10", headers).json()
        second = get(client, f"homes/{tenancy.pk}/usage/2026-11-11", headers).json()
        month = get(client, f"homes/{tenancy.pk}/usage", headers, by="month").json()["usage"]

        assert (first["meters"], second["energy_kwh"]) == ([], "3.000")
        assert [one["energy_kwh"] for one in month] == ["3.000"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"by": "week"}, "by"),
        ({"to": "0001-01-05"}, "to"),
        ({"by": "month", "from": "9999-12-01", "to": "9999-12-31"}, "to"),
        ({"from": "2026-13-01"}, "from"),
        ({"from": "2026-11-12", "to": "2026-11-11"}, "from"),
        ({"by": "hour", "from": "2026-11-01", "to": "2026-11-08"}, "from"),
        ({"by": "day", "from": "2026-01-01", "to": "2026-11-08"}, "from"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_in_words(client, draw, tenant, query, field):
    answer = get(client, f"homes/{draw.tenancy_id}/usage", tenant, **query)

    assert answer.status_code == 400
    assert field in answer.json()["fields"]


def test_a_date_that_is_none_is_refused(client, draw, tenant):
    assert get(client, f"homes/{draw.tenancy_id}/usage/yesterday", tenant).status_code == 400
    assert (
        get(client, f"homes/{draw.tenancy_id}/usage/{date(2026, 11, 10) - timedelta(days=400)}", tenant).json()[
            "meters"
        ]
        == []
    )
