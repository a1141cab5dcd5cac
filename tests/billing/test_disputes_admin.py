"""Staff see disputes of their properties and decide them."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry

from billing.models import Dispute, Draw
from billing.rating import accrue, disputing, doubts
from billing.rating.disputing import Claim
from tests import makers
from tests.billing.rating import world
from tests.billing.rating.world import HOUR, NOW, START
from tests.desk import address, at_work, do, staff_of, told

pytestmark = pytest.mark.django_db


@pytest.fixture
def dispute() -> Dispute:
    draw: Draw = world.a_draw()
    assert draw.tenancy
    world.tell([(draw.meter, START + hours * HOUR, 100_000 + 1_000 * hours) for hours in (6, 9)])
    accrue.accrue(now=NOW)
    claim = Claim(
        tenancy=draw.tenancy, by=makers.a_user(), read_at=START + 9 * HOUR, reason="I was away", key="a-tenants-key"
    )
    return disputing.open_dispute(claim, now=NOW)


@pytest.fixture
def manager(dispute):
    return at_work(staff_of(dispute.property))


def test_a_manager_sees_what_it_is_about(manager, dispute):
    page = manager.get(address(dispute, "change")).content.decode()

    assert "109 kWh" in page
    assert "¥1.50" in page
    assert "from 2026-11-10 until the next reading" in page
    assert "I was away" in page
    assert str(dispute.tenancy.room) in manager.get(address(Dispute, "changelist")).content.decode()


def test_who_decides_sees_the_registers_around_it(manager, dispute):
    data = {"action": "decide", "_selected_action": [dispute.pk]}

    page = manager.post(address(dispute, "changelist"), data).content.decode()

    assert "2026-11-10 06:00:00 · 106 kWh" in page
    assert "2026-11-10 09:00:00 · 109 kWh" in page


def test_a_manager_dismisses_it_and_the_reason_is_kept(manager, dispute):
    page = do(manager, "decide", [dispute], decision="dismissed", reason="the seal is whole")

    dispute.refresh_from_db()
    assert (dispute.state, dispute.note) == ("dismissed", "the seal is whole")
    assert "The reading counts, and is charged." in told(page)
    assert "the seal is whole" in LogEntry.objects.get().change_message


def test_a_manager_upholds_it_with_what_the_register_showed(manager, dispute):
    do(manager, "decide", [dispute], decision="upheld", right_kwh="106.5", reason="misread")

    dispute.refresh_from_db()
    assert dispute.state == "upheld"
    assert doubts.rulings(dispute.draw.installation_id) == {START + 9 * HOUR: "rejected"}
    assert dispute.draw.meter.readings.filter(import_wh=106_500).exists()


def test_what_cannot_be_decided_is_said(manager, dispute):
    assert "cannot stand between" in told(
        do(manager, "decide", [dispute], decision="upheld", right_kwh="6", reason="misread")
    )
    do(manager, "decide", [dispute], decision="dismissed", reason="no")
    assert "ended already" in told(do(manager, "decide", [dispute], decision="upheld", reason="yes"))


def test_the_desk_looks_on(dispute):
    clerk = at_work(staff_of(dispute.property, "service"))

    do(clerk, "decide", [dispute], decision="dismissed", reason="no")

    dispute.refresh_from_db()
    assert dispute.state == "open"
