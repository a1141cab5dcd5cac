"""A closed day that turns out otherwise is closed once more: what it was is kept, and the difference is paid once."""

from __future__ import annotations

import random
import threading
from datetime import date, datetime, timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from billing import draws as drawing
from billing import slots, tariffs
from billing.models import (
    Backlog,
    Dispute,
    Draw,
    JournalEntry,
    Purse,
    TariffVersion,
    UsageDay,
    UsageMonth,
    UsageRevision,
)
from billing.rating import accrue, careful, days, doubts
from meters import partitions
from meters.models import Batch
from notifications.models import WorkItem
from tests import makers
from tests.billing.books import all_adds_up
from tests.billing.rating import world
from tests.billing.rating.test_order_of_arrival import a_history
from tests.billing.rating.world import HOUR, NOW, PERIODS_AND_TIERS, START

pytestmark = pytest.mark.django_db

PRICED = {**world.ONE_PRICE, "fee_yuan": "0.03"}
SECOND = timedelta(seconds=1)


def a_home(definition=PRICED, **more) -> Draw:
    return world.a_draw(world.a_version(definition), **more)


def tell(draw: Draw, *told: tuple[float, int], now: datetime = NOW) -> None:
    """The meter tells its register so many hours after START, and all that follows from it is rated and closed."""
    world.tell([(draw.meter, START + hours * HOUR, wh) for hours, wh in told], stored_at=now)
    settle(now)
    draw.refresh_from_db()


def settle(now: datetime = NOW) -> None:
    accrue.accrue(now=now)
    careful.work(now=now)
    assert not Backlog.objects.exists()
    days.close(now=now)


def kept(draw: Draw) -> list[tuple[date, int, int, int]]:
    rows = UsageDay.objects.filter(draw=draw).order_by("usage_date")
    return list(rows.values_list("usage_date", "energy_wh", "posted_fen", "revision"))


def books_agree(draw: Draw) -> None:
    """Days, months, draw, entries and purse say the same of the money."""
    all_adds_up()
    draw.refresh_from_db()
    rows = list(UsageDay.objects.filter(draw=draw, usage_date__lt=draw.closed_until))
    assert draw.closed_nano == sum(row.cost_nano + row.fee_nano for row in rows)
    assert draw.posted_fen == sum(row.posted_fen for row in UsageDay.objects.filter(draw=draw))
    assert -Purse.objects.get(pk=draw.purse_id).paid_fen == sum(
        one.posted_fen for one in Draw.objects.filter(purse=draw.purse_id)
    )
    months = UsageMonth.objects.filter(draw=draw)
    assert sum(month.energy_wh for month in months) == sum(row.energy_wh for row in UsageDay.objects.filter(draw=draw))
    assert sum(month.cost_nano for month in months) == sum(row.cost_nano for row in UsageDay.objects.filter(draw=draw))
    wh: dict[str, int] = {}
    for row in UsageDay.objects.filter(draw=draw):
        for line in row.lines:
            wh[line["period"]] = wh.get(line["period"], 0) + line["energy_wh"]
    for month in months:
        assert {name: value for name, value in month.period_wh.items() if value} == {k: v for k, v in wh.items() if v}


def test_a_late_reading_moves_energy_between_closed_days_and_only_the_difference_is_paid():
    draw = a_home()
    tell(draw, (12, 101_200), (36, 103_600), (48, 104_800))
    assert kept(draw) == [(date(2026, 11, 10), 2_400, 127, 1), (date(2026, 11, 11), 2_400, 127, 1)]
    posted_fen = draw.posted_fen

    tell(draw, (24, 103_000), now=NOW + HOUR)

    assert [row[1] for row in kept(draw)] == [3_000, 1_800]
    assert [row[3] for row in kept(draw)] == [2, 2]
    assert draw.posted_fen - posted_fen in (-1, 0, 1)
    books_agree(draw)
    was = UsageRevision.objects.get(usage_date=date(2026, 11, 10))
    assert (was.reason, was.revision, was.was["energy_wh"]) == ("usage_corrected", 1, 2_400)
    entry = JournalEntry.objects.get(key=was.entry_key)
    assert entry.kind == "usage_corrected"
    assert "2026-11-10" in entry.reason
    assert UsageMonth.objects.get(draw=draw).days == 2


def test_while_the_days_are_open_again_what_is_left_follows_at_once():
    draw = a_home()
    tell(draw, (12, 101_200), (36, 103_600), (48, 104_800))
    before_fen = Purse.objects.get(pk=draw.purse_id).available_fen()
    world.tell([(draw.meter, START + 24 * HOUR, 103_000)], stored_at=NOW)

    accrue.accrue(now=NOW)
    careful.work(now=NOW)

    draw.refresh_from_db()
    assert draw.closed_until == START.date()
    assert Purse.objects.get(pk=draw.purse_id).available_fen() == before_fen


