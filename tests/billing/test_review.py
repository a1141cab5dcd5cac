"""A home is cut only when everything allows it; what was decided is written down, and looked at again in time."""

from __future__ import annotations

import random
import threading
from datetime import datetime, timedelta
from functools import partial

import pytest
from django.db import connection, transaction

from accounts.models import Tenancy
from billing import backlog, changes, prepaid, review, reviews, supply
from billing import draws as drawing
from billing.models import (
    Alert,
    Backlog,
    Dispute,
    Draw,
    Emergency,
    Notice,
    Purse,
    Review,
    RoomPolicy,
    SupplyDecision,
    SupplyPolicy,
)
from billing.policy import NEVER_ABOVE, Verdict, Why
from billing.rating import accrue as accrual
from billing.rating import careful
from billing.tariff.civil import civil_date, instant
from billing.tariff.units import NANO_FEN_PER_FEN
from meters import desired
from meters.models import Command, Level
from notifications.models import Message, WorkItem
from tests import makers
from tests.billing.books import BANK
from tests.billing.rating import world
from tests.billing.spent import AGAINST, NOON, a_home, accrue, relay
from tests.racing import race

pytestmark = pytest.mark.django_db
SOON = NOON + timedelta(seconds=1)


def look(purse: Purse, *, now=NOON):
    return review.one(purse_id=purse.pk, trace="t", now=now)


def recharge(purse: Purse, fen: int, *, key: str = "payment:1", now=NOON) -> None:
    prepaid.top_up(
        key=key, kind="recharge", purse_id=purse.pk, amount_fen=fen, source=BANK, happened_at=now, trace="paid", now=now
    )


# ---- the cut ----


def test_a_home_is_cut_when_its_money_is_used_up_and_nothing_stands_in_the_way():
    purse = a_home()

    decision = look(purse)

    assert (decision.verdict, decision.wants) == (Verdict.SPENT, "open")
    level = Level.objects.get(kind="relay")
    assert (level.wanted, level.reason, level.trace) == ("open", "spent", "t")
    row = SupplyDecision.objects.get()
    assert (row.verdict, row.wants, row.available_fen, row.trace) == ("spent", "open", 0, "t")
    assert row.because[0][0] == "notice"
    assert row.read_at == NOON - timedelta(minutes=10)


def test_every_reason_is_made_of_rows_here():
    assert set(AGAINST) == set(Why)


@pytest.mark.parametrize("why", AGAINST)
def test_one_standing_reason_keeps_the_light_on_and_is_written_down(why):
    purse = a_home()
    AGAINST[why](purse)

    decision = look(purse)

    assert (decision.verdict, decision.wants) == (Verdict.SPARED, "closed")
    assert relay(purse) == "closed"
    row = SupplyDecision.objects.latest("pk")
    assert (row.verdict, row.wants, [code for code, _params in row.because]) == ("spared", "closed", [why])


def test_no_set_of_rows_with_a_reason_among_them_leads_to_a_cut():
    chance = random.Random(20261112)
    for _ in range(40):
        standing = chance.sample(sorted(AGAINST), chance.randint(1, 6))
        purse = a_home(fen=chance.choice([0, -1, -50_000]))
        for why in standing:
            AGAINST[why](purse)

        for now in (NOON, SOON):
            assert look(purse, now=now).wants == "closed", standing
        assert relay(purse) == "closed", standing
        assert not Command.objects.filter(kind="relay", value="open").exists(), standing


def test_money_on_account_of_the_law_is_counted_to_the_nano_fen():
    purse = a_home()
    draw = purse.draws.get()
    draw.total_nano = -1  # a thousand-millionth of a fen is left
    draw.save(update_fields=["total_nano"])

    assert look(purse).verdict == Verdict.PAID


def test_what_may_be_used_below_zero_is_used_first():
    purse = a_home(fen=-499, overdraft_fen=500, warn_fens=[0])

    assert look(purse).verdict == Verdict.CREDIT
    purse.refresh_from_db()
    assert (purse.limit_fen, purse.needs_review) == (500, True)

    accrue(purse, fen=1)
    assert look(purse, now=SOON).verdict == Verdict.SPENT


