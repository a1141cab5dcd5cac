"""Recharges reach a meter that holds its money in order, one at a time, each exactly once."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from meters import commands, intake, topups
from meters.models import Command, Meter, TopUp
from notifications.models import WorkItem
from tests.makers import a_meter, a_room, a_tenancy
from tests.meters.at_once import at_once, at_once_each
from tests.meters.saying import a_report, answer, offline, online, telemetry

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 1, 4, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def a_money_meter(*, count: int | None = 5, **kwargs) -> Meter:
    return a_meter(held_by="meter", **{"is_online": True, "purchase_count": count, "reported_at": NOW} | kwargs)


def a_top_up(meter: Meter, *, amount_fen: int = 5000, now: datetime = NOW) -> TopUp:
    key = f"payment:{meter.pk}:{TopUp.objects.count()}"
    topups.queue(key=key, meter_id=meter.pk, amount_fen=amount_fen, trace="t1", now=now)
    return TopUp.objects.get(key=key)


def sent(meter: Meter, now: datetime = NOW):
    """The meter's next command, as it goes out."""
    topups.dispatch(now=now)
    commands.claim(now=now)
    return Command.objects.filter(meter=meter, state="sent").order_by("-queued_at", "-sent_at").first()


def says(frame, now: datetime) -> intake.Taken:
    return intake.take([frame], now=now)


def state(top_up: TopUp) -> str:
    top_up.refresh_from_db()
    return top_up.state


def test_the_same_key_queues_once():
    meter = a_money_meter()
    topups.queue(key="payment:1", meter_id=meter.pk, amount_fen=100, trace="", now=NOW)
    topups.queue(key="payment:1", meter_id=meter.pk, amount_fen=100, trace="", now=NOW)

    assert TopUp.objects.count() == 1


def test_a_top_up_gets_the_number_after_the_meters_count():
    meter = a_money_meter(count=5)
    top_up = a_top_up(meter)

    command = sent(meter)

    assert state(top_up) == "sent"
    assert (top_up.number, top_up.sent_at) == (6, NOW)
    assert (command.kind, command.value, command.generation, command.top_up) == ("top_up", "5000", 6, top_up)


def test_one_is_out_at_a_time_and_they_go_in_order():
    meter = a_money_meter()
    first, second = a_top_up(meter, amount_fen=100), a_top_up(meter, amount_fen=200)

    one = sent(meter)
    assert topups.dispatch(now=NOW) == 0
    assert (state(first), state(second)) == ("sent", "waiting")

    taken = says(answer(meter, one, NOW + SECOND, purchase_count=6, balance_fen=100), NOW + SECOND)
    two = sent(meter, NOW + SECOND)

    assert taken.landed == (first.pk,)
    assert (state(first), state(second)) == ("landed", "sent")
    assert (two.value, two.generation) == ("200", 7)


def test_a_meter_whose_count_is_unknown_is_asked_first():
    meter = a_money_meter(count=None)
    top_up = a_top_up(meter)

    read = sent(meter)
    assert (read.kind, state(top_up)) == ("read", "waiting")
    assert topups.dispatch(now=NOW + SECOND) == 0  # it is being asked already

    says(answer(meter, read, NOW + SECOND, purchase_count=0), NOW + SECOND)
    command = sent(meter, NOW + SECOND)  # at once: it waited for the count alone

    assert (command.kind, command.generation) == ("top_up", 1)


def test_money_of_those_who_moved_out_is_not_sent_and_does_not_hold_up_that_of_their_successors():
    room = a_room()
    meter = a_money_meter(room=room)
    gone = a_tenancy(room=room, ends_at=NOW - SECOND)
    here = a_tenancy(room=room, starts_at=NOW)
    for number, tenancy in enumerate((gone, here)):
        key, tenancy_id = f"payment:{number}", tenancy.pk
        topups.queue(key=key, meter_id=meter.pk, tenancy_id=tenancy_id, amount_fen=100, trace="", now=NOW)

    assert sent(meter).top_up.tenancy == here

    assert TopUp.objects.get(tenancy=gone).state == "waiting"