def test_news_that_change_nothing_leave_days_and_books_as_they_are():
    draw = a_home()
    tell(draw, (12, 101_200), (36, 103_600), (48, 104_800))
    entries = JournalEntry.objects.count()

    careful.leave(installation_ids=[draw.installation_id], from_at=START, reason="late", now=NOW)
    settle()

    assert {row[3] for row in kept(draw)} == {1}
    assert JournalEntry.objects.count() == entries
    assert not UsageRevision.objects.exists()
    books_agree(draw)


def test_later_days_are_priced_anew_where_the_tiers_have_filled_otherwise():
    tiers = {**world.ONE_PRICE, "tiers": {"cycle": {"months": 12}, "limits": [{"kwh": [2]}]}}
    tiers["prices"] = [{"yuan": "0.50", "surcharge_yuan": ["0.30"]}]
    draw = a_home(tiers)
    second = makers.a_meter(place=draw.property)
    hung = makers.Installation.objects.create(
        property=draw.property, room=draw.room, meter=second, starts_at=START, starts_wh=0
    )
    drawing.align(room_ids=[draw.room_id], now=NOW)
    world.tell([(draw.meter, START + h * HOUR, 100_000 + 50 * h) for h in (24, 48)], stored_at=NOW)
    world.tell([(second, START + 24 * HOUR, 10**6), (second, START + 48 * HOUR, 1_000)], stored_at=NOW)
    settle()
    assert UsageDay.objects.count() == 0 or Purse.objects.get(pk=draw.purse_id).paid_fen <= 0
    doubt = doubts.Doubt.objects.get(installation=hung, read_at=START + 24 * HOUR)
    assert doubt.state in ("open", "cleared")

    world.tell([(second, START + 12 * HOUR, 1_000)], stored_at=NOW + SECOND)
    settle(NOW + SECOND)

    used = {(row.draw.meter_id, row.usage_date.day): row.energy_wh for row in UsageDay.objects.select_related("draw")}
    assert used == {(draw.meter_id, 10): 1_200, (draw.meter_id, 11): 1_200, (second.pk, 10): 1_000, (second.pk, 11): 0}
    # 2,000 Wh at 0.50, 1,400 Wh at 0.80.
    assert Purse.objects.get(pk=draw.purse_id).paid_fen == -(100 + 112)


def test_a_ruling_that_is_taken_back_opens_its_days_and_given_again_closes_them_as_they_were():
    draw = a_home()
    clerk = makers.a_user()
    tell(draw, (12, 101_200), (20, 10), (36, 1_610), (48, 2_810))
    doubt = doubts.Doubt.objects.get(read_at=START + 20 * HOUR)
    assert kept(draw) == []
    doubts.decide(doubt_id=doubt.pk, as_="rebased", by=clerk, note="the meter was reset", now=NOW)
    settle()
    before, posted_fen = kept(draw), Draw.objects.get(pk=draw.pk).posted_fen
    assert [row[1] for row in before] == [1_200 + 400, 2_400]

    doubts.undo(doubt_id=doubt.pk, by=clerk, note="wrong meter", now=NOW)
    settle()

    draw.refresh_from_db()
    assert (draw.posted_fen, draw.total_nano) == (posted_fen, 1_200 * 53_000_000)
    assert Purse.objects.get(pk=draw.purse_id).available_fen() == -64
    doubts.decide(doubt_id=doubt.pk, as_="rebased", by=clerk, note="it was this one", now=NOW)
    settle()
    assert kept(draw) == before
    books_agree(draw)


def test_a_final_price_over_closed_days_is_an_adjustment():
    provisional = makers.a_published_version(
        definition=world.ONE_PRICE, starts_date=date(2026, 11, 1), is_provisional=True, now=NOW
    )
    place = provisional.tariff.property
    tenancy = makers.a_tenancy(room=makers.a_room(place=place), starts_at=START)
    meter = makers.a_meter(place=place)
    makers.Installation.objects.create(
        property=place, room=tenancy.room, meter=meter, starts_at=START, starts_wh=100_000
    )
    drawing.align(room_ids=[tenancy.room_id], now=NOW)
    world.partitions.make_months(now=START)
    world.tell([(meter, START + h * HOUR, 100_000 + 100 * h) for h in (12, 24, 36, 48)], stored_at=NOW)
    settle()
    draw = Draw.objects.get()
    assert [row[2] for row in kept(draw)] == [120, 120]
    final = makers.a_version(
        provisional.tariff,
        definition={"prices": [{"yuan": "0.60"}]},
        starts_date=date(2026, 11, 1),
        replaces=provisional,
    )

    tariffs.publish(version_id=final.pk, by=makers.a_user(), reason="final price of the grid", now=NOW)
    settle(NOW + SECOND)

    assert [row[2] for row in kept(draw)] == [144, 144]
    assert {entry.kind for entry in JournalEntry.objects.filter(key__endswith=":2")} == {"price_adjustment"}
    assert {one.reason for one in UsageRevision.objects.all()} == {"price_adjustment"}
    books_agree(draw)
    assert TariffVersion.objects.get(pk=provisional.pk).state == "replaced"


