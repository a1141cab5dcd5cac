"""What meters say and hear in our own format: vectors, round trips, and noise that stays a bad frame."""

import json
import uuid
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from meters.wire import json_v1, topics
from meters.wire.base import (
    HAPPENINGS,
    LEAVES,
    ORDERS,
    PARAMETERS,
    PERIODS,
    POSITIONS,
    REFUSALS,
    SWITCHES,
    Answer,
    BadFrame,
    Codec,
    Event,
    ImpossibleCommand,
    ReadCommand,
    RelayCommand,
    Report,
    SetCommand,
    ShowCommand,
    Status,
    Telemetry,
    TopUpCommand,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "json_v1"
SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
CODEC: Codec = json_v1

SERVER_HELD = Report(
    at=datetime(2026, 10, 20, tzinfo=UTC),
    import_wh=1203450,
    relay="closed",
    order="closed",
    generation=12,
    shown_fen=4210,
    power_w=830,
)
BY_PERIOD = replace(SERVER_HELD, period_wh=(120000, 400450, 483000, 200000, 0))
METER_HELD = Report(
    at=datetime(2026, 10, 20, tzinfo=UTC),
    import_wh=88100,
    relay="closed",
    order="auto",
    generation=0,
    balance_fen=37,
    purchase_count=4,
    power_w=410,
)
ANSWERED_AT = datetime(2026, 10, 20, 8, 1, 2, 345000, tzinfo=UTC)
CONNECTED_AT = datetime(2026, 10, 19, 23, 59, 58, 4000, tzinfo=UTC)
SAID = {
    "up_telemetry_server_held": Telemetry("b1f0-17", (SERVER_HELD,)),
    "up_telemetry_by_period": Telemetry("b1f0-22", (BY_PERIOD,)),
    "up_telemetry_collected_offline": Telemetry(
        "b1f0-18",
        (
            METER_HELD,
            replace(
                METER_HELD, at=METER_HELD.at + timedelta(minutes=15), import_wh=88202, balance_fen=30, power_w=None
            ),
            replace(
                METER_HELD,
                at=METER_HELD.at + timedelta(minutes=30),
                import_wh=88640,
                relay="open",
                balance_fen=0,
                power_w=0,
            ),
        ),
    ),
    "up_event_balance_cut": Event(
        "b1f0-19", datetime(2026, 10, 20, 0, 28, 41, 512000, tzinfo=UTC), "balance_cut", "余额不足，已断电"
    ),
    "status_online": Status(
        "b1f0-1",
        online=True,
        at=CONNECTED_AT,
        report=replace(
            SERVER_HELD,
            at=CONNECTED_AT,
            import_wh=1203410,
            relay="permitted",
            order="permitted",
            shown_fen=-250,
            power_w=0,
        ),
    ),
    "status_last_will": Status("will", online=False),
    "ack_relay_closed": Answer(
        "b1f0-20",
        uuid.UUID("0b54a1f2-6c1e-4a3c-9f0e-2f4d1c5b7a90"),
        None,
        replace(SERVER_HELD, at=ANSWERED_AT, generation=13, shown_fen=5000, power_w=0),
    ),
    "ack_top_up_duplicate": Answer(
        "b1f0-21",
        uuid.UUID("5f0c7d1e-93ab-4d0e-8a52-7d7c1e4b2a11"),
        "duplicate",
        replace(METER_HELD, at=ANSWERED_AT, import_wh=88640, balance_fen=5000, purchase_count=5, power_w=0),
    ),
}
SAID["ack_set"] = Answer(
    "b1f0-23",
    uuid.UUID("0b54a1f2-6c1e-4a3c-9f0e-2f4d1c5b7a90"),
    None,
    replace(
        METER_HELD,
        at=ANSWERED_AT,
        import_wh=88640,
        balance_fen=-40,
        parameters=(("warn_1", 1000), ("warn_2", -100), ("overdr", 2000), ("keep", True)),
    ),
)
ENVELOPE: dict[str, Any] = {
    "id": uuid.UUID("0b54a1f2-6c1e-4a3c-9f0e-2f4d1c5b7a90"),
    "issued_at": datetime(2026, 10, 20, 8, 1, 2, tzinfo=UTC),
    "expires_at": datetime(2026, 10, 20, 8, 1, 32, tzinfo=UTC),
    "trace": "R20261020080100",
}
TOLD = {
    "cmd_relay": RelayCommand(**ENVELOPE, generation=13, position="closed"),
    "cmd_show": ShowCommand(**ENVELOPE, generation=7, balance_fen=-250),
    "cmd_top_up": TopUpCommand(**ENVELOPE, generation=0, number=5, amount_fen=5000),
    "cmd_set": SetCommand(**ENVELOPE, generation=3, parameter="overdr", value=2000),
    "cmd_set_switch": SetCommand(**ENVELOPE, generation=4, parameter="keep", value=True),
    "cmd_read": ReadCommand(**ENVELOPE, generation=0),
}


def vector(name):
    return (VECTORS / f"{name}.json").read_bytes()


def leaf_of(name):
    return name.partition("_")[0]


def schema(name):
    registry = Registry().with_resources(
        (path.name, DRAFT202012.create_resource(json.loads(path.read_text()))) for path in SCHEMAS.glob("*.json")
    )
    content = registry.contents(f"{name}.json")
    jsonschema.Draft202012Validator.check_schema(content)
    return jsonschema.Draft202012Validator(content, registry=registry)


def schema_of(message):
    return schema(message["type"])


def refused_reason(leaf, message):
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    with pytest.raises(BadFrame) as refused:
        json_v1.decode(leaf, payload)
    return refused.value.reason


def changed(name, *path, value):
    message = json.loads(vector(name))
    place = message
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return message


def without(name, *path):
    message = changed(name, *path, value=None)
    place = message
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return message


def test_every_vector_has_its_meaning_here():
    assert {path.stem for path in VECTORS.glob("*.json")} == SAID.keys() | TOLD.keys()


@pytest.mark.parametrize("name", SAID)
def test_what_a_meter_said_is_read_as_it_was_meant(name):
    assert CODEC.decode(leaf_of(name), vector(name)) == SAID[name]


@pytest.mark.parametrize("name", TOLD)
def test_what_we_tell_a_meter_is_written_as_agreed(name):
    assert CODEC.encode(TOLD[name]) == vector(name).strip()


@pytest.mark.parametrize("name", [*SAID, *TOLD])
def test_every_vector_fits_its_schema(name):
    message = json.loads(vector(name))

    schema_of(message).validate(message)


def test_an_answer_is_ok_when_nothing_was_refused():
    assert SAID["ack_relay_closed"].ok
    assert not SAID["ack_top_up_duplicate"].ok


def test_an_instant_keeps_its_meaning_whatever_its_offset():
    message = changed("up_event_balance_cut", "at", value="2026-10-20T08:28:41.512+08:00")

    assert json_v1.decode("up", json.dumps(message).encode()) == SAID["up_event_balance_cut"]


def test_a_register_by_period_that_a_meter_does_not_have_has_counted_nothing():
    message = changed("up_telemetry_by_period", "readings", 0, "period_wh", value={"peak": 7, "flat": None, "super": 1})

    (report,) = json_v1.decode("up", json.dumps(message).encode()).readings

    assert report.period_wh == (0, 7, 0, 0, 0)


def test_an_event_may_leave_out_its_detail():
    said = json_v1.decode("up", json.dumps(without("up_event_balance_cut", "detail")).encode())

    assert said == replace(SAID["up_event_balance_cut"], detail="")


def test_a_newer_meter_may_say_more_than_we_understand():
    message = changed("up_telemetry_server_held", "readings", 0, "voltage_v", value=230.1) | {"mood": ["fine"]}

    assert json_v1.decode("up", json.dumps(message).encode()) == SAID["up_telemetry_server_held"]


def test_a_goodbye_that_carries_a_report_is_still_only_a_goodbye():
    message = changed("status_online", "online", value=False)

    assert json_v1.decode("status", json.dumps(message).encode()) == Status("b1f0-1", online=False)


# What the schemas refuse too.
REFUSED = [
    (changed("up_telemetry_server_held", "v", value=2), "v: not from 1 to 1"),
    (changed("up_telemetry_server_held", "v", value=True), "v: not an integer"),
    (without("up_telemetry_server_held", "v"), "v: not an integer"),
    (changed("up_telemetry_server_held", "id", value=""), "id: malformed"),
    (changed("up_telemetry_server_held", "id", value="x" * 37), "id: malformed"),
    (changed("up_telemetry_server_held", "id", value="two words"), "id: malformed"),
    (changed("up_telemetry_server_held", "id", value=17), "id: not a string"),
    (without("up_telemetry_server_held", "id"), "id: not a string"),
    (changed("up_telemetry_server_held", "readings", value=[]), "readings: not a list of 1 to 200"),
    (changed("up_telemetry_server_held", "readings", value={}), "readings: not a list of 1 to 200"),
    (
        changed(
            "up_telemetry_server_held",
            "readings",
            value=[json.loads(vector("up_telemetry_server_held"))["readings"][0]] * 201,
        ),
        "readings: not a list of 1 to 200",
    ),
    (changed("up_telemetry_server_held", "readings", value=["none"]), "readings[0]: not an object"),
    (changed("up_telemetry_server_held", "readings", 0, "relay", value="shut"), "readings[0].relay: unknown word"),
    (changed("up_telemetry_server_held", "readings", 0, "relay", value="auto"), "readings[0].relay: unknown word"),
    (changed("up_telemetry_server_held", "readings", 0, "order", value=None), "readings[0].order: not a string"),
    (changed("up_telemetry_server_held", "readings", 0, "import_wh", value=-1), "import_wh: not from 0 to"),
    (changed("up_telemetry_server_held", "readings", 0, "import_wh", value=10**15 + 1), "import_wh: not from 0 to"),
    (changed("up_telemetry_server_held", "readings", 0, "import_wh", value=1.5), "import_wh: not an integer"),
    (changed("up_telemetry_server_held", "readings", 0, "import_wh", value="12"), "import_wh: not an integer"),
    (changed("up_telemetry_server_held", "readings", 0, "import_wh", value=None), "import_wh: not an integer"),
    (changed("up_telemetry_server_held", "readings", 0, "generation", value=False), "generation: not an integer"),
    (changed("up_telemetry_server_held", "readings", 0, "shown_fen", value=False), "shown_fen: not an integer"),
    (changed("up_telemetry_server_held", "readings", 0, "purchase_count", value=-1), "purchase_count: not from"),
    (changed("up_telemetry_server_held", "readings", 0, "power_w", value=2**31), "power_w: not from"),
    (changed("up_telemetry_by_period", "readings", 0, "period_wh", value=[1, 2]), "period_wh: not an object"),
    (changed("up_telemetry_by_period", "readings", 0, "period_wh", "peak", value=-1), "period_wh.peak: not from 0"),
    (
        changed("up_telemetry_by_period", "readings", 0, "period_wh", "peak", value=1.5),
        "period_wh.peak: not an integer",
    ),
    (changed("up_telemetry_server_held", "readings", 0, "at", value=1792000000000), "at: not a string"),
    (changed("up_event_balance_cut", "at", value="2026-10-20T08:28:41.512"), "at: malformed"),
    (changed("up_event_balance_cut", "at", value="2026-10-20 08:28:41Z"), "at: malformed"),
    (changed("up_event_balance_cut", "at", value="20261020T082841Z"), "at: malformed"),
    (changed("up_event_balance_cut", "at", value="0001-01-01T00:00:00+14:00"), "at: malformed"),
    (changed("up_event_balance_cut", "at", value="2026-10-20T08:28:60Z"), "at: no such instant"),
    (changed("up_event_balance_cut", "at", value="2026-10-20T08:28:41+24:00"), "at: no such instant"),
    (changed("up_event_balance_cut", "at", value="٢٠٢٦-10-20T08:28:41Z"), "at: malformed"),
    (changed("up_event_balance_cut", "event", value="bored"), "event: unknown word"),
    (changed("up_event_balance_cut", "detail", value="x" * 201), "detail: malformed"),
    (changed("up_event_balance_cut", "detail", value="nul \x00"), "detail: malformed"),
    (changed("up_event_balance_cut", "detail", value="half a pair \ud83d"), "detail: malformed"),
    (changed("up_event_balance_cut", "detail", value=7), "detail: not a string"),
    (changed("status_online", "online", value=1), "online: neither true nor false"),
    (without("status_online", "report"), "report: not an object"),
    (without("status_online", "at"), "at: not a string"),
    (changed("status_online", "report", "at", value="yesterday"), "report.at: malformed"),
    (changed("ack_relay_closed", "ok", value=False), "error: contradicts ok"),
    (changed("ack_top_up_duplicate", "ok", value=True), "error: contradicts ok"),
    (changed("ack_top_up_duplicate", "error", value="tired"), "error: unknown word"),
    (changed("ack_relay_closed", "command", value="0B54A1F2-6C1E-4A3C-9F0E-2F4D1C5B7A90"), "command: malformed"),
    (changed("ack_relay_closed", "command", value="{0b54a1f26c1e4a3c9f0e2f4d1c5b7a90}"), "command: malformed"),
    (without("ack_relay_closed", "report"), "report: not an object"),
    (changed("ack_set", "report", "parameters", value=[]), "report.parameters: not an object"),
    (changed("ack_set", "report", "parameters", "overdraft_fen", value=-1), "parameters.overdraft_fen: not from 0"),
    (changed("ack_set", "report", "parameters", "warn_1_fen", value=True), "warn_1_fen: not an integer"),
    (changed("ack_set", "report", "parameters", "keep_supply", value=1), "keep_supply: neither true nor false"),
]
LEAF = {"telemetry": "up", "event": "up", "status": "status", "answer": "ack"}


@pytest.mark.parametrize(("message", "reason"), REFUSED)
def test_codec_and_schema_refuse_the_same(message, reason):
    assert reason in refused_reason(LEAF[message["type"]], message)
    assert not schema_of(message).is_valid(message)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{", "not JSON"),
        ('{"v":1}'.encode("utf-16"), "not JSON"),
        (b'\xef\xbb\xbf{"v":1}', "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"v":1', "not JSON"),
        (b'{"v":1} {"v":1}', "not JSON"),
        (b'{"v":NaN}', "not JSON: NaN or Infinity"),
        (b'{"v":1,"unknown":-Infinity}', "not JSON: NaN or Infinity"),
        (b'{"v":1,"v":1}', "a key stands twice"),
        (b'{"v":1,"unknown":{"a":1,"a":2}}', "a key stands twice"),
        (b'{"v":' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"v":' + b"9" * 400 + b"}", "v: not from 1 to 1"),
        (b'{"v":1e0}', "v: not an integer"),
        (b'{"v":' + b"[" * 65000, "not JSON"),
        (b'{"a":' * 13000, "not JSON"),
        (b" " * 65537, "larger than 64 KB"),
        (b'{"v":1}', "type: not a string"),
        (b'{"v":1,"type":"command"}', "type: not one of .../up"),
    ],
)
def test_what_is_no_message_is_a_bad_frame_with_its_reason(payload, reason):
    assert refused_reason("up", payload) == reason


def test_a_day_that_no_calendar_has_is_refused():
    message = changed("up_event_balance_cut", "at", value="2026-02-30T00:00:00Z")

    assert refused_reason("up", message) == "at: no such instant"


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("leaf", LEAVES)
def test_a_message_counts_only_where_it_belongs(name, leaf):
    if leaf == leaf_of(name):
        assert json_v1.decode(leaf, vector(name)) == SAID[name]
    else:
        assert refused_reason(leaf, vector(name)) == f"type: not one of .../{leaf}"


def test_the_reason_never_quotes_the_message():
    secret = "13800138000"

    for path in (["id"], ["readings"], ["readings", 0, "relay"], ["readings", 0, "at"], ["type"]):
        assert secret not in refused_reason("up", changed("up_telemetry_server_held", *path, value=f"{secret} \x00"))


@pytest.mark.parametrize(
    ("command", "change"),
    [
        ("cmd_relay", {"position": "ajar"}),
        ("cmd_relay", {"generation": -1}),
        ("cmd_relay", {"generation": True}),
        ("cmd_relay", {"generation": 10**15 + 1}),
        ("cmd_relay", {"expires_at": ENVELOPE["issued_at"]}),
        ("cmd_relay", {"expires_at": datetime(2026, 10, 20, 9)}),  # noqa: DTZ001 - that is the point
        ("cmd_relay", {"issued_at": datetime(2026, 10, 20, 7)}),  # noqa: DTZ001
        ("cmd_relay", {"trace": "x" * 37}),
        ("cmd_relay", {"trace": "老王"}),
        ("cmd_show", {"balance_fen": 10**15 + 1}),
        ("cmd_show", {"balance_fen": 1.0}),
        ("cmd_top_up", {"number": 0}),
        ("cmd_top_up", {"number": 10**9 + 1}),
        ("cmd_top_up", {"amount_fen": 0}),
        ("cmd_set", {"value": -1}),
        ("cmd_set", {"value": True}),
        ("cmd_set_switch", {"value": 1}),
    ],
)
def test_we_do_not_tell_a_meter_what_it_cannot_be_told(command, change):
    with pytest.raises(ImpossibleCommand):
        json_v1.encode(replace(TOLD[command], **change))


def test_a_command_goes_out_in_universal_time():
    east = timezone(timedelta(hours=8))
    command = replace(
        TOLD["cmd_read"],
        issued_at=ENVELOPE["issued_at"].astimezone(east),
        expires_at=ENVELOPE["expires_at"].astimezone(east),
    )

    assert json_v1.encode(command) == vector("cmd_read").strip()


fen = st.integers(-json_v1.LARGE, json_v1.LARGE)
counts = st.integers(0, json_v1.SMALL)
registers = st.integers(0, json_v1.LARGE)
ids = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=36)
FIRST, LAST = datetime(1970, 1, 1), datetime(2199, 12, 31)  # noqa: DTZ001 - hypothesis adds the zone
instants = st.datetimes(FIRST, LAST, timezones=st.just(timezone(timedelta(hours=8))))


def value_of(parameter):
    if parameter in SWITCHES:
        return st.booleans()
    return registers if parameter == "overdr" else fen


def parameters_of(known):
    return st.tuples(*[st.tuples(st.just(each), value_of(each)) for each in PARAMETERS if each in known])


reports = st.builds(
    Report,
    at=instants,
    import_wh=registers,
    relay=st.sampled_from(POSITIONS),
    order=st.sampled_from(ORDERS),
    generation=registers,
    shown_fen=st.none() | fen,
    balance_fen=st.none() | fen,
    purchase_count=st.none() | counts,
    power_w=st.none() | st.integers(-json_v1.SMALL, json_v1.SMALL),
    period_wh=st.none() | st.tuples(*[registers] * len(PERIODS)),
    parameters=st.none() | st.sets(st.sampled_from(PARAMETERS)).flatmap(parameters_of),
)
people_text = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=200)
uplinks = st.one_of(
    st.builds(Telemetry, id=ids, readings=st.lists(reports, min_size=1, max_size=5).map(tuple)),
    st.builds(Event, id=ids, at=instants, event=st.sampled_from(HAPPENINGS), detail=people_text),
    st.builds(Status, id=ids, online=st.just(True), at=instants, report=reports),
    st.builds(Status, id=ids, online=st.just(False)),
    st.builds(Answer, id=ids, command=st.uuids(), error=st.none() | st.sampled_from(REFUSALS), report=reports),
)


