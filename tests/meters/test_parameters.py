"""What meters that hold their own money are told of the policy: wishes, commands in nobody's way, refusals."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meters import commands, desired, intake, silence, topups
from meters.models import Command, Level, Meter, MeterModel
from notifications.models import WorkItem
from tests.makers import a_meter
from tests.meters import saying
from tests.meters.at_once import at_once_each

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 1, 4, tzinfo=UTC)
SECOND = timedelta(seconds=1)
KNOWN = ["warn_1", "warn_2", "overdr", "keep", "holidays"]
NAMES = {"warn_1": "warn_1_fen", "overdr": "overdraft_fen", "keep": "keep_supply"}


def a_telling_meter(*, known=KNOWN, is_online=True, **kwargs) -> Meter:
    meter = a_meter(held_by="meter", is_online=is_online, last_seen_at=NOW, **kwargs)
    MeterModel.objects.filter(pk=meter.model_id).update(parameters=known)
    return meter


def wish(meter: Meter, *, now=NOW, **values: str) -> None:
    wishes = [(meter.pk, kind, value) for kind, value in values.items()]
    desired.want_parameters(wishes, reason="policy", now=now)


def claimed(*, now=NOW) -> list[commands.Outgoing]:
    """What goes out in the gateway's next round."""
    desired.reconcile_parameters(now=now, limit=50)
    return commands.claim_parameters(now=now, limit=50)


def pushed(*, now=NOW) -> list[tuple[str, str]]:
    return [(one.kind, one.value) for one in claimed(now=now)]


def sent(meter: Meter, kind: str) -> Command:
    return Command.objects.filter(meter=meter, kind=kind, sent_at__isnull=False).latest("generation")


def answers(meter: Meter, command: Command, *, at: datetime, error: str = "", **parameters) -> None:
    report: dict[str, Any] = {"relay": "closed", "order": "auto", "balance_fen": 100, "purchase_count": 0}
    report["parameters"] = parameters
    intake.take([saying.answer(meter, command, at, error=error, **report)], now=at)


def greets(meter: Meter, at: datetime, **parameters) -> None:
    intake.take([saying.online(meter, at, order="auto", balance_fen=100, parameters=parameters)], now=at)


def level(meter: Meter, kind: str) -> Level:
    return Level.objects.get(meter=meter, kind=kind)


def test_a_parameter_goes_out_in_the_gateways_round_and_agrees_when_the_meter_reports_it():
    meter = a_telling_meter()
    wish(meter, warn_1="1000")
    assert not Command.objects.exists()

    assert pushed() == [("warn_1", "1000")]
    answers(meter, sent(meter, "warn_1"), at=NOW + SECOND, warn_1_fen=1000)

    one = level(meter, "warn_1")
    assert (one.reported, one.agreed_at, one.reason) == ("1000", NOW + SECOND, "policy")
    assert sent(meter, "warn_1").state == "done"
    assert pushed(now=NOW + timedelta(hours=1)) == []


def test_the_same_wish_again_makes_nothing():
    meter = a_telling_meter()
    wish(meter, warn_1="1000")
    pushed()

    wish(meter, warn_1="1000", now=NOW + SECOND)

    assert pushed(now=NOW + 2 * SECOND) == []
    assert level(meter, "warn_1").wanted_at == NOW


def test_one_parameter_at_a_time_is_out_to_a_meter():
    meter, other = a_telling_meter(), a_telling_meter()
    wish(meter, keep="on", warn_1="1000")
    wish(other, keep="off")

    (out,) = [one.kind for one in claimed(now=NOW) if one.serial == meter.serial]
    assert pushed(now=NOW + SECOND) == []
    said = {"keep": {"keep_supply": True}, "warn_1": {"warn_1_fen": 1000}}[out]
    answers(meter, sent(meter, out), at=NOW + SECOND, **said)

    assert {out, *(kind for kind, _value in pushed(now=NOW + 2 * SECOND))} == {"keep", "warn_1"}


def test_what_a_meter_has_already_is_not_sent():
    meter = a_telling_meter(is_online=False)
    wish(meter, overdr="0")

    greets(meter, NOW, overdraft_fen=0)

    assert level(meter, "overdr").agreed_at == NOW
    assert pushed() == []