def test_a_tenant_who_moved_out_earlier_than_was_known_gets_the_days_back_and_the_property_pays():
    draw = a_home()
    tell(draw, (24, 102_400), (48, 104_800))
    assert Purse.objects.get(pk=draw.purse_id).paid_fen == -254
    draw.tenancy.ends_at = START + 12 * HOUR
    draw.tenancy.save(update_fields=["ends_at"])

    assert drawing.align(room_ids=[draw.room_id], now=NOW + SECOND) == 2
    settle(NOW + SECOND)

    assert [row[1] for row in kept(draw)] == [1_200, 0]
    assert Purse.objects.get(pk=draw.purse_id).paid_fen == -64
    empty = Draw.objects.exclude(pk=draw.pk).get()
    assert [row[1] for row in kept(empty)] == [1_200, 2_400]
    assert Purse.objects.get(pk=empty.purse_id).paid_fen == -(64 + 127)
    books_agree(draw)
    books_agree(empty)

    draw.tenancy.ends_at = None
    draw.tenancy.save(update_fields=["ends_at"])
    drawing.align(room_ids=[draw.room_id], now=NOW + 2 * SECOND)

    assert WorkItem.objects.get(kind="draw_of_closed_days")  # the empty room's closed days would vanish: a person


def test_who_moves_out_now_is_closed_to_the_hour():
    draw = a_home()
    tell(draw, (24, 102_400))
    at = START + 36 * HOUR
    draw.tenancy.ends_at = at
    draw.tenancy.save(update_fields=["ends_at"])
    world.tell([(draw.meter, at, 103_000)], stored_at=at)
    accrue.accrue(now=at)

    with transaction.atomic():
        drawing.align(room_ids=[draw.room_id], now=at)
        closed = days.close_held(room_id=draw.room_id, now=at)

    assert closed == 1
    draw.refresh_from_db()
    assert [row[1] for row in kept(draw)] == [2_400, 600]
    assert (draw.posted_fen, draw.total_nano) == (159, 3_000 * 53_000_000)
    assert Purse.objects.get(pk=draw.purse_id).available_fen() == -159


def test_a_day_in_dispute_is_not_posted_until_it_is_decided():
    draw = a_home()
    world.tell([(draw.meter, START + h * HOUR, 100_000 + 100 * h) for h in (12, 30, 48)], stored_at=NOW)
    accrue.accrue(now=NOW)
    dispute = Dispute.objects.create(
        key="d1",
        property=draw.property,
        tenancy=draw.tenancy,
        purse=draw.purse,
        draw=draw,
        read_at=START + 30 * HOUR,
        import_wh=103_000,
        from_date=date(2026, 11, 11),
        to_date=date(2026, 11, 12),
        reason="nobody was at home",
        opened_at=NOW,
        opened_by=makers.a_user(),
    )

    assert days.close(now=NOW) == 1
    assert days.close(now=NOW) == 0
    assert [row[0].day for row in kept(draw)] == [10]

    Dispute.objects.filter(pk=dispute.pk).update(state="withdrawn")
    assert days.close(now=NOW) == 1


def test_what_was_computed_from_readings_that_are_gone_stays():
    draw = a_home()
    tell(draw, (24, 102_400))
    years_later = NOW + timedelta(days=26 * 31)
    careful.leave(installation_ids=[draw.installation_id], from_at=START, reason="late", now=years_later)

    assert careful.work(now=years_later) == 1

    assert not Backlog.objects.exists()
    assert kept(draw)[0][3] == 1
    item = WorkItem.objects.get(kind="days_too_old")
    assert item.detail == {"since": "2026-11-10", "until": (years_later - timedelta(days=25 * 31)).date().isoformat()}