def test_a_rooms_own_rule_is_stronger_than_its_propertys():
    purse = a_home(fen=-100, overdraft_fen=0)
    assert purse.tenancy is not None
    RoomPolicy.objects.create(room=purse.tenancy.room, property=purse.property, overdraft_fen=500, changed_at=NOON)

    assert look(purse).verdict == Verdict.CREDIT


def test_a_home_of_which_the_tenant_has_left_is_left_alone_and_nothing_runs_on():
    purse = a_home(fen=-100)
    look(purse)
    assert purse.tenancy is not None
    purse.tenancy.ends_at = NOON
    purse.tenancy.save(update_fields=["ends_at"])
    reviews.ask(purse_ids=[purse.pk], why="test", now=NOON)

    assert look(purse, now=SOON).verdict == Verdict.NONE

    purse.refresh_from_db()
    assert (purse.look_at, purse.look_below_fen, purse.needs_review) == (None, NEVER_ABOVE, False)
    assert not Alert.objects.filter(over_at=None).exists()
    assert not Notice.objects.exclude(state="void").exists()
    assert not Review.objects.exists()


def test_a_meter_with_its_own_money_is_warned_about_and_never_cut_by_us():
    room = makers.a_room()
    makers.a_meter(room=room, held_by="meter", balance_fen=900)
    purse = makers.a_cut_ready_home(room, read_at=NOON, warn_fens=[1000])

    decision = look(purse)

    assert (decision.verdict, decision.wants) == (Verdict.PAID, "closed")
    assert list(Alert.objects.values_list("level", "available_fen")) == [("fen:1000", 900)]
    assert not Level.objects.exists()


def test_what_such_a_meter_tells_asks_for_a_review_when_the_next_level_is_passed():
    room = makers.a_room()
    meter = makers.a_meter(room=room, held_by="meter", balance_fen=5000)
    purse = makers.a_cut_ready_home(room, read_at=NOON, warn_fens=[1000])
    look(purse)

    for balance_fen, asked in ((1001, 0), (1000, 1), (999, 0)):
        meter.balance_fen = balance_fen
        meter.save(update_fields=["balance_fen"])
        assert reviews.ask_for_low_meters(now=NOON) == asked
        review.work(now=NOON)

    assert list(Alert.objects.values_list("level", "available_fen")) == [("fen:1000", 1000)]


def test_of_a_meter_that_has_told_nothing_nobody_is_warned():
    room = makers.a_room()
    makers.a_meter(room=room, held_by="meter")
    purse = makers.a_cut_ready_home(room, read_at=NOON)

    look(purse)

    assert reviews.ask_for_low_meters(now=NOON) == 0
    assert not Alert.objects.exists()


def test_emergency_credit_is_used_like_an_overdraft_and_ends_with_the_debt():
    purse = a_home(fen=-300)
    Emergency.objects.create(
        purse=purse, property=purse.property, recharge=0, amount_fen=500, taken_at=NOON, taken_by=makers.a_user()
    )

    assert look(purse).verdict == Verdict.CREDIT
    purse.refresh_from_db()
    assert (purse.limit_fen, purse.restore_above_fen) == (500, -500)
    recharge(purse, 301)
    review.work(now=SOON)

    purse.refresh_from_db()
    assert (purse.limit_fen, purse.restore_above_fen) == (0, 0)
    assert Emergency.objects.get().repaid_at == SOON


def test_emergency_credit_brings_back_what_was_cut():
    purse = a_home(fen=-300, restore_above_fen=1000)
    look(purse)
    assert relay(purse) == "open"
    Emergency.objects.create(
        purse=purse, property=purse.property, recharge=0, amount_fen=500, taken_at=NOON, taken_by=makers.a_user()
    )

    assert supply.decide(purse_id=purse.pk, trace="tap", now=SOON) == Verdict.CREDIT

    assert relay(purse) == "closed"


