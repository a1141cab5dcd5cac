"""What a virtual meter keeps over a power cut, and what its makers may ask to go wrong."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any, Self

SERVER, METER = "server", "meter"
POSITIONS = ("open", "permitted", "closed")
ORDERS = (*POSITIONS, "auto")
NANO = 10**9
MOVES_KEPT = 200
ANSWERS_KEPT = 200
W_MS_PER_WH = 3_600_000
KINDS_OF_VALUE = {
    "property": str,
    "serial": str,
    "kind": str,
    "relay": str,
    "order": str,
    "balance_fen": int,
    "purchase_count": int,
    "import_wh": int,
    "price_micro_fen_per_kwh": int,
    "power_w": int,
    "timetable": dict,
    "parameters": dict,
    "holidays": list,
}
# What a meter that holds its money can be told, and what it begins with. Fen, and switches.
PARAMETERS: dict[str, int | bool] = {
    "warn_1_fen": 0,
    "warn_2_fen": 0,
    "overdraft_fen": 0,
    "keep_supply": False,
    "holidays": False,
}
PERIODS = ("sharp", "peak", "flat", "valley", "deep_valley")
SHANGHAI = timezone(timedelta(hours=8))

_PROPERTY = re.compile(r"[a-z0-9-]{1,32}")
_SERIAL = re.compile(r"[0-9A-Za-z-]{1,32}")
_CLOCK = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")


class WrongDefinitionError(ValueError):
    """Somebody asked for a meter, or a fault, that cannot be."""


@dataclass
class Registers:
    """The memory of one meter. Money is kept in nano-fen: Wh x micro-fen per kWh, exact and without a division.

    `timetable` is when each price period begins by the clock of Shanghai, such as {"00:00": "valley", "08:00": "peak"}:
    a meter that has one counts its energy by period as well. `parameters` are those it knows (a meter with money of its
    own all of them, unless it is defined with others), `holidays` the days in its own calendar, such as "2026-10-01".
    `is_cut`: its money was used up, and a top-up has not lifted the balance above zero since.
    """

    property: str
    serial: str
    kind: str
    relay: str = "closed"
    order: str = ""
    generation: int = 0
    show_generation: int = 0
    shown_fen: int | None = None
    balance_nano_fen: int = 0
    purchase_count: int = 0
    import_wh: int = 0
    spare_w_ms: int = 0
    price_micro_fen_per_kwh: int = 0
    power_w: int = 0
    timetable: dict[str, str] = field(default_factory=dict)
    period_wh: dict[str, int] | None = None
    parameters: dict[str, int | bool] = field(default_factory=dict)
    set_generations: dict[str, int] = field(default_factory=dict)
    holidays: list[str] = field(default_factory=list)
    is_cut: bool = False
    applied: dict[str, int] = field(default_factory=dict)  # top-up number: how often
    answered: dict[str, str | None] = field(default_factory=dict)  # command id: error
    relay_moves: list[dict[str, str]] = field(default_factory=list)

    @classmethod
    def defined(cls, definition: Mapping[str, Any]) -> Self:
        """A new meter as the control API defines it. Raises WrongDefinitionError."""
        for name, value in definition.items():
            if type(value) is not KINDS_OF_VALUE.get(name):
                raise WrongDefinitionError(f"{name}={value!r}")
        wanted = dict(definition)
        if definition.get("kind") == METER:
            wanted.setdefault("parameters", dict(PARAMETERS))
        try:
            made = cls(balance_nano_fen=wanted.pop("balance_fen", 0) * NANO, **wanted)
        except TypeError as error:
            raise WrongDefinitionError(str(error)) from None
        made._check()
        made.order = made.order or ("auto" if made.kind == METER else made.relay)
        made.period_wh = dict.fromkeys(PERIODS, 0) if made.timetable else None
        made.follow_own_money(None)
        return made

    def _check(self) -> None:
        if not _PROPERTY.fullmatch(self.property) or not _SERIAL.fullmatch(self.serial):
            raise WrongDefinitionError(f"no topic for {self.property!r} {self.serial!r}")
        if self.kind not in (SERVER, METER) or self.relay not in POSITIONS or self.order not in ("", *ORDERS):
            raise WrongDefinitionError(f"kind={self.kind!r} relay={self.relay!r} order={self.order!r}")
        if self.kind == SERVER and self.order == "auto":
            raise WrongDefinitionError("a server-held meter has no money to decide by")
        if min(self.purchase_count, self.import_wh, self.price_micro_fen_per_kwh, self.power_w) < 0:
            raise WrongDefinitionError("a register below zero")
        if not all(_CLOCK.fullmatch(str(at)) and period in PERIODS for at, period in self.timetable.items()):
            raise WrongDefinitionError(f"timetable={self.timetable!r}")
        if self.kind == SERVER and self.parameters:
            raise WrongDefinitionError("a server-held meter does not decide")
        if not all(fits(name, value) for name, value in self.parameters.items()):
            raise WrongDefinitionError(f"parameters={self.parameters!r}")

    def balance_fen(self) -> int:
        """Whole fen; a started fen is not there any more."""
        return self.balance_nano_fen // NANO

    def own_position(self, clock: datetime | None) -> str:
        """Where the relay belongs while the meter decides by its own money; what it decides is kept.

        What is cut stays cut until there is money again, or the supply is to be kept on. Without a clock no day is a
        holiday.
        """
        if self.balance_fen() > 0 or self.parameters.get("keep_supply"):
            self.is_cut = False
        elif self.balance_fen() <= -self.parameters.get("overdraft_fen", 0) and not self.is_holiday(clock):
            self.is_cut = True
        return "open" if self.is_cut else "closed"

    def is_holiday(self, clock: datetime | None) -> bool:
        """Whether it spares its people today."""
        if clock is None or not self.parameters.get("holidays"):
            return False
        return f"{clock.astimezone(SHANGHAI):%Y-%m-%d}" in self.holidays

    def warnings(self) -> list[str]:
        """Which warnings it shows; a level of 0 warns of nothing."""
        levels = ("warn_1_fen", "warn_2_fen")
        return [name for name in levels if (fen := self.parameters.get(name)) and self.balance_fen() <= fen]

    def follow_own_money(self, clock: datetime | None) -> None:
        """Puts the relay right after a restart: it may have been moving when the power went."""
        if self.order == "auto":
            self.relay = self.own_position(clock)

    def cuts_by_money(self, clock: datetime) -> bool:
        return not self.parameters.get("keep_supply") and not self.is_holiday(clock)

    def period_at(self, clock: datetime) -> str:
        """The price period at an instant of the meter's clock; before the day's first it is the last one's."""
        now = f"{clock.astimezone(SHANGHAI):%H:%M}"
        return self.timetable[max((at for at in self.timetable if at <= now), default=max(self.timetable))]

    def use(self, wh: int, *, clock: datetime) -> int:
        """Counts energy through a closed relay, up to the Wh that ends the money; how much flowed."""
        if self.relay != "closed":
            return 0
        price = self.price_micro_fen_per_kwh
        if self.kind == METER and self.order == "auto" and price and self.cuts_by_money(clock):
            left_nano = self.balance_nano_fen + self.parameters.get("overdraft_fen", 0) * NANO
            wh = min(wh, max(0, (left_nano - NANO) // price + 1))
        self.import_wh += wh
        if self.period_wh is not None:
            self.period_wh[self.period_at(clock)] += wh
        if self.kind == METER:
            self.balance_nano_fen -= wh * price
        return wh

    def draw(self, ms: int, *, clock: datetime) -> int:
        """Energy of the present power over `ms`; whole Wh are counted, the rest is kept for the next time."""
        self.spare_w_ms += self.power_w * ms if self.relay == "closed" else 0
        wh, self.spare_w_ms = divmod(self.spare_w_ms, W_MS_PER_WH)
        return self.use(wh, clock=clock)

    def move(self, to: str, *, why: str, at: datetime) -> None:
        """Moves the relay and writes it down."""
        self.relay_moves.append({"at": at.isoformat(), "from": self.relay, "to": to, "why": why})
        del self.relay_moves[:-MOVES_KEPT]
        self.relay = to

    def note_answer(self, command_id: str, error: str | None) -> None:
        """Remembers what was answered, so that a repeated command is answered again and not obeyed again."""
        self.answered[command_id] = error
        while len(self.answered) > ANSWERS_KEPT:
            del self.answered[next(iter(self.answered))]


def fits(name: str, value: object) -> bool:
    """Whether a parameter of this name may have this value."""
    if type(value) is not type(PARAMETERS.get(name)):
        return False
    return name != "overdraft_fen" or (isinstance(value, int) and value >= 0)


@dataclass(frozen=True)
class MeterFaults:
    """What goes wrong at one meter. Numbers of answers count down by themselves.

    offline: the socket is cut and stays cut. sleep: the socket stays, commands are taken and lie unread until it wakes.
    deaf: commands are taken and ignored. lose_answers, duplicate_answers: the next n answers. out_of_order: the next n
    answers are kept back and then said in reverse. slow_ms: before obeying. answer_late_ms: after obeying. clock_off_s:
    its clock is ahead by so much. relay_stuck: it answers "failed". keep_supply: it refuses to be cut, whatever it was
    told. set_fails: it answers "failed" to every parameter.
    """

    offline: bool = False
    sleep: bool = False
    deaf: bool = False
    relay_stuck: bool = False
    keep_supply: bool = False
    set_fails: bool = False
    lose_answers: int = 0
    duplicate_answers: int = 0
    out_of_order: int = 0
    slow_ms: int = 0
    answer_late_ms: int = 0
    clock_off_s: int = 0

    def changed(self, wanted: Mapping[str, Any]) -> "MeterFaults":
        """These faults with some of them changed. Raises WrongDefinitionError."""
        known = asdict(self)
        for name, value in wanted.items():
            if name not in known or type(value) is not type(known[name]) or (value < 0 and name != "clock_off_s"):
                raise WrongDefinitionError(f"{name}={value!r}; known: {known}")
        return replace(self, **wanted)

    def less(self, name: str) -> "MeterFaults":
        """One of the counted faults has happened."""
        return replace(self, **{name: getattr(self, name) - 1})
