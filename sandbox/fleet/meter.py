"""The state machine of one virtual meter: commands and energy in, what it says out. No socket, no clock of its own.

A server-held meter obeys the relay and shows the balance it is told. A meter that holds its money counts it down,
opens its relay when it is gone, and closes it when a top-up brings some, as long as its order is "auto". It goes by
what it was set to: overdraft, keep supply, holidays.
"""

import secrets
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sandbox.fleet.frames import Said, Told, UnreadableCommandError, as_text, read_command
from sandbox.fleet.registers import METER, NANO, ORDERS, SERVER, MeterFaults, Registers, fits

RECEIVED_KEPT = 500
BACKLOG_AT_MOST = 199  # with the present state they are the 200 that one telemetry may carry
UNDERSTOOD = {SERVER: ("relay", "show", "read"), METER: ("relay", "top_up", "set", "read")}
LEVELS = ("relay", "show", "set")


@dataclass
class _Waiting:
    """A command that was received, and its line in the log."""

    told: Told
    ready_at: datetime
    entry: dict[str, Any]


@dataclass
class _Move:
    """A relay on its way, and the command that asked for it."""

    to: str
    until: datetime
    asked: _Waiting


class VirtualMeter:
    """One meter. `now` is true time; its own clock may be off."""

    def __init__(self, registers: Registers, *, relay_ms: int = 30) -> None:
        self.registers, self.faults = registers, MeterFaults()
        self.received: deque[dict[str, Any]] = deque(maxlen=RECEIVED_KEPT)
        self._relay_time = timedelta(milliseconds=relay_ms)
        self._inbox: deque[_Waiting] = deque()
        self._moving: _Move | None = None
        self._held: list[Said] = []
        self._backlog: deque[dict[str, Any]] = deque(maxlen=BACKLOG_AT_MOST)
        self._run, self._count = secrets.token_hex(4), 0
        self._drawn_at: datetime | None = None

    @property
    def name(self) -> str:
        return f"{self.registers.property}/{self.registers.serial}"

    # Commands

    def receive(self, payload: bytes, now: datetime) -> None:
        """Takes what came on its topic; `work` obeys it."""
        try:
            told = read_command(payload)
        except UnreadableCommandError as error:
            self.received.append({"at": now.isoformat(), "kind": "unreadable", "outcome": str(error)})
            return
        entry = {
            "at": now.isoformat(),
            "id": told.id,
            "kind": told.kind,
            "generation": told.generation,
            **told.arguments(),
            "repeated": False,
            "outcome": "ignored" if self.faults.deaf else "waiting",
            "answers": 0,
        }
        self.received.append(entry)
        if not self.faults.deaf:
            self._inbox.append(_Waiting(told, now + timedelta(milliseconds=self.faults.slow_ms), entry))

    def work(self, now: datetime) -> list[Said]:
        """Obeys what is due and says what there is to say."""
        said: list[Said] = []
        while not self.faults.sleep:
            if self._moving:
                if now < self._moving.until:
                    break
                said += self._arrive(self._moving, now)
            if not self._inbox or now < self._inbox[0].ready_at:
                break
            said += self._obey(self._inbox.popleft(), now)
        return said

    def due_at(self) -> datetime | None:
        """When `work` should be called again."""
        if self.faults.sleep:
            return None
        if self._moving:
            return self._moving.until
        return self._inbox[0].ready_at if self._inbox else None

    def _obey(self, waiting: _Waiting, now: datetime) -> list[Said]:
        told = waiting.told
        if told.id in self.registers.answered:
            waiting.entry["repeated"] = True
            return self._answer(waiting, self.registers.answered[told.id], now)
        error = self._objection(told, now)
        if error:
            return self._conclude(waiting, error, now)
        match told.kind:
            case "relay":
                to = self.registers.own_position(self._clock(now)) if told.position == "auto" else told.position
                return self._move(to, waiting, now)
            case "show":
                self.registers.show_generation, self.registers.shown_fen = told.generation, told.balance_fen
            case "top_up":
                return self._top_up(waiting, now)
            case "set":
                return self._set(waiting, now)
        return self._conclude(waiting, None, now)

    def _objection(self, told: Told, now: datetime) -> str | None:
        is_unknown = told.kind == "set" and told.name not in self.registers.parameters
        if told.kind not in UNDERSTOOD[self.registers.kind] or is_unknown:
            return "unsupported"
        if told.kind in LEVELS and self._is_stale(told):
            return "stale"
        return "expired" if self._clock(now) > told.expires_at else self._objection_of_its_kind(told)

    def _objection_of_its_kind(self, told: Told) -> str | None:
        match told.kind:
            case "relay":
                return self._relay_objection(told.position)
            case "set":
                return "failed" if self.faults.set_fails or not fits(told.name, told.value) else None
            case "top_up":
                return self._top_up_objection(told.number)
        return None

    def _top_up_objection(self, number: int) -> str | None:
        known = self.registers.purchase_count
        if number == known + 1:
            return None
        return "duplicate" if number <= known else "count"

    def _relay_objection(self, position: str) -> str | None:
        if position not in ORDERS or (position == "auto" and self.registers.kind == SERVER):
            return "unsupported"
        if self.faults.relay_stuck:
            return "failed"
        keeps = self.faults.keep_supply or self.registers.parameters.get("keep_supply")
        return "keep_supply" if keeps and position in ("open", "permitted") else None

    def _is_stale(self, told: Told) -> bool:
        """Older than what was obeyed, or than another that waits beside it: of those only the newest counts."""
        registers = self.registers
        obeyed = {"relay": registers.generation, "show": registers.show_generation}.get(
            told.kind, registers.set_generations.get(told.name, 0)
        )
        same = (told.kind, told.name)
        beside = (w.told.generation for w in self._inbox if (w.told.kind, w.told.name) == same)
        return told.generation <= obeyed or any(other > told.generation for other in beside)

    def _top_up(self, waiting: _Waiting, now: datetime) -> list[Said]:
        registers, told = self.registers, waiting.told
        registers.balance_nano_fen += told.amount_fen * NANO
        registers.purchase_count = told.number
        registers.applied[str(told.number)] = registers.applied.get(str(told.number), 0) + 1
        registers.note_answer(told.id, None)
        return self._follow_own_money(waiting, now)

    def _set(self, waiting: _Waiting, now: datetime) -> list[Said]:
        told = waiting.told
        if told.value is not None:
            self.registers.parameters[told.name] = told.value
        self.registers.set_generations[told.name] = told.generation
        return self._follow_own_money(waiting, now)

    def _follow_own_money(self, waiting: _Waiting, now: datetime) -> list[Said]:
        """The answer comes when its relay is where it belongs now."""
        if self.registers.order == "auto" and not self.faults.relay_stuck:
            return self._move(self.registers.own_position(self._clock(now)), waiting, now)
        return self._conclude(waiting, None, now)

    def _move(self, to: str, asked: _Waiting, now: datetime) -> list[Said]:
        """Begins to move; the answer comes when the relay has arrived, which may be at once."""
        takes = self._relay_time if to != self.registers.relay else timedelta()
        move = _Move(to, now + takes, asked)
        if takes:
            self._moving = move
            return []
        return self._arrive(move, now)

    def _arrive(self, move: _Move, now: datetime) -> list[Said]:
        self._moving = None
        told = move.asked.told
        if told.kind == "relay":
            self.registers.order, self.registers.generation = told.position, told.generation
        if move.to != self.registers.relay:
            self.registers.move(move.to, why=f"{told.kind} {told.id}", at=now)
        return self._conclude(move.asked, None, now)

    # Answers

    def _conclude(self, waiting: _Waiting, error: str | None, now: datetime) -> list[Said]:
        self.registers.note_answer(waiting.told.id, error)
        return self._answer(waiting, error, now)

    def _answer(self, waiting: _Waiting, error: str | None, now: datetime) -> list[Said]:
        """What is said about it, after all that may go wrong with answers."""
        waiting.entry["outcome"] = error or "done"
        if self.faults.lose_answers:
            self.faults = self.faults.less("lose_answers")
            return []
        content = {
            "id": self._next_id(),
            "type": "answer",
            "command": waiting.told.id,
            "ok": error is None,
            "error": error,
            "report": self.report(now),
        }
        answers = [Said("ack", content, self.faults.answer_late_ms)]
        if self.faults.duplicate_answers:
            self.faults = self.faults.less("duplicate_answers")
            answers *= 2
        waiting.entry["answers"] += len(answers)
        return self._in_some_order(answers)

    def _in_some_order(self, answers: list[Said]) -> list[Said]:
        if not self.faults.out_of_order:
            return answers
        self.faults = self.faults.less("out_of_order")
        self._held += answers
        return [] if self.faults.out_of_order else self._release()

    def _release(self) -> list[Said]:
        held, self._held = self._held[::-1], []
        return held

    # Energy and people

    def draw(self, now: datetime) -> list[Said]:
        """Lets the present power flow since the last time; what it says when its money ends by that."""
        since, self._drawn_at = self._drawn_at or now, now
        self.registers.draw(int((now - since) / timedelta(milliseconds=1)), clock=self._clock(now))
        return self._cut_when_empty(now)

    def consume(self, wh: int, now: datetime) -> tuple[int, list[Said]]:
        """Energy at once, as far as the relay and its money allow: how much flowed, and what it says."""
        used = self.registers.use(wh, clock=self._clock(now))
        return used, self._cut_when_empty(now)

    def press(self, now: datetime) -> list[Said]:
        """Somebody presses the button: closes a relay that may be closed."""
        if self.registers.relay != "permitted":
            return []
        self.registers.move("closed", why="button", at=now)
        return [self._event("button_pressed", now), self.telemetry(now)]

    def _cut_when_empty(self, now: datetime) -> list[Said]:
        registers = self.registers
        if registers.order != "auto" or registers.relay != "closed" or self._moving:
            return []
        if registers.own_position(self._clock(now)) == "closed":
            return []
        registers.move("open", why="balance", at=now)
        return [self._event("balance_cut", now), self.telemetry(now)]

    # What it says

    def report(self, now: datetime) -> dict[str, Any]:
        """Its state, by its own clock."""
        registers = self.registers
        holds = registers.kind == METER
        return {
            "at": as_text(self._clock(now)),
            "import_wh": registers.import_wh,
            "relay": registers.relay,
            "order": registers.order,
            "generation": registers.generation,
            "shown_fen": None if holds else registers.shown_fen,
            "balance_fen": registers.balance_fen() if holds else None,
            "purchase_count": registers.purchase_count if holds else None,
            "power_w": registers.power_w if registers.relay == "closed" else 0,
            "period_wh": registers.period_wh and dict(registers.period_wh),
            "parameters": dict(registers.parameters) or None,
        }

    def telemetry(self, now: datetime) -> Said:
        """What was collected while nobody could be told, and the present state."""
        readings = [*self._backlog, self.report(now)]
        self._backlog.clear()
        return Said("up", {"id": self._next_id(), "type": "telemetry", "readings": readings})

    def collect(self, now: datetime) -> None:
        """Keeps a reading for later."""
        self._backlog.append(self.report(now))

    def has_backlog(self) -> bool:
        return bool(self._backlog)

    def greeting(self, now: datetime) -> Said:
        """Said after connecting."""
        report = self.report(now)
        content = {"id": self._next_id(), "type": "status", "online": True, "at": report["at"], "report": report}
        return Said("status", content)

    def _event(self, event: str, now: datetime) -> Said:
        content = {"type": "event", "at": as_text(self._clock(now)), "event": event, "detail": ""}
        return Said("up", {"id": self._next_id()} | content)

    def _next_id(self) -> str:
        self._count += 1
        return f"{self._run}-{self._count}"

    def _clock(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self.faults.clock_off_s)

    # For the control API

    def change_faults(self, wanted: Mapping[str, Any]) -> list[Said]:
        """Sets what is named. Raises WrongDefinitionError. Answers kept back are said when that is no longer wanted."""
        self.faults = self.faults.changed(wanted)
        return [] if self.faults.out_of_order else self._release()

    def clear_faults(self) -> list[Said]:
        """Everything back to normal."""
        return self.change_faults(asdict(MeterFaults()))

    def as_json(self) -> dict[str, Any]:
        """All there is to know about it."""
        registers = self.registers
        content = asdict(registers) | {"balance_fen": registers.balance_fen(), "warnings": registers.warnings()}
        for hidden in ("balance_nano_fen", "spare_w_ms", "answered"):
            del content[hidden]
        return content | {
            "is_moving": self._moving is not None,
            "waiting": len(self._inbox),
            "faults": asdict(self.faults),
            "commands": list(self.received),
        }