# ---- what was decided is written down ----


def test_a_decision_is_written_down_when_it_is_another_one():
    purse = a_home(fen=1, warn_fens=[100])

    for now in (NOON, SOON):
        look(purse, now=now)
    accrue(purse, fen=1)
    Notice.objects.update(runs_until=NOON + timedelta(hours=1))
    for _ in range(3):
        look(purse, now=SOON)
    look(purse, now=NOON + timedelta(hours=1))

    rows = SupplyDecision.objects.order_by("pk").values_list("verdict", "wants", "because")
    assert [(verdict, wants, [code for code, _ in because]) for verdict, wants, because in rows] == [
        ("paid", "closed", []),
        ("spared", "closed", ["notice_running"]),
        ("spent", "open", ["notice"]),
    ]
    assert datetime.fromisoformat(rows[1][2][0][1]["until"]) == NOON + timedelta(hours=1)


def test_decisions_stay_in_order_whatever_clocks_say():
    purse = a_home(fen=1, warn_fens=[100])
    look(purse)
    accrue(purse, fen=1)

    look(purse, now=NOON - timedelta(seconds=5))

    newest = SupplyDecision.objects.order_by("-decided_at", "-pk").first()
    assert newest is not None
    assert newest.verdict == "spent"


# ---- recharges ----


def test_a_recharge_brings_it_back_at_once_and_the_review_says_so_with_the_payments_trace():
    purse = a_home()
    look(purse)
    purse.refresh_from_db()
    assert purse.needs_review

    recharge(purse, 5000)
    assert relay(purse) == "closed"  # before any review
    assert review.work(now=NOON) == 1

    last = SupplyDecision.objects.latest("pk")
    assert (last.verdict, last.available_fen, last.trace) == ("paid", 5000, "paid")
    assert Notice.objects.get().state == "void"
    assert not Alert.objects.filter(over_at=None).exists()


def test_a_recharge_below_the_limit_leaves_it_off_and_says_how_much_is_missing():
    purse = a_home(restore_above_fen=1000)
    look(purse)

    recharge(purse, 1000)
    review.work(now=NOON)

    assert relay(purse) == "open"
    said = supply.explain(tenancy=purse.tenancy, now=NOON)
    assert (said.verdict, said.why) == (Verdict.SPENT, "The balance is used up.")
    recharge(purse, 1, key="payment:2")
    assert relay(purse) == "closed"


def in_the_dark(**columns) -> Purse:
    """A home that was cut and whose meter has obeyed."""
    purse = a_home(**columns)
    look(purse)
    Level.objects.filter(kind="relay").update(reported="open")
    return purse


def test_a_room_that_is_protected_from_now_on_comes_back_and_its_notice_is_void():
    purse = in_the_dark(fen=-700)

    AGAINST[Why.PROTECTED_ROOM](purse)
    changes.catch_up(now=SOON)

    assert relay(purse) == "closed"
    assert Notice.objects.get().state == Notice.State.VOID
    assert "the power of this room is kept on" in supply.explain(tenancy=purse.tenancy, now=SOON).why
    RoomPolicy.objects.update(is_protected=False, changed_at=SOON + timedelta(seconds=2))
    later = SOON + timedelta(seconds=3)
    changes.catch_up(now=later)
    assert relay(purse) == "closed"  # told once more, and not cut without a new notice
    assert Notice.objects.get(state=Notice.State.LEFT).left_at == later


def test_a_higher_overdraft_brings_the_light_back_and_a_recharge_below_the_limit_does_not():
    purse = in_the_dark(fen=-500, overdraft_fen=500)
    recharge(purse, 300, now=SOON)
    assert look(purse, now=SOON).verdict == Verdict.SPENT

    SupplyPolicy.objects.update(overdraft_fen=501, recorded_at=SOON + timedelta(seconds=1))
    changes.catch_up(now=SOON + timedelta(seconds=1))

    assert relay(purse) == "closed"


