"""All virtual meters of one broker, driven by one thread: their lines, their reports, what the control API asks."""

import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self

from sandbox.fleet.frames import Said
from sandbox.fleet.line import Broker, Line
from sandbox.fleet.memory import Memory
from sandbox.fleet.meter import VirtualMeter
from sandbox.fleet.reactor import Reactor
from sandbox.fleet.registers import Registers

TICK_S = 0.5
RETRY_S = 0.5
UNSENT_AT_MOST = 200


class UnknownMeterError(LookupError):
    """There is no such virtual meter."""


class Fleet:
    """Virtual meters on one broker. All public methods may be called from any thread once it has started."""

    def __init__(
        self,
        broker_url: str,
        *,
        relay_ms: int = 30,
        report_every_s: float = 60.0,
        state: Path | None = None,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        """`state` is a file that survives a restart; `on_failure` is called when the thread ends by an error.

        With `report_every_s` 0 meters report only when they are asked to. Raises ValueError for a broker's URL that is
        none, MemoryInUseError, sqlite3.Error.
        """
        self.broker_url = broker_url
        self._broker = Broker.at(broker_url)
        self._relay_ms, self._report_every_s = relay_ms, report_every_s
        self._memory = Memory(state)
        self._reactor = Reactor(at_end=self._end, on_failure=on_failure)
        self._lines: dict[str, Line] = {}
        self._unsent: dict[str, deque[Said]] = {}
        self._retry_at = 0.0

    def start(self) -> Self:
        """Connects the meters that the state file knows, and begins."""
        for registers in self._memory.load():
            self._add(registers)
        self._reactor.after(0, self._tick)
        self._reactor.start()
        return self

    def stop(self) -> None:
        """All meters say goodbye."""
        self._reactor.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def add(self, definitions: Iterable[Mapping[str, Any]]) -> dict[str, int]:
        """Makes meters that are not there yet; those that are stay as they are. Raises WrongDefinitionError."""
        wanted = [Registers.defined(definition) for definition in definitions]
        return self._reactor.call(partial(self._add_missing, wanted))

    def remove(self, property_code: str, serial: str) -> None:
        """Takes a meter down; it says goodbye and is forgotten."""
        self._do(property_code, serial, self._remove)

    def overview(self) -> dict[str, Any]:
        """How many there are and who is connected."""
        return self._reactor.call(self._overview)

    def state(self, property_code: str, serial: str) -> dict[str, Any]:
        """All there is to know about a meter: registers, relay moves, commands, faults."""
        return self._do(property_code, serial, lambda _line: None)

    def change_faults(self, property_code: str, serial: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Sets the faults named; the state after it. Raises WrongDefinitionError."""
        return self._do(property_code, serial, lambda line: self._apply_faults(line, line.meter.change_faults(wanted)))

    def clear_faults(self, property_code: str, serial: str) -> dict[str, Any]:
        """Everything back to normal."""
        return self._do(property_code, serial, lambda line: self._apply_faults(line, line.meter.clear_faults()))

    def report(self, property_code: str, serial: str) -> dict[str, Any]:
        """Makes a meter send its telemetry now (or keep a reading for later, when it is offline or asleep)."""
        return self._do(property_code, serial, self._tell)

    def consume(self, property_code: str, serial: str, wh: int) -> dict[str, Any]:
        """Lets energy flow at once; the state with `used_wh`, which the relay and the money may have limited."""
        return self._do(property_code, serial, lambda line: self._consume(line, wh))

    def press(self, property_code: str, serial: str) -> dict[str, Any]:
        """Presses the button that closes a relay which may be closed."""
        return self._do(property_code, serial, lambda line: self._act(line, line.meter.press(_now())))

    def _do(self, property_code: str, serial: str, deed: Callable[[Line], dict[str, Any] | None]) -> dict[str, Any]:
        """Does it on the fleet's thread, and gives the state after it with what the deed adds."""

        def work() -> dict[str, Any]:
            line = self._lines.get(f"{property_code}/{serial}")
            if line is None:
                raise UnknownMeterError(f"no virtual meter {property_code}/{serial}")
            more = deed(line)
            return line.meter.as_json() | {"connected": line.is_up} | (more or {})

        return self._reactor.call(work)

    # From here on everything runs on the fleet's thread.

    def _end(self) -> None:
        for line in self._lines.values():
            line.goodbye()
        self._memory.close()

    def _tick(self) -> None:
        for line in list(self._lines.values()):
            if line.has_socket:
                line.tick()
            else:
                self._connect(line)
            self._act(line, line.meter.draw(_now()))
        self._reactor.after(TICK_S, self._tick)

    def _connect(self, line: Line) -> None:
        """Once one finds nobody there, the others wait too."""
        if line.meter.faults.offline or time.monotonic() < self._retry_at:
            return
        try:
            line.connect()
        except OSError:
            self._retry_at = time.monotonic() + RETRY_S

    def _served(self, line: Line) -> None:
        if line.is_up and not line.has_greeted:
            line.has_greeted = True
            self._greet(line)
        self._work(line)

    def _greet(self, line: Line) -> None:
        self._act(line, [line.meter.greeting(_now())])
        unsent = self._unsent[line.meter.name]
        self._act(line, [unsent.popleft() for _ in range(len(unsent))])
        self._tell_what_was_collected(line)

    def _work(self, line: Line) -> None:
        """Lets the meter obey what is due, and comes back when there is more."""
        self._act(line, line.meter.work(_now()))
        due_at = line.meter.due_at()
        if due_at is not None:
            self._reactor.after((due_at - _now()) / timedelta(seconds=1), partial(self._work, line))

    def _act(self, line: Line, said: list[Said]) -> None:
        """Remembers the meter, and only then says what it says."""
        if not said or self._lines.get(line.meter.name) is not line:
            return
        self._memory.save(line.meter.name, line.meter.registers)
        for one in said:
            if one.after_ms:
                self._reactor.after(one.after_ms / 1000, partial(self._say, line, one))
            else:
                self._say(line, one)

    def _say(self, line: Line, said: Said) -> None:
        """Answers of a meter that is not connected are lost; what it has to tell is told later."""
        if line.is_up:
            line.say(said)
        elif said.leaf == "up":
            self._unsent[line.meter.name].append(said)

    def _tell(self, line: Line) -> None:
        self._act(line, line.meter.draw(_now()))
        if line.is_up and not line.meter.faults.sleep:
            self._act(line, [line.meter.telemetry(_now())])
        else:
            line.meter.collect(_now())

    def _tell_what_was_collected(self, line: Line) -> None:
        if line.meter.has_backlog() and line.is_up and not line.meter.faults.sleep:
            self._tell(line)

    def _report_for_ever(self, line: Line) -> None:
        if self._lines.get(line.meter.name) is line:
            self._tell(line)
            self._reactor.after(self._report_every_s, partial(self._report_for_ever, line))

    def _add_missing(self, wanted: list[Registers]) -> dict[str, int]:
        missing = {f"{one.property}/{one.serial}": one for one in wanted}
        for name in missing.keys() & self._lines.keys():
            del missing[name]
        for registers in missing.values():
            self._add(registers)
        return {"added": len(missing), "kept": len(wanted) - len(missing)}

    def _add(self, registers: Registers) -> None:
        meter = VirtualMeter(registers, relay_ms=self._relay_ms)
        line = Line(
            meter,
            self._broker,
            self._reactor.selector,
            heard=lambda payload: meter.receive(payload, _now()),
            served=self._served,
        )
        self._lines[meter.name] = line
        self._unsent[meter.name] = deque(maxlen=UNSENT_AT_MOST)
        self._memory.save(meter.name, registers)
        self._connect(line)
        if self._report_every_s:
            # Spread over the period, so that hundreds do not report in one breath.
            self._reactor.after(random.uniform(0, self._report_every_s), partial(self._report_for_ever, line))

    def _remove(self, line: Line) -> None:
        line.goodbye()
        del self._lines[line.meter.name]
        self._memory.forget(line.meter.name)

    def _apply_faults(self, line: Line, said: list[Said]) -> None:
        self._act(line, said)
        if line.meter.faults.offline:
            line.cut()
        elif not line.has_socket:
            self._connect(line)
        self._work(line)
        self._tell_what_was_collected(line)

    def _consume(self, line: Line, wh: int) -> dict[str, Any]:
        used_wh, said = line.meter.consume(wh, _now())
        self._memory.save(line.meter.name, line.meter.registers)
        self._act(line, said)
        return {"used_wh": used_wh}

    def _overview(self) -> dict[str, Any]:
        meters = [
            {
                "property": line.meter.registers.property,
                "serial": line.meter.registers.serial,
                "kind": line.meter.registers.kind,
                "relay": line.meter.registers.relay,
                "connected": line.is_up,
                "refusal": line.refusal,
            }
            for line in self._lines.values()
        ]
        connected = sum(line.is_up for line in self._lines.values())
        return {"broker": self.broker_url, "count": len(meters), "connected": connected, "meters": meters}


def _now() -> datetime:
    return datetime.now(UTC)
