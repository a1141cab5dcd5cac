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


class TestOpening:
    """The tenant calls, or stands at the desk."""

    @pytest.fixture
    def draw(self) -> Draw:
        draw: Draw = world.a_draw()
        world.tell([(draw.meter, START + hours * HOUR, 100_000 + 1_000 * hours) for hours in (6, 9)])
        accrue.accrue(now=NOW)
        return draw

    @pytest.fixture
    def clerk(self, draw):
        return at_work(staff_of(draw.property, "service"))

    def opens(self, client, draw, **answers):
        data = {"tenancy": draw.tenancy_id, "read_at": "2026-11-10 09:00:00", "reason": "away", "form_key": "f"}
        return client.post(address(Dispute, "add"), data | answers, follow=True)

    def test_the_desk_opens_one_for_a_tenant_and_who_did_is_kept(self, clerk, draw):
        page = self.opens(clerk, draw)

        dispute = Dispute.objects.get()
        assert (dispute.tenancy, dispute.import_wh, dispute.reason) == (draw.tenancy, 109_000, "away")
        assert dispute.opened_by.name.startswith("service of")
        assert "Frozen until it is decided: from 2026-11-10 until the next reading." in told(page)
        assert "The dispute is open" in LogEntry.objects.get().change_message

    def test_sent_twice_it_is_opened_once(self, clerk, draw):
        self.opens(clerk, draw)
        self.opens(clerk, draw)

        assert (Dispute.objects.count(), LogEntry.objects.count()) == (1, 1)

    @pytest.mark.parametrize(
        ("answers", "words"),
        [
            ({"read_at": "2026-11-10 09:01:00"}, "There is no such reading of this home"),
            ({"read_at": "yesterday"}, "Write the instant as"),
            ({"meter": "77"}, "There is no such reading of this home"),
            ({"reason": " "}, "required"),
        ],
    )
    def test_what_cannot_be_disputed_is_refused_in_the_page(self, clerk, draw, answers, words):
        assert words in self.opens(clerk, draw, **answers).content.decode()
        assert not Dispute.objects.exists()

    def test_another_propertys_home_is_no_choice(self, draw):
        page = self.opens(at_work(staff_of(makers.a_property(), "service")), draw)

        assert "tenancy" in page.context["form"].errors

    def test_finance_opens_none(self, draw):
        assert self.opens(at_work(staff_of(draw.property, "finance")), draw).status_code == 403

    def test_the_tenancys_page_leads_there(self, clerk, draw):
        assert (
            f"{address(Dispute, 'add')}?tenancy={draw.tenancy_id}"
            in clerk.get(address(draw.tenancy, "change")).content.decode()
        )