def test_old_news_keeps_no_room_from_being_billed(settings):
    """What is known of a day of long ago changes what can still be charged anew, and new readings go on."""
    settings.READINGS_KEPT_MONTHS = 2
    draw = a_home()
    tell(draw, (24, 102_400), (48, 104_800))
    before = kept(draw)
    later = NOW + timedelta(days=100)
    partitions.make_months(now=later)
    slots.lay_out(tariff_id=draw.version.tariff_id, now=later)

    def told(hours, wh):
        at = later + hours * HOUR
        world.tell([(draw.meter, at, wh)], stored_at=at)
        settle(at)

    told(0, 200_000)
    careful.leave(installation_ids=[draw.installation_id], from_at=START, reason="special_day", now=later + HOUR)
    told(2, 201_000)
    for hours in range(8, 80, 6):
        told(hours, 201_000 + 100 * hours)

    draw.refresh_from_db()
    assert not Backlog.objects.exists()
    assert draw.last_wh == 201_000 + 100 * 74
    assert draw.closed_until > later.date()
    assert kept(draw)[: len(before)] == before
    assert WorkItem.objects.filter(kind="days_too_old").count() == 1


def test_a_revision_that_fails_half_way_leaves_the_day_as_it_was_and_is_done_later():
    draw = a_home()
    tell(draw, (12, 101_200), (36, 103_600), (48, 104_800))
    before = kept(draw)
    with connection.cursor() as cursor:
        cursor.execute("alter table billing_usagerevision add constraint never check (revision < 0) not valid")
    tell(draw, (24, 103_000), now=NOW + HOUR)
    assert kept(draw) == before
    with connection.cursor() as cursor:
        cursor.execute("alter table billing_usagerevision drop constraint never")

    days.close(now=NOW + 2 * HOUR)

    assert [row[3] for row in kept(draw)] == [2, 2]
    books_agree(draw)


def test_revisions_are_append_only():
    draw = a_home()
    tell(draw, (12, 101_200), (36, 103_600), (48, 104_800))
    tell(draw, (24, 103_000), now=NOW + HOUR)

    with pytest.raises(DatabaseError), transaction.atomic():
        UsageRevision.objects.all().delete()


@pytest.mark.parametrize("seed", range(24))
def test_whatever_came_late_and_whenever_days_were_closed_the_same_is_kept_and_paid(seed):
    dice = random.Random(1000 + seed)
    last_wh = dice.choice([100_000, 999_990_000])
    version = world.a_version(PERIODS_AND_TIERS)
    told = a_history(dice, last_wh=last_wh)
    outcomes = []
    for turn in range(3):
        draw = world.a_draw(version, last_wh=last_wh, ct_ratio=20)
        order = list(told)
        if turn:
            dice.shuffle(order)
        now = NOW
        while order:
            size = 1 if not turn else dice.randint(1, 5)
            batch, order = order[:size], order[size:]
            now += SECOND
            world.tell([(draw.meter, at, wh) for at, wh in batch], stored_at=now)
            if not turn or dice.random() < 0.7:
                accrue.accrue(now=now)
            if not turn or dice.random() < 0.6:
                careful.work(now=now)
            if turn and dice.random() < 0.6:
                days.close(now=now)
        now += 2 * HOUR
        while Batch.objects.exists():
            accrue.accrue(now=now)
        careful.work(now=now)
        days.close(now=now)
        draw.refresh_from_db()
        rows = UsageDay.objects.filter(draw=draw, usage_date__lt=draw.closed_until).order_by("usage_date")
        books_agree(draw)
        outcomes.append(
            (
                *(draw.last_at, draw.last_wh, draw.total_nano, draw.closed_nano, draw.closed_until),
                list(rows.values_list("usage_date", "energy_wh", "cost_nano", "fee_nano", "lines", "slot_wh")),
            )
        )
        whole = not UsageDay.objects.filter(draw=draw, usage_date__gte=draw.closed_until).exists()
        if whole:  # nothing waits to be closed again: what is posted is the running total, rounded once
            assert draw.posted_fen == (draw.closed_nano * 2 + 10**9) // (2 * 10**9)

    assert outcomes[0] == outcomes[1] == outcomes[2]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("round_", range(4))
def test_who_rates_and_who_closes_at_once_keep_and_pay_each_day_once(round_):
    homes = [a_home() for _ in range(3)]
    for draw in homes:
        tell(draw, (12, 101_200), (36, 103_600), (48, 104_800))
    for draw in homes:
        world.tell([(draw.meter, START + (20 + round_) * HOUR, 102_900)], stored_at=NOW + SECOND)
    ready = threading.Barrier(4)

    def one(act) -> None:
        try:
            ready.wait()
            for _ in range(3):
                act()
        finally:
            connection.close()

    acts = [
        lambda: accrue.accrue(now=NOW + SECOND),
        lambda: careful.work(now=NOW + SECOND),
        lambda: days.close(now=NOW + SECOND),
        lambda: days.close(now=NOW + SECOND),
    ]
    threads = [threading.Thread(target=one, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settle(NOW + 2 * SECOND)

    for draw in homes:
        assert {row[3] for row in kept(draw)} == {2}
        books_agree(draw)
    assert UsageRevision.objects.count() == 6
