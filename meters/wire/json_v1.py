"""Our own wire format, version 1: UTF-8 JSON objects (docs/meters.md, docs/schemas/).

Read strictly: integers are integers, instants carry their offset, a key stands once, limits hold. Unknown fields are
ignored, so that a newer meter may say more than we understand.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, NoReturn, TypeVar

from meters.wire.base import (
    HAPPENINGS,
    ORDERS,
    PARAMETERS,
    PERIODS,
    POSITIONS,
    REFUSALS,
    SWITCHES,
    Answer,
    BadFrame,
    Command,
    Event,
    ImpossibleCommand,
    Leaf,
    Parameter,
    RelayCommand,
    Report,
    SetCommand,
    ShowCommand,
    Status,
    Telemetry,
    TopUpCommand,
    Uplink,
)

VERSION: Final = 1
BYTES_AT_MOST: Final = 65536
READINGS_AT_MOST: Final = 200
# Far above any register, purse or generation; far below 2^53, where other languages' JSON begins to round.
LARGE: Final = 10**15
# What fits into 32 bits with room for the next number: purchase counts and watts.
SMALL: Final = 10**9
# Parameters by the names that the wire has for them.
NAMES: Final[dict[Parameter, str]] = {
    "warn_1": "warn_1_fen",
    "warn_2": "warn_2_fen",
    "overdr": "overdraft_fen",
    "keep": "keep_supply",
    "holidays": "holidays",
}

_ID = re.compile(r"[!-~]{1,36}")
_TRACE = re.compile(r"[!-~]{0,36}")
# What people may read and the database can hold: no control characters, no half of a surrogate pair.
_DETAIL = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{0,200}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# RFC 3339. A meter whose clock has stopped says 1970, and is heard; leap seconds are not.
_INSTANT = re.compile(
    r"(?:19[7-9][0-9]|2[01][0-9]{2})-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)

Word = TypeVar("Word", bound=str)


def decode(leaf: Leaf, payload: bytes, /) -> Uplink:
    """What a meter said on `…/{leaf}`. Raises BadFrame for whatever is not such a message, and nothing else."""
    if len(payload) > BYTES_AT_MOST:
        raise BadFrame("larger than 64 KB")
    message = _Fields(_object(payload))
    message.whole("v", VERSION, VERSION)
    match leaf, message.text("type"):
        case "up", "telemetry":
            return _telemetry(message)
        case "up", "event":
            return _event(message)
        case "status", "status":
            return _status(message)
        case "ack", "answer":
            return _answer(message)
    raise BadFrame(f"type: not one of .../{leaf}")


def encode(command: Command, /) -> bytes:
    """A command as the meter reads it on `…/cmd`. Raises ImpossibleCommand when something in it is out of range."""
    _within("generation", command.generation, 0, LARGE)
    if command.issued_at.utcoffset() is None or command.expires_at.utcoffset() is None:
        raise ImpossibleCommand("instants must be aware")
    if command.expires_at <= command.issued_at:
        raise ImpossibleCommand("it would be dead on arrival: expires_at is not after issued_at")
    if not _TRACE.fullmatch(command.trace):
        raise ImpossibleCommand("trace: at most 36 printable ASCII characters")
    kind, arguments = _kind_and_arguments(command)
    message = {
        "v": VERSION,
        "id": str(command.id),
        "type": "command",
        "kind": kind,
        "generation": command.generation,
        "issued_at": _rfc3339(command.issued_at),
        "expires_at": _rfc3339(command.expires_at),
        "trace": command.trace,
    }
    return json.dumps(message | arguments, separators=(",", ":")).encode()


def _kind_and_arguments(command: Command) -> tuple[str, dict[str, object]]:
    match command:
        case RelayCommand():
            if command.position not in ORDERS:
                raise ImpossibleCommand(f"position: {command.position!r}")
            return "relay", {"position": command.position}
        case ShowCommand():
            return "show", {"balance_fen": _within("balance_fen", command.balance_fen, -LARGE, LARGE)}
        case TopUpCommand():
            number = _within("number", command.number, 1, SMALL)
            return "top_up", {"number": number, "amount_fen": _within("amount_fen", command.amount_fen, 1, LARGE)}
        case SetCommand():
            return "set", {"name": NAMES[command.parameter], "value": _parameter_value(command)}
    return "read", {}


def _parameter_value(command: SetCommand) -> int:
    if command.parameter not in SWITCHES:
        return _within("value", command.value, *_range(command.parameter))
    if not isinstance(command.value, bool):
        raise ImpossibleCommand(f"value: {command.value!r} is neither true nor false")
    return command.value


def _range(parameter: Parameter) -> tuple[int, int]:
    """A meter may warn below zero already; what may be overdrawn is never less than nothing."""
    return (0 if parameter == "overdr" else -LARGE), LARGE


def _within(name: str, value: int, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ImpossibleCommand(f"{name}: {value!r} is no integer from {low} to {high}")
    return value


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _telemetry(message: _Fields) -> Telemetry:
    return Telemetry(message.matching("id", _ID), tuple(_report(reading) for reading in message.readings()))


def _event(message: _Fields) -> Event:
    return Event(
        id=message.matching("id", _ID),
        at=message.instant("at"),
        event=message.word("event", HAPPENINGS),
        detail="" if message.is_absent("detail") else message.matching("detail", _DETAIL),
    )


def _status(message: _Fields) -> Status:
    id_ = message.matching("id", _ID)
    if not message.flag("online"):
        return Status(id_, online=False)
    return Status(id_, online=True, at=message.instant("at"), report=_report(message.inner("report")))


def _answer(message: _Fields) -> Answer:
    ok = message.flag("ok")
    error = None if message.is_absent("error") else message.word("error", REFUSALS)
    if ok != (error is None):
        raise BadFrame("error: contradicts ok")
    return Answer(
        id=message.matching("id", _ID),
        command=uuid.UUID(message.matching("command", _UUID)),
        error=error,
        report=_report(message.inner("report")),
    )


def _report(fields: _Fields) -> Report:
    return Report(
        at=fields.instant("at"),
        import_wh=fields.whole("import_wh", 0, LARGE),
        relay=fields.word("relay", POSITIONS),
        order=fields.word("order", ORDERS),
        generation=fields.whole("generation", 0, LARGE),
        shown_fen=fields.whole_or_none("shown_fen", -LARGE, LARGE),
        balance_fen=fields.whole_or_none("balance_fen", -LARGE, LARGE),
        purchase_count=fields.whole_or_none("purchase_count", 0, SMALL),
        power_w=fields.whole_or_none("power_w", -SMALL, SMALL),
        period_wh=None if fields.is_absent("period_wh") else _period_wh(fields.inner("period_wh")),
        parameters=None if fields.is_absent("parameters") else _parameters(fields.inner("parameters")),
    )


def _period_wh(fields: _Fields) -> tuple[int, ...]:
    return tuple(fields.whole_or_none(period, 0, LARGE) or 0 for period in PERIODS)


def _parameters(fields: _Fields) -> tuple[tuple[Parameter, int], ...]:
    said = ((parameter, NAMES[parameter]) for parameter in PARAMETERS)
    return tuple(
        (parameter, fields.flag(name) if parameter in SWITCHES else fields.whole(name, *_range(parameter)))
        for parameter, name in said
        if not fields.is_absent(name)
    )


class _Fields:
    """A JSON object whose fields are taken by name and type; `path` says where in the message it stands."""

    __slots__ = ("_content", "_path")

    def __init__(self, content: dict[str, Any], path: str = "") -> None:
        self._content, self._path = content, path

    def bad(self, name: str, why: str) -> BadFrame:
        return BadFrame(f"{self._path}{name}: {why}")

    def is_absent(self, name: str) -> bool:
        """Missing or null."""
        return self._content.get(name) is None

    def whole(self, name: str, low: int, high: int) -> int:
        value = self._content.get(name)
        if type(value) is not int:  # True is an int to Python, but not on a wire
            raise self.bad(name, "not an integer")
        if not low <= value <= high:
            raise self.bad(name, f"not from {low} to {high}")
        return value

    def whole_or_none(self, name: str, low: int, high: int) -> int | None:
        return None if self.is_absent(name) else self.whole(name, low, high)

    def flag(self, name: str) -> bool:
        value = self._content.get(name)
        if not isinstance(value, bool):
            raise self.bad(name, "neither true nor false")
        return value

    def text(self, name: str) -> str:
        value = self._content.get(name)
        if not isinstance(value, str):
            raise self.bad(name, "not a string")
        return value

    def matching(self, name: str, pattern: re.Pattern[str]) -> str:
        value = self.text(name)
        if not pattern.fullmatch(value):
            raise self.bad(name, "malformed")
        return value

    def word(self, name: str, words: tuple[Word, ...]) -> Word:
        value = self.text(name)
        for word in words:
            if word == value:
                return word
        raise self.bad(name, "unknown word")

    def instant(self, name: str) -> datetime:
        """Any offset; a day that no calendar has is malformed too."""
        try:
            return datetime.fromisoformat(self.matching(name, _INSTANT))
        except ValueError:
            raise self.bad(name, "no such instant") from None

    def inner(self, name: str) -> _Fields:
        value = self._content.get(name)
        if not isinstance(value, dict):
            raise self.bad(name, "not an object")
        return _Fields(value, f"{self._path}{name}.")

    def readings(self) -> Iterator[_Fields]:
        values = self._content.get("readings")
        if not isinstance(values, list) or not 1 <= len(values) <= READINGS_AT_MOST:
            raise self.bad("readings", f"not a list of 1 to {READINGS_AT_MOST}")
        for number, value in enumerate(values):
            if not isinstance(value, dict):
                raise self.bad(f"readings[{number}]", "not an object")
            yield _Fields(value, f"readings[{number}].")


def _object(payload: bytes) -> dict[str, Any]:
    """The JSON object in `payload`; json.loads alone would take UTF-16, NaN, and the last of two equal keys."""
    try:
        message = json.loads(payload.decode(), object_pairs_hook=_once_each, parse_constant=_no_constant)
    except (ValueError, RecursionError):  # not UTF-8, not JSON, a number of thousands of digits; or nested without end
        raise BadFrame("not JSON") from None
    if not isinstance(message, dict):
        raise BadFrame("not a JSON object")
    return message


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise BadFrame("a key stands twice")
    return content


def _no_constant(_name: str) -> NoReturn:
    raise BadFrame("not JSON: NaN or Infinity")
