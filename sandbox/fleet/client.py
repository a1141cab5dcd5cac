"""A client of the fleet's control API, for tests and the demo."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import requests

TIMEOUT_S = 40.0
LOOK_EVERY_S = 0.02


class FleetError(Exception):
    """The fleet refused, or what was waited for did not come."""


class FleetClient:
    """Talks to `python -m sandbox.fleet`. Close it, or use it in a with statement."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy between this machine and itself

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        self._session.close()

    def overview(self) -> dict[str, Any]:
        """`{"broker", "count", "connected", "meters": [...]}`."""
        return self._ask("GET", "/")

    def add(self, definitions: Iterable[Mapping[str, Any]], *, connected_within_s: float = 0) -> dict[str, Any]:
        """Makes meters (`{"added", "kept"}`), and waits until all of the fleet is connected when told how long."""
        made = self._ask("POST", "/meters", list(definitions))
        until = time.monotonic() + connected_within_s
        while connected_within_s:
            overview = self.overview()
            if overview["connected"] == overview["count"]:
                break
            if time.monotonic() > until:
                raise FleetError(f"only {overview['connected']} of {overview['count']} meters are connected")
            time.sleep(LOOK_EVERY_S)
        return made

    def remove(self, property_code: str, serial: str) -> None:
        self._ask("DELETE", f"/meters/{property_code}/{serial}")

    def state(self, property_code: str, serial: str) -> dict[str, Any]:
        """Registers, `relay_moves`, `commands`, `applied` (top-up number: how often), `faults`, `connected`."""
        return self._ask("GET", f"/meters/{property_code}/{serial}")

    def faults(self, property_code: str, serial: str, **faults: Any) -> dict[str, Any]:
        """Sets the faults named (sandbox.fleet.registers.MeterFaults) and leaves the others."""
        return self._ask("POST", f"/meters/{property_code}/{serial}/faults", faults)

    def clear_faults(self, property_code: str, serial: str) -> dict[str, Any]:
        return self._ask("DELETE", f"/meters/{property_code}/{serial}/faults")

    def report(self, property_code: str, serial: str) -> dict[str, Any]:
        """Telemetry now."""
        return self._ask("POST", f"/meters/{property_code}/{serial}/report")

    def consume(self, property_code: str, serial: str, wh: int) -> dict[str, Any]:
        """Energy at once; `used_wh` says how much flowed."""
        return self._ask("POST", f"/meters/{property_code}/{serial}/consume", {"wh": wh})

    def press(self, property_code: str, serial: str) -> dict[str, Any]:
        """The button that closes a relay which may be closed."""
        return self._ask("POST", f"/meters/{property_code}/{serial}/press")

    def wait(
        self, property_code: str, serial: str, until: Callable[[dict[str, Any]], bool], *, timeout_s: float = 10
    ) -> dict[str, Any]:
        """The state as soon as `until` holds for it. Raises FleetError with the last state when it never does."""
        deadline = time.monotonic() + timeout_s
        while not until(state := self.state(property_code, serial)):
            if time.monotonic() > deadline:
                raise FleetError(f"waited {timeout_s} s in vain; meter {property_code}/{serial}: {state}")
            time.sleep(LOOK_EVERY_S)
        return state

    def _ask(self, method: str, path: str, content: Any = None) -> dict[str, Any]:
        response = self._session.request(method, self._url + path, json=content, timeout=TIMEOUT_S)
        answer: dict[str, Any] = response.json()
        if not response.ok:
            raise FleetError(f"{method} {path}: {response.status_code} {answer.get('error')}")
        return answer
