"""The virtual meter's own mind: commands and energy in, what it says out, without a broker."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from meters.wire import json_v1
from meters.wire.base import ReadCommand, RelayCommand, SetCommand, ShowCommand, TopUpCommand
from sandbox.fleet.memory import Memory
from sandbox.fleet.meter import VirtualMeter
from sandbox.fleet.registers import ANSWERS_KEPT, Registers, WrongDefinitionError

NOW = datetime(2026, 10, 20, 8, tzinfo=UTC)
YUAN_A_KWH = 100 * 10**6  # micro-fen


def a_virtual_meter(kind, *, relay_ms=0, **definition):
    return VirtualMeter(
        Registers.defined({"property": "garden", "serial": "1", "kind": kind} | definition), relay_ms=relay_ms
    )


def told(command, *, now=NOW, id=None, lives_s=30, generation=0, **arguments):
    return json_v1.encode(
        command(
            id=id or uuid.uuid4(),
            generation=generation,
            issued_at=now,
            expires_at=now + timedelta(seconds=lives_s),
            trace="t",
            **arguments,
        )
    )


def relay(position, generation, **kwargs):
    return told(RelayCommand, position=position, generation=generation, **kwargs)


def top_up(number, amount_fen=5000, **kwargs):
    return told(TopUpCommand, number=number, amount_fen=amount_fen, **kwargs)


def setting(parameter, value, generation=1, **kwargs):
    return told(SetCommand, parameter=parameter, value=value, generation=generation, **kwargs)


def heard(said):
    """What it said, as the product reads it."""
    return [json_v1.decode(one.leaf, one.payload()) for one in said]


def answers(meter, *payloads, now=NOW):
    for payload in payloads:
        meter.receive(payload, now)
    return heard(meter.work(now))


def errors(meter, *payloads, now=NOW):
    return [answer.error for answer in answers(meter, *payloads, now=now)]


def test_a_server_held_meter_obeys_its_relay_and_proves_it():
    meter = a_virtual_meter("server", relay="open", import_wh=1200)

    [answer] = answers(meter, relay("closed", 7))

    assert answer.ok
    assert (answer.report.relay, answer.report.order, answer.report.generation) == ("closed", "closed", 7)
    assert answer.report.import_wh == 1200
    assert (answer.report.balance_fen, answer.report.purchase_count) == (None, None)


def test_a_relay_takes_its_time_and_the_answer_comes_after_it():
    meter = a_virtual_meter("server", relay="open", relay_ms=30)

    assert answers(meter, relay("closed", 1), told(ReadCommand)) == []
    assert meter.due_at() == NOW + timedelta(milliseconds=30)
    closed, read = heard(meter.work(NOW + timedelta(milliseconds=30)))

    assert (closed.report.relay, read.report.relay) == ("closed", "closed")
    assert meter.due_at() is None
    assert [(move["from"], move["to"]) for move in meter.registers.relay_moves] == [("open", "closed")]


def test_a_relay_that_is_there_already_does_not_move():
    meter = a_virtual_meter("server", relay="closed", relay_ms=30)

    assert errors(meter, relay("closed", 1)) == [None]
    assert meter.registers.relay_moves == []


def test_an_older_or_equal_generation_is_stale():
    meter = a_virtual_meter("server", relay="open")

    assert errors(meter, relay("closed", 5)) == [None]
    assert errors(meter, relay("open", 5)) == ["stale"]
    assert errors(meter, relay("open", 4)) == ["stale"]
    assert meter.registers.relay == "closed"


def test_relay_and_display_count_their_generations_apart():
    meter = a_virtual_meter("server")

    assert errors(meter, relay("closed", 9), told(ShowCommand, generation=2, balance_fen=-150)) == [None, None]
    assert errors(meter, told(ShowCommand, generation=2, balance_fen=0)) == ["stale"]
    assert meter.report(NOW)["shown_fen"] == -150


def test_a_command_after_its_deadline_is_refused_by_the_meters_own_clock():
    meter = a_virtual_meter("server", relay="closed")

    assert errors(meter, relay("open", 1), now=NOW) == [None]
    assert errors(meter, relay("closed", 2), now=NOW + timedelta(seconds=31)) == ["expired"]
    meter.change_faults({"clock_off_s": -10})
    assert errors(meter, relay("closed", 3), now=NOW + timedelta(seconds=31)) == [None]
    meter.change_faults({"clock_off_s": 60})
    assert errors(meter, relay("open", 4)) == ["expired"]
    assert meter.registers.relay == "closed"


def test_a_repeated_command_is_answered_again_and_not_obeyed_again():
    meter = a_virtual_meter("meter")
    once = top_up(1)

    first, second = answers(meter, once, once)

    assert (first.error, second.error) == (None, None)
    assert first.id != second.id
    assert second.report.balance_fen == 5000
    assert meter.registers.applied == {"1": 1}
    assert [entry["repeated"] for entry in meter.received] == [False, True]


def test_a_top_up_is_applied_when_its_number_is_next_and_never_twice():
    meter = a_virtual_meter("meter", purchase_count=4)

    assert errors(meter, top_up(5), top_up(5), top_up(4), top_up(7), top_up(6, 100)) == [
        None,
        "duplicate",
        "duplicate",
        "count",
        None,
    ]
    assert meter.report(NOW)["balance_fen"] == 5100
    assert meter.registers.applied == {"5": 1, "6": 1}


def test_a_top_up_closes_the_relay_of_a_meter_that_decides_by_itself():
    meter = a_virtual_meter("meter", relay_ms=30)
    assert meter.registers.relay == "open"

    assert answers(meter, top_up(1)) == []
    [answer] = heard(meter.work(NOW + timedelta(milliseconds=30)))

    assert (answer.report.relay, answer.report.order, answer.report.balance_fen) == ("closed", "auto", 5000)


def test_a_top_up_does_not_close_a_relay_that_is_held_open():
    meter = a_virtual_meter("meter", balance_fen=100)

    assert errors(meter, relay("open", 1), top_up(1)) == [None, None]
    assert meter.registers.relay == "open"
    assert errors(meter, relay("auto", 2)) == [None]
    assert meter.registers.relay == "closed"


def test_a_top_up_that_repays_a_debt_only_does_not_close_the_relay():
    meter = a_virtual_meter("meter", balance_fen=-6000)

    assert errors(meter, top_up(1, 6000)) == [None]
    assert meter.registers.relay == "open"


def test_its_money_runs_down_exactly_and_ends_with_a_cut():
    meter = a_virtual_meter("meter", balance_fen=100, price_micro_fen_per_kwh=60_886_875)  # 0.60886875 yuan

    used, said = meter.consume(1000, NOW)
    assert (used, said) == (1000, [])
    assert meter.report(NOW)["balance_fen"] == 39  # 100 - 60.886875
    used, said = meter.consume(5000, NOW)

    event, telemetry = heard(said)
    assert used == 626  # the Wh that leaves less than a whole fen: 39.113125 - 626 x 0.060886875 = 0.998
    assert event.event == "balance_cut"
    assert (telemetry.readings[-1].relay, telemetry.readings[-1].balance_fen) == ("open", 0)
    assert meter.registers.import_wh == 1626
    assert meter.consume(10, NOW) == (0, [])


def test_a_relay_that_is_held_closed_stays_closed_without_money():
    meter = a_virtual_meter("meter", balance_fen=1, price_micro_fen_per_kwh=YUAN_A_KWH)

    assert errors(meter, relay("closed", 1)) == [None]
    used, said = meter.consume(100, NOW)

    assert (used, said) == (100, [])
    assert meter.report(NOW)["balance_fen"] == -9


def test_power_flows_with_time_and_only_through_a_closed_relay():
    meter = a_virtual_meter("server", power_w=1000)

    meter.draw(NOW)
    for seconds in range(1, 61):
        meter.draw(NOW + timedelta(seconds=seconds))
    assert meter.registers.import_wh == 16  # 16.67 Wh, the rest is kept
    meter.draw(NOW + timedelta(seconds=3600))
    assert meter.registers.import_wh == 1000
    answers(meter, relay("open", 1))
    meter.draw(NOW + timedelta(seconds=7200))

    assert meter.registers.import_wh == 1000
    assert meter.report(NOW)["power_w"] == 0


def test_a_permitted_relay_waits_for_the_button():
    meter = a_virtual_meter("server", relay="open")
    assert meter.press(NOW) == []
    [answer] = answers(meter, relay("permitted", 1))
    assert answer.report.relay == "permitted"

    event, telemetry = heard(meter.press(NOW))

    assert event.event == "button_pressed"
    assert (telemetry.readings[0].relay, telemetry.readings[0].order) == ("closed", "permitted")


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("server", top_up(1)),
        ("server", relay("auto", 1)),
        ("meter", told(ShowCommand, generation=1, balance_fen=1)),
    ],
)
def test_what_a_meter_cannot_do_is_unsupported(kind, command):
    assert errors(a_virtual_meter(kind), command) == ["unsupported"]


def test_a_stuck_relay_fails_and_a_kept_supply_is_not_cut():
    meter = a_virtual_meter("server")

    meter.change_faults({"relay_stuck": True})
    assert errors(meter, relay("open", 1)) == ["failed"]
    meter.change_faults({"relay_stuck": False, "keep_supply": True})
    assert errors(meter, relay("open", 2), relay("permitted", 3)) == ["stale", "keep_supply"]
    assert errors(meter, relay("closed", 4)) == [None]


def test_a_meter_that_wakes_obeys_only_the_newest_of_what_waited():
    meter = a_virtual_meter("server", relay="closed")
    meter.change_faults({"sleep": True})
    trip, close, show = relay("open", 3), relay("closed", 4), told(ShowCommand, generation=1, balance_fen=7)
    assert answers(meter, close, trip, show) == []
    assert meter.due_at() is None

    meter.change_faults({"sleep": False})

    assert [answer.error for answer in heard(meter.work(NOW))] == [None, "stale", None]
    assert meter.registers.relay_moves == []


def test_a_trip_that_waited_beside_a_newer_close_never_fires():
    meter = a_virtual_meter("server", relay="closed", relay_ms=30)
    meter.change_faults({"sleep": True})
    answers(meter, relay("open", 3), relay("closed", 4))

    meter.change_faults({"sleep": False})
    outcomes = [answer.error for answer in heard(meter.work(NOW))]

    assert outcomes == ["stale", None]
    assert meter.registers.relay_moves == []


def test_a_deaf_meter_neither_answers_nor_acts():
    meter = a_virtual_meter("server", relay="open")
    meter.change_faults({"deaf": True})

    assert answers(meter, relay("closed", 1)) == []
    meter.clear_faults()
    assert answers(meter) == []
    assert meter.registers.relay == "open"
    assert meter.received[0]["outcome"] == "ignored"


def test_lost_doubled_and_late_answers():
    meter = a_virtual_meter("server", relay="open")

    meter.change_faults({"lose_answers": 1})
    assert answers(meter, relay("closed", 1)) == []
    assert meter.registers.relay == "closed"
    meter.change_faults({"duplicate_answers": 1, "answer_late_ms": 250})
    meter.receive(told(ReadCommand), NOW)
    said = meter.work(NOW)
    assert [one.after_ms for one in said] == [250, 250]
    assert len({one.payload() for one in said}) == 1
    meter.change_faults({"answer_late_ms": 0})
    assert len(answers(meter, told(ReadCommand))) == 1
    assert [entry["answers"] for entry in meter.received] == [0, 2, 1]


def test_answers_out_of_order():
    meter = a_virtual_meter("server", relay="open")
    meter.change_faults({"out_of_order": 2})

    assert answers(meter, relay("closed", 1)) == []
    second, first = answers(meter, relay("open", 2))

    assert (second.report.generation, first.report.generation) == (2, 1)
    meter.change_faults({"out_of_order": 2})
    assert answers(meter, told(ReadCommand)) == []
    assert len(heard(meter.clear_faults())) == 1


def test_a_slow_meter_obeys_later():
    meter = a_virtual_meter("server", relay="open")
    meter.change_faults({"slow_ms": 500})

    assert answers(meter, relay("closed", 1)) == []
    assert meter.due_at() == NOW + timedelta(milliseconds=500)
    assert len(meter.work(NOW + timedelta(milliseconds=500))) == 1


def test_what_was_collected_goes_out_in_one_telemetry_at_most_200_long():
    meter = a_virtual_meter("server")
    for minute in range(300):
        meter.collect(NOW + timedelta(minutes=minute))

    [telemetry] = heard([meter.telemetry(NOW + timedelta(minutes=300))])
    [next_one] = heard([meter.telemetry(NOW + timedelta(minutes=301))])

    assert len(telemetry.readings) == 200
    assert telemetry.readings[0].at == NOW + timedelta(minutes=101)
    assert telemetry.readings[-1].at == NOW + timedelta(minutes=300)
    assert len(next_one.readings) == 1


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"noise",
        b"[]",
        b'{"v":2,"type":"command"}',
        json.dumps(json.loads(relay("open", 1)) | {"expires_at": "2026-10-20T08:00:00"}).encode(),
        json.dumps(json.loads(relay("open", 1)) | {"generation": None}).encode(),
    ],
)
def test_what_is_no_command_is_written_down_and_ignored(payload):
    meter = a_virtual_meter("server")

    assert answers(meter, payload) == []
    assert meter.received[0]["kind"] == "unreadable"


@pytest.mark.parametrize(
    "wrong",
    [
        {"property": "Garden"},
        {"serial": "a/b"},
        {"kind": "nobody"},
        {"relay": "ajar"},
        {"order": "auto"},
        {"import_wh": -1},
        {"import_wh": "12"},
        {"balance_fen": 1.5},
        {"power_w": True},
        {"answered": {}},
        {"mood": "fine"},
    ],
)
def test_a_meter_that_cannot_be_is_refused(wrong):
    with pytest.raises(WrongDefinitionError):
        Registers.defined({"property": "garden", "serial": "1", "kind": "server"} | wrong)


def test_a_meter_without_a_serial_is_refused():
    with pytest.raises(WrongDefinitionError):
        Registers.defined({"property": "garden", "kind": "server"})


@pytest.mark.parametrize("wrong", [{"offline": 1}, {"slow_ms": -1}, {"lose_answers": True}, {"grumpy": True}])
def test_a_fault_that_cannot_be_is_refused_and_changes_nothing(wrong):
    meter = a_virtual_meter("server")

    with pytest.raises(WrongDefinitionError):
        meter.change_faults(wrong)

    assert meter.as_json()["faults"] == a_virtual_meter("server").as_json()["faults"]


def test_a_meter_remembers_over_a_power_cut(tmp_path):
    meter = a_virtual_meter("meter", balance_fen=100, price_micro_fen_per_kwh=YUAN_A_KWH, relay_ms=30)
    once = top_up(1, 900)
    answers(meter, once)
    meter.work(NOW + timedelta(seconds=1))
    meter.consume(10, NOW)
    memory = Memory(tmp_path / "fleet.sqlite")
    memory.save(meter.name, meter.registers)
    memory.close()

    memory = Memory(tmp_path / "fleet.sqlite")
    [registers] = memory.load()
    memory.forget(meter.name)
    assert list(memory.load()) == []
    memory.close()
    woken = VirtualMeter(registers)

    assert registers == meter.registers
    assert woken.report(NOW)["balance_fen"] == 999
    [again] = answers(woken, once)
    assert again.ok
    assert registers.applied == {"1": 1}


def test_a_power_cut_while_the_relay_was_moving_leaves_it_where_the_money_says(tmp_path):
    meter = a_virtual_meter("meter", relay_ms=30)
    answers(meter, top_up(1))
    memory = Memory(tmp_path / "fleet.sqlite")
    memory.save(meter.name, meter.registers)

    [registers] = memory.load()
    memory.close()

    assert (meter.registers.relay, registers.relay) == ("open", "closed")


def test_answers_are_not_remembered_for_ever():
    meter = a_virtual_meter("server")

    for _ in range(ANSWERS_KEPT + 5):
        answers(meter, told(ReadCommand))

    assert len(meter.registers.answered) == ANSWERS_KEPT


def test_a_meter_with_a_timetable_counts_by_period_too():
    meter = a_virtual_meter("server", timetable={"08:00": "peak", "22:00": "valley"})

    for hours, wh in ((-1, 5), (0, 7), (13, 11), (14, 13)):  # by its own clock 15:00, 16:00, 5:00 and 6:00
        meter.consume(wh, NOW + timedelta(hours=hours))

    (telemetry,) = heard([meter.telemetry(NOW)])
    (report,) = telemetry.readings
    assert (report.import_wh, report.period_wh) == (36, (0, 12, 0, 24, 0))


@pytest.mark.parametrize("timetable", [{"8:00": "peak"}, {"08:00": "dear"}, ["08:00"]])
def test_a_timetable_that_no_meter_has_is_refused(timetable):
    with pytest.raises(WrongDefinitionError):
        a_virtual_meter("server", timetable=timetable)


# ---- parameters ----


def test_a_meter_takes_its_parameters_and_reports_them():
    meter = a_virtual_meter("meter", balance_fen=100)

    *_, answer = answers(meter, setting("warn_1", 1000), setting("overdr", 2000), setting("keep", True))

    told_so_far = dict(answer.report.parameters)
    assert told_so_far == {"warn_1": 1000, "warn_2": 0, "overdr": 2000, "keep": True, "holidays": False}


def test_each_parameter_counts_its_generations_apart():
    meter = a_virtual_meter("meter")

    assert errors(meter, setting("warn_1", 1000, 7), setting("warn_2", 500, 1)) == [None, None]
    assert errors(meter, setting("warn_1", 900, 7), setting("warn_1", 900, 8)) == ["stale", None]


def test_a_parameter_that_a_meter_does_not_know_is_unsupported():
    meter = a_virtual_meter("meter", parameters={"warn_1_fen": 0})

    assert errors(meter, setting("keep", True), setting("warn_1", 5)) == ["unsupported", None]
    assert errors(a_virtual_meter("server"), setting("keep", True)) == ["unsupported"]
    assert a_virtual_meter("server").report(NOW)["parameters"] is None


def test_warnings_are_shown_at_and_below_their_levels():
    meter = a_virtual_meter("meter", balance_fen=1001, price_micro_fen_per_kwh=YUAN_A_KWH)
    answers(meter, setting("warn_1", 1000), setting("warn_2", 500))

    assert meter.as_json()["warnings"] == []
    meter.consume(10, NOW)
    assert meter.as_json()["warnings"] == ["warn_1_fen"]
    meter.consume(5000, NOW)
    assert meter.as_json()["warnings"] == ["warn_1_fen", "warn_2_fen"]


def test_an_overdraft_is_used_before_the_relay_opens_and_money_above_zero_brings_the_power_back():
    meter = a_virtual_meter("meter", balance_fen=100, price_micro_fen_per_kwh=YUAN_A_KWH)
    answers(meter, setting("overdr", 200))

    assert meter.consume(2000, NOW)[0] == 2000
    assert (meter.registers.relay, meter.registers.balance_fen()) == ("closed", -100)
    _used, said = meter.consume(5000, NOW)
    assert (meter.registers.balance_fen(), meter.registers.relay) == (-200, "open")
    assert heard(said)[0].event == "balance_cut"
    answers(meter, top_up(1, 200))
    assert meter.registers.relay == "open"  # nothing is owed any more, and nothing is there
    answers(meter, top_up(2, 1))
    assert meter.registers.relay == "closed"


def test_an_overdraft_that_is_taken_away_cuts_who_is_below_it():
    meter = a_virtual_meter("meter", balance_fen=10, price_micro_fen_per_kwh=YUAN_A_KWH)
    answers(meter, setting("overdr", 200))
    meter.consume(1000, NOW)

    [answer] = answers(meter, setting("overdr", 0, 2))

    assert (answer.report.balance_fen, answer.report.relay) == (-90, "open")


def test_a_kept_supply_is_cut_by_nobody():
    meter = a_virtual_meter("meter", price_micro_fen_per_kwh=YUAN_A_KWH)
    assert meter.registers.relay == "open"

    [answer] = answers(meter, setting("keep", True))

    assert answer.report.relay == "closed"
    assert meter.consume(3000, NOW)[0] == 3000
    assert (meter.registers.relay, meter.registers.balance_fen()) == ("closed", -300)
    assert errors(meter, relay("open", 1)) == ["keep_supply"]
    [answer] = answers(meter, setting("keep", False, 2))
    assert answer.report.relay == "open"


def test_on_a_holiday_nobody_is_cut_and_on_the_day_after_the_money_decides_again():
    meter = a_virtual_meter(
        "meter", balance_fen=10, price_micro_fen_per_kwh=YUAN_A_KWH, power_w=1000, holidays=["2026-10-20"]
    )
    answers(meter, setting("holidays", True))

    meter.consume(1000, NOW)
    assert (meter.registers.relay, meter.registers.balance_fen()) == ("closed", -90)
    meter.draw(NOW)
    said = heard(meter.draw(NOW + timedelta(hours=8, milliseconds=1)))  # midnight in Shanghai
    assert (said[0].event, meter.registers.relay) == ("balance_cut", "open")


@pytest.mark.parametrize("parameters", [{"overdraft_fen": -1}, {"keep_supply": 1}, {"mood": 1}, {"warn_1_fen": True}])
def test_parameters_that_no_meter_has_are_refused(parameters):
    with pytest.raises(WrongDefinitionError):
        a_virtual_meter("meter", parameters=parameters)


def test_parameters_outlast_a_power_cut(tmp_path):
    meter = a_virtual_meter("meter", balance_fen=10, price_micro_fen_per_kwh=YUAN_A_KWH)
    answers(meter, setting("overdr", 200, 5))
    meter.consume(1000, NOW)
    memory = Memory(tmp_path / "fleet.sqlite")
    memory.save(meter.name, meter.registers)

    [registers] = memory.load()
    memory.close()

    assert (registers.relay, registers.parameters["overdraft_fen"]) == ("closed", 200)
    assert errors(VirtualMeter(registers), setting("overdr", 0, 5)) == ["stale"]
