"""The pages on which tenants say who lives with them, when to be warned, who else pays, and which reading is wrong."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts import members
from accounts.models import Invitation, Member, Tenancy, User
from billing import prepaid, supply, wishes
from billing.models import Dispute, Purse, SupplyDecision
from billing.rating import accrue, disputing
from meters.models import Level, Meter
from portal import pay_links
from tests import makers
from tests.billing import spent
from tests.billing.rating import world
from tests.billing.rating.world import HOUR, NOW, START
from tests.billing.spent import NOON
from tests.portal.test_tenant_pages import a_browser, code_in, sms

pytestmark = pytest.mark.django_db
__all__ = ["sms"]  # a fixture


@pytest.fixture
def home() -> Tenancy:
    room = makers.a_room()
    makers.a_meter(room=room, is_online=True)
    tenancy = makers.a_tenancy(room=room, holder=makers.a_user(name="李芳"))
    Member.objects.create(tenancy=tenancy, user=makers.a_user(name="王小明"), role="sharer", joined_at=makers.LONG_AGO)
    return tenancy


def who(home: Tenancy, role: str) -> User:
    return home.members.get(role=role, left_at=None).user


def tap(home: Tenancy, user: User, do: str, **more: object) -> Any:
    return a_browser(user).post(f"/home/{home.pk}/household/", {"do": do} | more)


# ---- who lives here ----


def test_a_code_is_told_once_and_lets_one_more_in(home):
    answer = tap(home, who(home, "holder"), "invite")
    found = re.search(r'<p class="figure">([2-9A-Z]{8})</p>', answer.content.decode())
    assert found
    newcomer = makers.a_user()

    joined = a_browser(newcomer).post("/home/", {"code": found[1]})

    assert joined.status_code == 302
    assert home.members.get(user=newcomer).role == "sharer"
    assert found[1] not in a_browser(who(home, "holder")).get(f"/home/{home.pk}/household/").content.decode()


def test_the_sixth_invitation_is_refused_in_words(home):
    for _each in range(members.OPEN_AT_MOST):
        tap(home, who(home, "holder"), "invite")

    sixth = tap(home, who(home, "holder"), "invite")

    assert (sixth.status_code, Invitation.objects.count()) == (400, members.OPEN_AT_MOST)
    assert b"Too many invitations" in sixth.content


def test_an_invitation_is_taken_back(home):
    tap(home, who(home, "holder"), "invite")
    invitation = Invitation.objects.get()

    for _twice in range(2):
        assert tap(home, who(home, "holder"), "take_back", of=invitation.pk).status_code == 302

    invitation.refresh_from_db()
    assert invitation.revoked_at


@pytest.mark.parametrize("do", ["invite", "take_back", "hand_over", "warn_below"])
def test_what_the_holder_alone_may_say_is_refused_to_a_sharer(home, do):
    holder = home.members.get(role="holder")

    answer = tap(home, who(home, "sharer"), do, of=holder.pk, yuan="30")

    assert answer.status_code == 400
    assert b"holder&#x27;s to say" in answer.content
    assert who(home, "holder") == holder.user


def test_a_sharer_is_not_offered_what_is_the_holders(home):
    page = a_browser(who(home, "sharer")).get(f"/home/{home.pk}/household/").content.decode()

    assert 'value="send_out"' in page  # themselves
    for do in ("invite", "hand_over", "take_back", "warn_below"):
        assert f'value="{do}"' not in page


def test_the_holder_sends_a_sharer_out_who_sees_nothing_from_then_on(home):
    sharer = home.members.get(role="sharer")

    assert tap(home, who(home, "holder"), "send_out", of=sharer.pk).status_code == 302

    assert a_browser(sharer.user).get(f"/home/{home.pk}/").status_code == 404


def test_who_leaves_is_led_to_their_other_homes(home):
    sharer = home.members.get(role="sharer")

    answer = tap(home, sharer.user, "send_out", of=sharer.pk)

    assert answer.headers["Location"] == "/home/"


def test_the_holder_does_not_leave_without_handing_over(home):
    holder = home.members.get(role="holder")
    refused = tap(home, holder.user, "send_out", of=holder.pk)
    assert b"Hand the home over first" in refused.content

    tap(home, holder.user, "hand_over", of=home.members.get(role="sharer").pk)

    assert home.members.get(pk=holder.pk).role == "sharer"


def test_a_member_of_another_home_is_nobody_here(home):
    elsewhere = makers.a_tenancy(room=makers.a_room(place=home.property), holder=makers.a_user())
    theirs = elsewhere.members.get()

    answer = tap(home, who(home, "holder"), "send_out", of=theirs.pk)

    assert answer.status_code == 400
    theirs.refresh_from_db()
    assert theirs.left_at is None


# ---- when to warn ----


def level_of(home: Tenancy) -> int | None:
    return wishes.own_level_fen(purse_id=prepaid.purse_of(home).pk)


def test_the_holder_wishes_for_a_level_and_takes_it_back(home):
    assert tap(home, who(home, "holder"), "warn_below", yuan="30").status_code == 302
    assert level_of(home) == 3_000

    tap(home, who(home, "holder"), "warn_below", yuan="")

    assert level_of(home) is None


@pytest.mark.parametrize("yuan", ["abc", "-5", "0", "1000000", "1e3"])
def test_what_is_no_level_is_refused_in_words_and_stays_in_the_form(home, yuan):
    answer = tap(home, who(home, "holder"), "warn_below", yuan=yuan)

    assert answer.status_code == 400
    assert b'role="alert"' in answer.content
    assert f'value="{yuan}"' in answer.content.decode()
    assert level_of(home) is None


# ---- who else pays ----


def test_a_link_is_made_by_which_somebody_else_pays(home):
    browser = a_browser(who(home, "holder"))

    page = browser.post(f"/home/{home.pk}/ask-to-pay/", {"yuan": "50", "note": "谢谢"}).content.decode()

    found = re.search(r"readonly>(\S+)</textarea>", page)
    assert found
    link = pay_links.read(found[1].rstrip("/").rpartition("/")[2], now=timezone.now())
    assert (link.tenancy, link.amount_fen, link.note) == (home, 5_000, "谢谢")
    assert "<svg" in page


@pytest.mark.parametrize("form", [{"yuan": "abc"}, {"yuan": "0.001"}, {"yuan": "9999999"}, {"note": "n" * 41}])
def test_a_link_that_nobody_could_pay_is_not_made(home, form):
    answer = a_browser(who(home, "holder")).post(f"/home/{home.pk}/ask-to-pay/", form)

    assert answer.status_code == 400
    assert b"readonly" not in answer.content


# ---- the power ----


@pytest.fixture
def dark() -> Purse:
    """Cut for seven yuan of debt; its meter says so."""
    purse = spent.a_home()
    spent.accrue(purse, fen=700)
    supply.decide(purse_id=purse.pk, trace="", now=NOON)
    Meter.objects.update(relay="open", is_online=True)
    assert purse.tenancy
    Member.objects.create(tenancy=purse.tenancy, user=makers.a_user(), role="holder", joined_at=makers.LONG_AGO)
    return purse


def holder_of(purse: Purse) -> User:
    assert purse.tenancy
    return purse.tenancy.members.get().user


def relays() -> Any:
    return Level.objects.filter(kind="relay")


def look_again(purse: Purse) -> int:
    browser = a_browser(holder_of(purse))
    return browser.post(f"/home/{purse.tenancy_id}/", {"do": "look_again"}).status_code


def test_a_home_in_the_dark_is_looked_at_again_by_a_tap(dark):
    page = a_browser(holder_of(dark)).get(f"/home/{dark.tenancy_id}/").content.decode()
    assert 'value="look_again"' in page
    relays().update(wanted="open")
    spent.accrue(dark, fen=-1_700)  # what was used turns out less, and nobody has looked since

    assert look_again(dark) == 302

    assert relays().get().wanted == "closed"


def test_where_there_is_power_nothing_is_decided_by_a_tap(dark):
    Meter.objects.update(relay="closed")
    relays().update(wanted="closed")
    before = SupplyDecision.objects.count()

    assert look_again(dark) == 302

    assert (SupplyDecision.objects.count(), relays().get().wanted) == (before, "closed")


# ---- a reading that is wrong ----


@pytest.fixture
def read_home(monkeypatch) -> Tenancy:
    """Read at six, nine and noon."""
    draw = world.a_draw()
    assert draw.tenancy
    Member.objects.create(tenancy=draw.tenancy, user=makers.a_user(), role="holder", joined_at=START)
    world.tell([(draw.meter, START + hours * HOUR, 100_000 + 1_000 * hours) for hours in (6, 9, 12)])
    accrue.accrue(now=NOW)
    return draw.tenancy


def the_form(home: Tenancy) -> str:
    return f"/home/{home.pk}/usage/2026-11-10/dispute/"


def offered(page: str) -> list[str]:
    return re.findall(r'<option value="([^"]+)"', page)


def test_a_reading_is_disputed_seen_and_taken_back(read_home):
    browser = a_browser(who(read_home, "holder"))
    page = browser.get(the_form(read_home)).content.decode()
    nine = next(one for one in offered(page) if "T01:00:00" in one or "T09:00:00" in one)

    for _twice in range(2):
        sent = browser.post(the_form(read_home), {"reading": nine, "reason": "I was away", "key": "k" * 36})
        assert sent.headers["Location"] == f"/home/{read_home.pk}/disputes/"

    dispute = Dispute.objects.get()
    assert (dispute.import_wh, dispute.frozen_nano > 0) == (109_000, True)
    listed = browser.get(f"/home/{read_home.pk}/disputes/").content.decode()
    assert "109.000 kWh" in listed
    assert "I was away" in listed
    browser.post(f"/home/{read_home.pk}/disputes/", {"of": dispute.pk})
    dispute.refresh_from_db()
    assert dispute.state == "withdrawn"


def test_every_reading_of_the_day_is_offered_and_no_other(read_home):
    page = a_browser(who(read_home, "holder")).get(the_form(read_home)).content.decode()

    assert len(offered(page)) == 3
    assert offered(a_browser(who(read_home, "holder")).get(
        f"/home/{read_home.pk}/usage/2026-11-11/dispute/"
    ).content.decode()) == []  # fmt: skip


@pytest.mark.parametrize("wrong", [{"reason": " "}, {"reading": "yesterday"}, {"reading": ""}, {"key": ""}])
def test_a_dispute_that_says_too_little_is_refused_in_words_and_kept_in_the_form(read_home, wrong):
    browser = a_browser(who(read_home, "holder"))
    reading = offered(browser.get(the_form(read_home)).content.decode())[1]

    answer = browser.post(the_form(read_home), {"reading": reading, "reason": "I was away", "key": "k" * 36} | wrong)

    assert answer.status_code == 400
    assert b'role="alert"' in answer.content
    assert not Dispute.objects.exists()


def test_a_decided_dispute_cannot_be_taken_back_and_shows_what_the_property_said(read_home):
    browser = a_browser(who(read_home, "holder"))
    reading = offered(browser.get(the_form(read_home)).content.decode())[1]
    browser.post(the_form(read_home), {"reading": reading, "reason": "I was away", "key": "k" * 36})
    dispute = Dispute.objects.get()
    staff = makers.a_user(is_staff=True)
    disputing.decide(dispute_id=dispute.pk, as_="dismissed", by=staff, note="We looked at the meter", now=NOW)

    answer = browser.post(f"/home/{read_home.pk}/disputes/", {"of": dispute.pk})

    assert answer.status_code == 400
    assert b"We looked at the meter" in answer.content


def test_the_dispute_of_a_neighbour_is_not_there(read_home):
    browser = a_browser(who(read_home, "holder"))
    reading = offered(browser.get(the_form(read_home)).content.decode())[1]
    browser.post(the_form(read_home), {"reading": reading, "reason": "I was away", "key": "k" * 36})
    neighbour = makers.a_user()
    other = makers.a_tenancy(room=makers.a_room(place=read_home.property), holder=neighbour)

    answer = a_browser(neighbour).post(f"/home/{other.pk}/disputes/", {"of": Dispute.objects.get().pk})

    assert answer.status_code == 404
    assert Dispute.objects.get().state == "open"


# ---- a number of one's own ----


def test_a_number_is_proven_by_the_code_that_goes_to_it(sms):
    user = makers.a_user()
    browser = a_browser(user)
    browser.post("/settings/number/", {"phone": "13812345678"})

    done = browser.post("/settings/number/", {"phone": "13812345678", "code": code_in(sms)})

    assert done.headers["Location"] == "/settings/"
    assert User.objects.get(pk=user.pk).phone == "13812345678"
    assert "138****5678" in browser.get("/settings/").content.decode()


def test_a_wrong_code_proves_nothing(sms):
    browser = a_browser(makers.a_user())
    browser.post("/settings/number/", {"phone": "13812345678"})
    wrong = f"{(int(code_in(sms)) + 1) % 10**6:06d}"

    answer = browser.post("/settings/number/", {"phone": "13812345678", "code": wrong})

    assert answer.status_code == 400
    assert not User.objects.filter(phone="13812345678").exists()


def test_a_number_that_somebody_logs_in_by_asks_before_the_two_are_joined(sms):
    earlier = makers.a_user(phone="13812345678", date_joined=timezone.now() - timedelta(days=100))
    tenancy = makers.a_tenancy(holder=earlier)
    browser = a_browser(makers.a_user())
    browser.post("/settings/number/", {"phone": "13812345678"})
    form = {"phone": "13812345678", "code": code_in(sms)}

    asked = browser.post("/settings/number/", form)
    assert asked.status_code == 400
    assert b'value="yes"' in asked.content
    done = browser.post("/settings/number/", form | {"join": "yes"})

    assert done.status_code == 302
    assert browser.get(f"/home/{tenancy.pk}/").status_code == 200
