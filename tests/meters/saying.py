"""What meters say, as the broker would deliver it: frames in json_v1, each with one interesting argument."""

from __future__ import annotations

import itertools
import json
from datetime import datetime
from typing import Any

from meters.intake import Frame
from meters.models import Command, Meter

_said = itertools.count(1)


def a_report(at: datetime, **fields: Any) -> dict[str, Any]:
    """Closed since it was made, unless told otherwise; `order` follows `relay`."""
    relay = fields.get("relay", "closed")
    report = {"at": at.isoformat(), "import_wh": 1000, "relay": relay, "order": relay, "generation": 0}
    return report | fields


def telemetry(meter: Meter, *reports: dict[str, Any], received_at: datetime) -> Frame:
    return _frame(meter, "up", received_at, type="telemetry", id=_id(), readings=list(reports))


def event(meter: Meter, happening: str, *, at: datetime, said: str = "") -> Frame:
    return _frame(meter, "up", at, type="event", id=said or _id(), at=at.isoformat(), event=happening)


def online(meter: Meter, at: datetime, *, retained: bool = False, received_at: datetime | None = None, **fields: Any):
    said: dict[str, Any] = {
        "type": "status",
        "id": _id(),
        "online": True,
        "at": at.isoformat(),
        "report": a_report(at, **fields),
    }
    return _frame(meter, "status", received_at or at, retained=retained, **said)


def offline(meter: Meter, received_at: datetime, *, retained: bool = False) -> Frame:
    return _frame(meter, "status", received_at, retained=retained, type="status", id="will", online=False)


def answer(
    meter: Meter, command: Command, at: datetime, *, error: str = "", received_at: datetime | None = None, **fields: Any
) -> Frame:
    said: dict[str, Any] = {
        "command": str(command.pk),
        "ok": not error,
        "error": error or None,
        "report": a_report(at, **fields),
    }
    return _frame(meter, "ack", received_at or at, type="answer", id=_id(), **said)


def _id() -> str:
    return f"said-{next(_said)}"


def _frame(meter: Meter, leaf: str, received_at: datetime, *, retained: bool = False, **said: Any) -> Frame:
    payload = json.dumps({"v": 1, **said}).encode()
    return Frame(f"m/{meter.property.code}/{meter.serial}/{leaf}", payload, received_at, retained=retained)
