"""The ledger follows what meters with their own money count down, by what is bought, shown and explained."""

from __future__ import annotations

import pytest

from accounts.models import Member
from billing import audit, backlog, mirror_audit, rating
from billing.mirror import drift, explained, sweep
from billing.mirror.explained import ExplanationRefused
from billing.models import Draw, JournalEntry, MeterMoney, MirroredDay, Purse, UsageDay
from billing.rating import days
from meters.models import Installation, Meter, TopUp
from notifications.models import WorkItem
from tests import makers
from tests.billing.books import summed, top_up
from tests.billing.mirror.metered import DAY, Box, a_box, close, day, in_meter, mirrored, word
from tests.billing.rating import world
from tests.billing.rating.world import HOUR, START
from tests.racing import race

pytestmark = pytest.mark.django_db


def assert_books_are_sound() -> None:
    checks = (*audit.CHECKS, *mirror_audit.CHECKS)
    assert audit.audit(checks=checks, now=START + 30 * DAY).findings == ()


@pytest.fixture
def box() -> Box:
    """A meter with 50 yuan bought in the morning of the first day, and 2 kWh used until 23:00."""
    box = a_box()
    box.tell(START + HOUR)
    box.buy(5_000, at=START + 2 * HOUR)
    box.use(2_000)
    box.tell(START + 23 * HOUR)
    return box


def goes_on(box: Box, *, wh: int = 1_000, hours: float = 25) -> None:
    box.use(wh)
    box.tell(START + hours * HOUR)


def items() -> list[tuple[str, str]]:
    return list(WorkItem.objects.filter(state="open").order_by("pk").values_list("kind", "detail__why"))


def test_what_the_meter_took_in_a_day_goes_to_revenue_once(box):
    goes_on(box)

    assert close(START + 26 * HOUR) == 1
    assert close(START + 26 * HOUR) == 0

    assert mirrored(box.draw) == [(day(0), 100)]
    assert in_meter(box.draw) == 4_900
    entry = JournalEntry.objects.get(key=f"usage:{box.draw.pk}:{day(0)}:1")
    assert (entry.kind, entry.happened_at) == ("usage", START + 24 * HOUR)
    assert summed(kind="revenue") == 100
    assert Purse.objects.get().paid_fen == 0
    usage = UsageDay.objects.get()
    assert usage.posted_fen == 100
    # The register tells when energy was used, the balance when it was paid for: half of the kWh around midnight.
    assert usage.notes == [{"kind": "meter_counts", "meter_fen": 100, "ours_fen": 125, "drift_fen": -25}]
    assert Draw.objects.get().posted_fen == 100
    assert_books_are_sound()
    assert items() == []


def test_where_no_tariff_of_ours_holds_the_meter_s_own_price_counts_alone(box):
    """Nothing is closed, since nothing has a price; there is no drift to show either."""
    Draw.objects.filter(pk=box.draw.pk).update(version=None, is_plain=False)
    box.draw.version.tariff.assignments.all().delete()
    goes_on(box)
    Meter.objects.update(reported_at=START + 25 * HOUR)

    assert close(START + 26 * HOUR) == 0  # the meter may still have something to say about the day
    assert close(START + 31 * HOUR) == 1
    assert close(START + 32 * HOUR) == 0

    assert mirrored(box.draw) == [(day(0), 100)]
    assert in_meter(box.draw) == 4_900
    assert not UsageDay.objects.exists()
    assert audit.audit(checks=mirror_audit.CHECKS, now=START + 30 * DAY).findings == ()


def test_a_draw_without_a_tariff_that_has_ended_is_mirrored_to_its_end_and_no_further(box):
    Draw.objects.filter(pk=box.draw.pk).update(version=None, is_plain=False, ends_at=START + 30 * HOUR)
    box.draw.version.tariff.assignments.all().delete()
    goes_on(box)
    goes_on(box, hours=29)
    goes_on(box, hours=80)
    Meter.objects.update(reported_at=START + 80 * HOUR)

    close(START + 90 * HOUR)

    assert [on for on, _fen in mirrored(box.draw)] == [day(0), day(1)]
    assert close(START + 91 * HOUR) == 0


