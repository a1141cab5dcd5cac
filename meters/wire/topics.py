"""MQTT topics: `m/{property}/{meter}/up|status|ack` from meters, `m/{property}/{meter}/cmd` to them."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from meters.wire.base import LEAVES, BadFrame, ImpossibleCommand, Leaf

SUBSCRIPTIONS: Final = tuple(f"m/+/+/{leaf}" for leaf in LEAVES)

_PROPERTY = re.compile(r"[a-z0-9-]{1,32}")
_SERIAL = re.compile(r"[0-9A-Za-z-]{1,32}")


class Address(NamedTuple):
    """Which meter speaks, and of what."""

    property_code: str
    serial: str
    leaf: Leaf


def parse(topic: str) -> Address:
    """Where a message came from. Raises BadFrame for any topic that is not a meter's."""
    parts = topic.split("/")
    if len(parts) != 4 or parts[0] != "m":
        raise BadFrame("topic: not m/{property}/{meter}/{leaf}")
    _, property_code, serial, word = parts
    if not _PROPERTY.fullmatch(property_code):
        raise BadFrame("topic: property")
    if not _SERIAL.fullmatch(serial):
        raise BadFrame("topic: meter")
    for leaf in LEAVES:
        if leaf == word:
            return Address(property_code, serial, leaf)
    raise BadFrame("topic: leaf")


def command_topic(property_code: str, serial: str) -> str:
    """Where a meter listens. Raises ImpossibleCommand for a code or serial that cannot stand in a topic."""
    if not _PROPERTY.fullmatch(property_code) or not _SERIAL.fullmatch(serial):
        raise ImpossibleCommand(f"no topic for meter {serial!r} of property {property_code!r}")
    return f"m/{property_code}/{serial}/cmd"
