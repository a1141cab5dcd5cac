"""Staff move homes from the pages of a purse and a meter, and read afterwards what was done."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from django.utils.timezone import localtime

from accounts.models import Tenancy
from billing.models import Operation, Purse
from meters.models import Installation
from tests import makers
from tests.desk import address, at_work, staff_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def home() -> Tenancy:
    room = makers.a_room()
    makers.a_meter(room=room)
    tenancy = makers.a_tenancy(room=room, starts_at=timezone.now() - timedelta(days=3))
    makers.a_purse(tenancy=tenancy)
    return tenancy


@pytest.fixture
def clerk(home):
    return at_work(staff_of(home.property, "manager"))


def deed(client, row, name, **answers):
    chosen = {"action": name, "_selected_action": row.pk}
    page = client.post(address(type(row), "changelist"), chosen)
    if not answers:
        return page
    form = {"form_key": "k" * 8, "happened": localtime().strftime("%Y-%m-%dT%H:%M"), "reason": "lease ended"}
    return client.post(address(type(row), "changelist"), {**chosen, "_answered": "1", **form, **answers}, follow=True)


def test_who_moves_out_is_shown_what_is_left_before_and_after(clerk, home):
    purse = Purse.objects.get(tenancy=home)
    meter = Installation.objects.get().meter

    asked = deed(clerk, purse, "move_out").content.decode()
    done = deed(clerk, purse, "move_out", **{f"wh_{meter.pk}": "0.5"}).content.decode()

    assert meter.serial in asked
    assert "used and not billed yet" in asked.lower()
    assert "Moved out" in done
    assert Operation.objects.get().registers == [{"meter": meter.serial, "import_wh": 500, "role": "before"}]
    assert not Tenancy.objects.get().is_open(timezone.now())


@pytest.mark.parametrize(("told", "words"), [("twelve", "as on the meter"), ("1.2345", "as on the meter")])
def test_a_register_that_is_none_is_refused_in_the_page(clerk, home, told, words):
    purse, meter = Purse.objects.get(tenancy=home), Installation.objects.get().meter

    page = deed(clerk, purse, "move_out", **{f"wh_{meter.pk}": told}).content.decode()

    assert words in page
    assert not Operation.objects.exists()


def test_somebody_moves_in_once_however_often_the_form_is_sent(clerk, home):
    room = makers.a_room(place=home.property)
    form = {
        "form_key": "12345678", "happened": localtime().strftime("%Y-%m-%dT%H:%M"), "reason": "new lease",
        "room": room.pk,
    }  # fmt: skip
    for _ in range(2):
        page = clerk.post(address(Operation, "add"), form, follow=True)

    assert page.status_code == 200
    assert Operation.objects.get().room == room
    assert "moved in" in clerk.get(address(Operation, "changelist")).content.decode()


def test_a_meter_is_replaced_and_people_change_the_room(clerk, home):
    hung, new = Installation.objects.get(), makers.a_meter(place=home.property)
    replaced = deed(
        clerk, hung, "replace_meter", old_kwh="1.5", meter=new.pk, new_kwh="0", ct_ratio="1", old_balance=""
    ).content.decode()
    assert f"{new.serial} hangs there now" in replaced
    there = makers.a_room(place=home.property)

    moved = deed(clerk, Purse.objects.get(tenancy=home), "change_room", to_room=there.pk, form_key="other-key")

    assert "Moved to" in moved.content.decode()
    assert Tenancy.objects.get(room=there).is_open(timezone.now())


def test_a_reading_that_is_not_there_cannot_be_corrected(clerk, home):
    hung = Installation.objects.get()

    page = deed(clerk, hung, "correct_reading", happened="2026-11-10 12:00:00", right_kwh="").content.decode()
    assert "no reading of that instant" in page
    page = deed(clerk, hung, "correct_reading", happened="noon", right_kwh="").content.decode()
    assert "Write the instant as" in page


def test_the_desk_of_another_property_moves_nobody(home):
    other = at_work(staff_of(makers.a_property()))

    page = deed(other, Purse.objects.get(tenancy=home), "move_out", reason="x")

    assert Tenancy.objects.get().ends_at is None
    assert "does not reach" in page.content.decode() or page.status_code in (302, 200)


def test_finance_moves_nobody(home):
    finance = at_work(staff_of(home.property, "finance"))

    deed(finance, Purse.objects.get(tenancy=home), "move_out", reason="x")

    assert Tenancy.objects.get().ends_at is None
