"""How much to recharge: for a week, two weeks and a month of the usual use, what is owed on top of it, and never less
than brings the power back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.utils.translation import ngettext

from accounts.models import User
from billing.tariff import units
from payments.models import RechargeLimits
from portal import homes, restoring
from portal.homes import Balance, Home

DAYS: Final = (7, 14, 30)
FIXED_FEN: Final = (2_000, 5_000, 10_000, 20_000)  # where no use is known
AT_LEAST: Final = 3  # suggestions
# Up to so much, amounts are multiples of so much: what people like to pay.
STEPS_FEN: Final = ((2_000, 500), (10_000, 1_000), (50_000, 5_000))
STEP_FEN: Final = 10_000


@dataclass(frozen=True, slots=True)
class Suggestion:
    """`lasts_days` is for how many whole days the balance lasts after it; None where the usual use is not known."""

    amount_fen: int
    lasts_days: int | None

    @property
    def text(self) -> str:
        if self.lasts_days is None:
            return ""
        said = ngettext(
            "Lasts for about %(days)s day at your usual use.",
            "Lasts for about %(days)s days at your usual use.",
            self.lasts_days,
        )
        return said % {"days": self.lasts_days}


@dataclass(frozen=True, slots=True)
class Suggested:
    """Within the limits of the property, the smallest first. `needed_fen` brings the power back (0: money is not
    missing): where that is more than may be recharged at once, the most is suggested."""

    suggestions: list[Suggestion]
    needed_fen: int
    at_least_fen: int
    at_most_fen: int


def suggested(*, user: User, home_id: int, now: datetime) -> Suggested | None:
    """What to recharge for one's home; None when it is not theirs."""
    home = homes.home(user=user, home_id=home_id, now=now)
    if home is None:
        return None
    return _suggested(home, restoring.limits_of(home))


def _suggested(home: Home, limits: RechargeLimits) -> Suggested:
    needed_fen, most_fen = restoring.needed_fen(home, limits), limits.at_most_fen
    owed_fen, a_day_nano = max(needed_fen, -home.balance.left_fen, 0), home.balance.a_day_nano
    least_fen = max(owed_fen, limits.at_least_fen)
    wanted = [owed_fen + days * a_day_nano // units.NANO_FEN_PER_FEN for days in DAYS] if a_day_nano > 0 else FIXED_FEN
    amounts = _within(wanted, least_fen, most_fen)
    others = [fen for fen in _within(FIXED_FEN, least_fen, most_fen) if fen not in amounts]
    amounts = sorted([*amounts, *others[: max(0, AT_LEAST - len(amounts))]])
    found = [Suggestion(fen, _lasts_days(home.balance, fen)) for fen in amounts]
    return Suggested(found, needed_fen, limits.at_least_fen, most_fen)


def _within(wanted: Iterable[int], least_fen: int, most_fen: int) -> list[int]:
    return sorted({min(_sensible(max(fen, least_fen)), most_fen) for fen in wanted})


def _sensible(fen: int) -> int:
    """Rounded up to what people like to pay."""
    step = next((step for up_to, step in STEPS_FEN if fen <= up_to), STEP_FEN)
    return -(-fen // step) * step


def _lasts_days(balance: Balance, amount_fen: int) -> int | None:
    if balance.a_day_nano <= 0:
        return None
    return max(balance.left_fen + amount_fen, 0) * units.NANO_FEN_PER_FEN // balance.a_day_nano