def test_a_sleeping_meters_top_up_waits_and_goes_out_when_it_wakes():
    meter = a_money_meter(is_online=False, count=None)
    top_up = a_top_up(meter)
    assert topups.dispatch(now=NOW) == 0

    says(online(meter, NOW + SECOND, purchase_count=3), NOW + SECOND)
    command = sent(meter, NOW + SECOND)

    assert (command.kind, command.generation, state(top_up)) == ("top_up", 4, "sent")


def test_no_answer_means_unknown_and_the_count_is_read_back_before_anything_else():
    meter = a_money_meter()
    top_up = a_top_up(meter)
    sent(meter)

    topups.expire(now=NOW + 31 * SECOND)
    assert state(top_up) == "sent"
    topups.expire(now=NOW + 32 * SECOND)
    assert state(top_up) == "unknown"

    read = sent(meter, NOW + 33 * SECOND)
    assert read.kind == "read"


@pytest.mark.parametrize(("count", "expected", "number"), [(6, "landed", 6), (5, "waiting", 6), (3, "waiting", None)])
def test_what_is_read_back_decides_what_became_of_it(count, expected, number):
    meter = a_money_meter()
    top_up = a_top_up(meter)
    sent(meter)
    topups.expire(now=NOW + 32 * SECOND)
    read = sent(meter, NOW + 33 * SECOND)

    says(answer(meter, read, NOW + 34 * SECOND, purchase_count=count), NOW + 34 * SECOND)

    assert state(top_up) == expected
    assert top_up.number == number
    if expected == "waiting":
        assert sent(meter, NOW + 34 * SECOND).generation == count + 1


def test_a_count_from_before_the_command_ran_out_does_not_prove_that_it_was_lost():
    meter = a_money_meter()
    top_up = a_top_up(meter)
    sent(meter)

    says(telemetry(meter, a_report(NOW + SECOND, purchase_count=5), received_at=NOW + SECOND), NOW + SECOND)
    assert state(top_up) == "sent"
    topups.expire(now=NOW + 32 * SECOND)
    says(telemetry(meter, a_report(NOW + 33 * SECOND, purchase_count=5), received_at=NOW + 33 * SECOND), NOW + SECOND)

    assert state(top_up) == "unknown"


def test_a_read_that_was_asked_before_the_command_was_over_proves_nothing_against_it():
    meter = a_money_meter()
    top_up = a_top_up(meter)
    commands.issue(meter=meter, kind="read", top_up=None, trace="", now=NOW)
    sent(meter)
    early = Command.objects.get(meter=meter, kind="read")
    topups.expire(now=NOW + 32 * SECOND)

    says(answer(meter, early, NOW + 33 * SECOND, purchase_count=5), NOW + 33 * SECOND)

    assert state(top_up) == "unknown"


def test_any_report_after_the_sending_that_shows_the_number_proves_that_it_landed():
    meter = a_money_meter()
    top_up = a_top_up(meter)
    sent(meter)

    taken = says(telemetry(meter, a_report(NOW + SECOND, purchase_count=6), received_at=NOW + SECOND), NOW + SECOND)

    assert (taken.landed, state(top_up), top_up.landed_at) == ((top_up.pk,), "landed", NOW + SECOND)


def test_a_report_from_before_the_sending_proves_nothing():
    meter = a_money_meter()
    top_up = a_top_up(meter)
    sent(meter, NOW + 10 * SECOND)

    old = telemetry(meter, a_report(NOW + SECOND, purchase_count=6), received_at=NOW + 11 * SECOND)
    assert says(old, NOW + 11 * SECOND).landed == ()

    assert state(top_up) == "sent"


def test_a_second_answer_changes_nothing_more():
    meter = a_money_meter()
    first = a_top_up(meter)
    second = a_top_up(meter)
    command = sent(meter)
    frame = answer(meter, command, NOW + SECOND, purchase_count=6)

    assert says(frame, NOW + SECOND).landed == (first.pk,)
    assert says(frame, NOW + 2 * SECOND).landed == ()

    assert (state(first), state(second)) == ("landed", "waiting")


def sent_again(meter: Meter, *, count: int = 5):
    """Its first sending went unanswered, and was thought to be lost when the count had been read back."""
    sent(meter)
    topups.expire(now=NOW + 32 * SECOND)
    read = sent(meter, NOW + 33 * SECOND)
    says(answer(meter, read, NOW + 34 * SECOND, purchase_count=count), NOW + 34 * SECOND)
    return sent(meter, NOW + 34 * SECOND)


