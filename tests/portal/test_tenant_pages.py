"""Tenants' pages without a browser: who sees what, what is refused, what travels with a page."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts import consents, login, phone_codes
from accounts.models import AccessToken, Consent, Member, PhoneCode, Tenancy, User
from billing import prepaid
from portal.pages import visitor
from portal.pages.household import DEEDS
from tests import makers
from tests.billing.rating.world import NOW
from tests.portal import test_usage_api

pytestmark = pytest.mark.django_db
PAGES = (
    "", "recharge/", "usage/", "usage/?by=hour", "usage/?by=year", "usage/2026-11-01/", "usage/2026-11-01/dispute/",
    "disputes/", "movements/", "movements/?show=money", "prices/", "household/", "ask-to-pay/",
)  # fmt: skip
PERSONAL = ("/home/?all", "/messages/", "/settings/", "/settings/number/")
OPEN = ("/", "/login/", "/privacy/", "/help/", "/help/recharge/", "/help/display/", "/help/power-off/", "/help/prices/")


@pytest.fixture
def tenancy():
    room = makers.a_room()
    makers.a_meter(room=room, is_online=True)
    return makers.a_tenancy(room=room, holder=makers.a_user())


def a_browser(user: User | None = None, *, language: str = "en") -> Client:
    """A browser in which this person is logged in."""
    browser = Client(headers={"Accept-Language": language})
    if user is not None:
        header = makers.a_login(user)["Authorization"]
        browser.cookies[visitor.COOKIE] = header.removeprefix("Bearer ")
    return browser


def holder(tenancy: Tenancy) -> User:
    return tenancy.members.get().user


# ---- who sees what ----


@pytest.mark.parametrize("path", OPEN)
@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_some_pages_are_for_everybody(path, language):
    assert a_browser(language=language).get(path).status_code == 200


@pytest.mark.parametrize("page", PAGES)
def test_who_lives_there_sees_the_pages_of_the_home(tenancy, page):
    answer = a_browser(holder(tenancy)).get(f"/home/{tenancy.pk}/{page}")

    assert answer.status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]


@pytest.mark.parametrize("path", PERSONAL)
def test_a_person_sees_what_is_their_own(tenancy, path):
    assert a_browser(holder(tenancy)).get(path).status_code == 200


def test_for_a_neighbour_a_former_tenant_and_a_member_removed_a_home_does_not_exist(tenancy):
    neighbour = makers.a_tenancy(room=makers.a_room(place=tenancy.property), holder=makers.a_user())
    former, removed = makers.a_user(), makers.a_user()
    now = timezone.now()
    before = makers.a_tenancy(
        room=makers.a_room(place=tenancy.property), holder=former, ends_at=now - timezone.timedelta(days=1)
    )
    Member.objects.create(tenancy=tenancy, user=removed, role="sharer", joined_at=makers.LONG_AGO, left_at=now)

    for user, home in ((holder(neighbour), tenancy), (former, before), (removed, tenancy)):
        for page in PAGES:
            assert a_browser(user).get(f"/home/{home.pk}/{page}").status_code == 404, (user, page)


@pytest.mark.parametrize("path", [f"/home/1/{page}" for page in PAGES] + list(PERSONAL))
def test_a_stranger_is_led_to_the_login_and_then_back(path):
    answer = a_browser().get(path)

    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/login/?next=%2F")


@pytest.mark.parametrize("evil", ["https://evil.test/", "//evil.test/", "/\\evil.test", "javascript:alert(1)"])
def test_a_login_leads_nowhere_else(evil, tenancy):
    answer = a_browser(holder(tenancy)).get("/login/", {"next": evil})

    assert answer.headers["Location"] == "/home/"


def test_who_has_not_consented_is_asked_once(tenancy):
    user = holder(tenancy)
    User.objects.filter(pk=user.pk).update(notice_version="")
    browser = a_browser(user)

    asked = browser.get(f"/home/{tenancy.pk}/")
    notice = browser.get(asked.headers["Location"])
    given = browser.post("/privacy/", {"version": consents.CURRENT, "next": f"/home/{tenancy.pk}/"})

    assert asked.headers["Location"].startswith("/privacy/?next=")
    assert notice.status_code == 200
    assert given.headers["Location"] == f"/home/{tenancy.pk}/"
    assert browser.get(f"/home/{tenancy.pk}/").status_code == 200
    assert Consent.objects.get().came_through == "page"


# ---- the login ----


@pytest.fixture
def sms(monkeypatch, settings):
    """The codes that were sent; the console is the only channel here."""
    said: list[str] = []
    from notifications.channels import console

    monkeypatch.setattr(console.log, "info", lambda text, *args: said.append(text % args))
    return said


def code_in(sms: list[str]) -> str:
    found = re.search(r"\b([0-9]{6})\b", sms[-1])
    assert found, sms
    return found[1]


def test_a_phone_and_the_code_sent_to_it_open_the_home_that_waits_for_it(sms, tenancy):
    from accounts import invitations

    invitations.invite(tenancy=tenancy, role="sharer", phone="13812345678", by=None, now=timezone.now())
    browser = a_browser()
    asked = browser.post("/login/", {"phone": "13812345678", "next": "/settings/"})

    entered = browser.post("/login/", {"phone": "13812345678", "code": code_in(sms), "next": "/settings/"})

    assert b"138****5678" in asked.content
    assert entered.headers["Location"] == "/settings/"
    cookie = entered.cookies[visitor.COOKIE]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    user = User.objects.get(phone="13812345678")
    assert tenancy.members.filter(user=user).exists()
    assert PhoneCode.objects.get().sent == "handed"


def test_a_login_as_tenant_opens_no_admin(sms):
    makers.a_user(phone="13812345678", is_staff=True, is_superuser=True)
    browser = a_browser()
    browser.post("/login/", {"phone": "13812345678"})
    browser.post("/login/", {"phone": "13812345678", "code": code_in(sms)})

    assert browser.get("/home/").status_code == 200
    assert browser.get("/admin/").status_code == 302


def test_a_wrong_code_says_so_and_the_right_one_still_works(sms):
    browser = a_browser()
    browser.post("/login/", {"phone": "13812345678"})
    right = code_in(sms)
    wrong = f"{(int(right) + 1) % 10**6:06d}"

    refused = browser.post("/login/", {"phone": "13812345678", "code": wrong})

    assert refused.status_code == 400
    assert b"not the code" in refused.content
    assert browser.post("/login/", {"phone": "13812345678", "code": right}).status_code == 302


def test_five_tries_end_a_code(sms):
    browser = a_browser()
    browser.post("/login/", {"phone": "13812345678"})
    right = code_in(sms)
    wrong = f"{(int(right) + 1) % 10**6:06d}"
    for _each in range(phone_codes.TRIES):
        browser.post("/login/", {"phone": "13812345678", "code": wrong})

    ended = browser.post("/login/", {"phone": "13812345678", "code": right})

    assert (ended.status_code, AccessToken.objects.count()) == (400, 0)


def test_a_second_code_within_a_minute_is_refused_and_says_when(sms):
    browser = a_browser()
    browser.post("/login/", {"phone": "13812345678"})

    again = browser.post("/login/", {"phone": "13812345678"})

    assert again.status_code == 400
    assert b"seconds" in again.content
    assert len(sms) == 1


@pytest.mark.parametrize("phone", ["", "12345", "23812345678", "1381234567x", "+8613812345678"])
def test_what_is_no_number_is_sent_nothing(sms, phone):
    assert a_browser().post("/login/", {"phone": phone}).status_code == 400
    assert not sms
    assert not PhoneCode.objects.exists()


def test_who_logs_out_is_out(tenancy):
    browser = a_browser(holder(tenancy))

    browser.post("/logout/")

    assert browser.get(f"/home/{tenancy.pk}/").status_code == 302
    assert AccessToken.objects.get().revoked_at


def test_a_closed_login_sees_nothing(tenancy):
    browser = a_browser(holder(tenancy))
    User.objects.update(is_active=False)

    assert browser.get(f"/home/{tenancy.pk}/").status_code == 302


# ---- what travels with a page ----


@pytest.mark.parametrize("path", ["/", "/login/", "/help/", "/privacy/"])
def test_a_page_runs_nothing_but_our_own_files(path):
    answer = a_browser().get(path)

    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "<style" not in answer.content.decode()
    assert " style=" not in answer.content.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)", answer.content.decode())
    assert answer.headers["Referrer-Policy"] == "strict-origin-when-cross-origin"


# ---- paying ----


def test_the_page_of_a_meter_tells_nothing_about_who_lives_there(tenancy):
    user = holder(tenancy)
    User.objects.filter(pk=user.pk).update(name="Wang Xiaoming", phone="13812345678")
    prepaid.purse_of(tenancy)
    meter = tenancy.room.installations.get().meter

    page = a_browser().get(f"/m/{meter.code}/").content.decode()

    assert str(tenancy.room) in page
    assert "Wang" not in page
    assert "5678" not in page
    assert "alance" not in page


def test_a_code_that_no_meter_has_leads_nowhere():
    assert a_browser().get("/m/000000000000/").status_code == 404


def test_nobody_pays_for_an_empty_room():
    room = makers.a_room()
    meter = makers.a_meter(room=room)

    page = a_browser().get(f"/m/{meter.code}/")

    assert page.status_code == 404
    assert b"Nobody lives here" in page.content


@pytest.mark.parametrize(
    "sent",
    [
        {"amount": "0.001"},
        {"other": "abc"},
        {"other": "-5"},
        {"channel": "cash"},
        {"key": "short"},
        {"amount": "999999"},
        {},
    ],
)
def test_what_cannot_be_paid_is_refused_in_words_and_nothing_is_placed(tenancy, sent):
    from payments.models import Order

    makers.a_merchant(provider="alipay", place=tenancy.property)
    meter = tenancy.room.installations.get().meter
    form = {"amount": "50", "channel": "wechat_h5", "key": "k" * 36}

    answer = a_browser().post(f"/m/{meter.code}/", form | sent)

    assert answer.status_code == 400
    assert b'role="alert"' in answer.content
    assert not Order.objects.exists()


def test_digests_of_codes_and_tokens_are_all_that_is_kept(sms):
    browser = a_browser()
    browser.post("/login/", {"phone": "13812345678"})
    code = code_in(sms)
    browser.post("/login/", {"phone": "13812345678", "code": code})

    assert code not in str(PhoneCode.objects.values().get())
    token = browser.cookies[visitor.COOKIE].value
    assert AccessToken.objects.get().digest == login.digest_of(token)


# ---- with something to show ----


draw = test_usage_api.draw  # a fixture


@pytest.fixture
def read_home(draw, monkeypatch):
    """A home whose meter was read and priced by period and tier; the day after, in the afternoon."""
    monkeypatch.setattr("portal.pages.home.timezone.now", lambda: NOW)
    AccessToken.objects.update(created_at=NOW, expires_at=NOW + timedelta(days=1))
    return draw.tenancy


@pytest.mark.parametrize("language", ["zh-CN", "en"])
@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("", 'class="figure'),
        ("recharge/", 'class="door"'),
        ("usage/", "/usage/2026-11-10/"),
        ("usage/?by=hour", 'class="tabs"'),
        ("usage/?by=month", "<svg"),
        ("usage/?by=year", "<svg"),
        ("usage/2026-11-10/", "12.0 kWh"),
        ("usage/2026-11-10/dispute/", "<option"),
        ("movements/", "2026-11"),
        ("movements/?show=money", "/usage/2026-11-10/"),
        ("prices/", 'class="card"'),
    ],
)
def test_what_was_used_is_shown_on_every_page(read_home, page, said, language):
    answer = a_browser(holder(read_home), language=language).get(f"/home/{read_home.pk}/{page}")

    assert answer.status_code == 200
    assert said in answer.content.decode()


# ---- odd visitors ----

HUGE = "9" * 30


@pytest.mark.parametrize(
    "path",
    [
        "/m/%00/", "/m/%F0%9F%92%A1/", f"/m/{'a' * 3000}/", "/r/%00/", "/r/%00/stages/", "/r/%00/pay/", "/f/%00/",
        f"/f/{'a' * 3000}/", f"/home/{HUGE}/", f"/home/{HUGE}/usage/", "/home/1/usage/2026-13-45/", "/help/%00/",
        "/home/1/movements/?before=%00", "/home/1/movements/?show=money&before=%00",
        f"/home/1/movements/?show=money&before={HUGE}", "/home/1/usage/2026-13-45/dispute/",
        f"/messages/?before={HUGE}", "/messages/?before=-1", "/usage/?by=%00",
        "/wechat/back/?to=%00&code=%00", "/privacy/?next=%00", "/login/?next=%00",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["get", "head", "post"])
def test_an_odd_address_is_refused_and_nothing_breaks(tenancy, path, method):
    browser = a_browser(holder(tenancy))

    answer = getattr(browser, method)(path)

    assert answer.status_code < 500


@pytest.mark.parametrize("odd", ["\x00", "💡" * 100, "'; drop table", "<script>", "9" * 400, " "])
def test_an_odd_form_is_refused_and_nothing_breaks(tenancy, sms, odd):
    makers.a_merchant(provider="alipay", place=tenancy.property)
    meter = tenancy.room.installations.get().meter
    stranger, tenant = a_browser(), a_browser(holder(tenancy))
    forms = (
        (stranger, f"/m/{meter.code}/", {"amount": odd, "other": odd, "channel": odd, "key": odd}),
        (stranger, "/login/", {"phone": odd}),
        (stranger, "/login/", {"phone": odd, "code": odd}),
        (tenant, "/home/", {"code": odd}),
        (tenant, "/settings/", {"kinds": odd, "quiet_from": odd, "quiet_until": odd, "language": odd}),
        (tenant, "/messages/", {"up_to": odd}),
        (tenant, "/settings/number/", {"phone": odd}),
        (tenant, "/settings/number/", {"phone": odd, "code": odd, "join": odd}),
        *((tenant, f"/home/{tenancy.pk}/household/", {"do": do, "of": odd, "yuan": odd}) for do in (odd, *DEEDS)),
        (tenant, f"/home/{tenancy.pk}/ask-to-pay/", {"yuan": odd, "note": odd}),
        (tenant, f"/home/{tenancy.pk}/disputes/", {"of": odd}),
        (tenant, f"/home/{tenancy.pk}/usage/2026-11-10/dispute/", {"reading": odd, "reason": odd, "key": odd}),
        (
            tenant,
            f"/home/{tenancy.pk}/usage/2026-11-10/dispute/",
            {"reading": f"2026-11-10T09:00:00+08:00 {odd}", "reason": odd, "key": "k" * 36},
        ),
        (tenant, "/privacy/", {"version": odd, "next": odd}),
    )

    answers = [browser.post(path, form) for browser, path, form in forms]

    assert [one.status_code for one in answers if one.status_code >= 500] == []
    assert not any("<script>" in one.content.decode() for one in answers)
