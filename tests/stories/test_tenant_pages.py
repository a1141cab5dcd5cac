"""A tenant stands in the dark with a phone: scans the meter, pays, and watches the light come back. A real browser."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect

from accounts.models import Member
from billing import holds, prepaid, supply, wishes
from billing.models import StaffHold
from notifications import routes
from portal.pages import visitor
from sandbox.keys import OFFICIAL_APPID
from tests import makers
from tests.payments.conftest import alipay_merchant, wechat_merchant
from tests.stories.homes import Home
from tests.stories.town import Town

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
SMALL, USUAL = ViewportSize(width=320, height=568), ViewportSize(width=360, height=740)
ANDROID = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36"
WECHAT = f"{ANDROID} MicroMessenger/8.0.49"
ALIPAY = f"{ANDROID} AlipayClient/10.6.0"
LIGHT_WITHIN_MS = 30_000
# What WeChat's browser gives to a page. The phone's WeChat itself is the sandbox, asked by the test.
BRIDGE = """window.WeixinJSBridge = {
    invoke: (name, asked, then) => window.phone(asked).then(said => then({err_msg: said})),
}"""
SHOTS = os.environ.get("SHOTS", "")  # a folder, for whoever wants to look with their own eyes


@pytest.fixture
def town(quiet_village: Town) -> Town:
    return quiet_village


@pytest.fixture
def home(town: Town) -> Home:
    """Dark: its money is used up. The property takes money by WeChat, also on web pages, and by Alipay."""
    home = town.home()
    place = home.tenancy.property
    wechat_merchant(town.world, place, slug="pages", app_id=OFFICIAL_APPID)
    alipay_merchant(town.world, place, slug="ali")
    place.phone = "400-800-1234"
    place.save(update_fields=["phone"])
    town.until(home.is_online, "the meter is online")
    return home


@pytest.fixture
def open_page(chromium: Browser, town: Town) -> Iterator[Any]:
    """A new browser each time; whatever it writes to its console as an error fails the test."""
    contexts: list[BrowserContext] = []
    said: list[str] = []

    def open_page(
        agent: str = ANDROID, *, viewport: Any = None, script: bool = True, user: Any = None, **kw: Any
    ) -> Page:
        context = chromium.new_context(
            base_url=town.web_url,
            user_agent=agent,
            viewport=viewport or USUAL,
            java_script_enabled=script,
            **{"locale": "zh-CN"} | kw,
        )
        contexts.append(context)
        if user is not None:
            token = makers.a_login(user)["Authorization"].removeprefix("Bearer ")
            context.add_cookies([{"name": visitor.COOKIE, "value": token, "url": town.web_url, "httpOnly": True}])
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [text for text in said if "404" not in text] == []


def shot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def scan(page: Page, home: Home) -> None:
    home.meter.refresh_from_db()
    page.goto(f"/m/{home.meter.code}/")


def light_is_on(page: Page) -> None:
    expect(page.locator(".stages li.done")).to_have_count(5, timeout=LIGHT_WITHIN_MS)
    expect(page.get_by_text("充值已到账")).to_be_visible()


# ---- the ways to pay ----


def test_scan_and_pay_with_wechat_from_any_browser_and_the_power_comes_back(town, home, open_page):
    page = open_page()
    scan(page, home)
    shot(page, "pay")
    page.get_by_text("¥100", exact=True).click()
    page.get_by_role("button", name="微信支付").click()
    shot(page, "unpaid")
    page.get_by_role("link", name="去支付").click()
    page.get_by_role("button", name="确认付款").click()

    light_is_on(page)

    shot(page, "light")
    assert town.there(home)["relay"] == "closed"
    assert home.purse.paid_fen == 10_000
    expect(page.locator("#call-off")).to_have_count(0)


def test_in_wechat_the_bridge_pays_and_nobody_logs_in(town, home, open_page):
    page = open_page(WECHAT)
    page.context.expose_binding("phone", lambda _source, asked: bridge(town, asked))
    page.add_init_script(BRIDGE)
    scan(page, home)
    page.fill("input[name=other]", "66.60")
    page.get_by_role("button", name="微信支付").click()
    page.locator("#bridge").click()  # of the recharge's own page

    light_is_on(page)

    assert home.purse.paid_fen == 6_660


def test_in_alipay_its_own_page_takes_the_money(town, home, open_page):
    page = open_page(ALIPAY)
    scan(page, home)
    page.get_by_role("button", name="支付宝").click()
    page.get_by_role("link", name="去支付").click()
    page.get_by_role("button", name="确认付款").click()

    light_is_on(page)

    assert home.purse.paid_fen == 5_000


def test_who_goes_back_without_paying_can_call_it_off(home, open_page):
    page = open_page()
    scan(page, home)
    page.get_by_role("button", name="支付宝").click()
    page.get_by_role("button", name="取消").click()

    expect(page.get_by_text("这笔充值已取消")).to_be_visible()
    assert home.purse.paid_fen == 0


def test_on_a_desk_a_code_is_shown_to_go_on_with_a_phone(home, open_page):
    page = open_page("Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0 Safari/537.36")
    scan(page, home)

    expect(page.locator("svg.qr")).to_be_visible()
    expect(page.get_by_role("button", name="微信支付")).to_have_count(0)
    shot(page, "desk")


def test_without_javascript_the_page_is_read_and_led_on_up_to_the_payment(town, home, open_page):
    page = open_page(script=False)
    scan(page, home)
    page.get_by_role("button", name="支付宝").click()
    page.get_by_role("link", name="去支付").click()
    page.get_by_role("button", name="确认付款").click()
    town.until(lambda: home.agrees("closed"), "the light is on")

    page.reload()

    expect(page.locator(".stages li.done")).to_have_count(5)


def bridge(town: Town, asked: dict[str, str]) -> str:
    """What the phone's WeChat does with what a page hands to it."""
    answer = requests.post(f"{town.wechat.url}/sandbox/request_payment", json=asked, timeout=10).json()
    return "get_brand_wcpay_request:ok" if answer["errMsg"] == "requestPayment:ok" else "get_brand_wcpay_request:fail"