def test_what_was_charged_by_mistake_does_not_leave_a_home_in_the_dark():
    purse = in_the_dark(fen=-100, restore_above_fen=1000)

    accrue(purse, fen=-101)

    assert look(purse, now=SOON).verdict == Verdict.PAID


def test_what_was_cut_before_decisions_were_kept_comes_back_like_any_other():
    purse = a_home(restore_above_fen=1000)
    Purse.objects.filter(pk=purse.pk).update(restore_above_fen=1000)
    meter_id = purse.draws.get().meter_id
    desired.want(meter_id=meter_id, kind="relay", wanted="open", reason="spent", trace="", now=NOON)
    Level.objects.update(reported="open")

    recharge(purse, 1000, now=SOON)
    assert look(purse, now=SOON).wants == "open"
    recharge(purse, 1, key="payment:2", now=SOON)
    assert look(purse, now=SOON).wants == "closed"


def test_a_notice_that_is_long_forgotten_carries_no_cut():
    purse = a_home()
    Notice.objects.update(
        left_at=NOON - timedelta(days=33), proven_at=NOON - timedelta(days=32), runs_until=NOON - timedelta(days=31)
    )

    decision = look(purse)

    assert (decision.wants, decision.why_not) == ("closed", (Why.NOTICE_NOT_PROVEN,))
    assert sorted(Notice.objects.values_list("state", flat=True)) == ["left", "void"]


def test_a_home_stays_cut_however_old_its_notice_grows():
    purse = in_the_dark()
    later = NOON + timedelta(days=60)

    assert look(purse, now=later).wants == "open"
    assert Notice.objects.get().state == Notice.State.PROVEN


def test_who_moves_out_with_a_debt_stays_on_the_work_list_until_it_is_paid():
    purse = a_home(fen=-700)
    AGAINST[Why.NO_LEGAL_BASIS](purse)
    look(purse)
    Tenancy.objects.update(ends_at=SOON)
    Draw.objects.update(ends_at=SOON)
    later = SOON + timedelta(minutes=1)

    look(purse, now=later)

    assert list(WorkItem.objects.filter(state="open").values_list("kind", flat=True)) == ["debt_of_who_left"]
    assert supply.recheck(now=later) == 0  # unpaid, it is not decided again and again
    recharge(purse, 700, now=later)
    supply.recheck(now=later)
    assert not WorkItem.objects.filter(state="open").exists()


def test_what_is_missing_is_said_to_the_fen():
    purse = a_home(fen=-300, restore_above_fen=1000)
    look(purse)

    assert "Recharge more than ¥13.00: " in supply.explain(tenancy=purse.tenancy, now=NOON).remedy


def test_a_recharge_that_does_not_cover_what_was_accrued_leaves_it_off():
    purse = a_home(fen=-600)
    look(purse)

    recharge(purse, 600)
    assert relay(purse) == "open"

    recharge(purse, 1, key="payment:2")
    assert relay(purse) == "closed"
    assert Level.objects.get(kind="show").wanted == "1"


def test_a_payment_never_turns_the_power_off_and_asks_who_may():
    purse = a_home(fen=-600)
    supply.place_cut_hold(purse_id=purse.pk, key="order:1", reason="r", expires_at=SOON)
    look(purse)
    assert relay(purse) == "closed"

    recharge(purse, 1, now=SOON)

    assert relay(purse) == "closed"
    assert Review.objects.get().why == "recharge"
    review.work(now=SOON)
    assert relay(purse) == "open"


def test_a_quiet_homes_recharge_asks_for_no_review_until_it_falls_below_what_was_paid():
    purse = a_home(fen=50_000)
    look(purse)
    purse.refresh_from_db()
    assert not purse.needs_review

    recharge(purse, 20_000)

    purse.refresh_from_db()
    assert (purse.recharges, purse.last_recharge_fen, purse.last_recharge_at) == (1, 20_000, NOON)
    assert purse.look_below_fen == 20_000
    assert not Review.objects.exists()