def test_a_day_is_mirrored_when_it_is_closed_and_not_before(box):
    assert close(START + 23 * HOUR) == 0
    assert not MirroredDay.objects.exists()


def test_a_purchase_counts_by_its_number_and_not_by_the_clock(box):
    """It landed after the last reading of the day, which shows nothing of it."""
    box.buy(3_000, at=START + 22 * HOUR)
    box.tell(START + 23.5 * HOUR, balance_fen=4_900, purchase_count=1)
    goes_on(box)

    close(START + 26 * HOUR)

    assert mirrored(box.draw) == [(day(0), 100)]
    goes_on(box, hours=49)
    close(START + 50 * HOUR)
    assert mirrored(box.draw)[1] == (day(1), 50)
    assert in_meter(box.draw) == box.balance_fen + 50
    assert_books_are_sound()


def test_a_day_without_readings_costs_nothing_and_the_next_one_all(box):
    goes_on(box, wh=6_000, hours=60)
    goes_on(box, wh=0, hours=73)

    assert close(START + 74 * HOUR) == 3

    assert mirrored(box.draw) == [(day(0), 100), (day(1), 0), (day(2), 300)]


def test_a_meter_with_an_overdraft_owes_below_zero(box):
    box.use(120_000)
    box.tell(START + 40 * HOUR)
    goes_on(box, hours=49)

    close(START + 50 * HOUR)

    assert sum(fen for _on, fen in mirrored(box.draw)) == 6_100
    assert in_meter(box.draw) == -1_100 == box.balance_fen + 50
    assert_books_are_sound()


def test_what_was_in_it_before_is_known_from_the_first_reading_and_a_person_looks():
    box = a_box(starts_balance_fen=None)
    box.balance_fen, box.count = 700, 3
    box.tell(START + HOUR)
    box.use(2_000)
    goes_on(box, wh=0, hours=23)
    goes_on(box)

    close(START + 26 * HOUR)

    assert Installation.objects.get().starts_balance_fen == 700
    assert mirrored(box.draw) == [(day(0), 100)]
    assert items() == [("meter_balance_unexplained", "opening_unknown")]
    assert_books_are_sound()


def test_the_first_reading_knows_what_had_landed_by_then():
    box = a_box(starts_balance_fen=None)
    box.buy(5_000, at=START + HOUR)
    box.tell(START + 2 * HOUR)
    box.use(1_000)
    goes_on(box, wh=0, hours=23)
    goes_on(box)

    close(START + 26 * HOUR)

    assert Installation.objects.get().starts_balance_fen == 0
    assert mirrored(box.draw) == [(day(0), 50)]
    assert items() == []