def test_a_duplicate_refused_after_the_first_answer_was_lost_is_a_success():
    meter = a_money_meter()
    top_up = a_top_up(meter)
    command = sent_again(meter)  # and then the first one came, late

    says(answer(meter, command, NOW + 35 * SECOND, error="duplicate", purchase_count=6), NOW + 35 * SECOND)

    assert state(top_up) == "landed"
    assert Command.objects.get(pk=command.pk).state == "refused"


def test_a_first_sending_that_is_a_duplicate_was_overtaken_by_somebody_else_and_is_not_booked_as_landed():
    meter = a_money_meter()  # whose count is 6 already: 20.00 were sold with a hand-held device
    top_up = a_top_up(meter)
    command = sent(meter)

    taken = says(answer(meter, command, NOW + SECOND, error="duplicate", purchase_count=6), NOW + SECOND)

    assert (taken.landed, state(top_up), top_up.note) == ((), "stuck", "number_taken")
    assert topups.release(top_up_id=top_up.pk, to="waiting", note="sold by hand", now=NOW + SECOND)
    assert sent(meter, NOW + 2 * SECOND).generation == 7


def test_a_count_that_was_believed_before_the_answer_and_is_refuted_by_it_is_shown_to_a_person():
    meter = a_money_meter()
    top_up = a_top_up(meter)
    command = sent(meter)
    says(telemetry(meter, a_report(NOW + SECOND, purchase_count=6), received_at=NOW + SECOND), NOW + SECOND)
    assert state(top_up) == "landed"

    says(answer(meter, command, NOW + 2 * SECOND, error="duplicate", purchase_count=6), NOW + 2 * SECOND)

    item = WorkItem.objects.get()
    assert (item.kind, item.detail["why"], item.detail["top_up"]) == ("top_up_contradicted", "number_taken", top_up.pk)


def test_one_that_was_called_back_and_is_in_the_meter_after_all_is_shown_to_a_person():
    meter = a_money_meter()
    top_up = a_top_up(meter)
    late = sent(meter)
    says(online(meter, NOW + 5 * SECOND, purchase_count=5), NOW + 5 * SECOND)
    read_back(meter, 5, NOW + 6 * SECOND)
    assert topups.cancel(top_up_id=top_up.pk, now=NOW + 6 * SECOND)

    says(answer(meter, late, NOW + 7 * SECOND, purchase_count=6), NOW + 7 * SECOND)

    assert (WorkItem.objects.get().detail["why"], state(top_up)) == ("landed_after_all", "cancelled")


def test_what_was_only_sent_under_another_number_cannot_have_landed_under_this_one():
    meter = a_money_meter(count=8)
    top_up = a_top_up(meter)
    says(answer(meter, sent(meter), NOW + SECOND, error="count", purchase_count=5), NOW + SECOND)
    command = sent(meter, NOW + SECOND)
    assert command.generation == 6

    says(answer(meter, command, NOW + 2 * SECOND, error="duplicate", purchase_count=6), NOW + 2 * SECOND)

    assert (state(top_up), top_up.note) == ("stuck", "number_taken")


def test_what_was_refused_as_expired_is_not_in_when_the_count_reaches_its_number():
    meter = a_money_meter()
    top_up = a_top_up(meter)
    says(answer(meter, sent(meter), NOW + SECOND, error="expired", purchase_count=5), NOW + SECOND)

    says(telemetry(meter, a_report(NOW + 2 * SECOND, purchase_count=6), received_at=NOW + 2 * SECOND), NOW + 2 * SECOND)

    assert (state(top_up), top_up.note) == ("stuck", "number_taken")


def test_a_wrong_count_is_corrected_by_what_the_meter_says():
    meter = a_money_meter(count=8)
    top_up = a_top_up(meter)
    command = sent(meter)

    says(answer(meter, command, NOW + SECOND, error="count", purchase_count=5), NOW + SECOND)
    assert (state(top_up), top_up.number) == ("waiting", None)

    assert sent(meter, NOW + SECOND).generation == 6


