"""Raw readings are dropped by the month, and none that something may still be computed from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from billing.models import Backlog, Dispute, Doubt, Draw
from billing.rating import retention
from config import schedules
from tests import makers
from tests.billing.rating import world
from tests.billing.rating.test_revisions import tell
from tests.billing.rating.world import HOUR, START

pytestmark = pytest.mark.django_db
UNTIL = START + timedelta(days=1)


def may_drop() -> bool:
    return retention.may_drop(START, UNTIL)


@pytest.fixture
def draw() -> Draw:
    draw = world.a_draw()
    tell(draw, (12, 101_200), (36, 103_600), (48, 104_800))
    return draw


def test_closed_days_need_no_readings(draw):
    assert may_drop()


def test_an_open_day_does():
    world.a_draw()
    assert not may_drop()


def test_what_waits_for_a_person_or_for_rating_does(draw):
    Backlog.objects.create(
        installation=draw.installation, property=draw.property, from_at=START, reasons=["late"], next_try_at=UNTIL
    )
    assert not may_drop()
    Backlog.objects.all().delete()
    doubt = Doubt.objects.create(
        installation=draw.installation, property=draw.property, read_at=START + HOUR, import_wh=1, reason="jump",
        found_at=UNTIL,
    )  # fmt: skip
    assert not may_drop()
    Doubt.objects.filter(pk=doubt.pk).update(state="rejected")
    assert may_drop()
    Dispute.objects.create(
        key="d", property=draw.property, tenancy=draw.tenancy, purse=draw.purse, draw=draw, read_at=START + HOUR,
        import_wh=1, from_date=START.date(), to_date=START.date(), reason="away", opened_at=UNTIL,
        opened_by=makers.a_user(),
    )  # fmt: skip
    assert not may_drop()


def test_the_schedule_drops_nothing_young(draw, monkeypatch):
    monkeypatch.setattr("config.schedules.timezone.now", lambda: datetime(2026, 11, 23, tzinfo=UTC))

    assert schedules.drop_months() == []
