"""Managers see meters with prices of their own, and explain balances that do not add up."""

from __future__ import annotations

import pytest

from billing.mirror import sweep
from billing.models import MeterMoney, MirroredDay
from notifications.models import WorkItem
from tests.billing.mirror.metered import Box, a_box, close, mirrored
from tests.billing.rating.world import HOUR, START
from tests.desk import address, at_work, staff_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def box() -> Box:
    box = a_box(fen_per_kwh=80)
    box.tell(START + HOUR)
    box.buy(50_000, at=START + 2 * HOUR)
    box.use(30_000)
    box.tell(START + 23 * HOUR)
    box.tell(START + 25 * HOUR)
    close(START + 26 * HOUR)
    return box


@pytest.fixture
def manager(box):
    return at_work(staff_of(box.draw.property))


def test_the_list_shows_what_each_meter_took_and_what_we_would_have(manager, box):
    page = manager.get(address(MirroredDay, "changelist")).content.decode()

    assert box.draw.meter.serial in page
    assert all(text in page for text in ("¥24.00", "¥15.00", "¥9.00 (+60.0 %)"))


def test_months_with_other_prices_are_found(manager, box):
    wide = address(MirroredDay, "changelist", drift="wide")

    assert box.draw.meter.serial in manager.get(wide).content.decode()
    MirroredDay.objects.update(charged_fen=1_505)
    assert box.draw.meter.serial not in manager.get(wide).content.decode()
    assert box.draw.meter.serial in manager.get(address(MirroredDay, "changelist", drift="months")).content.decode()


def explain(client, box: Box, **answers):
    data = {
        "form_key": "form-1",
        "installation": box.draw.installation_id,
        "kind": "elsewhere",
        "amount": "20",
        "number": "",
        "at": f"{START + 24 * HOUR:%Y-%m-%dT%H:%M}",
        "reason": "receipt of the bank",
    }
    return client.post(address(MeterMoney, "add"), data | answers, follow=True)


def test_a_manager_explains_what_was_put_in_and_the_meter_is_charged_on(manager, box):
    box.balance_fen += 2_000
    box.tell(START + 30 * HOUR)
    box.tell(START + 49 * HOUR)
    close(START + 50 * HOUR)
    assert WorkItem.objects.filter(kind="meter_balance_unexplained", state="open").exists()

    explain(manager, box)
    explain(manager, box)

    money = MeterMoney.objects.get()
    assert (money.amount_fen, money.reason, money.installation_id) == (
        2_000,
        "receipt of the bank",
        box.draw.installation_id,
    )
    assert [fen for _on, fen in mirrored(box.draw)] == [2_400, 0]
    assert not WorkItem.objects.filter(kind="meter_balance_unexplained", state="open").exists()
    assert sweep.work(now=START + 50 * HOUR) == 0


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"amount": "much"}, "amount"),
        ({"amount": "0"}, "above zero"),
        ({"number": "1"}, "our own top-ups"),
        ({"at": "2020-01-01T00:00"}, "did not hang there"),
        ({"reason": " "}, "required"),
    ],
)
def test_what_cannot_be_is_said_in_the_page(manager, box, answers, told):
    page = explain(manager, box, **answers)

    assert told in page.content.decode()
    assert not MeterMoney.objects.exists()


def test_the_desk_explains_nothing(box):
    clerk = at_work(staff_of(box.draw.property, "service"))

    assert explain(clerk, box).status_code == 403


def test_another_propertys_meter_is_no_choice(manager, box):
    other = a_box()

    explain(manager, other)

    assert not MeterMoney.objects.exists()


def test_that_the_meter_is_right_needs_no_amount(manager, box):
    explain(manager, box, kind="accepted", amount="")

    assert MeterMoney.objects.get().kind == "accepted"
