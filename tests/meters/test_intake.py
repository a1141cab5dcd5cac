"""What meters say becomes rows: once, in any order, and one bad frame costs nobody else anything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meters import commands, desired, intake, reports
from meters.intake import Frame
from meters.models import Command, Level, Meter, MeterEvent, MeterModel, Reading
from notifications.models import WorkItem
from tests.makers import a_meter, a_property
from tests.meters.at_once import at_once_each
from tests.meters.saying import a_report, answer, event, offline, online, telemetry

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 1, 4, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def says(*frames: Frame, now: datetime = NOW) -> intake.Taken:
    return intake.take(frames, now=now)


def fresh(row):
    return type(row).objects.get(pk=row.pk)


def a_wish(meter: Meter, wanted: str, *, kind: str = "relay", now: datetime = NOW):
    """Wanted, queued and sent."""
    Meter.objects.filter(pk=meter.pk).update(is_online=True)
    desired.want(meter_id=meter.pk, kind=kind, wanted=wanted, reason="test", trace="t1", now=now)
    commands.claim(now=now)
    return Command.objects.filter(meter=meter, kind=kind).order_by("-generation").first()


def relay_level(meter: Meter) -> Level:
    return Level.objects.get(meter=meter, kind="relay")


def test_telemetry_becomes_readings_and_the_newest_state():
    meter = a_meter()
    frame = telemetry(
        meter,
        a_report(NOW - 20 * SECOND, import_wh=900, relay="open"),
        a_report(NOW - SECOND, import_wh=1000, relay="closed", power_w=60, shown_fen=1234),
        received_at=NOW,
    )

    taken = says(frame)

    meter = fresh(meter)
    assert (taken.readings, taken.read_meter_ids) == (2, {meter.pk})
    assert list(Reading.objects.order_by("read_at").values_list("import_wh", "relay")) == [
        (900, "open"),
        (1000, "closed"),
    ]
    assert (meter.import_wh, meter.relay, meter.power_w, meter.shown_fen) == (1000, "closed", 60, 1234)
    assert (meter.reported_at, meter.is_online, meter.last_seen_at) == (NOW - SECOND, True, NOW)


def test_a_batch_that_is_delivered_again_stores_nothing_twice():
    meter = a_meter()
    frames = [
        telemetry(meter, a_report(NOW), received_at=NOW),
        event(meter, "cover_opened", at=NOW, said="e1"),
        event(meter, "cover_opened", at=NOW, said="e1"),
    ]

    says(*frames)
    again = says(*frames, *frames)

    assert (again.readings, again.read_meter_ids) == (0, frozenset())
    assert (Reading.objects.count(), MeterEvent.objects.count()) == (1, 1)


def test_an_older_report_never_overwrites_a_newer_one():
    meter = a_meter()
    says(telemetry(meter, a_report(NOW, relay="closed", import_wh=1000), received_at=NOW))

    says(telemetry(meter, a_report(NOW - 60 * SECOND, relay="open", import_wh=900), received_at=NOW + SECOND))

    assert (fresh(meter).relay, fresh(meter).import_wh) == ("closed", 1000)
    assert Reading.objects.count() == 2


def test_a_meter_whose_clock_is_ahead_does_not_freeze_its_state():
    meter = a_meter()
    says(telemetry(meter, a_report(NOW + timedelta(days=300), relay="open"), received_at=NOW))

    says(telemetry(meter, a_report(NOW + timedelta(days=300), relay="closed"), received_at=NOW + SECOND))

    assert (fresh(meter).relay, fresh(meter).reported_at) == ("closed", NOW + SECOND)


def test_a_meter_whose_clock_stands_still_is_believed_when_it_answers():
    meter = a_meter()
    says(telemetry(meter, a_report(NOW - 60 * SECOND, relay="open"), received_at=NOW))
    command = a_wish(meter, "closed")

    says(answer(meter, command, datetime(2000, 1, 1, tzinfo=UTC), received_at=NOW + SECOND, relay="closed"))

    assert fresh(meter).relay == "closed"
    assert relay_level(meter).agreed_at is not None


LONG_PAST = datetime(2000, 1, 1, tzinfo=UTC)


def test_a_meter_that_lost_its_clock_with_the_power_is_believed_when_it_connects():
    meter = a_meter()
    says(answer(meter, a_wish(meter, "closed"), NOW, relay="closed", generation=1))
    says(offline(meter, NOW + 60 * SECOND))
    back_at = NOW + 360 * SECOND

    says(online(meter, LONG_PAST, received_at=back_at, relay="open"), now=back_at)

    assert (fresh(meter).relay, relay_level(meter).reported) == ("open", "open")
    assert desired.reconcile(now=back_at) == 1


def test_a_meter_that_lost_its_clock_is_believed_when_it_reports():
    meter = a_meter(held_by="meter")
    says(telemetry(meter, a_report(NOW, relay="closed", purchase_count=4), received_at=NOW))
    later = NOW + 60 * SECOND

    for second in range(2):
        at, count = LONG_PAST + second * SECOND, 5 + second
        report = a_report(at, relay="open", purchase_count=count, import_wh=2000 + second)
        says(telemetry(meter, report, received_at=later + second * SECOND), now=later)

    meter = fresh(meter)
    assert (meter.relay, meter.purchase_count, meter.import_wh) == ("open", 6, 2001)
    assert meter.reported_at == later + SECOND


def test_a_clock_that_went_back_a_little_is_followed_from_when_the_meter_connects():
    meter = a_meter()
    says(telemetry(meter, a_report(NOW, relay="closed"), received_at=NOW))
    slow = timedelta(minutes=30)
    for minute, relay in ((1, "open"), (2, "closed"), (3, "permitted")):
        at = NOW + timedelta(minutes=minute)
        said = {"relay": relay, "import_wh": minute}
        if minute == 1:
            says(online(meter, at - slow, received_at=at, **said), now=at)
        else:
            says(telemetry(meter, a_report(at - slow, **said), received_at=at), now=at)

        assert fresh(meter).relay == relay


def test_a_retained_status_of_long_ago_is_not_taken_for_a_lost_clock():
    meter = a_meter()
    says(telemetry(meter, a_report(NOW, relay="closed"), received_at=NOW))

    says(online(meter, NOW - timedelta(days=2), retained=True, received_at=NOW + SECOND, relay="open"))

    assert fresh(meter).relay == "closed"


@pytest.mark.parametrize("retained", [True, False])
def test_a_greeting_that_is_heard_after_newer_news_never_lowers_the_count(retained):
    meter = a_meter(held_by="meter")
    says(telemetry(meter, a_report(NOW, purchase_count=5), received_at=NOW))
    before = NOW - 10 * SECOND

    says(online(meter, before, retained=retained, received_at=NOW + SECOND, purchase_count=4))

    assert fresh(meter).purchase_count == 5


@pytest.mark.parametrize("how", ["answer", "greeting", "telemetry"])
def test_a_count_that_went_back_is_believed_from_an_answer_and_a_greeting(how):
    meter = a_meter(held_by="meter")
    says(telemetry(meter, a_report(NOW, purchase_count=5), received_at=NOW))
    at, said = NOW + SECOND, {"order": "auto", "purchase_count": 0}
    frames = {
        "answer": lambda: answer(meter, a_wish(meter, "auto"), at, **said),
        "greeting": lambda: online(meter, at, **said),
        "telemetry": lambda: telemetry(meter, a_report(at, **said), received_at=at),
    }

    says(frames[how]())

    assert fresh(meter).purchase_count == (5 if how == "telemetry" else 0)


def test_a_reading_from_a_time_that_cannot_be_is_not_stored_but_the_state_is():
    meter = a_meter()

    says(telemetry(meter, a_report(datetime(1970, 1, 1, tzinfo=UTC), relay="open"), received_at=NOW))

    assert not Reading.objects.exists()
    assert fresh(meter).relay == "open"


def test_what_a_report_leaves_out_is_not_forgotten():
    meter = a_meter(held_by="meter")
    says(telemetry(meter, a_report(NOW, balance_fen=700, purchase_count=4), received_at=NOW))

    says(telemetry(meter, a_report(NOW + SECOND), received_at=NOW + SECOND))

    assert (fresh(meter).balance_fen, fresh(meter).purchase_count) == (700, 4)


def test_the_answer_of_a_relay_closes_its_command_and_the_level_agrees():
    meter = a_meter()
    command = a_wish(meter, "closed")

    taken = says(answer(meter, command, NOW + SECOND, relay="closed", generation=1), now=NOW + SECOND)

    level = relay_level(meter)
    assert (fresh(command).state, fresh(command).answered_at) == ("done", NOW + SECOND)
    assert (level.reported, level.agreed_at, level.tries) == ("closed", NOW + SECOND, 0)
    assert taken.agreed == ((meter.pk, "relay"),)


def test_an_answer_twice_or_after_its_deadline_changes_nothing_but_the_report():
    meter = a_meter()
    command = a_wish(meter, "closed")
    commands.expire(now=NOW + 40 * SECOND)

    says(answer(meter, command, NOW + 50 * SECOND, relay="closed"), now=NOW + 50 * SECOND)
    says(answer(meter, command, NOW + 60 * SECOND, error="failed", relay="open"), now=NOW + 60 * SECOND)

    assert (fresh(command).state, fresh(command).answered_at) == ("done", NOW + 50 * SECOND)
    level = relay_level(meter)
    assert (level.reported, level.agreed_at) == ("open", None)


def test_answers_out_of_order_end_in_what_the_meter_has():
    meter = a_meter()
    first = a_wish(meter, "open")
    second = a_wish(meter, "closed", now=NOW + SECOND)

    says(answer(meter, second, NOW + 3 * SECOND, relay="closed", generation=2), now=NOW + 3 * SECOND)
    says(answer(meter, first, NOW + 2 * SECOND, relay="open", generation=1, received_at=NOW + 4 * SECOND))

    assert (fresh(first).state, fresh(second).state) == ("done", "done")
    assert (relay_level(meter).reported, fresh(meter).relay_generation) == ("closed", 2)


def test_an_answer_to_another_meters_command_is_no_answer_but_a_report():
    meter, stranger = a_meter(), a_meter()
    command = a_wish(meter, "closed")

    says(answer(stranger, command, NOW + SECOND, relay="open"))

    assert fresh(command).state == "sent"
    assert fresh(stranger).relay == "open"


def test_an_answer_to_a_command_that_was_taken_back_is_only_a_report():
    meter = a_meter()
    desired.want(meter_id=meter.pk, kind="relay", wanted="open", reason="", trace="", now=NOW)
    desired.want(meter_id=meter.pk, kind="relay", wanted="closed", reason="", trace="", now=NOW)
    superseded = Command.objects.get(state="superseded")

    says(answer(meter, superseded, NOW + SECOND, relay="open"))

    assert fresh(superseded).state == "superseded"
    assert relay_level(meter).reported == "open"


def test_a_meter_that_remembers_a_higher_generation_is_tried_at_once_above_it():
    meter = a_meter()
    command = a_wish(meter, "closed")

    says(answer(meter, command, NOW + SECOND, error="stale", relay="open", generation=17), now=NOW + SECOND)

    assert desired.reconcile(now=NOW + SECOND) == 1
    assert Command.objects.get(state="queued").generation == 18


def test_a_stale_answer_that_the_meters_generation_does_not_explain_is_not_tried_at_once():
    meter = a_meter()
    command = a_wish(meter, "closed")

    says(answer(meter, command, NOW + SECOND, error="stale", relay="open", generation=0), now=NOW + SECOND)

    assert desired.reconcile(now=NOW + SECOND) == 0


def test_the_generation_of_a_display_is_found_by_doubling():
    meter, now = a_meter(), NOW
    command, rounds = a_wish(meter, "100", kind="show"), 0
    while command.generation <= 5000:
        now, rounds = now + SECOND, rounds + 1
        says(answer(meter, command, now, error="stale", shown_fen=0), now=now)
        desired.reconcile(now=now)
        commands.claim(now=now)
        command = Command.objects.filter(kind="show").order_by("-generation").first()

    assert rounds <= 8


def test_a_shown_balance_agrees_when_the_display_shows_it():
    meter = a_meter()
    command = a_wish(meter, "1200", kind="show")

    taken = says(answer(meter, command, NOW + SECOND, shown_fen=1200))

    assert taken.agreed == ((meter.pk, "show"),)


def test_a_meter_that_holds_its_money_agrees_by_the_order_it_obeys_not_by_its_relay():
    meter = a_meter(held_by="meter")
    command = a_wish(meter, "auto")

    says(answer(meter, command, NOW + SECOND, relay="open", order="auto", balance_fen=0))

    assert relay_level(meter).reported == "auto"
    assert relay_level(meter).agreed_at is not None


def test_a_tenant_who_presses_the_button_of_a_permitted_relay_has_not_disobeyed():
    meter = a_meter()
    command = a_wish(meter, "permitted")
    says(answer(meter, command, NOW + SECOND, relay="permitted"))

    says(telemetry(meter, a_report(NOW + 5 * SECOND, relay="closed", order="permitted"), received_at=NOW + 5 * SECOND))

    assert relay_level(meter).reported == "permitted"


def test_a_relay_that_is_moved_by_hand_disagrees_and_is_tried_again():
    meter = a_meter()
    says(answer(meter, a_wish(meter, "closed"), NOW + SECOND, relay="closed", generation=1))
    later = NOW + timedelta(minutes=5)

    says(telemetry(meter, a_report(later, relay="open"), received_at=later), now=later)

    assert relay_level(meter).agreed_at is None
    assert desired.reconcile(now=later) == 1


def test_a_meter_goes_offline_by_its_will_and_comes_back_by_speaking():
    meter = a_meter()
    says(online(meter, NOW))
    assert fresh(meter).is_online

    says(offline(meter, NOW + SECOND))
    assert not fresh(meter).is_online
    assert fresh(meter).last_seen_at == NOW

    says(telemetry(meter, a_report(NOW + 9 * SECOND), received_at=NOW + 9 * SECOND))
    assert fresh(meter).is_online


def test_old_telemetry_that_lay_at_the_broker_does_not_prove_that_the_meter_is_there():
    meter = a_meter()
    says(offline(meter, NOW, retained=True))

    says(telemetry(meter, a_report(NOW - timedelta(minutes=10)), received_at=NOW))

    assert not fresh(meter).is_online
    assert Reading.objects.count() == 1


def test_a_retained_status_tells_that_a_meter_is_there_but_not_that_it_spoke_now():
    meter = a_meter()
    hour_ago = NOW - timedelta(hours=1)

    says(online(meter, hour_ago, retained=True, received_at=NOW))

    assert fresh(meter).is_online
    assert fresh(meter).last_seen_at == hour_ago


def test_what_waits_for_a_meter_is_due_at_once_when_it_comes_back():
    meter = a_meter()
    a_wish(meter, "closed")
    commands.expire(now=NOW + 40 * SECOND)
    Level.objects.update(next_try_at=NOW + timedelta(minutes=15))
    says(offline(meter, NOW + 41 * SECOND))

    says(online(meter, NOW + 42 * SECOND, relay="open"), now=NOW + 42 * SECOND)

    assert desired.reconcile(now=NOW + 42 * SECOND) == 1


@pytest.mark.parametrize("kind", ["relay", "show"])
def test_a_command_that_was_sent_into_the_void_does_not_block_a_meter_that_is_back(kind):
    meter = a_meter()
    MeterModel.objects.update(command_ttl_s=86400)
    lost = a_wish(meter, {"relay": "closed", "show": "1200"}[kind], kind=kind)
    back_at = NOW + 5 * SECOND

    says(online(meter, back_at, relay="open", shown_fen=0), now=back_at)

    assert fresh(lost).state == "expired"
    assert desired.reconcile(now=back_at) == 1
    (again,) = commands.claim(now=back_at)
    assert (again.kind, again.value, again.generation) == (kind, lost.value, lost.generation + 1)


def test_what_was_sent_to_a_meter_since_it_is_back_is_on_its_way():
    meter = a_meter()
    command = a_wish(meter, "closed", now=NOW + SECOND)

    says(online(meter, NOW, relay="open"), now=NOW + 2 * SECOND)  # the other gateway heard it a little earlier

    assert fresh(command).state == "sent"
    assert desired.reconcile(now=NOW + 2 * SECOND) == 0


def test_a_retained_status_gives_nothing_up():
    meter = a_meter()
    command = a_wish(meter, "closed")

    says(online(meter, NOW - SECOND, retained=True, received_at=NOW + 5 * SECOND, relay="open"))

    assert fresh(command).state == "sent"


def test_an_answer_to_what_was_given_up_still_counts():
    meter = a_meter()
    command = a_wish(meter, "closed")
    at = NOW + 5 * SECOND

    says(online(meter, at, relay="open"), answer(meter, command, at + SECOND, relay="closed", generation=1), now=at)

    assert (fresh(command).state, relay_level(meter).reported) == ("done", "closed")


def test_a_trip_that_waits_for_a_sleeping_meter_does_not_fire_after_the_payment():
    meter = a_meter()
    says(answer(meter, a_wish(meter, "closed"), NOW, relay="closed"), offline(meter, NOW))
    desired.want(meter_id=meter.pk, kind="relay", wanted="open", reason="spent", trace="", now=NOW + SECOND)
    desired.want(meter_id=meter.pk, kind="relay", wanted="closed", reason="paid", trace="", now=NOW + 2 * SECOND)

    says(online(meter, NOW + 3 * SECOND, relay="closed"), now=NOW + 3 * SECOND)

    desired.reconcile(now=NOW + 3 * SECOND)
    assert commands.claim(now=NOW + 3 * SECOND) == []


def test_a_stranger_and_a_bad_frame_cost_the_others_nothing_and_are_put_before_a_person():
    meter, place = a_meter(), a_property()
    stranger = Meter(property=place, serial="no-such-meter", model=meter.model)
    bad = Frame(f"m/{place.code}/{meter.serial}/up", b'{"v":1,"type":"telemetry"}', NOW)
    good = telemetry(meter, a_report(NOW), received_at=NOW)

    taken = says(online(stranger, NOW), bad, good, bad, Frame("m/?/x", b"", NOW))

    assert (taken.readings, taken.unknown_meters, taken.bad_frames) == (1, 1, 3)
    unknown, malformed = WorkItem.objects.get(kind="unknown_meter"), WorkItem.objects.filter(kind="bad_frame")
    assert (unknown.property, unknown.detail) == (place, {"property": place.code, "meter": "no-such-meter"})
    assert malformed.count() == 2
    assert {"topic", "why", "sha256"} == malformed.first().detail.keys()


def test_a_stranger_that_keeps_talking_is_one_item():
    stranger = Meter(property=a_property(), serial="no-such-meter")

    for second in range(5):
        says(online(stranger, NOW + second * SECOND))

    assert WorkItem.objects.get(kind="unknown_meter").times == 5


def test_a_meter_of_another_property_with_the_same_number_is_another_meter():
    mine, theirs = a_meter(serial="000000000001"), a_meter(serial="000000000001")

    says(online(mine, NOW, relay="open"))

    assert (fresh(mine).relay, fresh(theirs).relay) == ("open", "")


@pytest.mark.parametrize("few", [0, 2, 1000])
def test_a_wish_for_what_a_meter_says_it_has_all_along_comes_to_agree(few, monkeypatch):
    """Whether many levels disagree or few, and though nothing in the meter's row has changed."""
    monkeypatch.setattr(reports, "FEW", few)
    meters = [a_meter() for _ in range(4)]
    says(*[online(meter, NOW, relay="closed", shown_fen=7) for meter in meters])
    for meter in meters[1:]:
        a_wish(meter, "closed")
        a_wish(meter, "7", kind="show")
    later = NOW + 60 * SECOND

    taken = says(*[telemetry(meter, a_report(later, shown_fen=7), received_at=later) for meter in meters], now=later)

    assert set(taken.agreed) == {(meter.pk, kind) for meter in meters[1:] for kind in ("relay", "show")}


