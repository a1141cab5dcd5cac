"""The meter's side of docs/meters.md, written from the document and not from the product's codec."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

WILL = b'{"v":1,"type":"status","online":false,"id":"will"}'


class UnreadableCommandError(ValueError):
    """What came on the meter's topic is no command."""


class Said(NamedTuple):
    """Something to publish on `m/{property}/{serial}/{leaf}`, at once or later."""

    leaf: str
    content: dict[str, Any]
    after_ms: int = 0

    def payload(self) -> bytes:
        return json.dumps({"v": 1} | self.content, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Told:
    """A command; fields of other kinds keep their defaults."""

    id: str
    kind: str
    generation: int
    expires_at: datetime
    position: str = ""
    balance_fen: int = 0
    number: int = 0
    amount_fen: int = 0
    name: str = ""
    value: int | bool | None = None

    def arguments(self) -> dict[str, Any]:
        names = {
            "relay": ["position"],
            "show": ["balance_fen"],
            "top_up": ["number", "amount_fen"],
            "set": ["name", "value"],
        }
        return {name: getattr(self, name) for name in names.get(self.kind, [])}


def read_command(payload: bytes) -> Told:
    """A command as it came. Raises UnreadableCommandError."""
    try:
        message = json.loads(payload)
        if message["v"] != 1 or message["type"] != "command":
            raise UnreadableCommandError("not a command of version 1")
        expires_at = datetime.fromisoformat(message["expires_at"])
        if expires_at.tzinfo is None:
            raise UnreadableCommandError("expires_at without an offset")
        return Told(
            id=str(message["id"]),
            kind=str(message["kind"]),
            generation=int(message["generation"]),
            expires_at=expires_at,
            position=str(message.get("position", "")),
            balance_fen=int(message.get("balance_fen", 0)),
            number=int(message.get("number", 0)),
            amount_fen=int(message.get("amount_fen", 0)),
            name=str(message.get("name", "")),
            value=message.get("value"),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise UnreadableCommandError(str(error)) from None


def as_text(at: datetime) -> str:
    """An instant as the wire has it."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
