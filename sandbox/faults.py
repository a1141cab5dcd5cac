"""What should go wrong, and how often: set over the control API, taken by the vendor's side of a sandbox."""

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


class UnknownFaultError(ValueError):
    """Somebody asked for a fault, or a value of one, that this sandbox does not have."""


@dataclass
class AnswerFault:
    """One way to spoil answers of the vendor's API.

    `match` is part of the path (WeChat) or of the method's name (Alipay); it hits `times` times. By default the call
    has no effect; `work_done` lets it take effect and spoils only the answer. `drop` closes the connection instead of
    answering; `signature` is "none", "foreign", "altered" or "signtest".
    """

    match: str
    times: int = 1
    delay_ms: int = 0
    status: int = 0
    code: str = ""
    message: str = ""
    html: str = ""
    work_done: bool = False
    drop: bool = False
    signature: str = ""

    @property
    def refuses(self) -> bool:
        """Whether it replaces the answer, rather than only delaying or re-signing it."""
        return bool(self.status or self.code or self.html or self.drop)


class Faults:
    """The settings of one sandbox: named choices with the allowed values of each, and a list of answer faults."""

    def __init__(self, choices: Mapping[str, tuple[Any, ...]]) -> None:
        """`choices` lists each setting's values, the first of which is the normal state."""
        self._choices = choices
        self._lock = threading.Lock()
        self._values: dict[str, Any] = {}
        self._answers: list[AnswerFault] = []

    def change(self, wanted: Mapping[str, Any]) -> None:
        """Sets what is named and leaves the rest; `answers` (a list of AnswerFault fields) is added to the list."""
        answers = [self._answer_fault(a) for a in wanted.get("answers", [])]
        values = {k: v for k, v in wanted.items() if k != "answers"}
        for name, value in values.items():
            if value not in self._choices.get(name, ()):
                raise UnknownFaultError(f"{name}={value!r}; known: {dict(self._choices)}")
        with self._lock:
            self._values |= values
            self._answers += answers

    def clear(self) -> None:
        """Everything back to normal."""
        with self._lock:
            self._values.clear()
            self._answers.clear()

    def __getitem__(self, name: str) -> Any:
        return self._values.get(name, self._choices[name][0])

    def take(self, what: str) -> AnswerFault | None:
        """The answer fault that this call hits, counted down."""
        with self._lock:
            for fault in self._answers:
                if fault.match in what:
                    fault.times -= 1
                    self._answers = [f for f in self._answers if f.times > 0]
                    return fault
        return None

    def as_json(self) -> dict[str, Any]:
        """All settings as they stand."""
        return {name: self[name] for name in self._choices} | {"answers": [asdict(a) for a in self._answers]}

    @staticmethod
    def _answer_fault(fields: Mapping[str, Any]) -> AnswerFault:
        try:
            return AnswerFault(**fields)
        except TypeError as error:
            raise UnknownFaultError(str(error)) from None