def test_no_parameter_goes_to_a_meter_that_is_told_something_else():
    switched, charged = a_telling_meter(), a_telling_meter(purchase_count=0)
    for meter in (switched, charged):
        wish(meter, keep="on")
    desired.reconcile_parameters(now=NOW, limit=50)
    desired.want(meter_id=switched.pk, kind="relay", wanted="open", reason="test", trace="", now=NOW)
    topups.queue(key="payment:1", meter_id=charged.pk, amount_fen=5000, trace="", now=NOW)
    topups.dispatch(now=NOW)

    assert pushed() == []  # both are queued
    assert {one.kind for one in commands.claim(now=NOW)} == {"relay", "top_up"}
    assert pushed(now=NOW + SECOND) == []  # both are out, and unanswered

    commands.expire(now=NOW + 40 * SECOND)
    assert pushed(now=NOW + 40 * SECOND) == [("keep", "on"), ("keep", "on")]


def test_relays_and_top_ups_are_claimed_however_many_parameters_were_queued_before_them():
    for _ in range(30):
        wish(a_telling_meter(), warn_1="1000")
    desired.reconcile_parameters(now=NOW, limit=50)
    assert Command.objects.filter(state="queued").count() == 30
    meter = a_meter(is_online=True)
    desired.want(meter_id=meter.pk, kind="relay", wanted="closed", reason="test", trace="", now=NOW + SECOND)

    (first,) = commands.claim(now=NOW + SECOND, limit=1)

    assert (first.kind, first.serial) == ("relay", meter.serial)


def test_a_relay_is_tried_again_however_many_parameters_disagree():
    for _ in range(30):
        wish(a_telling_meter(), warn_1="1000")
    meter = a_meter(is_online=True)
    desired.want(meter_id=meter.pk, kind="relay", wanted="closed", reason="test", trace="", now=NOW)
    commands.claim(now=NOW)

    assert desired.reconcile(now=NOW + 40 * SECOND, limit=1) == 1

    assert [one.serial for one in commands.claim(now=NOW + 40 * SECOND)] == [meter.serial]


def test_parameters_are_said_again_by_a_gateway_that_starts_after_all_else():
    meter = a_telling_meter()
    wish(meter, keep="on")
    pushed()
    other = a_meter(is_online=True)
    desired.want(meter_id=other.pk, kind="relay", wanted="closed", reason="test", trace="", now=NOW + SECOND)
    commands.claim(now=NOW + SECOND)

    assert [one.kind for one in commands.unanswered(now=NOW + 2 * SECOND)] == ["relay", "keep"]


def test_a_wish_that_changes_while_its_command_is_out_follows_it():
    meter = a_telling_meter()
    wish(meter, overdr="1000")
    pushed()
    wish(meter, overdr="2000", now=NOW + SECOND)
    assert pushed(now=NOW + SECOND) == []

    answers(meter, sent(meter, "overdr"), at=NOW + 2 * SECOND, overdraft_fen=1000)

    assert pushed(now=NOW + 3 * SECOND) == [("overdr", "2000")]
    answers(meter, sent(meter, "overdr"), at=NOW + 4 * SECOND, overdraft_fen=2000)
    assert level(meter, "overdr").agreed_at == NOW + 4 * SECOND


def test_a_wish_that_changes_before_its_command_was_sent_takes_its_place():
    meter = a_telling_meter()
    wish(meter, overdr="1000")
    desired.reconcile_parameters(now=NOW, limit=50)

    wish(meter, overdr="2000", now=NOW + SECOND)

    assert pushed(now=NOW + SECOND) == [("overdr", "2000")]
    assert Command.objects.get(value="1000").state == "superseded"


def test_a_wish_for_what_was_so_before_another_command_went_out_is_sent_all_the_same():
    """Nobody knows what the meter does about the command in between."""
    meter = a_telling_meter()
    wish(meter, overdr="1000")
    pushed()
    answers(meter, sent(meter, "overdr"), at=NOW + SECOND, overdraft_fen=1000)
    wish(meter, overdr="2000", now=NOW + 2 * SECOND)
    pushed(now=NOW + 2 * SECOND)

    wish(meter, overdr="1000", now=NOW + 3 * SECOND)

    commands.expire(now=NOW + 40 * SECOND)
    assert pushed(now=NOW + 40 * SECOND) == [("overdr", "1000")]