def as_a_meter_says_it(said):
    """The leaf and the message, written by the book rather than by our code."""
    message = json.loads(json.dumps({"v": 1} | asdict(said), default=_text))
    for report in [*message.get("readings", ()), message.get("report") or {}]:
        if report.get("period_wh"):
            report["period_wh"] = dict(zip(PERIODS, report["period_wh"], strict=True))
        if report.get("parameters") is not None:
            report["parameters"] = {json_v1.NAMES[name]: value for name, value in report["parameters"]}
    match said:
        case Telemetry():
            return "up", message | {"type": "telemetry"}
        case Event():
            return "up", message | {"type": "event"}
        case Status():
            return "status", message | {"type": "status"}
        case Answer():
            return "ack", message | {"type": "answer", "ok": said.error is None}


def _text(value):
    return value.isoformat() if isinstance(value, datetime) else str(value)


@given(uplinks)
def test_whatever_a_meter_can_mean_arrives_as_meant_and_fits_the_schema(said):
    leaf, message = as_a_meter_says_it(said)

    assert json_v1.decode(leaf, json.dumps(message).encode()) == said
    schema_of(message).validate(message)


envelope: dict[str, Any] = {
    "id": st.uuids(),
    "generation": registers,
    "issued_at": st.just(ENVELOPE["issued_at"]),
    "expires_at": st.datetimes(LAST - timedelta(days=50000), LAST, timezones=st.just(UTC)),
    "trace": st.just("") | ids,
}
commands = st.one_of(
    st.builds(RelayCommand, position=st.sampled_from(ORDERS), **envelope),
    st.builds(ShowCommand, balance_fen=fen, **envelope),
    st.builds(TopUpCommand, number=st.integers(1, json_v1.SMALL), amount_fen=st.integers(1, json_v1.LARGE), **envelope),
    *[st.builds(SetCommand, parameter=st.just(each), value=value_of(each), **envelope) for each in PARAMETERS],
    st.builds(ReadCommand, **envelope),
)


