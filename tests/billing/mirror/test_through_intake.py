"""From a recharge to revenue, through everything that a real one passes: queue, command, answer, telemetry, closing."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from billing import audit, changes, mirror_audit, prepaid, rating
from billing.mirror import sweep
from billing.models import Draw, MirroredDay, Purse
from billing.rating import days
from billing.tariff.civil import CIVIL
from meters import commands, intake, partitions, topups
from meters.models import Command, Installation, Level, Meter, TopUp
from notifications.models import WorkItem
from tests import makers
from tests.billing.books import BANK
from tests.meters.saying import a_report, answer, online, telemetry

pytestmark = pytest.mark.django_db
MORNING = datetime(2026, 11, 10, 8, tzinfo=CIVIL)
HOUR = timedelta(hours=1)


@pytest.fixture
def home() -> tuple[Meter, Purse]:
    """A home with a meter of its own money that has just been hung, by a published price of 0.62 yuan."""
    place = makers.a_property()
    makers.a_published_version(place=place, now=MORNING)
    partitions.make_months(now=MORNING)
    room = makers.a_room(place=place)
    purse = makers.a_purse(tenancy=makers.a_tenancy(room=room, starts_at=MORNING))
    meter = makers.a_meter(place=place, held_by="meter")
    Installation.objects.create(property=place, room=room, meter=meter, starts_at=MORNING)
    changes.catch_up(now=MORNING)
    says(meter, online(meter, MORNING, import_wh=0, balance_fen=0, purchase_count=0, order="auto"), MORNING)
    return meter, purse


def says(meter: Meter, frame, now: datetime) -> intake.Taken:
    taken = intake.take([frame], now=now)
    prepaid.settle(now=now)
    meter.refresh_from_db()
    return taken


def recharge(purse: Purse, amount_fen: int, at: datetime) -> None:
    prepaid.top_up(
        key=f"payment:{at}",
        kind="recharge",
        purse_id=purse.pk,
        amount_fen=amount_fen,
        source=BANK,
        happened_at=at,
        trace="t",
        now=at,
    )


def goes_out(meter: Meter, at: datetime) -> Command:
    topups.dispatch(now=at)
    commands.claim(now=at)
    return Command.objects.get(meter=meter, kind="top_up", state="sent")


def shows(meter: Meter, at: datetime, *, wh: int, fen: int, count: int) -> intake.Taken:
    report = a_report(at, import_wh=wh, balance_fen=fen, purchase_count=count, order="auto")
    return says(meter, telemetry(meter, report, received_at=at), at)


def test_a_recharge_lands_is_used_up_and_becomes_revenue(home):
    meter, purse = home
    recharge(purse, 5_000, MORNING + HOUR)
    out = goes_out(meter, MORNING + HOUR)
    landed = answer(meter, out, MORNING + HOUR, import_wh=0, balance_fen=5_000, purchase_count=1, order="auto")
    assert says(meter, landed, MORNING + HOUR).landed == (TopUp.objects.get().pk,)
    shows(meter, MORNING + 8 * HOUR, wh=10_000, fen=4_380, count=1)
    # The second one is in the meter, and its answer is lost: the meter's next report shows it before we know.
    recharge(purse, 1_000, MORNING + 15 * HOUR)
    goes_out(meter, MORNING + 15 * HOUR)
    shows(meter, MORNING + 15.9 * HOUR, wh=12_000, fen=5_256, count=2)
    shows(meter, MORNING + 17 * HOUR, wh=12_000, fen=5_256, count=2)
    now = MORNING + 18 * HOUR
    prepaid.settle(now=now)

    rating.work(now=now)
    assert days.close(now=now) == 1
    assert sweep.work(now=now) == 1

    assert set(TopUp.objects.values_list("state", flat=True)) == {"landed"}
    day = MirroredDay.objects.get()
    assert (day.charged_fen, day.ours_nano, day.purchase_count) == (744, 744_000_000_000, 2)
    assert Purse.objects.get(tenancy=purse.tenancy).in_meter_fen == 5_256 == meter.balance_fen
    assert Draw.objects.get(tenancy=purse.tenancy).counted_by == "meter"
    assert not WorkItem.objects.filter(state="open").exists()
    assert not Level.objects.filter(meter=meter, wanted="open").exists()
    assert audit.audit(checks=(*audit.CHECKS, *mirror_audit.CHECKS), now=now).findings == ()
