"""Staff print a home's bill, list a property's bills, take them away as CSV, and look at a home's days one by one."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta

import pytest
from django.urls import reverse

from accounts.models import Room
from billing.bills import BillLine, bill_of, bills
from billing.bills_admin import harmless, in_fen
from billing.models import Draw, Purse, UsageDay
from tests import makers
from tests.billing.rating import world
from tests.billing.rating.test_revisions import tell
from tests.billing.rating.world import HOUR, NOW, PERIODS_AND_TIERS, START
from tests.desk import address, at_work, staff_of

pytestmark = pytest.mark.django_db
NOVEMBER = date(2026, 11, 1)


@pytest.fixture
def draw() -> Draw:
    draw = world.a_draw(world.a_version(PERIODS_AND_TIERS))
    tell(draw, (12, 101_200), (36, 103_600), (48, 104_800))
    return draw


@pytest.fixture
def manager(draw):
    return at_work(staff_of(draw.property))


def page(name: str, draw: Draw | None = None, /, **query: object) -> str:
    return reverse(f"admin:billing_purse_{name}", args=[draw.purse_id] if draw else [], query=query)


def text_of(client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    text: str = response.content.decode()
    return text


def rows_of(response) -> list[list[str]]:
    text = b"".join(response).decode()
    assert text.startswith("\ufeff")
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))


class TestABill:
    def test_the_purse_leads_to_it_and_to_its_days(self, manager, draw):
        text = text_of(manager, address(draw.purse, "change"))

        assert page("bill", draw) in text
        assert page("usage", draw) in text

    def test_it_says_what_was_used_between_which_registers_and_what_it_cost(self, manager, draw):
        bill = bill_of(draw.purse, month_date=NOVEMBER)
        assert bill
        text = text_of(manager, page("bill", draw, month="2026-11"))

        assert "Electricity bill 2026-11" in text
        for told in (draw.meter.serial, "100", "104.8", "4.8", "peak", "valley", f"¥{bill.posted_fen / 100:.2f}"):
            assert f">{told}<" in text
        assert "Some days of this month are not in it" in text
        assert 'onclick="window.print()"' in text

    def test_it_is_what_all_bills_of_the_property_say(self, draw):
        tell(world.a_draw(draw.version), (24, 102_400))

        both = bills(property_ids=[draw.property_id], month_date=NOVEMBER)

        assert len(both) == 2
        assert [bill_of(Purse.objects.get(pk=one.purse_id), month_date=NOVEMBER) for one in both] == both

    def test_a_month_without_closed_days_says_so(self, manager, draw):
        assert "No day of this month is closed yet." in text_of(manager, page("bill", draw, month="2026-10"))

    def test_a_purse_that_nothing_drew_on_has_none(self):
        purse = makers.a_purse()

        assert bill_of(purse, month_date=NOVEMBER) is None

    @pytest.mark.parametrize("month", ["", "x", "9999-12", "2026-13"])
    def test_what_is_no_month_is_refused_in_the_page(self, manager, draw, month):
        for name in ("bill", "usage"):
            assert "errorlist" in text_of(manager, page(name, draw, month=month))
        assert "errorlist" in text_of(manager, page("bills", month=month, property=draw.property_id))

    def test_another_propertys_is_answered_like_one_that_does_not_exist(self, draw):
        stranger = at_work(staff_of(makers.a_property()))

        for name in ("bill", "usage"):
            assert stranger.get(page(name, draw, month="2026-11")).status_code == 404

    def test_its_lines_add_up_to_its_amount(self):
        lines = [BillLine(1, 1, "flat", wh, 33_333_333, 0) for wh in (100, 100, 100, 107)]

        assert in_fen(lines, total_fen=14) == [3, 4, 3, 4]
        assert sum(in_fen(lines, total_fen=13)) == 13
        assert in_fen([], total_fen=0) == []


class TestAPropertysBills:
    def test_each_home_is_a_line_that_leads_to_its_bill(self, manager, draw):
        text = text_of(manager, page("bills", month="2026-11", property=draw.property_id))

        assert f'<a href="{page("bill", draw, month="2026-11")}">{draw.tenancy}</a>' in text
        assert "4.8 kWh" in text
        assert page("bills") in text_of(manager, address(Purse, "changelist"))

    def test_as_a_file_it_has_all_of_them_for_a_spreadsheet(self, manager, draw):
        Room.objects.filter(pk=draw.room_id).update(number="1")
        draw.room.building.name = "=1+1"
        draw.room.building.save(update_fields=["name"])
        bill = bill_of(draw.purse, month_date=NOVEMBER)
        assert bill

        response = manager.get(page("bills", month="2026-11", property=draw.property_id, csv=1))

        energy_fen, fee_fen = bill.shown_fen()
        (heads, line) = rows_of(response)
        assert response["Content-Disposition"] == f'attachment; filename="bills-{draw.property_id}-2026-11.csv"'
        assert heads[:2] == ["home", "meter"]
        assert line == [
            "'=1+1-1 · 2026-11-10", draw.meter.serial, "100", "104.8", "4.8",
            *(f"{fen / 100:.2f}" for fen in (energy_fen, fee_fen, energy_fen + fee_fen, bill.posted_fen)), "0.00",
        ]  # fmt: skip

    def test_another_propertys_are_not_offered_and_not_told(self, draw):
        other = makers.a_property(name="Otheryard")
        stranger = at_work(staff_of(other))

        text = text_of(stranger, page("bills", month="2026-11", property=draw.property_id))
        asked = stranger.get(page("bills", month="2026-11", property=draw.property_id, csv=1))

        assert "errorlist" in text
        assert str(draw.tenancy) not in text
        assert not asked.streaming
        assert draw.property.name not in text_of(stranger, page("bills"))

    def test_without_a_role_there_are_none(self, draw):
        assert at_work(makers.a_user(is_staff=True)).get(page("bills")).status_code == 403

    def test_nothing_in_a_file_is_a_formula(self):
        assert [harmless(text) for text in ("A-1", "=1", "+1", "-1", "@x", "\tx")] == [
            "A-1", "'=1", "'+1", "'-1", "'@x", "'\tx",
        ]  # fmt: skip


class TestDays:
    def test_a_month_is_its_days_with_their_sum(self, manager, draw):
        text = text_of(manager, page("usage", draw, month="2026-11"))

        days = UsageDay.objects.filter(draw=draw).order_by("usage_date")
        assert [day.energy_wh for day in days] == [2400, 2400]
        for day in days:
            assert f'<a href="?day={day.usage_date}&amp;draw={draw.pk}">{day.usage_date}</a>' in text
        assert "<td>total</td><td>4.8</td>" in text

    def test_a_day_is_told_from_register_to_register_and_line_by_line(self, manager, draw):
        text = text_of(manager, page("usage", draw, day="2026-11-10", draw=draw.pk))

        for told in ("100 kWh · 2026-11-10 00:00:00", "2.4 kWh", "valley", "0.56800001", "0.28800003"):
            assert told in text
        assert address(draw.version, "change") in text

    def test_a_day_that_was_charged_anew_says_what_it_was(self, manager, draw):
        tell(draw, (24, 103_000), now=NOW + HOUR)

        text = text_of(manager, page("usage", draw, day="2026-11-10", draw=draw.pk))

        assert "What it was before" in text
        assert "correction of a day&#x27;s electricity" in text
        assert "<td>2.4</td>" in text
        assert "3 kWh" in text

    def test_what_a_dispute_freezes_and_what_is_opened_again_is_marked(self, manager, draw):
        UsageDay.objects.filter(draw=draw, usage_date=START.date()).update(is_frozen=True)
        Draw.objects.filter(pk=draw.pk).update(closed_until=START.date() + timedelta(days=1))

        text = text_of(manager, page("usage", draw, month="2026-11"))

        assert "<td>disputed</td>" in text
        assert "<td>being charged anew</td>" in text

    def test_a_day_of_another_home_is_not_told(self, manager, draw):
        other = world.a_draw()
        tell(other, (24, 102_400))

        text = text_of(manager, page("usage", draw, day="2026-11-10", draw=other.pk))

        assert "nothing is known of it" in text
        assert other.meter.serial not in text