def test_an_expired_one_is_sent_again_under_its_number():
    meter = a_money_meter()
    top_up = a_top_up(meter)
    command = sent(meter)

    says(answer(meter, command, NOW + SECOND, error="expired", purchase_count=5), NOW + SECOND)

    assert (state(top_up), top_up.number) == ("waiting", 6)
    assert sent(meter, NOW + SECOND).generation == 6


@pytest.mark.parametrize("error", ["failed", "unsupported"])
def test_another_refusal_is_read_back_and_then_shown_to_a_person(error):
    meter = a_money_meter()
    top_up = a_top_up(meter)
    behind = a_top_up(meter)
    command = sent(meter)

    says(answer(meter, command, NOW + SECOND, error=error, purchase_count=5), NOW + SECOND)
    assert (state(top_up), top_up.note) == ("unknown", error)
    read = sent(meter, NOW + 2 * SECOND)
    says(answer(meter, read, NOW + 3 * SECOND, purchase_count=5), NOW + 3 * SECOND)

    assert (state(top_up), top_up.number) == ("stuck", None)
    item = WorkItem.objects.get(key=f"top_up:{top_up.pk}")
    assert (item.kind, item.detail["why"], item.trace) == ("top_up_stuck", error, "t1")
    assert sent(meter, NOW + 3 * SECOND).top_up == behind  # the others need not wait for the person


def test_a_refusal_that_was_carried_out_all_the_same_is_seen_by_reading_back():
    meter = a_money_meter()
    top_up = a_top_up(meter)
    command = sent(meter)
    says(answer(meter, command, NOW + SECOND, error="failed", purchase_count=5), NOW + SECOND)
    read = sent(meter, NOW + 2 * SECOND)

    says(answer(meter, read, NOW + 3 * SECOND, purchase_count=6), NOW + 3 * SECOND)

    assert state(top_up) == "landed"


def test_a_number_that_somebody_else_used_before_it_was_sent_is_for_a_person():
    meter = a_money_meter()
    top_up = a_top_up(meter)
    topups.dispatch(now=NOW)  # but nobody claims the command

    says(telemetry(meter, a_report(NOW + SECOND, purchase_count=6), received_at=NOW + SECOND), NOW + SECOND)

    assert (state(top_up), top_up.note) == ("stuck", "number_taken")
    assert Command.objects.get(top_up=top_up).state == "superseded"


def test_a_count_that_jumped_beyond_ours_is_never_followed_blindly():
    meter = a_money_meter()
    top_up = a_top_up(meter)
    sent(meter)

    says(telemetry(meter, a_report(NOW + SECOND, purchase_count=9), received_at=NOW + SECOND), NOW + SECOND)

    assert (state(top_up), top_up.note) == ("stuck", "count_jumped")


def a_meter_that_was_set_back(*, landed: int = 2) -> Meter:
    """Some of ours are in it; then somebody initialised it, and it says that its count is 0."""
    meter = a_money_meter(count=0)
    for second in range(landed):
        a_top_up(meter)
        at = NOW + second * SECOND
        says(answer(meter, sent(meter, at), at, purchase_count=second + 1), at)
    assert TopUp.objects.filter(state="landed").count() == landed
    at = NOW + landed * SECOND
    says(online(meter, at, purchase_count=0), at)
    return meter


def read_back(meter: Meter, count: int, at: datetime) -> None:
    read = sent(meter, at)
    assert read.kind == "read"
    says(answer(meter, read, at, purchase_count=count), at)


def test_a_meter_whose_count_went_back_is_read_back_and_then_for_a_person():
    meter = a_meter_that_was_set_back()
    top_up = a_top_up(meter)
    at = NOW + 5 * SECOND

    read_back(meter, 0, at)
    assert topups.dispatch(now=at) == 0

    assert (state(top_up), top_up.note) == ("stuck", "number_used")