# ---- when it is looked at again ----


def test_at_the_end_of_protected_hours_the_cut_comes():
    purse = a_home()
    AGAINST[Why.PROTECTED_HOUR](purse)
    look(purse)
    one_o_clock = instant(civil_date(NOON), minute=13 * 60)
    purse.refresh_from_db()
    assert purse.look_at == one_o_clock

    assert review.work(now=one_o_clock - timedelta(seconds=1)) == 0
    assert relay(purse) == "closed"
    assert review.work(now=one_o_clock) == 1

    assert relay(purse) == "open"
    purse.refresh_from_db()
    assert purse.look_at is None


def test_what_protects_a_day_ends_at_chinas_midnight():
    purse = a_home(fresh_for_s=24 * 3600)
    AGAINST[Why.CUT_TODAY](purse)
    look(purse)
    midnight = instant(civil_date(NOON), minute=24 * 60)

    assert review.work(now=midnight - timedelta(microseconds=1)) == 0
    assert review.work(now=midnight) == 1

    assert relay(purse) == "open"


@pytest.mark.parametrize("why", review.LOOK_AGAIN)
def test_what_ends_untold_is_looked_for_every_few_minutes(why):
    purse = a_home()
    AGAINST[why](purse)

    look(purse)

    purse.refresh_from_db()
    assert purse.look_at == NOON + review.LOOK_AGAIN[why]


@pytest.mark.parametrize("why", sorted(review.TOLD))
def test_what_somebody_has_to_end_is_not_looked_for(why):
    purse = a_home()
    AGAINST[why](purse)
    AGAINST[Why.READING_STALE](purse)
    Notice.objects.update(left_at=makers.LONG_AGO)

    look(purse)

    purse.refresh_from_db()
    assert purse.look_at is None


def test_days_that_are_left_are_counted_anew_each_day():
    purse = a_home(fen=50_000, warn_days=3)
    recharge(purse, 100)

    look(purse)

    purse.refresh_from_db()
    assert purse.look_at is not None
    assert timedelta(hours=12) <= purse.look_at - NOON < timedelta(hours=18)


# ---- the work list ----


def test_a_debtor_whom_nobody_reaches_goes_onto_the_work_list_and_leaves_it():
    purse = a_home(fen=-5001, unreachable_debt_fen=5000)
    AGAINST[Why.NOTICE_NOT_PROVEN](purse)
    Notice.objects.update(left_at=NOON)

    look(purse)
    assert not WorkItem.objects.filter(kind="unreachable").exists()
    purse.refresh_from_db()
    assert purse.look_at == NOON + timedelta(hours=24)
    review.work(now=purse.look_at)
    item = WorkItem.objects.get(kind="unreachable", state="open")
    assert (item.property, item.detail["available_fen"]) == (purse.property, -5001)

    recharge(purse, 6000)
    review.work(now=purse.look_at)
    assert not WorkItem.objects.filter(kind="unreachable", state="open").exists()


def test_a_smaller_debt_of_somebody_who_is_not_reached_waits():
    purse = a_home(fen=-5000, unreachable_debt_fen=5000)
    AGAINST[Why.NOTICE_NOT_PROVEN](purse)

    look(purse)

    assert not WorkItem.objects.exists()


def test_one_that_cannot_be_decided_goes_onto_the_work_list_and_holds_up_nobody():
    sick, well = a_home(), a_home()
    SupplyPolicy.objects.filter(property=sick.property).update(protected_hours=["nonsense"])
    reviews.ask(purse_ids=[sick.pk, well.pk], why="test", now=NOON)

    assert review.work(now=NOON) == 1
    assert review.work(now=NOON) == 0  # it waits a minute

    assert relay(well) == "open"
    item = WorkItem.objects.get(kind="review_failed")
    assert item.detail["purse"] == sick.pk
    assert item.detail["error"].startswith("HoursRefused")
    SupplyPolicy.objects.filter(property=sick.property).update(protected_hours=[])
    assert review.work(now=NOON + review.AFTER_FAILURE) == 1
    assert relay(sick) == "open"
    assert not WorkItem.objects.filter(kind="review_failed", state="open").exists()


