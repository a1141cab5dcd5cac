"""A home as its tenant sees it, composed from the floors below: money, power and why, meters, what staff hold.

One query however many homes, and a few more for each home that has no power, to explain it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from accounts.models import Tenancy, User
from billing import not_on_meter, recent_use, supply, supply_words
from billing.models import Draw, StaffHold
from billing.tariff import units
from meters.models import Level, Meter, Relay
from portal import home_rows
from portal.home_rows import HomeRow
from portal.prices import Slot, now_and_next

UNKNOWN = "unknown"  # of a relay: no meter hangs there, or none has reported
# Several meters may serve a home. What is worst for the tenant comes first, and is said of the home.
WORST_FIRST = (Relay.OPEN, Relay.PERMITTED, UNKNOWN, Relay.AUTO, Relay.CLOSED)


@dataclass(frozen=True, slots=True)
class Balance:
    """`available_fen` is at the server: what is posted, less what was used since. `disputed_fen` of that use nobody is
    cut for while staff look into it; `in_transit_fen` is on its way into a meter. `in_meter_fen` is what meters that
    hold their own money last reported (none has: None), at the oldest of those instants. `days_left` is for how many
    whole days what the home can use lasts at the usual use; None where that is not known. `as_of` is the newest instant
    at which anything of it was told: a reading that is counted in it, a recharge, a meter's own balance. `left_fen` is
    what the home can use, wherever it lies, and `a_day_nano` its usual use (0: not known)."""

    available_fen: int
    in_transit_fen: int
    in_meter_fen: int | None
    in_meter_at: datetime | None
    disputed_fen: int = 0
    posted_fen: int = 0
    days_left: int | None = None
    as_of: datetime | None = None
    left_fen: int = field(default=0, compare=False)
    a_day_nano: int = field(default=0, compare=False)

    @property
    def accrued_fen(self) -> int:
        return self.posted_fen - self.available_fen


@dataclass(frozen=True, slots=True)
class Power:
    """Position of the relay as reported, since when (None: not known), what we want of it, and in words why it is off,
    or may soon be, and how it comes back or stays on (both blank when all is well). `not_kept` says in words what the
    property laid down and a meter that decides by its own money does not keep."""

    relay: str
    since: datetime | None
    wanted: str
    why: str
    how_to_restore: str
    not_kept: str = ""


class Low(NamedTuple):
    """A level of the balance that was reached (billing/alerts.py), since when. It stands until it is no longer true."""

    level: str
    since: datetime

    @property
    def text(self) -> str:
        return supply_words.level(self.level)


@dataclass(frozen=True, slots=True)
class Home:
    """`price` is what holds now and `next_price` what follows today or tomorrow; None where no price is known."""

    tenancy: Tenancy
    role: str
    balance: Balance
    power: Power
    meters: Sequence[Meter]
    hold: StaffHold | None
    alerts: Sequence[Low] = ()
    price: Slot | None = None
    next_price: Slot | None = None


def homes(*, user: User, now: datetime) -> list[Home]:
    """Every home of a person, oldest first."""
    return _composed(home_rows.of(user=user, home_id=None, now=now), now=now)


def home(*, user: User, home_id: int, now: datetime) -> Home | None:
    """One home of a person; None when it is not theirs, whether or not it exists."""
    found = _composed(home_rows.of(user=user, home_id=home_id, now=now), now=now)
    return found[0] if found else None


def _composed(rows: Sequence[HomeRow], *, now: datetime) -> list[Home]:
    not_kept = not_on_meter.to_tenants({row.tenancy.room_id: row.meters for row in rows})
    return [_home(row, not_kept=not_kept.get(row.tenancy.room_id, ""), now=now) for row in rows]


def _home(row: HomeRow, *, not_kept: str, now: datetime) -> Home:
    price, next_price = _price(row, now)
    return Home(
        tenancy=row.tenancy,
        role=row.role,
        balance=_balance(row),
        power=replace(_power(row.tenancy, row.meters, now=now), not_kept=not_kept),
        meters=row.meters,
        hold=row.hold,
        alerts=[Low(*low) for low in row.low],
        price=price,
        next_price=next_price,
    )


def _price(row: HomeRow, now: datetime) -> tuple[Slot | None, Slot | None]:
    """What holds now and what follows; of several meters, for the one that hung there first."""
    versions = [draw.version_id for draw in row.draws if draw.version_id and draw.ends_at is None]
    return now_and_next(row.slots.get(versions[0], ()), now) if versions else (None, None)


def _balance(row: HomeRow) -> Balance:
    purse = row.purse
    told = [meter for meter in row.meters if meter.holds_money() and meter.balance_fen is not None]
    in_meter_fen = sum(meter.balance_fen or 0 for meter in told) if told else None
    in_transit_fen = purse.in_transit_fen if purse else 0
    is_counted_here = any(not meter.holds_money() for meter in row.meters)  # as warnings look at it (billing/facts.py)
    left_fen = row.available_fen if is_counted_here else row.available_fen + in_transit_fen + (in_meter_fen or 0)
    in_meter_at = min((meter.reported_at for meter in told if meter.reported_at), default=None)
    read_at = [draw.last_at for draw in row.draws if draw.counted_by == Draw.Counter.SERVER]
    as_of = [in_meter_at, purse.last_recharge_at if purse else None, *read_at]
    a_day_nano = _a_day_nano(row)
    return Balance(
        available_fen=row.available_fen,  # a purse is made with the first money
        disputed_fen=units.to_fen(row.disputed_nano),
        in_transit_fen=in_transit_fen,
        in_meter_fen=in_meter_fen,
        in_meter_at=in_meter_at,
        posted_fen=purse.paid_fen + purse.subsidy_fen if purse else 0,
        days_left=_days_left(left_fen, a_day_nano),
        left_fen=left_fen,
        a_day_nano=a_day_nano,
        as_of=max((at for at in as_of if at is not None), default=None),
    )


def _a_day_nano(row: HomeRow) -> int:
    """As billing.recent_use reckons it."""
    if row.day_nanos:
        return recent_use.usual(row.day_nanos)
    return sum(draw.day_nano for draw in row.draws if draw.ends_at is None)


def _days_left(left_fen: int, a_day_nano: int) -> int | None:
    if a_day_nano <= 0:
        return None
    return max(left_fen, 0) * units.NANO_FEN_PER_FEN // a_day_nano


def _power(tenancy: Tenancy, meters: Sequence[Meter], *, now: datetime) -> Power:
    levels = [level for meter in meters for level in meter.relay_levels]  # type: ignore[attr-defined]  # see home_rows
    relay = _worst([meter.relay or UNKNOWN for meter in meters])
    wanted = _worst([level.wanted for level in levels])
    why, how = "", ""
    is_spared = any(level.reason == supply.Verdict.SPARED for level in levels)
    if relay != Relay.CLOSED or wanted in (Relay.OPEN, Relay.PERMITTED) or is_spared:
        explanation = supply.explain(tenancy=tenancy, now=now)
        why, how = explanation.why, explanation.remedy
    return Power(relay=relay, since=_since(relay, levels, tenancy), wanted=wanted, why=why, how_to_restore=how)


def _since(relay: str, levels: Sequence[Level], tenancy: Tenancy) -> datetime | None:
    """Since when the relay is where we want it; earlier than they moved in is none of theirs.

    Of a relay that moves by itself (`auto`), or is not yet where we want it, nobody noted the instant.
    """
    agreed = [level.agreed_at for level in levels if level.wanted == relay and level.agreed_at]
    return max([*agreed, tenancy.starts_at]) if agreed else None


def _worst(positions: Sequence[str]) -> str:
    return str(min(positions, key=WORST_FIRST.index, default=UNKNOWN))