@given(commands)
def test_whatever_we_tell_a_meter_fits_the_schema_and_says_it_all(command):
    message = json.loads(json_v1.encode(command))

    schema("command").validate(message)
    for name, value in asdict(command).items():
        if name == "parameter":
            assert message["name"] == json_v1.NAMES[value]
        elif isinstance(value, datetime):
            assert abs(datetime.fromisoformat(message[name]) - value) < timedelta(milliseconds=1)
        else:
            assert message[name] == (str(value) if isinstance(value, uuid.UUID) else value)


def value_or_bad_frame(leaf, payload):
    try:
        return isinstance(json_v1.decode(leaf, payload), Telemetry | Event | Status | Answer)
    except BadFrame as refused:
        return bool(refused.reason)


@given(st.sampled_from(LEAVES), st.binary(max_size=300))
def test_noise_is_a_bad_frame_and_nothing_worse(leaf, payload):
    assert value_or_bad_frame(leaf, payload)


@given(st.sampled_from(sorted(SAID)), st.data())
def test_a_damaged_message_is_a_bad_frame_or_a_message(name, data):
    payload = bytearray(vector(name))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))

    assert value_or_bad_frame(leaf_of(name), bytes(payload))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(SAID)), anything, st.data())
def test_a_field_of_the_wrong_kind_is_a_bad_frame_or_a_message(name, value, data):
    message = json.loads(vector(name))
    place = message
    while isinstance(place, dict | list):
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            place[key] = value
            break
        place = place[key]

    assert value_or_bad_frame(leaf_of(name), json.dumps(message).encode())


