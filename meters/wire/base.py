"""What meters and we say to each other, whatever the bytes look like: frozen values, and what a codec must do.

Nothing here knows Django, a clock, or a socket. Instants are aware datetimes, money is fen, energy is Wh.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol, get_args

Leaf = Literal["up", "status", "ack"]
Position = Literal["open", "permitted", "closed"]
Order = Literal["auto", "open", "permitted", "closed"]
Happening = Literal["cover_opened", "power_failed", "power_restored", "balance_cut", "overload", "button_pressed"]
Refusal = Literal["expired", "stale", "duplicate", "count", "unsupported", "failed", "keep_supply"]

Period = Literal["sharp", "peak", "flat", "valley", "deep_valley"]
Parameter = Literal["warn_1", "warn_2", "overdr", "keep", "holidays"]

LEAVES: Final[tuple[Leaf, ...]] = get_args(Leaf)
POSITIONS: Final[tuple[Position, ...]] = get_args(Position)
ORDERS: Final[tuple[Order, ...]] = get_args(Order)
HAPPENINGS: Final[tuple[Happening, ...]] = get_args(Happening)
REFUSALS: Final[tuple[Refusal, ...]] = get_args(Refusal)
PERIODS: Final[tuple[Period, ...]] = get_args(Period)
PARAMETERS: Final[tuple[Parameter, ...]] = get_args(Parameter)
SWITCHES: Final[tuple[Parameter, ...]] = ("keep", "holidays")  # on or off; the others are fen


class BadFrame(Exception):
    """Theirs to fix: what came is not a message of this format. `reason` says where, and never quotes the message."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ImpossibleCommand(ValueError):
    """Ours to fix: a command that no meter could be told."""


@dataclass(frozen=True, slots=True)
class Report:
    """The state of a meter at an instant of its own clock.

    `order` is what the relay was last told ("auto": it decides by its own money), `generation` the newest relay command
    it obeyed, 0 for none. `shown_fen` is what a server-held meter displays; `balance_fen` and `purchase_count` are of a
    meter that holds its money; `period_wh` is the energy by period as the meter itself counts it, in the order of
    PERIODS, 0 for one it does not have; `parameters` is what it was told of the policy and goes by, in the order of
    PARAMETERS, without those it does not know; None where a meter has no such thing.
    """

    at: datetime
    import_wh: int
    relay: Position
    order: Order
    generation: int
    shown_fen: int | None = None
    balance_fen: int | None = None
    purchase_count: int | None = None
    power_w: int | None = None
    period_wh: tuple[int, ...] | None = None
    parameters: tuple[tuple[Parameter, int], ...] | None = None  # fen, or a bool for one of SWITCHES


@dataclass(frozen=True, slots=True)
class Telemetry:
    """1 to 200 reports, as the meter ordered them: oldest first, the last one is its present state."""

    id: str
    readings: tuple[Report, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened at the meter."""

    id: str
    at: datetime
    event: Happening
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """Said after connecting, with a report; or, by the broker in the meter's name, offline, with neither.

    "Offline" means that the socket is lost, not that there is no power.
    """

    id: str
    online: bool
    at: datetime | None = None
    report: Report | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a command; `error` is None when it was carried out, and the report is the proof."""

    id: str
    command: uuid.UUID
    error: Refusal | None
    report: Report

    @property
    def ok(self) -> bool:
        return self.error is None


Uplink = Telemetry | Event | Status | Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandBase:
    """What every command carries. A meter refuses it after `expires_at`, by its own clock."""

    id: uuid.UUID
    generation: int
    issued_at: datetime
    expires_at: datetime
    trace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayCommand(CommandBase):
    """A level: the newest generation counts, and a meter refuses one that is not newer than what it obeyed."""

    position: Order


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowCommand(CommandBase):
    """A level with a generation of its own: what a server-held meter displays."""

    balance_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUpCommand(CommandBase):
    """Money for a meter that holds it: applied only when `number` is its purchase count + 1."""

    number: int
    amount_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCommand(CommandBase):
    """A level, each parameter with generations of its own: what a meter that holds its money goes by.

    `value` is fen, or a bool for one of SWITCHES.
    """

    parameter: Parameter
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadCommand(CommandBase):
    """Asks for a report and changes nothing."""


Command = RelayCommand | ShowCommand | TopUpCommand | SetCommand | ReadCommand


class Codec(Protocol):
    """A wire format: bytes of a topic's leaf in, values out, and commands the other way. A module may be one."""

    def decode(self, leaf: Leaf, payload: bytes, /) -> Uplink:
        """What a meter said. Raises BadFrame for whatever is not a message of this format, and nothing else."""
        ...

    def encode(self, command: Command, /) -> bytes:
        """A command as the meter reads it. Raises ImpossibleCommand."""
        ...
