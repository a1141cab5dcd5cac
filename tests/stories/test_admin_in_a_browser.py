"""A day at the front desk in a real browser: what a clerk types and clicks, and what they see."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from accounts.models import Building, Member, Property, Room, StaffRole
from billing import prepaid
from billing.models import StaffHold
from payments import counter
from payments.models import CounterReceipt
from tests import makers
from tests.billing.rating import world
from tests.billing.rating.test_revisions import tell
from tests.desk import address, one_of_everything, staff_of, windows

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
WIDTHS = """() => {
    const table = document.querySelector("#result_list"), room = document.querySelector(".results") || document.body;
    return [table ? table.scrollWidth : document.documentElement.scrollWidth, room.clientWidth];
}"""
PASSWORD = "a-long-pass-phrase"


@pytest.fixture
def place() -> Property:
    place = makers.a_property(name="Hereyard")
    for number in ("101", "102"):
        room = Room.objects.create(
            building=Building.objects.get_or_create(property=place, name="Tower")[0], number=number
        )
        makers.a_tenancy(room=room, holder=makers.a_user(name=f"tenant of {number}", phone=f"13812345{number}"))
    elsewhere = Building.objects.create(property=makers.a_property(name="Thereyard"), name="Castle")
    makers.a_tenancy(room=Room.objects.create(building=elsewhere, number="101"), holder=makers.a_user())
    return place


def log_in(chromium: Browser, live_server, place: Property, role: str) -> Page:
    user = staff_of(place, role)
    user.set_password(PASSWORD)
    user.save(update_fields=["password"])
    page = chromium.new_context(locale="en-US", base_url=live_server.url).new_page()
    page.goto("/admin/")
    page.fill("#id_username", user.username)
    page.fill("#id_password", PASSWORD)
    page.click("[type=submit]")
    return page


def choose(page: Page, field: str, typed: str, wanted: str) -> None:
    """Types into a choice that searches, and takes what it finds."""
    page.click(f"#id_{field} + .select2")
    page.keyboard.type(typed)
    page.locator(".select2-results__option", has_text=wanted).click()


def test_a_clerk_takes_money_and_prints_the_receipt(chromium, live_server, place):
    page = log_in(chromium, live_server, place, "service")

    page.get_by_role("link", name="Counter recharge", exact=True).first.click()
    page.click("#id_tenancy + .select2")
    page.keyboard.type("101")
    expect(page.locator(".select2-results__option")).to_have_count(1)  # and not the one of the other property
    page.locator(".select2-results__option", has_text="Tower-101").click()
    page.fill("#id_amount", "50")
    page.get_by_role("button", name="Continue").click()
    expect(page.locator(".facts")).to_contain_text("tenant of 101 138****5101")
    expect(page.locator(".facts")).to_contain_text("¥50.00")
    page.get_by_role("button", name="Change it").click()
    page.fill("#id_amount", "60.50")
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Take the money").dblclick()

    receipt = page.locator(".sheet")
    expect(receipt).to_contain_text("人民币陆拾元伍角整")
    kept = CounterReceipt.objects.get()
    assert (kept.amount_fen, kept.purse.paid_fen) == (6050, 6050)
    expect(receipt).to_contain_text(kept.number)
    page.emulate_media(media="print")
    expect(page.locator("#header")).to_be_hidden()
    expect(receipt).to_be_visible()
    page.context.close()


def test_the_accountant_corrects_it_from_its_page(chromium, live_server, place):
    purse = prepaid.purse_of(Member.objects.get(user__name="tenant of 102").tenancy)
    kept = counter.take_money(
        purse=purse, amount_fen=5000, by=makers.a_user(), form_key="f", meter=None, note="", trace="t",
        now=makers.LONG_AGO,
    )  # fmt: skip
    page = log_in(chromium, live_server, place, "finance")

    page.goto(f"/admin/payments/counterreceipt/{kept.pk}/change/")
    page.get_by_role("button", name="Correct: take it back").click()
    expect(page.locator(".facts")).to_contain_text("¥50.00")
    page.fill("#id_reason", "wrong room")
    page.get_by_role("button", name="Correct: take it back").click()

    expect(page.locator(".messagelist")).to_contain_text("¥50.00 taken back")
    purse.refresh_from_db()
    assert purse.paid_fen == 0
    page.get_by_role("link", name="Print the receipt").click()
    expect(page.locator(".void")).to_be_visible()
    page.context.close()


def test_a_clerk_holds_a_room_off_and_lifts_it(chromium, live_server, place):
    page = log_in(chromium, live_server, place, "service")

    page.goto("/admin/accounts/tenancy/")
    page.get_by_role("link", name="Tower-102").click()
    page.get_by_role("link", name="Hold power on or off").click()
    expect(page.locator("#id_room + .select2")).to_contain_text("Tower-102")  # it came along from the tenancy
    page.get_by_label("held off").check()
    page.fill("#id_reason", "burst pipe")
    page.get_by_role("button", name="Hold").click()
    page.get_by_role("button", name="Lift the hold").click()
    page.fill("#id_reason", "mended")
    page.get_by_role("button", name="Lift the hold").click()

    expect(page.locator(".messagelist")).to_contain_text("Lifted")
    assert StaffHold.objects.get().lifted_at is not None
    page.context.close()


def test_an_invitation_shows_its_code_once(chromium, live_server, place):
    page = log_in(chromium, live_server, place, "service")

    page.goto("/admin/accounts/invitation/add/")
    choose(page, "tenancy", "102", "Tower-102")
    page.get_by_role("button", name="Make the invitation").click()

    code = page.locator(".code").inner_text()
    assert re.fullmatch(r"[2-9A-Z]{4}-[2-9A-Z]{4}", code)
    page.get_by_role("link", name="Done").click()
    page.locator("#result_list a").first.click()
    expect(page.locator("body")).not_to_contain_text(code)
    page.context.close()


def test_a_manager_prints_a_bill_and_takes_all_of_them_away(chromium, live_server, tmp_path):
    draw = world.a_draw()
    tell(draw, (24, 102_400), (48, 104_800))
    page = log_in(chromium, live_server, draw.property, "finance")

    page.goto(address(draw.purse, "change"))
    page.get_by_role("link", name="Monthly bill").click()
    page.fill("#id_month", "2026-11")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".paper")).to_contain_text("Electricity bill 2026-11")
    expect(page.locator(".paper")).to_contain_text("104.8")
    page.emulate_media(media="print")
    for hidden in ("#header", "#nav-sidebar", "form", ".deeds"):
        expect(page.locator(hidden).first).to_be_hidden()
    expect(page.locator(".paper")).to_be_visible()
    page.emulate_media(media="screen")
    page.get_by_role("link", name="Purses", exact=True).first.click()
    page.get_by_role("link", name="Bills of a month").click()
    page.fill("#id_month", "2026-11")
    page.get_by_role("button", name="Show").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()

    download.value.save_as(tmp_path / "bills.csv")
    assert download.value.suggested_filename == f"bills-{draw.property_id}-2026-11.csv"
    assert draw.meter.serial in (tmp_path / "bills.csv").read_text()
    page.context.close()


def test_every_list_fits_onto_the_screen_of_a_front_desk(chromium, live_server):
    """1280 px wide, with everything in it, for somebody who works at two properties."""
    here, there = makers.a_property(name="阳光花园二期"), makers.a_property(name="阳光花园三期")
    one_of_everything(here)
    page = log_in(chromium, live_server, here, "manager")
    StaffRole.objects.create(user=StaffRole.objects.latest("pk").user, property=there, role="manager")
    assert page.viewport_size["width"] == 1280

    too_wide = []
    for model in windows():
        page.goto(address(model, "changelist"))
        wide, room = page.evaluate(WIDTHS)
        if wide > room:
            too_wide.append(f"{model.__name__}: {wide} of {room} px")

    assert too_wide == []
    page.context.close()


def test_the_language_is_one_click_away(chromium, live_server, place):
    page = log_in(chromium, live_server, place, "manager")

    page.get_by_role("button", name="简体中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-hans")
    page.get_by_role("button", name="English").click()

    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.context.close()


def test_no_page_complains_in_the_browsers_console(chromium, live_server, place):
    page = log_in(chromium, live_server, place, "manager")
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))

    for page_of in (
        "",
        "payments/counterreceipt/add/",
        "accounts/tenancy/add/",
        "billing/staffhold/add/",
        "meters/meter/",
    ):
        page.goto(f"/admin/{page_of}")

    assert [line for line in said if "favicon" not in line] == []
    page.context.close()
