"""What a meter that holds its own money is told of the policy: its kinds of levels, and their values as text.

A parameter is a level like the relay (desired.py), but never in the way of one: it is queued only for a meter that is
there, goes out alone, and only when nothing else is on its way to that meter (commands.claim_parameters, sender.py).
A meter that refuses one for good is not asked again for the same value; silence.py shows it.
"""

from __future__ import annotations

from typing import Final, cast

from meters.wire.base import PARAMETERS, SWITCHES, Parameter

KINDS: Final[list[str]] = [*PARAMETERS]  # of Level and Command; a list, as the database is told it
ON: Final = "on"
OFF: Final = "off"


def as_text(parameter: Parameter, value: int) -> str:
    """A value as a level keeps it: fen as digits, a switch as "on" or "off"."""
    if parameter in SWITCHES:
        return ON if value else OFF
    return str(value)


def value_of(kind: str, text: str) -> tuple[Parameter, int]:
    """What a level's kind and text mean on the wire."""
    parameter = cast(Parameter, kind)
    return parameter, text == ON if parameter in SWITCHES else int(text)