class TestWhatDoesNotAddUp:
    def test_a_purchase_elsewhere_waits_for_a_person_and_is_charged_with_their_word(self, box):
        box.put_in(2_000)
        goes_on(box, hours=23.5)
        goes_on(box)

        assert close(START + 26 * HOUR) == 0
        assert items() == [("meter_balance_unexplained", "purchase_unknown")]
        assert in_meter(box.draw) == 5_000

        money = explained.bought_elsewhere(
            word(box, at=START + 23.2 * HOUR), amount_fen=2_000, number=2, now=START + 27 * HOUR
        )

        assert mirrored(box.draw) == [(day(0), 150)]
        assert items() == []
        assert money.reason == "asked at the bank"
        assert_books_are_sound()

    def test_money_that_rose_without_a_purchase_is_not_given_to_anybody(self, box):
        box.balance_fen += 2_000
        goes_on(box, hours=23.5)
        goes_on(box)

        assert close(START + 26 * HOUR) == 0
        for nth in range(2, 40):  # it is used up again, and nobody has explained it
            goes_on(box, wh=3_000, hours=24 * nth + 1)
        close(START + 40 * DAY)

        assert items() == [("meter_balance_unexplained", "balance_rose")]
        assert mirrored(box.draw) == []

    def test_a_person_who_accepts_the_balance_gives_it_back(self, box):
        goes_on(box, hours=25)
        close(START + 26 * HOUR)
        box.balance_fen += 90  # the meter's maker gave back what it counted twice
        goes_on(box, wh=0, hours=47)
        goes_on(box, wh=0, hours=49)
        assert close(START + 50 * HOUR) == 0

        explained.accept(word(box, at=START + 49 * HOUR), now=START + 50 * HOUR)

        assert mirrored(box.draw) == [(day(0), 100), (day(1), -40)]
        assert in_meter(box.draw) == box.balance_fen
        assert JournalEntry.objects.filter(kind="usage_corrected").count() == 1
        assert_books_are_sound()

    @pytest.mark.parametrize("wrong_fen", [0, 99_999])
    def test_a_reading_that_the_next_one_proves_wrong_changes_nothing(self, box, wrong_fen):
        box.tell(START + 23.5 * HOUR, balance_fen=wrong_fen)
        goes_on(box)

        close(START + 26 * HOUR)

        assert mirrored(box.draw) == [(day(0), 100)]
        assert items() == []

    def test_the_newest_reading_alone_proves_nothing_and_alarms_nobody(self, box):
        close(START + 25 * HOUR)
        goes_on(box, hours=24)
        box.balance_fen += 500

        box.tell(START + 24 * HOUR + DAY)
        close(START + 50 * HOUR)

        assert mirrored(box.draw) == [(day(0), 150)]
        assert items() == []

    def test_a_count_that_went_back_waits_for_the_meter_to_be_hung_anew(self, box):
        box.count = 0
        goes_on(box, hours=23.5)
        goes_on(box)

        assert close(START + 26 * HOUR) == 0
        assert items() == [("meter_balance_unexplained", "count_went_back")]

    def test_a_top_up_of_ours_that_is_on_its_way_needs_nobody(self, box):
        bought = box.buy(1_000, at=START + 23.2 * HOUR)
        TopUp.objects.filter(pk=bought.pk).update(state="sent", landed_at=None, sent_at=START + 23.2 * HOUR)
        box.tell(START + 23.5 * HOUR)
        goes_on(box)

        assert close(START + 26 * HOUR) == 0
        assert items() == []

        TopUp.objects.filter(pk=bought.pk).update(state="landed", landed_at=START + 26 * HOUR)
        assert close(START + 27 * HOUR) == 1
        assert mirrored(box.draw) == [(day(0), 100)]

    def test_a_top_up_that_a_person_let_land_is_one_of_those_that_the_meter_counted(self, box):
        bought = box.buy(1_000, at=START + 23.2 * HOUR)
        TopUp.objects.filter(pk=bought.pk).update(number=-1, sent_at=START + 23.2 * HOUR, landed_at=START + 25 * HOUR)
        box.tell(START + 23.5 * HOUR)
        goes_on(box)

        assert close(START + 26 * HOUR) == 1
        assert mirrored(box.draw) == [(day(0), 100)]
        assert_books_are_sound()

    def test_one_that_waits_holds_up_nobody_else(self, box):
        box.balance_fen += 2_000
        goes_on(box, hours=23.5)
        goes_on(box)
        other = a_box()
        other.tell(START + HOUR)
        goes_on(other, hours=25)

        assert close(START + 26 * HOUR) == 1
        assert mirrored(other.draw) == [(day(0), 0)]