def test_a_report_that_says_nothing_new_writes_no_level():
    meter = a_meter()
    says(answer(meter, a_wish(meter, "closed"), NOW, relay="closed"))
    before = relay_level(meter)

    taken = says(telemetry(meter, a_report(NOW + SECOND), received_at=NOW + SECOND))

    assert (taken.agreed, relay_level(meter).reported_at) == ((), before.reported_at)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_the_order_and_however_often_the_newest_report_wins(data):
    meter = a_meter()
    reports = [
        (second, data.draw(st.sampled_from(["open", "permitted", "closed"])), generation)
        for generation, second in enumerate(sorted(data.draw(st.sets(st.integers(0, 100), min_size=1, max_size=6))))
    ]
    a_wish(meter, "closed", now=NOW - timedelta(hours=1))
    said = [
        telemetry(
            meter,
            a_report(NOW + second * SECOND, relay=relay, generation=generation, import_wh=second),
            received_at=NOW + timedelta(hours=1),
        )
        for second, relay, generation in reports
    ]
    deliveries = data.draw(st.lists(st.sampled_from(said), max_size=8)) + data.draw(st.permutations(said))
    while deliveries:
        size = data.draw(st.integers(1, 4))
        says(*deliveries[:size], now=NOW + timedelta(hours=1))
        deliveries = deliveries[size:]

    second, relay, generation = reports[-1]
    meter = fresh(meter)
    assert (meter.relay, meter.relay_generation, meter.import_wh) == (relay, generation, second)
    assert relay_level(meter).reported == relay
    assert Reading.objects.filter(meter=meter).count() == len(reports)


@pytest.mark.django_db(transaction=True)
def test_two_gateways_that_store_the_same_and_each_others_meters_at_once_do_not_stand_in_each_others_way():
    meters = [a_meter() for _ in range(20)]

    def store(order: list[Meter]):
        for second in range(10):
            at = NOW + second * SECOND
            says(*[telemetry(meter, a_report(at, import_wh=second), received_at=at) for meter in order], now=at)

    def wish():
        for second in range(10):
            for meter in meters:
                a_wish(meter, "closed" if second % 2 else "open", now=NOW + second * SECOND)

    at_once_each(wish, *[lambda: store(meters), lambda: store(meters[::-1])] * 3)

    assert Reading.objects.count() == 200
    assert set(Meter.objects.values_list("import_wh", flat=True)) == {9}