# ---- at home ----


@pytest.fixture
def tenant(home: Home) -> Any:
    user = makers.a_user(phone="13812345678")
    Member.objects.create(tenancy=home.tenancy, user=user, role=Member.Role.HOLDER, joined_at=makers.LONG_AGO)
    return user


def test_low_balance_is_told_and_a_recharge_brings_the_light(town, home, tenant, open_page):
    page = open_page(user=tenant)
    page.goto("/home/")
    expect(page.get_by_role("heading", name="已停电")).to_be_visible()
    shot(page, "home-dark")
    page.get_by_role("link", name="充值", exact=True).first.click()
    page.get_by_role("button", name="支付宝").click()
    page.get_by_role("link", name="去支付").click()
    page.get_by_role("button", name="确认付款").click()
    light_is_on(page)
    tell_everybody()

    page.get_by_role("link", name="回到我的房间").click()

    expect(page.get_by_role("heading", name="已停电")).to_have_count(0)
    expect(page.locator(".figure")).to_have_text("¥50.00")
    shot(page, "home-light")
    page.get_by_role("link", name=re.compile("消息")).click()
    expect(page.get_by_text("充值50.00元已到账")).to_be_visible()
    page.get_by_role("button", name="全部已读").click()
    expect(page.locator("li.unread")).to_have_count(0)
    shot(page, "messages")


def test_a_low_balance_is_told_in_the_inbox_and_at_home_until_a_recharge(town, home, tenant, open_page):
    now = timezone.now()
    prepaid.top_up(
        key="payment:before", kind="recharge", purse_id=home.purse.pk, amount_fen=2_000,
        source=prepaid.Source("clearing", "test"), happened_at=now, trace="before", now=now,
    )  # fmt: skip
    wishes.set_own_level(purse_id=home.purse.pk, fen=3_000, by=tenant, now=now)
    supply.decide(purse_id=home.purse.pk, trace="wished", now=timezone.now())
    tell_everybody()
    page = open_page(user=tenant)
    page.goto("/messages/")
    expect(page.get_by_text("电费余额20.00元，低于您设的30.00元，请及时充值")).to_be_visible()
    shot(page, "alert")
    page.get_by_role("link", name="回到我的房间").click()
    expect(page.locator("p.bad-text", has_text="30.00")).to_be_visible()
    page.get_by_role("link", name="充值", exact=True).first.click()
    page.get_by_role("button", name="支付宝").click()
    page.get_by_role("link", name="去支付").click()
    page.get_by_role("button", name="确认付款").click()
    town.until(lambda: home.purse.paid_fen == 7_000, "the money is there")
    supply.decide(purse_id=home.purse.pk, trace="after", now=timezone.now())

    page.goto("/home/")

    expect(page.locator(".figure")).to_have_text("¥70.00")
    expect(page.locator("p.bad-text", has_text="30.00")).to_have_count(0)