class TestExplanations:
    def test_what_was_taken_out_by_hand_is_paid_money_again(self, box):
        box.balance_fen -= 1_500
        goes_on(box, wh=0, hours=23.5)
        explained.taken_out(word(box, at=START + 23.2 * HOUR), amount_fen=1_500, now=START + 24 * HOUR)
        goes_on(box, wh=0, hours=25)

        close(START + 26 * HOUR)

        assert mirrored(box.draw) == [(day(0), 100)]
        purse = Purse.objects.get()
        assert (purse.in_meter_fen, purse.paid_fen) == (box.balance_fen, 1_500)
        assert_books_are_sound()

    def test_the_same_form_again_changes_nothing(self, box):
        first = explained.taken_out(word(box, at=START + 2 * HOUR), amount_fen=500, now=START + 3 * HOUR)

        again = explained.taken_out(word(box, at=START + 2 * HOUR), amount_fen=500, now=START + 4 * HOUR)

        assert again == first
        assert Purse.objects.get().paid_fen == 500
        with pytest.raises(ExplanationRefused, match="other words"):
            explained.taken_out(word(box, at=START + 2 * HOUR), amount_fen=600, now=START + 4 * HOUR)

    @pytest.mark.parametrize(
        ("amount_fen", "number", "at", "told"),
        [
            (0, None, START + HOUR, "above zero"),
            (5, 1, START + 3 * HOUR, "our own"),
            (5, 0, START + 3 * HOUR, "our own"),
            (5, None, START - HOUR, "not hang there"),
            (5, None, START + DAY, "not hang there"),
        ],
    )
    def test_what_cannot_be_is_refused(self, box, amount_fen, number, at, told):
        with pytest.raises(ExplanationRefused, match=told):
            explained.bought_elsewhere(word(box, at=at), amount_fen=amount_fen, number=number, now=START + 5 * HOUR)

        assert not MeterMoney.objects.exists()

    def test_a_number_is_explained_once(self, box):
        explained.bought_elsewhere(word(box, at=START + HOUR), amount_fen=5, number=7, now=START + 5 * HOUR)

        with pytest.raises(ExplanationRefused, match="has been explained"):
            explained.bought_elsewhere(
                word(box, at=START + HOUR, key="form-2"), amount_fen=5, number=7, now=START + 5 * HOUR
            )


def test_each_tenant_pays_for_what_the_meter_took_in_their_time(box):
    noon = START + 36 * HOUR
    Draw.objects.filter(pk=box.draw.pk).update(ends_at=noon, plain_until_at=noon)
    second = world.another_draw(box.draw, starts_at=noon, ends_at=None)
    goes_on(box, hours=35.5)
    goes_on(box, wh=3_000, hours=47)
    goes_on(box, hours=49)

    close(START + 50 * HOUR)

    assert mirrored(box.draw) == [(day(0), 100), (day(1), 50)]
    assert mirrored(second) == [(day(1), 150)]
    assert (in_meter(box.draw), in_meter(second)) == (4_850, -150)
    assert_books_are_sound()


def test_a_replaced_meter_ends_with_what_is_left_in_it(box):
    swapped = START + 30 * HOUR
    goes_on(box, hours=29)
    Installation.objects.update(ends_at=swapped, ends_wh=box.wh)
    Draw.objects.update(ends_at=swapped, plain_until_at=swapped)
    backlog.leave(installation_ids=[box.draw.installation_id], from_at=swapped, reason="moved", now=swapped)

    close(START + 50 * HOUR)

    assert mirrored(box.draw) == [(day(0), 100), (day(1), 50)]
    assert in_meter(box.draw) == box.balance_fen
    assert_books_are_sound()


class TestDrift:
    def test_a_meter_that_charges_as_we_do_is_nobodys_concern(self, box):
        goes_on(box)
        close(START + 26 * HOUR)

        found = drift.of_month(installation_id=box.draw.installation_id, month_date=day(0).replace(day=1))

        assert (found.meter_fen, found.ours_fen, found.is_wide()) == (100, 125, False)

    def test_a_meter_with_other_prices_is_put_before_a_person(self):
        box = a_box(fen_per_kwh=80)
        box.tell(START + HOUR)
        box.buy(50_000, at=START + 2 * HOUR)
        box.use(30_000)
        box.tell(START + 23 * HOUR)
        goes_on(box, wh=0)

        close(START + 26 * HOUR)

        item = WorkItem.objects.get(kind="meter_price_differs")
        assert (item.detail["meter_fen"], item.detail["ours_fen"], item.detail["month"]) == (2_400, 1_500, "2026-11")
        Installation.objects.update(starts_balance_fen=0)
        box.balance_fen += 900  # the maker gives back the difference
        goes_on(box, wh=0, hours=47)
        goes_on(box, wh=0, hours=49)
        explained.accept(word(box, at=START + 49 * HOUR), now=START + 50 * HOUR)
        close(START + 50 * HOUR)
        assert WorkItem.objects.get(kind="meter_price_differs").state == "resolved"