def test_a_meter_that_was_set_back_can_be_topped_up_again_when_a_person_has_said_so_once():
    meter = a_meter_that_was_set_back()
    first, second = a_top_up(meter), a_top_up(meter)
    at = NOW + 5 * SECOND
    TopUp.objects.filter(pk=second.pk).update(next_try_at=at + 60 * SECOND)
    read_back(meter, 0, at)
    topups.dispatch(now=at)
    assert topups.release(top_up_id=first.pk, to="waiting", note="was initialised", now=at)

    for top_up, number in ((first, 1), (second, 2)):
        at += 60 * SECOND
        command = sent(meter, at)
        assert (command.top_up, command.generation) == (top_up, number)
        says(answer(meter, command, at, purchase_count=number), at)

    assert (state(first), state(second)) == ("landed", "landed")


def test_a_number_that_waits_with_another_for_a_person_is_not_used_before_that_is_decided():
    meter = a_money_meter()
    taken = a_top_up(meter)
    says(answer(meter, sent(meter), NOW, error="duplicate", purchase_count=6), NOW)
    assert (state(taken), taken.number) == ("stuck", 6)
    says(online(meter, NOW + SECOND, purchase_count=5), NOW + SECOND)
    top_up = a_top_up(meter)

    read_back(meter, 5, NOW + 2 * SECOND)
    topups.dispatch(now=NOW + 2 * SECOND)
    assert (state(top_up), top_up.note) == ("stuck", "number_used")

    topups.release(top_up_id=taken.pk, to="cancelled", note="", now=NOW + 3 * SECOND)
    topups.release(top_up_id=top_up.pk, to="waiting", note="", now=NOW + 3 * SECOND)
    assert sent(meter, NOW + 3 * SECOND).generation == 6


def test_telemetry_of_a_fast_clock_that_comes_twice_does_not_lower_the_count():
    meter = a_money_meter(count=4)
    a_top_up(meter)
    fast = a_report(NOW + 10 * SECOND, purchase_count=4)
    command = sent(meter)
    says(telemetry(meter, fast, received_at=NOW), NOW)
    says(answer(meter, command, NOW + 11 * SECOND, received_at=NOW + SECOND, purchase_count=5), NOW + SECOND)

    says(telemetry(meter, fast, received_at=NOW + 15 * SECOND), NOW + 15 * SECOND)  # killed before its PUBACK

    a_top_up(meter)
    assert sent(meter, NOW + 16 * SECOND).generation == 6


def test_a_count_that_only_seemed_to_go_back_costs_a_question_and_no_person():
    meter = a_money_meter()
    a_top_up(meter)
    says(answer(meter, sent(meter), NOW + SECOND, purchase_count=6), NOW + SECOND)
    Meter.objects.filter(pk=meter.pk).update(purchase_count=5)
    top_up = a_top_up(meter)

    read_back(meter, 6, NOW + 2 * SECOND)
    command = sent(meter, NOW + 2 * SECOND)

    assert (command.top_up, command.generation) == (top_up, 7)
    assert not WorkItem.objects.exists()


def test_a_number_from_an_earlier_sending_is_taken_over_from_one_that_may_not_go_any_more():
    room = a_room()
    meter, tenancy = a_money_meter(room=room), a_tenancy(room=room)
    topups.queue(key="gone", meter_id=meter.pk, tenancy_id=tenancy.pk, amount_fen=100, trace="", now=NOW)
    says(answer(meter, sent(meter), NOW, error="expired", purchase_count=5), NOW)
    type(tenancy).objects.filter(pk=tenancy.pk).update(ends_at=NOW)
    gone, here = TopUp.objects.get(), a_top_up(meter)
    assert gone.number == 6

    command = sent(meter, NOW + SECOND)
    says(answer(meter, command, NOW + SECOND, purchase_count=6), NOW + SECOND)

    assert (command.top_up, state(here), state(gone), gone.number) == (here, "landed", "waiting", None)


def test_what_was_thought_lost_and_shows_up_late_is_landed_and_not_sent_again():
    meter = a_money_meter()
    top_up = a_top_up(meter)
    sent(meter)
    topups.expire(now=NOW + 32 * SECOND)
    read = sent(meter, NOW + 33 * SECOND)
    says(answer(meter, read, NOW + 34 * SECOND, purchase_count=5), NOW + 34 * SECOND)
    assert state(top_up) == "waiting"

    says(telemetry(meter, a_report(NOW + 35 * SECOND, purchase_count=6), received_at=NOW + 35 * SECOND), NOW)

    assert state(top_up) == "landed"
    assert topups.dispatch(now=NOW + 36 * SECOND) == 0


