"""Reads plain JSON values strictly: whatever is wrong is said with the path of the field it is wrong in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

from billing.tariff import units
from billing.tariff.civil import YEAR, MonthDay
from billing.tariff.errors import DefinitionError, _

# A definition is written by people: lists longer than this are a mistake, and would only cost time.
LONGEST_LIST = 100

_MONTH_DAY = re.compile(r"([0-9]{2})-([0-9]{2})")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_HOURS = re.compile(r"([0-9]{2}):([0-5][0-9])-([0-9]{2}):([0-5][0-9])")

Read = TypeVar("Read")
Word = TypeVar("Word", bound=str)


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a JSON document and its path, "prices[0].yuan". Every method raises DefinitionError at that path."""

    value: object
    path: str = ""

    def wrong(self, message_id: str, **params: object) -> DefinitionError:
        return DefinitionError(self.path, message_id, **params)

    def fields(self, known: Sequence[str], *, required: Sequence[str] = ()) -> dict[str, Node]:
        """The fields of an object that are there and not null; an unknown one is a mistake, not an extra."""
        if not isinstance(self.value, Mapping):
            raise self.wrong(_("Write an object with fields."))
        path = f"{self.path}." if self.path else ""
        for name in self.value:
            if name not in known:
                raise DefinitionError(
                    f"{path}{name}", _("There is no such field; known are %(known)s."), known=", ".join(known)
                )
        for name in required:
            if self.value.get(name) is None:
                raise DefinitionError(f"{path}{name}", _("This field is required."))
        return {str(name): Node(value, f"{path}{name}") for name, value in self.value.items() if value is not None}

    def entries(self) -> list[Node]:
        """The entries of a list that is not empty."""
        if not isinstance(self.value, list) or not 0 < len(self.value) <= LONGEST_LIST:
            raise self.wrong(_("Write a list of 1 to %(most)d entries."), most=LONGEST_LIST)
        return [Node(value, f"{self.path}[{index}]") for index, value in enumerate(self.value)]

    def text(self) -> str:
        if not isinstance(self.value, str):
            raise self.wrong(_("Write text in quotation marks."))
        return self.value

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.wrong(_("Write true or false."))
        return self.value

    def whole(self, lowest: int, highest: int) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not lowest <= self.value <= highest:
            raise self.wrong(_("Write a whole number from %(lowest)d to %(highest)d."), lowest=lowest, highest=highest)
        return self.value

    def one_of(self, words: Sequence[Word]) -> Word:
        for word in words:
            if self.value == word:
                return word
        raise self.wrong(_("Write one of %(words)s."), words=", ".join(words))

    def some_of(self, read: Callable[[Node], Read]) -> frozenset[Read]:
        """The entries of a list, each of which may stand there once."""
        seen: set[Read] = set()
        for entry in self.entries():
            value = read(entry)
            if value in seen:
                raise entry.wrong(_("This is there twice."))
            seen.add(value)
        return frozenset(seen)

    def price(self) -> int:
        """Yuan per kWh as text with at most 8 decimals, in micro-fen per kWh. A JSON number would not be exact."""
        try:
            return units.price(self.text())
        except DefinitionError:
            raise
        except ValueError:
            raise self.wrong(_('Write yuan per kWh as text with at most 8 decimals, such as "0.60886875".')) from None

    def energy(self) -> int:
        """Kilowatt-hours, a whole number or text with at most 3 decimals, in Wh; above 0."""
        number = isinstance(self.value, int) and not isinstance(self.value, bool)
        try:
            energy_wh = units.energy_wh(str(self.value) if number else self.text())
        except DefinitionError:
            raise
        except ValueError:
            energy_wh = 0
        if energy_wh == 0:
            raise self.wrong(_('Write kWh above 0: a whole number, or text with at most 3 decimals, such as "0.5".'))
        return energy_wh

    def month_day(self) -> MonthDay:
        match = _MONTH_DAY.fullmatch(self.text())
        day = (int(match[1]), int(match[2])) if match else (0, 0)
        if day not in YEAR:
            raise self.wrong(_("Write a day of the year as month-day, such as 05-01."))
        return day

    def day(self) -> date:
        try:
            return date.fromisoformat(self.text() if _DATE.fullmatch(self.text()) else "")
        except DefinitionError:
            raise
        except ValueError:
            raise self.wrong(_("Write a date as year-month-day, such as 2026-07-01.")) from None

    def hours(self) -> tuple[int, int]:
        """Minutes of the day from "08:00-22:00"; the first may be the later ("22:00-08:00")."""
        match = _HOURS.fullmatch(self.text())
        start, end = (int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])) if match else (0, 0)
        if start == end or start >= 24 * 60 or end > 24 * 60:
            raise self.wrong(
                _("Write hours such as 08:00-22:00; across midnight, 22:00-08:00; until midnight, 22:00-24:00.")
            )
        return start, end


def mapped(node: Node, words: Sequence[Word], read: Callable[[Node], Read]) -> Iterator[tuple[Word, Read]]:
    """The fields of an object that names some of the words, at least one, in the order of the words."""
    fields = node.fields(words)
    if not fields:
        raise node.wrong(_("Write at least one of %(words)s."), words=", ".join(words))
    return ((word, read(fields[word])) for word in words if word in fields)