class TestAudit:
    @pytest.fixture
    def sound(self, box):
        goes_on(box)
        close(START + 26 * HOUR)
        assert_books_are_sound()
        return box

    def findings(self) -> set[str]:
        return {one.rule for one in audit.audit(checks=mirror_audit.CHECKS, now=START + 30 * DAY).findings}

    def test_a_day_that_says_otherwise_than_its_entry(self, sound):
        MirroredDay.objects.update(charged_fen=101)

        assert self.findings() == {
            "what a meter took in a day is what its entry moved",
            "what a meter took so far is the sum of its days",
            "a draw that a meter counts has posted its days",
        }

    def test_a_day_that_is_gone(self, sound):
        MirroredDay.objects.all().delete()

        assert "what a meter took in a day is what its entry moved" in self.findings()

    def test_a_draw_that_says_otherwise(self, sound):
        Draw.objects.update(posted_fen=7)

        assert self.findings() == {"a draw that a meter counts has posted its days"}

    def test_a_balance_that_says_otherwise(self, sound):
        MirroredDay.objects.update(balance_fen=1)

        assert self.findings() == {"a meter's money is bought, used, or in it"}

    def test_an_explanation_without_its_entry(self, sound):
        MeterMoney.objects.create(
            key="by hand",
            kind="taken_out",
            property=sound.draw.property,
            installation=sound.draw.installation,
            amount_fen=-5,
            happened_at=START,
            entered_at=START,
            entered_by=makers.a_user(),
            reason="none",
        )

        assert "what was taken out of a meter has its entry" in self.findings()


@pytest.mark.django_db(transaction=True)
def test_tenants_pay_while_their_meters_are_mirrored():
    boxes = [a_box() for _ in range(4)]
    for box in boxes:
        box.tell(START + HOUR)
        box.use(2_000)
        box.tell(START + 23 * HOUR)
        goes_on(box)
    now = START + 26 * HOUR
    rating.work(now=now)
    days.close(now=now)

    def pay() -> None:
        for nth in range(5):
            for box in reversed(boxes):
                top_up(box.draw.purse, 100, key=f"pay:{box.draw.pk}:{nth}", now=now)

    found = race([pay, lambda: sweep.work(now=now), lambda: sweep.work(now=now)])

    assert not [one for one in found if isinstance(one, Exception)]
    assert set(Purse.objects.values_list("in_meter_fen", "in_transit_fen")) == {(-100, 500)}


@pytest.mark.django_db(transaction=True)
def test_two_who_mirror_at_once_charge_once():
    boxes = [a_box() for _ in range(4)]
    for box in boxes:
        box.tell(START + HOUR)
        box.use(2_000)
        box.tell(START + 23 * HOUR)
        goes_on(box)
    now = START + 26 * HOUR
    rating.work(now=now)
    days.close(now=now)

    found = race([lambda: sweep.work(now=now)] * 3)

    assert sum(found) == 4
    assert MirroredDay.objects.count() == JournalEntry.objects.filter(kind="usage").count() == 4
    assert summed(kind="revenue") == 400


def test_a_tenant_is_told_what_the_meter_took_beside_our_price(box, client):
    tenancy = box.draw.tenancy
    Member.objects.create(tenancy=tenancy, user=makers.a_user(), role="holder", joined_at=START)
    goes_on(box)
    close(START + 26 * HOUR)

    headers = makers.a_login(tenancy.members.get().user)
    told = client.get(f"/api/v1/homes/{tenancy.pk}/usage/{day(0)}", headers=headers).json()

    assert (told["meters"][0]["amount"], told["meters"][0]["taken_by_meter"]) == ("1.25", "1.00")
