"""A tenant disputes a reading: its two intervals are frozen until staff decide, later usage goes on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from billing import audit, disputes, rating
from billing.models import Dispute, Doubt, Draw, Review, UsageDay
from billing.rating import accrue, careful, days, disputing, doubts
from billing.rating.disputing import Claim, DisputeRefused
from meters.models import Reading
from notifications.models import Message, WorkItem
from tests import makers
from tests.billing.rating import world
from tests.billing.rating.world import HOUR, NOW, START
from tests.racing import race

pytestmark = pytest.mark.django_db

PER_WH = 50_000_000  # nano-fen, of world.ONE_PRICE


@pytest.fixture
def draw() -> Draw:
    """A home with four readings: 1 kWh, then 8 kWh in three hours, which the tenant does not believe, then 0.5 kWh."""
    draw = world.a_draw()
    use(draw, [(6, 101_000), (9, 109_000), (12, 109_500), (15, 110_000)])
    return draw


def use(draw: Draw, told: list[tuple[float, int]], *, now=NOW) -> None:
    world.tell([(draw.meter, START + hours * HOUR, wh) for hours, wh in told], stored_at=now)
    accrue.accrue(now=now)
    careful.work(now=now)
    draw.refresh_from_db()


def dispute(draw: Draw, *, hours: float = 9, key: str = "k1", now=NOW, **more) -> Dispute:
    asked: dict[str, Any] = {"reason": "I was away", "by": makers.a_user(), "tenancy": draw.tenancy} | more
    return disputing.open_dispute(Claim(read_at=START + hours * HOUR, key=key, **asked), now=now)


def refused(code: str):
    return pytest.raises(DisputeRefused, check=lambda error: error.code == code)


def test_the_two_intervals_that_touch_the_reading_are_frozen_and_nothing_else(draw):
    opened = dispute(draw)

    assert disputes.frozen_nano(purse_id=draw.purse_id) == 8_500 * PER_WH
    assert (opened.import_wh, opened.from_date, opened.to_date) == (109_000, START.date(), START.date())
    assert disputes.frozen_dates(draw_ids=[draw.pk]) == {draw.pk: (START.date(), START.date())}
    assert WorkItem.objects.get().key == f"dispute:{opened.pk}"
    assert Review.objects.filter(purse=draw.purse_id).exists()

    use(draw, [(18, 111_000)], now=NOW + HOUR)
    disputing.follow(now=NOW + HOUR)

    assert disputes.frozen_nano(purse_id=draw.purse_id) == 8_500 * PER_WH
    assert draw.total_nano == 11_000 * PER_WH


def test_intervals_over_midnight_freeze_both_days(draw):
    use(draw, [(23, 112_000), (26, 113_000), (47, 115_000)])

    opened = dispute(draw, hours=26)

    assert (opened.from_date, opened.to_date) == (START.date(), (START + 47 * HOUR).date())
    assert opened.frozen_nano == 3_000 * PER_WH


def test_a_closed_day_is_priced_again_and_marked(draw):
    use(draw, [(25, 112_000)])
    world.a_closed_day(
        draw, START.date(), opens=(START, 100_000), closes=(START + 25 * HOUR, 112_000), cost_nano=11_800 * PER_WH
    )

    opened = dispute(draw)

    assert opened.frozen_nano == 8_500 * PER_WH
    assert UsageDay.objects.get().is_frozen
    disputing.withdraw(dispute_id=opened.pk, by=opened.opened_by, now=NOW)
    assert not UsageDay.objects.get().is_frozen


def test_the_newest_reading_freezes_all_that_follows_until_one_does(draw):
    opened = dispute(draw, hours=15)
    assert disputes.frozen_dates(draw_ids=[draw.pk]) == {draw.pk: (START.date(), disputes.UNTIL_READ)}
    assert opened.frozen_nano == 500 * PER_WH

    use(draw, [(20, 111_000), (30, 112_000)])

    assert disputing.follow(now=NOW) == 1
    opened.refresh_from_db()
    assert (opened.to_date, opened.frozen_nano) == (START.date(), 1_500 * PER_WH)
    assert disputing.follow(now=NOW) == 0


def test_a_dismissed_dispute_frees_its_days_and_tells_the_tenant(draw):
    opened, clerk = dispute(draw), makers.a_user()

    disputing.decide(dispute_id=opened.pk, as_="dismissed", by=clerk, note="seen at the meter", now=NOW)

    opened.refresh_from_db()
    assert (opened.state, opened.decided_by, opened.note) == ("dismissed", clerk, "seen at the meter")
    assert disputes.frozen_nano(purse_id=draw.purse_id) == 0
    assert disputes.frozen_dates(draw_ids=[draw.pk]) == {}
    assert WorkItem.objects.get().state == "resolved"
    assert Message.objects.get().kind == "dispute_decided"
    with refused("decided"):
        dispute(draw, key="k2")


def test_an_upheld_dispute_rules_the_reading_out(draw):
    use(draw, [(12.5, 109_600)])
    opened = dispute(draw)

    disputing.decide(dispute_id=opened.pk, as_="upheld", by=makers.a_user(), note="the display says so", now=NOW)
    careful.work(now=NOW)

    assert doubts.rulings(draw.installation_id) == {START + 9 * HOUR: "rejected"}
    draw.refresh_from_db()
    assert draw.total_nano == 10_000 * PER_WH  # registers are cumulative: only when it was used has changed
    assert Doubt.objects.get().reason == "ruled_out"


def test_the_newest_reading_that_is_ruled_out_is_charged_back(draw):
    opened = dispute(draw, hours=15)

    disputing.decide(dispute_id=opened.pk, as_="upheld", by=makers.a_user(), note="misread", now=NOW)
    careful.work(now=NOW)

    draw.refresh_from_db()
    assert (draw.total_nano, draw.last_wh) == (9_500 * PER_WH, 109_500)


def test_an_upheld_reading_can_be_replaced_by_what_the_register_showed(draw):
    opened = dispute(draw, hours=15)

    disputing.decide(dispute_id=opened.pk, as_="upheld", by=makers.a_user(), note="misread", now=NOW, right_wh=109_700)
    accrue.accrue(now=NOW + HOUR)
    careful.work(now=NOW + HOUR)

    draw.refresh_from_db()
    assert (draw.total_nano, draw.last_wh) == (9_700 * PER_WH, 109_700)
    assert Reading.objects.get(meter=draw.meter, import_wh=109_700).source == Reading.Source.STAFF


def test_a_register_that_cannot_be_right_is_refused_and_nothing_is_decided(draw):
    opened = dispute(draw)

    with refused("register"):
        disputing.decide(
            dispute_id=opened.pk, as_="upheld", by=makers.a_user(), note="misread", now=NOW, right_wh=90_000
        )

    opened.refresh_from_db()
    assert opened.state == "open"
    assert not Doubt.objects.exists()


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"hours": 7}, "no_such_reading"),
        ({"reason": "  "}, "reason"),
        ({"reason": "x" * 1001}, "reason"),
        ({"meter": "000"}, "no_such_reading"),
    ],
)
def test_what_cannot_be_disputed_is_refused(draw, more, code):
    with refused(code):
        dispute(draw, **more)

    assert not Dispute.objects.exists()


def test_nobody_disputes_what_was_before_their_time(draw):
    Draw.objects.filter(pk=draw.pk).update(ends_at=START + 10 * HOUR)
    later = world.another_draw(draw, starts_at=START + 10 * HOUR, ends_at=None)

    with refused("no_such_reading"):
        dispute(later)


def test_a_reading_that_is_not_charged_is_not_disputed(draw):
    use(draw, [(16, 900_000)])

    with refused("not_charged"):
        dispute(draw, hours=16)


def test_a_key_names_one_dispute_and_a_purse_has_one_open(draw):
    opened = dispute(draw)

    assert dispute(draw) == opened
    with refused("idempotency_key_reused"):
        dispute(draw, hours=12)
    with refused("dispute_open"):
        dispute(draw, hours=12, key="k2")
    assert WorkItem.objects.get().times == 1


def test_what_was_withdrawn_can_be_disputed_anew_and_what_was_decided_cannot_be_withdrawn(draw):
    tenant = makers.a_user()
    first = dispute(draw)
    disputing.withdraw(dispute_id=first.pk, by=tenant, now=NOW)
    assert disputing.withdraw(dispute_id=first.pk, by=tenant, now=NOW).state == "withdrawn"
    second = dispute(draw, key="k2")
    disputing.decide(dispute_id=second.pk, as_="dismissed", by=tenant, note="no", now=NOW)

    with refused("decided"):
        disputing.withdraw(dispute_id=second.pk, by=tenant, now=NOW)
    with refused("decided"):
        disputing.decide(dispute_id=second.pk, as_="upheld", by=tenant, note="yes", now=NOW)
    with refused("note"):
        disputing.decide(dispute_id=first.pk, as_="upheld", by=tenant, note=" ", now=NOW)


def test_a_dispute_that_nobody_decides_gets_louder_and_is_not_decided_by_itself(draw):
    opened = dispute(draw)
    disputing.follow(now=NOW + timedelta(days=13))
    assert WorkItem.objects.count() == 1

    disputing.follow(now=NOW + timedelta(days=14))

    assert WorkItem.objects.get(kind="dispute_overdue").key == f"dispute_overdue:{opened.pk}"
    opened.refresh_from_db()
    assert opened.state == "open"
    disputing.decide(dispute_id=opened.pk, as_="dismissed", by=makers.a_user(), note="no", now=NOW)
    assert not WorkItem.objects.filter(state="open").exists()


def test_a_dispute_whose_reading_is_in_doubt_meanwhile_stays_frozen(draw):
    opened = dispute(draw)
    doubts.rule_out(installation=draw.installation, read_at=opened.read_at, by=makers.a_user(), note="broken", now=NOW)

    assert disputing.follow(now=NOW) == 0
    assert disputes.frozen_nano(purse_id=draw.purse_id) == 8_500 * PER_WH


def test_what_a_meter_counts_down_itself_is_disputed_without_freezing_money(draw):
    Draw.objects.update(counted_by="meter")

    dispute(draw)

    assert disputes.frozen_nano(purse_id=draw.purse_id) == 0
    assert disputes.frozen_dates(draw_ids=[draw.pk]) == {}


class TestAtOnce:
    pytestmark = pytest.mark.django_db(transaction=True)

    def test_of_many_who_open_at_once_one_does(self, draw):
        found = race([lambda nth=nth: dispute(draw, key=f"k{nth}") for nth in range(6)])

        assert sum(isinstance(one, Dispute) for one in found) == 1
        assert all(one.code == "dispute_open" for one in found if not isinstance(one, Dispute))
        assert WorkItem.objects.get().times == 1

    def test_the_same_request_many_times_at_once_opens_one(self, draw):
        tenant = makers.a_user()

        found = race([lambda: dispute(draw, by=tenant)] * 6)

        assert {one.pk for one in found} == {Dispute.objects.get().pk}

    def test_of_a_decision_and_a_withdrawal_one_wins(self, draw):
        tenant = makers.a_user()
        for nth in range(5):
            opened = dispute(draw, hours=(9, 12)[nth % 2], key=f"r{nth}")
            Dispute.objects.filter(pk=opened.pk).update(read_at=START + timedelta(hours=9, seconds=nth + 1))
            found = race(
                [
                    lambda pk=opened.pk: disputing.withdraw(dispute_id=pk, by=tenant, now=NOW),
                    lambda pk=opened.pk: disputing.decide(
                        dispute_id=pk, as_="dismissed", by=tenant, note="no", now=NOW
                    ),
                ]
            )

            assert sorted(isinstance(one, DisputeRefused) for one in found) == [False, True]
            opened.refresh_from_db()
            assert opened.state in {"withdrawn", "dismissed"}
            assert not WorkItem.objects.filter(state="open").exists()


class TestMoney:
    """With days that are closed and posted around it."""

    def close(self, draw: Draw, hours: float) -> None:
        now = START + hours * HOUR
        rating.work(now=now)
        days.close(now=now)
        draw.refresh_from_db()

    def posted(self, draw: Draw) -> list[int]:
        return list(UsageDay.objects.filter(draw=draw).order_by("usage_date").values_list("posted_fen", flat=True))

    def test_a_day_in_dispute_is_not_posted_until_it_is_decided(self, draw):
        opened = dispute(draw)
        use(draw, [(25, 112_000), (47, 114_000)])

        self.close(draw, 49)

        assert self.posted(draw) == []
        assert draw.total_nano == 14_000 * PER_WH
        disputing.decide(dispute_id=opened.pk, as_="dismissed", by=makers.a_user(), note="no", now=NOW)
        self.close(draw, 49)
        assert self.posted(draw) == [590]  # 11,800 Wh until midnight, at 50 fen
        assert audit.audit(checks=audit.CHECKS, now=NOW).findings == ()

    def test_a_day_that_was_posted_stays_so_and_is_posted_anew_when_the_tenant_is_right(self, draw):
        use(draw, [(25, 112_000), (47, 114_000)])
        self.close(draw, 49)
        assert self.posted(draw) == [590]
        opened = dispute(draw, hours=25)
        assert opened.frozen_nano == 4_000 * PER_WH
        assert UsageDay.objects.get().is_frozen
        use(draw, [(18, 110_100)])  # a late reading changes the day while it is in dispute
        self.close(draw, 49)
        assert self.posted(draw) == [590]

        disputing.decide(dispute_id=opened.pk, as_="upheld", by=makers.a_user(), note="misread", now=NOW)
        self.close(draw, 49)

        # From 110,100 at 18:00 on evenly to 114,000 at 23:00 of the next day: 6 of 29 hours.
        assert self.posted(draw) == [(10_100 + 3_900 * 6 // 29) * 50 // 1000]
        assert not UsageDay.objects.get().is_frozen
        assert audit.audit(checks=audit.CHECKS, now=NOW).findings == ()

    def test_a_meter_that_counts_itself_is_closed_in_spite_of_a_dispute(self, draw):
        Draw.objects.update(counted_by="meter")
        dispute(draw)
        use(draw, [(25, 112_000)])

        self.close(draw, 26)

        assert self.posted(draw) == [0]