# ---- several at once ----


@pytest.mark.django_db(transaction=True)
def test_workers_share_the_work_and_nobody_is_told_twice():
    homes = [a_home(fen=100, warn_fens=[1000]) for _ in range(6)]
    reviews.ask(purse_ids=[purse.pk for purse in homes], why="test", now=NOON)

    done = race([partial(review.work, now=NOON)] * 4)

    assert all(isinstance(one, int) for one in done), done
    while review.work(now=NOON):
        pass
    assert Alert.objects.count() == Message.objects.filter(kind="low_balance").count() == len(homes)
    assert SupplyDecision.objects.count() == len(homes)
    assert not Review.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_payment_that_races_the_cut_leaves_the_light_on():
    for n in range(25):
        purse = a_home()
        reviews.ask(purse_ids=[purse.pk], why="test", now=NOON)

        outcomes = race([partial(review.work, now=NOON), partial(recharge, purse, 100, key=f"payment:{n}")] * 1)
        while review.work(now=SOON):
            pass

        assert not any(isinstance(one, Exception) for one in outcomes), outcomes
        assert relay(purse) == "closed"
        newest = Command.objects.filter(meter__draws__purse=purse, kind="relay").exclude(state="superseded")
        assert [command.value for command in newest] in ([], ["closed"], ["open", "closed"])
        assert SupplyDecision.objects.filter(purse=purse).latest("pk").verdict == "paid"


@pytest.mark.django_db(transaction=True)
def test_what_is_asked_while_it_is_reviewed_is_looked_at_once_more():
    purse = a_home(fen=100)
    reviews.ask(purse_ids=[purse.pk], why="test", now=NOON)

    def ask_again() -> None:
        with transaction.atomic():
            reviews.ask(purse_ids=[purse.pk], why="again", now=NOON)

    with transaction.atomic():
        review.one(purse_id=purse.pk, trace="", now=NOON)
        # the deletion is not committed: whoever asks now waits for it, and asks anew
        asking = threading.Thread(target=lambda: (ask_again(), connection.close()))
        asking.start()
    asking.join()

    assert Review.objects.filter(purse=purse).count() == 1


@pytest.mark.django_db(transaction=True)
def test_accrual_decisions_payments_and_reviews_at_once_do_not_block_each_other():
    purses = [a_home(fen=300, warn_fens=[1000]) for _ in range(4)]
    meters = [purse.draws.get().meter for purse in purses]
    calls = []
    for n, purse in enumerate(purses):
        calls += [
            partial(recharge, purse, 100, key=f"payment:{n}"),
            partial(supply.decide, purse_id=purse.pk, trace="", now=NOON),
            partial(review.work, now=NOON),
        ]
    for n in range(4):
        world.tell(
            [(meter, NOON + timedelta(minutes=n + 1), 100_000 + 10 * (n + 1)) for meter in meters], stored_at=NOON
        )
        calls.append(partial(accrual.accrue, now=NOON, batches_at_most=1))

    outcomes = race(calls)

    assert not any(isinstance(one, Exception) for one in outcomes), outcomes


# ---- whose cut it is ----


def test_who_moves_in_is_not_cut_for_who_moved_out():
    """The relay is still open for the last tenant's debt: the new one has had no notice."""
    purse = a_home(fen=-100)
    supply.decide(purse_id=purse.pk, trace="", now=NOON)
    assert relay(purse) == "open"
    assert purse.tenancy
    purse.tenancy.ends_at = NOON
    purse.tenancy.save()
    later = NOON + timedelta(minutes=1)
    review.work(now=later)
    newcomer = Tenancy.objects.create(room=purse.tenancy.room, property=purse.property, starts_at=later)

    changes.catch_up(now=later + timedelta(seconds=1))

    decided = SupplyDecision.objects.filter(purse__tenancy=newcomer).latest("pk")
    assert (decided.verdict, decided.wants) == ("spared", "closed")
    assert Level.objects.get(kind="relay").wanted == "closed"


