"""Each step of the demo with the time it took: told to a person as it happens, or kept for one JSON object."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, TypeVar

LOOK_EVERY_S = 0.02
Value = TypeVar("Value")


class StepFailed(Exception):
    """A step did not do what it says; the story ends here. Its cause has been told and kept."""


class Narrator:
    """`with narrator.step("…") as said:` times the block; `said("…")` adds what came of it.

    `steps` holds `{"name", "ok", "ms"}` in order, and `"error"` where one failed.
    """

    def __init__(self, *, silent: bool, out: TextIO = sys.stdout) -> None:
        self.steps: list[dict[str, Any]] = []
        self._silent, self._out = silent, out

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """Raises StepFailed when the block raises; an interruption is kept as a failed step and goes on up."""
        said: list[str] = []
        began = time.perf_counter()
        try:
            yield said.append
        except BaseException as error:
            reason = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error) or type(error).__name__
            self._ended(name, began, said, error=reason)
            if isinstance(error, Exception | SystemExit):
                raise StepFailed(f"{name}: {reason}") from error
            raise
        self._ended(name, began, said)

    def tell(self, text: str = "") -> None:
        """A line beside the steps."""
        if not self._silent:
            with suppress(OSError):  # the terminal may be closed; what was started has to end all the same
                print(text, file=self._out, flush=True)

    def _ended(self, name: str, began: float, said: list[str], *, error: str = "") -> None:
        ms = round((time.perf_counter() - began) * 1000)
        step: dict[str, Any] = {"name": name, "ok": not error, "ms": ms}
        if error:
            step["error"] = error
        self.steps.append(step)
        self.tell(f"  {'✗' if error else '✓'} {ms:>6} ms  {name}")
        for line in [*said, error] if error else said:
            self.tell(f"               {line}")


def until(holds: Callable[[], Value | None], what: str, *, within_s: float) -> Value:
    """The first true value of `holds()`. Raises TimeoutError that says `what` did not come."""
    deadline = time.monotonic() + within_s
    while not (value := holds()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"in {within_s:.0f} s it did not come that {what}")
        time.sleep(LOOK_EVERY_S)
    return value