def test_answers_that_come_twice_late_or_in_the_wrong_order_end_in_what_the_meter_has():
    meter = a_telling_meter()
    wish(meter, overdr="1000")
    pushed()
    first = sent(meter, "overdr")
    commands.expire(now=NOW + 40 * SECOND)
    wish(meter, overdr="2000", now=NOW + 40 * SECOND)
    pushed(now=NOW + 41 * SECOND)
    second = sent(meter, "overdr")

    newer = saying.answer(meter, second, NOW + 43 * SECOND, order="auto", parameters={"overdraft_fen": 2000})
    older = saying.answer(meter, first, NOW + 42 * SECOND, order="auto", parameters={"overdraft_fen": 1000})
    for frame in (newer, older, newer, older):
        intake.take([frame], now=NOW + 44 * SECOND)

    assert [fresh.state for fresh in Command.objects.order_by("generation")] == ["done", "done"]
    assert level(meter, "overdr").reported == "2000"
    assert pushed(now=NOW + 60 * SECOND) == []


def test_what_a_meter_cannot_do_is_refused_once_shown_and_not_asked_again():
    meter = a_telling_meter()
    wish(meter, keep="on")
    pushed()

    answers(meter, sent(meter, "keep"), at=NOW + SECOND, error="unsupported", warn_1_fen=0)
    silence.look(now=NOW + 2 * SECOND)

    item = WorkItem.objects.get(kind="parameters_not_taken")
    assert item.detail == {"meter": meter.serial, "online": True, "keep": "unsupported"}
    for day in range(1, 10):
        assert pushed(now=NOW + timedelta(days=day)) == []
        greets(meter, NOW + timedelta(days=day, hours=1))
    assert Command.objects.filter(kind="keep").count() == 1


def test_what_a_meter_refused_is_shown_until_something_else_is_laid_down_that_it_has():
    meter = a_telling_meter()
    wish(meter, keep="on")
    pushed()
    answers(meter, sent(meter, "keep"), at=NOW + SECOND, error="unsupported", keep_supply=False)
    silence.look(now=NOW + 2 * SECOND)

    wish(meter, keep="off", now=NOW + 3 * SECOND)
    silence.look(now=NOW + 4 * SECOND)

    assert WorkItem.objects.get(kind="parameters_not_taken").state == "resolved"


def test_what_fails_is_tried_a_few_times():
    meter = a_telling_meter()
    wish(meter, keep="on")

    for hour in range(24):
        now = NOW + timedelta(hours=hour)
        if pushed(now=now):
            answers(meter, sent(meter, "keep"), at=now + SECOND, error="failed", keep_supply=False)

    assert Command.objects.filter(kind="keep").count() == 5
    silence.look(now=NOW + timedelta(hours=24))
    assert WorkItem.objects.get(kind="parameters_not_taken").detail["keep"] == "failed"


def test_a_meter_that_never_answers_is_asked_more_and_more_slowly_and_shown_after_a_day():
    meter = a_telling_meter()
    wish(meter, keep="on")
    for minute in range(24 * 60):
        now = NOW + timedelta(minutes=minute)
        pushed(now=now)
        commands.expire(now=now + 40 * SECOND)

    assert 80 < Command.objects.filter(kind="keep").count() < 110
    silence.look(now=NOW + timedelta(hours=23))
    assert not WorkItem.objects.exists()
    silence.look(now=NOW + timedelta(hours=24))
    assert WorkItem.objects.get().detail["keep"] == "not_answered"
    greets(meter, NOW + timedelta(hours=25), keep_supply=True)
    silence.look(now=NOW + timedelta(hours=25))
    assert WorkItem.objects.get().state == "resolved"


def test_a_meter_that_is_away_is_told_when_it_comes_back():
    meter = a_telling_meter(is_online=False)
    wish(meter, keep="on", overdr="500")
    assert pushed() == []
    assert level(meter, "keep").next_try_at == NOW + timedelta(days=1)

    greets(meter, NOW + timedelta(hours=1), keep_supply=False, overdraft_fen=500)

    assert pushed(now=NOW + timedelta(hours=1)) == [("keep", "on")]


def test_what_was_changed_at_the_meter_is_put_right_when_it_connects_again():
    meter = a_telling_meter()
    wish(meter, overdr="1000")
    pushed()
    answers(meter, sent(meter, "overdr"), at=NOW + SECOND, overdraft_fen=1000)

    greets(meter, NOW + timedelta(hours=1), overdraft_fen=999900)

    assert level(meter, "overdr").reported == "999900"
    assert pushed(now=NOW + timedelta(hours=1)) == [("overdr", "1000")]