def test_a_silent_meter_is_asked_again_more_and_more_slowly_without_end():
    meter = a_money_meter()
    top_up = a_top_up(meter)
    sent(meter)
    reads, now = 0, NOW
    for minute in range(1, 300):
        now = NOW + timedelta(minutes=minute)
        topups.expire(now=now)
        commands.expire(now=now)
        topups.dispatch(now=now)
        reads += len(commands.claim(now=now))

    assert state(top_up) == "unknown"
    assert 20 <= reads <= 30
    assert topups.overdue(now=now, after=timedelta(minutes=10)).get() == top_up


def test_a_waiting_one_can_be_cancelled_and_then_is_never_sent():
    meter = a_money_meter()
    top_up = a_top_up(meter)

    assert topups.cancel(top_up_id=top_up.pk, now=NOW)

    assert topups.dispatch(now=NOW) == 0
    assert state(top_up) == "cancelled"


def test_one_whose_command_nobody_has_sent_yet_can_be_cancelled_with_it():
    meter = a_money_meter()
    top_up = a_top_up(meter)
    topups.dispatch(now=NOW)

    assert topups.cancel(top_up_id=top_up.pk, now=NOW)

    assert commands.claim(now=NOW) == []


def test_what_was_lost_on_the_way_is_read_back_as_soon_as_the_meter_is_back():
    meter = a_money_meter()
    top_up = a_top_up(meter)
    lost = sent(meter)  # its gateway was killed before it published, or the meter's socket was dead

    says(online(meter, NOW + 5 * SECOND, purchase_count=5), NOW + 5 * SECOND)
    assert (state(top_up), Command.objects.get(pk=lost.pk).state) == ("unknown", "expired")
    read = sent(meter, NOW + 5 * SECOND)
    says(answer(meter, read, NOW + 6 * SECOND, purchase_count=5), NOW + 6 * SECOND)
    command = sent(meter, NOW + 6 * SECOND)

    assert (read.kind, command.kind, command.generation) == ("read", "top_up", 6)


def test_what_was_not_lost_is_seen_in_the_greeting_of_a_meter_that_is_back():
    meter = a_money_meter()
    top_up = a_top_up(meter)
    sent(meter)

    assert says(online(meter, NOW + 5 * SECOND, purchase_count=6), NOW + 5 * SECOND).landed == (top_up.pk,)


def test_what_was_lost_is_not_forgotten_when_the_meter_goes_again_at_once():
    meter = a_money_meter()
    top_up = a_top_up(meter)
    sent(meter)
    at = NOW + 5 * SECOND

    intake.take([online(meter, at, purchase_count=5), offline(meter, at)], now=at)

    assert state(top_up) == "unknown"


def test_a_question_that_was_lost_is_asked_again_as_soon_as_the_meter_is_back():
    meter = a_money_meter()
    top_up = a_top_up(meter)
    sent(meter)
    topups.expire(now=NOW + 32 * SECOND)
    lost = sent(meter, NOW + 33 * SECOND)
    assert state(top_up) == "unknown"

    says(online(meter, NOW + 35 * SECOND, purchase_count=5), NOW + 35 * SECOND)

    read = sent(meter, NOW + 35 * SECOND)
    assert (read.kind, read.pk != lost.pk) == ("read", True)


def test_a_copy_of_what_was_given_up_is_harmless_when_it_comes_late_all_the_same():
    """A gateway that had stood still publishes after the meter came back."""
    meter = a_money_meter()
    top_up = a_top_up(meter)
    late = sent(meter)
    says(online(meter, NOW + 5 * SECOND, purchase_count=5), NOW + 5 * SECOND)
    read_back(meter, 5, NOW + 6 * SECOND)
    again = sent(meter, NOW + 6 * SECOND)

    says(answer(meter, late, NOW + 7 * SECOND, purchase_count=6), NOW + 7 * SECOND)
    says(answer(meter, again, NOW + 8 * SECOND, error="duplicate", purchase_count=6), NOW + 8 * SECOND)

    assert (state(top_up), top_up.number, again.generation) == ("landed", 6, 6)


