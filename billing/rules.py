"""What is laid down for a home: its property's policy with its room's own exceptions, as the rule that decides.

A column that is empty in the room's row is the property's. A property without a policy warns as a new one would, and
cuts nobody.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.utils.translation import gettext as _

from billing.models import RoomPolicy, SupplyPolicy
from billing.policy import Rule

HOURS_AT_MOST: Final = 12  # pairs a day: more than anybody lays down
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


class HoursRefused(ValueError):
    """These are no protected hours. The text is for the person who wrote them."""


@dataclass(frozen=True, slots=True)
class LaidDown:
    """The policy of a property (None: it has none) and the exceptions of a room (None: it has none)."""

    policy: SupplyPolicy | None
    room: RoomPolicy | None = None

    def value(self, column: str) -> Any:
        """A column's value for the room; where there is no policy, what a new one begins with."""
        own = getattr(self.room, column, None)
        return getattr(self.policy or SupplyPolicy(), column) if own is None else own

    def rule(self) -> Rule:
        """Raises HoursRefused for protected hours that no form let through."""
        return Rule(
            has_legal_basis=self.policy is not None,
            is_protected=self.room is not None and self.room.is_protected,
            warn_fens=tuple(self.value("warn_fens")),
            warn_percents=tuple(self.value("warn_percents")),
            warn_days=self.value("warn_days"),
            overdraft_fen=self.value("overdraft_fen"),
            restore_above_fen=self.value("restore_above_fen"),
            notice_for=timedelta(hours=self.value("notice_hours")),
            protected_hours=hours(self.value("protected_hours")),
            protected_weekdays=frozenset(self.value("protected_weekdays")),
            protects_holidays=self.value("protects_holidays"),
            cuts_a_day=self.value("cuts_a_day"),
            fresh_for=timedelta(seconds=self.value("fresh_for_s")),
        )


def laid_down(*, room_id: int, property_id: int) -> LaidDown:
    """What stands now. Two look-ups by unique indexes."""
    policy = SupplyPolicy.objects.filter(property=property_id).first()
    return LaidDown(policy, RoomPolicy.objects.filter(room=room_id).first())


def rule_for(*, room_id: int, property_id: int) -> Rule:
    """The rule that decides about a home in this room."""
    return laid_down(room_id=room_id, property_id=property_id).rule()


def hours(written: object) -> tuple[tuple[int, int], ...]:
    """Protected hours, [["22:00", "08:00"], ...], as minutes of the day. Raises HoursRefused for anything else."""
    if not isinstance(written, Sequence) or isinstance(written, str) or len(written) > HOURS_AT_MOST:
        raise HoursRefused(_('Write pairs of clock times, such as [["22:00", "08:00"]].'))
    return tuple(_pair(pair) for pair in written)


def _pair(written: object) -> tuple[int, int]:
    if not isinstance(written, Sequence) or isinstance(written, str) or len(written) != 2:
        raise HoursRefused(_('Write pairs of clock times, such as [["22:00", "08:00"]].'))
    return _minute(written[0]), _minute(written[1])


def _minute(written: object) -> int:
    match = _CLOCK.fullmatch(written) if isinstance(written, str) else None
    if match is None:
        raise HoursRefused(_("%(text)s is no time of the day: write it as 08:00.") % {"text": written})
    return int(match[1]) * 60 + int(match[2])