@pytest.mark.parametrize("every_m", [1, 5, 15, 30])
def test_what_was_changed_at_the_meter_is_seen_in_one_of_its_next_telemetries(every_m):
    meter = a_telling_meter()
    wish(meter, overdr="1000")
    pushed()
    answers(meter, sent(meter, "overdr"), at=NOW + SECOND, overdraft_fen=1000)
    fields = {"relay": "closed", "order": "auto", "balance_fen": 100, "parameters": {"overdraft_fen": 999900}}

    for number in range(1, 18):
        at = NOW + timedelta(minutes=number * every_m)
        intake.take([saying.telemetry(meter, saying.a_report(at, **fields), received_at=at)], now=at)

    assert level(meter, "overdr").reported == "999900"


def test_a_meter_that_has_obeyed_a_higher_generation_is_jumped_over():
    meter = a_telling_meter()
    wish(meter, overdr="1000")
    pushed()

    answers(meter, sent(meter, "overdr"), at=NOW + SECOND, error="stale", overdraft_fen=0)

    assert pushed(now=NOW + 2 * SECOND) == [("overdr", "1000")]
    assert sent(meter, "overdr").generation > 100


def test_a_parameter_that_a_model_does_not_know_is_neither_sent_nor_shown():
    meter = a_telling_meter(known=["warn_1"])
    wish(meter, keep="on", warn_1="1000")

    assert pushed() == [("warn_1", "1000")]
    silence.look(now=NOW + timedelta(days=2))
    assert WorkItem.objects.get().detail.keys() == {"meter", "online", "warn_1"}


def test_a_relay_that_a_kept_supply_refused_to_open_is_tried_again_as_soon_as_it_is_not_kept():
    meter = a_telling_meter()
    wish(meter, keep="on")
    pushed()
    answers(meter, sent(meter, "keep"), at=NOW + SECOND, keep_supply=True)
    desired.want(meter_id=meter.pk, kind="relay", wanted="open", reason="hold_open", trace="", now=NOW + 2 * SECOND)
    commands.claim(now=NOW + 2 * SECOND)
    answers(meter, sent(meter, "relay"), at=NOW + 3 * SECOND, error="keep_supply", keep_supply=True)
    wish(meter, keep="off", now=NOW + 4 * SECOND)
    assert desired.reconcile(now=NOW + 4 * SECOND) == 0

    assert pushed(now=NOW + 4 * SECOND) == [("keep", "off")]
    answers(meter, sent(meter, "keep"), at=NOW + 5 * SECOND, keep_supply=False)

    assert desired.reconcile(now=NOW + 5 * SECOND) == 1
    assert [one.value for one in commands.claim(now=NOW + 5 * SECOND)] == ["open"]


def test_what_waits_behind_others_holds_up_nobody():
    blocked, free = a_telling_meter(), a_telling_meter()
    wish(blocked, keep="on", overdr="100")
    desired.reconcile_parameters(now=NOW, limit=1)
    Meter.objects.filter(pk=blocked.pk).update(is_online=False)  # what is queued waits with it
    later = NOW + timedelta(minutes=2)
    wish(free, keep="on", now=later)

    desired.reconcile_parameters(now=later, limit=1)

    assert [one.serial for one in commands.claim_parameters(now=later, limit=50)] == [free.serial]


@pytest.mark.django_db(transaction=True)
def test_many_who_wish_push_and_claim_at_once_leave_the_newest_wish_and_one_command_out_to_each_meter():
    meters = [a_telling_meter() for _ in range(3)]

    def act(number: int):
        values = {"keep": "on" if number % 2 else "off", "overdr": str(100 * number)}
        wishes = [(meter.pk, kind, value) for meter in meters for kind, value in values.items()]
        for _ in range(6):
            desired.want_parameters(wishes[::-1] if number % 3 else wishes, reason="policy", now=NOW)
            pushed()

    at_once_each(*[functools.partial(act, number) for number in range(12)])

    assert [Command.objects.filter(meter=meter, state="sent").count() for meter in meters] == [1, 1, 1]
    for minute in range(1, 8):  # nobody answers: what goes out last of each is its wish
        commands.expire(now=NOW + timedelta(minutes=minute))
        pushed(now=NOW + timedelta(minutes=minute))
    for meter in meters:
        for kind in ("keep", "overdr"):
            numbers = list(Command.objects.filter(meter=meter, kind=kind).values_list("generation", flat=True))
            assert sorted(numbers) == list(range(1, level(meter, kind).generation + 1))
            assert sent(meter, kind).value == level(meter, kind).wanted