def test_one_that_is_out_or_in_cannot_be_cancelled():
    meter = a_money_meter()
    top_up = a_top_up(meter)
    command = sent(meter)
    assert not topups.cancel(top_up_id=top_up.pk, now=NOW)
    topups.expire(now=NOW + 32 * SECOND)
    assert not topups.cancel(top_up_id=top_up.pk, now=NOW)
    says(answer(meter, command, NOW + 33 * SECOND, purchase_count=6), NOW + 33 * SECOND)

    assert not topups.cancel(top_up_id=top_up.pk, now=NOW)
    assert state(top_up) == "landed"


@pytest.mark.parametrize("to", ["waiting", "landed", "cancelled"])
def test_a_person_decides_about_a_stuck_one(to):
    meter = a_money_meter()
    top_up = a_top_up(meter)
    topups.stick(top_up, note="test", count=None, now=NOW)

    assert topups.release(top_up_id=top_up.pk, to=to, note="looked at the meter", now=NOW)
    assert not topups.release(top_up_id=top_up.pk, to=to, note="again", now=NOW)

    assert (state(top_up), top_up.note) == (to, "looked at the meter")
    assert (topups.settled(top_up_ids=[top_up.pk], now=NOW) == [top_up.pk]) == (to != "waiting")


def test_two_that_landed_by_a_persons_word_do_not_dispute_a_number():
    meter = a_money_meter()
    for _ in range(2):
        top_up = a_top_up(meter)
        topups.stick(top_up, note="test", count=None, now=NOW)
        topups.release(top_up_id=top_up.pk, to="landed", note="seen", now=NOW)

    assert sorted(TopUp.objects.values_list("number", flat=True)) == [-1, 0]


@pytest.mark.parametrize("to", TopUp.State.values)
@pytest.mark.parametrize("before", TopUp.State.values)
def test_states_move_as_the_table_says_and_in_no_other_way(before, to):
    top_up = a_top_up(a_money_meter())
    TopUp.objects.filter(pk=top_up.pk).update(state=before, number=6)
    top_up.refresh_from_db()

    if to in topups.MOVES[before]:
        topups.move(top_up, to)
    else:
        with pytest.raises(commands.IllegalMoveError):
            topups.move(top_up, to)

    assert state(top_up) == (to if to in topups.MOVES[before] else before)


def test_a_move_that_somebody_else_made_first_is_refused():
    top_up = a_top_up(a_money_meter())
    TopUp.objects.filter(pk=top_up.pk).update(state="cancelled")

    with pytest.raises(commands.IllegalMoveError):
        topups.move(top_up, "stuck")


@pytest.mark.django_db(transaction=True)
def test_gateways_that_dispatch_at_once_send_the_first_of_each_meter_once():
    meters = [a_money_meter() for _ in range(10)]
    for meter in meters * 3:
        a_top_up(meter)

    made = at_once(6, lambda: topups.dispatch(now=NOW))

    assert sum(made) == 10
    assert Command.objects.count() == 10
    assert TopUp.objects.filter(state="sent", number=6).count() == 10


@pytest.mark.django_db(transaction=True)
def test_many_who_settle_at_once_get_each_landed_top_up_once():
    meter = a_money_meter()
    landed = [a_top_up(meter).pk for _ in range(20)]
    for number, top_up in enumerate(landed):
        TopUp.objects.filter(pk=top_up).update(state="landed", number=number + 1)

    got = at_once(8, lambda: topups.settled(top_up_ids=landed, now=NOW))

    assert sorted(itertools.chain.from_iterable(got)) == landed


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(5))
def test_an_answer_racing_with_its_expiry_and_a_cancellation_ends_in_one_way(_round):
    meter = a_money_meter()
    top_up = a_top_up(meter)
    frame = answer(meter, sent(meter), NOW + 32 * SECOND, purchase_count=6)
    now = NOW + 33 * SECOND

    at_once_each(
        lambda: intake.take([frame], now=now),
        lambda: topups.expire(now=now),
        lambda: topups.cancel(top_up_id=top_up.pk, now=now),
        lambda: intake.take([frame], now=now),
    )

    assert state(top_up) == "landed"
    assert Command.objects.get(top_up=top_up, kind="top_up").state == "done"