def test_a_topic_says_who_speaks_and_of_what():
    assert topics.parse("m/garden-1/000000000042/up") == ("garden-1", "000000000042", "up")
    assert topics.parse("m/p/A-9/ack").leaf == "ack"
    assert topics.command_topic("garden-1", "000000000042") == "m/garden-1/000000000042/cmd"
    assert topics.SUBSCRIPTIONS == ("m/+/+/up", "m/+/+/status", "m/+/+/ack")


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("m/garden/1/cmd", "leaf"),
        ("m/garden/1", "not m/"),
        ("m/garden/1/up/", "not m/"),
        ("/m/garden/1/up", "not m/"),
        ("n/garden/1/up", "not m/"),
        ("m/Garden/1/up", "property"),
        ("m//1/up", "property"),
        ("m/" + "g" * 33 + "/1/up", "property"),
        ("m/garden\n/1/up", "property"),
        ("m/garden/1_2/up", "meter"),
        ("m/garden//up", "meter"),
        ("m/garden/" + "1" * 33 + "/up", "meter"),
    ],
)
def test_other_topics_are_nobodys(topic, reason):
    with pytest.raises(BadFrame, match=f"topic: {reason}"):
        topics.parse(topic)


@given(st.text(max_size=60))
def test_a_topic_of_noise_is_a_bad_frame(topic):
    with pytest.raises(BadFrame):
        topics.parse(topic)


@pytest.mark.parametrize(("property_code", "serial"), [("Garden", "1"), ("garden", "+"), ("garden", "1/up"), ("", "1")])
def test_we_do_not_talk_to_a_topic_that_is_no_meters(property_code, serial):
    with pytest.raises(ImpossibleCommand):
        topics.command_topic(property_code, serial)
