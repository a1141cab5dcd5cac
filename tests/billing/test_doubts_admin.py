"""Staff see readings in doubt of their properties, decide about them, and think again; and which meters wait."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry

from billing.models import Backlog, Doubt, Draw
from billing.rating import accrue, careful
from notifications.models import WorkItem
from tests import makers
from tests.billing.rating import world
from tests.billing.rating.world import HOUR, NOW, START
from tests.desk import address, at_work, do, staff_of, told

pytestmark = pytest.mark.django_db


@pytest.fixture
def draw() -> Draw:
    return world.a_draw()


@pytest.fixture
def doubt(draw) -> Doubt:
    """106 kWh, and then 6: the register ran backwards."""
    world.tell([(draw.meter, START + 6 * HOUR, 106_000), (draw.meter, START + 9 * HOUR, 6_000)])
    accrue.accrue(now=NOW)
    careful.work(now=NOW)
    return Doubt.objects.get()


@pytest.fixture
def manager(draw):
    return at_work(staff_of(draw.property))


def test_a_manager_sees_which_reading_it_is_and_why(manager, doubt):
    for page in (address(Doubt, "changelist"), address(doubt, "change")):
        text = manager.get(page).content.decode()

        assert str(doubt.installation.room) in text
        assert doubt.installation.meter.serial in text
        assert "6 kWh" in text
        assert "2026-11-10 09:00:00" in text
        assert "None" not in text
        assert "lower than the reading before" in text


def test_the_list_offers_what_is_open(manager, doubt):
    listed = manager.get(address(Doubt, "changelist", state="open")).context["cl"].result_list
    others = manager.get(address(Doubt, "changelist", state="rejected", reason="decrease")).context["cl"].result_list

    assert (list(listed), list(others)) == ([doubt], [])


def test_who_decides_sees_the_registers_around_it(manager, doubt):
    data = {"action": "decide", "_selected_action": [doubt.pk]}

    page = manager.post(address(doubt, "changelist"), data).content.decode()

    assert "2026-11-10 06:00:00 · 106 kWh" in page
    assert "2026-11-10 09:00:00 · 6 kWh" in page
    assert "999900 kWh" in page  # and what believing it would charge


@pytest.mark.parametrize("ruling", ["believed", "rebased", "rejected"])
def test_a_decision_is_kept_with_its_reason_and_what_follows_is_charged(manager, doubt, ruling):
    page = do(manager, "decide", [doubt], ruling=ruling, reason="looked at the display")

    doubt.refresh_from_db()
    assert (doubt.state, doubt.note) == (ruling, "looked at the display")
    assert doubt.decided_by
    assert doubt.decided_by.name.startswith("manager of")
    assert "What follows is charged within a minute." in told(page)
    assert "looked at the display" in LogEntry.objects.get().change_message
    assert "decided" in Backlog.objects.get(installation=doubt.installation).reasons


def test_nothing_is_decided_without_a_reason_or_a_choice(manager, doubt):
    for answers in ({"ruling": "believed", "reason": " "}, {"ruling": "cleared", "reason": "x"}, {"reason": "x"}):
        assert "errors" in do(manager, "decide", [doubt], **answers).content.decode()

    doubt.refresh_from_db()
    assert doubt.state == "open"


def test_a_manager_thinks_again(manager, doubt):
    do(manager, "decide", [doubt], ruling="rejected", reason="misread")

    page = do(manager, "undo", [doubt], reason="the other room's meter")

    doubt.refresh_from_db()
    assert (doubt.state, doubt.note) == ("open", "the other room's meter")
    assert "in doubt again" in told(page)


def test_who_was_slower_is_told(manager, doubt):
    do(manager, "decide", [doubt], ruling="rejected", reason="first")

    page = do(manager, "decide", [doubt], ruling="believed", reason="second")

    doubt.refresh_from_db()
    assert (doubt.state, doubt.note) == ("rejected", "first")
    assert "Somebody has decided about this reading already." in told(page)


def test_the_desk_looks_on_and_another_property_sees_nothing(draw, doubt):
    clerk, stranger = at_work(staff_of(draw.property, "service")), at_work(staff_of(makers.a_property()))

    do(clerk, "decide", [doubt], ruling="rejected", reason="no")
    do(stranger, "decide", [doubt], ruling="rejected", reason="no")

    doubt.refresh_from_db()
    assert doubt.state == "open"
    assert stranger.get(address(doubt, "change")).status_code == 302


def test_the_work_list_says_what_it_is_about_and_leads_there(manager, doubt):
    item = WorkItem.objects.get(kind="reading_in_doubt")

    page = manager.get(address(item, "change")).content.decode()

    assert item.detail["meter"] == doubt.installation.meter.serial
    assert address(doubt, "change") in page
    assert "lower than the reading before" in page


def test_staff_see_whose_readings_wait_and_why(manager, draw, doubt):
    Backlog.objects.update_or_create(
        installation=draw.installation,
        defaults={
            "property": draw.property, "from_at": START, "reasons": ["late", "repriced"], "next_try_at": NOW,
            "error": "ZeroDivisionError: x",
        },
    )  # fmt: skip

    page = manager.get(address(Backlog, "changelist")).content.decode()

    assert "a reading came late; a price was changed" in page
    assert "ZeroDivisionError: x" in page
    assert draw.meter.serial in page