@pytest.mark.parametrize("why", ["doubt", "backlog"])
def test_a_tenancy_whose_end_is_known_is_protected_like_any_other(why):
    purse = a_home(fen=-100)
    tenancy = purse.tenancy
    assert tenancy
    tenancy.ends_at = NOON + timedelta(days=200)
    tenancy.save()
    drawing.align(room_ids=[tenancy.room_id], now=NOON)
    careful.work(now=NOON)
    Backlog.objects.all().delete()
    draw = Draw.objects.get(purse=purse)
    Draw.objects.filter(pk=draw.pk).update(
        last_at=NOON - timedelta(minutes=10), total_nano=100 * NANO_FEN_PER_FEN, is_current=True
    )
    if why == "doubt":
        AGAINST[Why.READING_IN_DOUBT](purse)
    else:
        backlog.leave(
            installation_ids=[draw.installation_id], from_at=NOON - timedelta(days=1), reason="late", now=NOON
        )

    found = review.one(purse_id=purse.pk, trace="", now=NOON)

    assert (found.verdict, found.wants) == ("spared", "closed")
    assert "reading_in_doubt" in found.why_not


def test_a_dispute_about_what_a_home_lacks_brings_the_light_back():
    purse = a_home(fen=-100)
    supply.decide(purse_id=purse.pk, trace="", now=NOON)
    assert relay(purse) == "open"
    draw = Draw.objects.get(purse=purse)
    Dispute.objects.create(
        key="k", property_id=draw.property_id, tenancy=purse.tenancy, purse=purse, draw=draw, read_at=NOON,
        import_wh=1, from_date=civil_date(NOON), to_date=civil_date(NOON), frozen_nano=1_000 * NANO_FEN_PER_FEN,
        reason="x", opened_at=NOON, opened_by=makers.a_user(),
    )  # fmt: skip

    supply.decide(purse_id=purse.pk, trace="", now=NOON + timedelta(minutes=1))

    assert relay(purse) == "closed"


# ---- a cut on its way ----


@pytest.mark.parametrize("why", [one for one in AGAINST if one not in (Why.CUT_TODAY, Why.READING_STALE)])
def test_a_cut_that_no_meter_has_obeyed_is_taken_back_by_whatever_speaks_against_it_now(why):
    """The meter was away when it was decided, and comes back in protected hours."""
    purse = a_home(fen=-100)
    supply.decide(purse_id=purse.pk, trace="", now=NOON)
    assert relay(purse) == "open"
    AGAINST[why](purse)

    assert reviews.ask_for_cuts_on_their_way(now=SOON) == 1
    review.work(now=SOON)

    assert relay(purse) == "closed"
    assert SupplyDecision.objects.filter(purse=purse).latest("pk").verdict == "spared"


def test_a_cut_on_its_way_stands_while_nothing_speaks_against_it():
    purse = a_home(fen=-100)
    supply.decide(purse_id=purse.pk, trace="", now=NOON)
    since = Level.objects.get(kind="relay").wanted_at

    for seconds in (20, 40, 60):
        reviews.ask_for_cuts_on_their_way(now=NOON + timedelta(seconds=seconds))
        review.work(now=NOON + timedelta(seconds=seconds))

    level = Level.objects.get(kind="relay")
    assert (level.wanted, level.wanted_at) == ("open", since)
    assert SupplyDecision.objects.filter(purse=purse, verdict="spent").count() == 1


def test_a_home_in_the_dark_is_not_asked_for():
    purse = a_home(fen=-100)
    supply.decide(purse_id=purse.pk, trace="", now=NOON)
    Level.objects.filter(kind="relay").update(reported="open")

    assert reviews.ask_for_cuts_on_their_way(now=SOON) == 0