def tell_everybody() -> None:
    """The carrier's work as far as the inbox."""
    while routes.route(channels=(), now=timezone.now()):
        pass


def test_power_that_staff_hold_off_does_not_come_back_by_money_and_the_page_says_so(town, home, tenant, open_page):
    staff = makers.a_user(is_staff=True, is_superuser=True)
    position = StaffHold.Position.OPEN
    holds.hold_room(
        room=home.tenancy.room, position=position, reason="配电箱检修", by=staff, until=None, now=timezone.now()
    )
    supply.decide(purse_id=home.purse.pk, trace="hold", now=timezone.now())
    page = open_page(user=tenant)
    page.goto("/home/")
    expect(page.get_by_text("配电箱检修")).to_be_visible()
    shot(page, "held")
    page.get_by_role("link", name="充值", exact=True).first.click()
    page.get_by_role("button", name="支付宝").click()
    page.get_by_role("link", name="去支付").click()
    page.get_by_role("button", name="确认付款").click()

    expect(page.locator(".stages li.done")).to_have_count(3, timeout=LIGHT_WITHIN_MS)
    town.until(lambda: home.purse.paid_fen == 5_000, "the money is there")

    assert town.there(home)["relay"] == "open"


def test_the_neighbour_gets_nothing(home, open_page):
    neighbour = makers.a_user()
    makers.a_tenancy(room=makers.a_room(place=home.tenancy.property), holder=neighbour)
    page = open_page(user=neighbour)

    answers = [page.goto(f"/home/{home.tenancy.pk}/{part}") for part in ("", "usage/", "movements/", "recharge/")]

    assert [answer.status for answer in answers if answer] == [404] * 4


def test_english_is_one_tap_away(home, tenant, open_page):
    page = open_page(user=tenant)
    page.goto("/home/")
    page.get_by_role("button", name="English").click()

    expect(page.get_by_role("heading", name="The power is off")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "en")


# ---- for everybody ----

HOME_PAGES = (
    "", "recharge/", "usage/", "movements/", "movements/?show=money", "prices/", "disputes/", "household/",
    "ask-to-pay/",
)  # fmt: skip
OTHER_PAGES = (
    "/", "/login/", "/privacy/", "/help/", "/help/power-off/", "/messages/", "/settings/", "/settings/number/",
    "/home/?all",
)  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_used_by_everybody_on_the_smallest_phone(home, tenant, open_page, scheme):
    prepaid.purse_of(home.tenancy)
    page = open_page(user=tenant, viewport=SMALL, color_scheme=scheme)
    home.meter.refresh_from_db()
    paths = [f"/home/{home.tenancy.pk}/{part}" for part in HOME_PAGES] + [*OTHER_PAGES, f"/m/{home.meter.code}/"]
    wrong = {}
    for path in paths:
        page.goto(path)
        found = Axe().run(page).response["violations"]
        serious = [
            f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in found if one["impact"] in ("serious", "critical")
        ]
        if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
            serious.append("wider than the phone")
        if serious:
            wrong[path] = serious
        shot(page, f"small-{scheme}-{path.strip('/').replace('/', '-').replace('?', '') or 'front'}")

    assert wrong == {}


def test_a_first_view_is_light_and_comes_from_us_alone(town, home, open_page):
    page = open_page()
    heard: list[tuple[str, int]] = []
    page.on("requestfinished", lambda one: heard.append((one.url, one.sizes()["responseBodySize"])))
    scan(page, home)
    page.wait_for_load_state("networkidle")

    assert {url.startswith((town.web_url, "data:")) for url, _size in heard} == {True}
    assert sum(size for _url, size in heard) < 60_000


def test_the_form_can_be_filled_with_a_keyboard(home, open_page):
    page = open_page()
    scan(page, home)

    page.locator("input[name=amount]").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    chosen = page.locator("input[name=amount]:checked").get_attribute("value")
    for _each in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page).to_have_url(re.compile(r"/r/R"))
    assert chosen == "100"
