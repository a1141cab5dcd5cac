"""A home as its tenant sees it, composed from the floors below: money, power and why, meters, what staff hold.

Eight queries however many homes, and a few more for each home that has no power, to explain it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import BigIntegerField, F, Func, OuterRef, Prefetch, Q, QuerySet, Subquery

from accounts import scope
from accounts.models import Member, Tenancy, User
from billing import not_on_meter, recent_use, supply, supply_words
from billing.models import Alert, Dispute, Draw, Purse, StaffHold
from billing.tariff import units
from meters.models import Installation, Level, Meter, Relay
from portal.prices import Slot, next_of

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
    return _composed(scope.memberships_of(user, now), now=now)


def home(*, user: User, home_id: int, now: datetime) -> Home | None:
    """One home of a person; None when it is not theirs, whether or not it exists."""
    mine = scope.memberships_of(user, now).filter(tenancy=home_id)
    found = _composed(mine, now=now)
    return found[0] if found else None


def _composed(mine: QuerySet[Member], *, now: datetime) -> list[Home]:
    available_fen = Func(F("tenancy__purse"), function="billing_available_fen", output_field=BigIntegerField())
    disputed = Dispute.objects.filter(purse=OuterRef("tenancy__purse"), state=Dispute.State.OPEN)
    disputed_nano = Subquery(disputed.values("frozen_nano")[:1])  # a_purse_has_one_open_dispute
    low = Alert.objects.filter(purse=OuterRef("tenancy__purse"), over_at=None).order_by("pk")
    levels, since = ArraySubquery(low.values("level")), ArraySubquery(low.values("raised_at"))
    mine = mine.select_related("tenancy__purse").annotate(available_fen=available_fen, disputed_nano=disputed_nano)
    members = list(mine.annotate(low_levels=levels, low_since=since))
    rooms = [member.tenancy.room_id for member in members]
    meters = _meters_in(rooms)
    holds, not_kept = _holds_on(rooms, now), not_on_meter.to_tenants(meters)
    drawn = _Drawn.by(Draw.objects.filter(purse__tenancy__in=[one.tenancy_id for one in members]), now=now)
    composed = []
    for member in members:
        room = member.tenancy.room_id
        one = _home(member, meters=meters.get(room, []), hold=holds.get(room), drawn=drawn, now=now)
        composed.append(replace(one, power=replace(one.power, not_kept=not_kept.get(room, ""))))
    return composed


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What draws on the purses: by purse, nano-fen on a usual day, up to when it is read, and at what price."""

    a_day_nano: Mapping[int, int]
    read_at: Mapping[int, datetime]
    prices: Mapping[int, tuple[Slot | None, Slot | None]]

    @classmethod
    def by(cls, draws: Iterable[Draw], *, now: datetime) -> _Drawn:
        draws = sorted(draws, key=attrgetter("pk"))
        priced = next_of(draws, now=now)
        read_at: dict[int, datetime] = {}
        prices: dict[int, tuple[Slot | None, Slot | None]] = {}
        for draw in draws:
            if draw.counted_by == Draw.Counter.SERVER:
                read_at[draw.purse_id] = max(draw.last_at, read_at.get(draw.purse_id, draw.last_at))
            if draw.pk in priced:
                prices.setdefault(draw.purse_id, priced[draw.pk])  # several meters: the one that hung there first
        return cls(recent_use.by_purse(draws, now=now), read_at, prices)


def _meters_in(rooms: Sequence[int]) -> dict[int, list[Meter]]:
    relays = Prefetch("meter__levels", Level.objects.filter(kind=Level.Kind.RELAY), to_attr="relay_levels")
    hanging = Installation.objects.filter(room__in=rooms, ends_at__isnull=True).select_related("meter__model")
    found: dict[int, list[Meter]] = {}
    for installation in hanging.prefetch_related(relays).order_by("meter_id"):
        found.setdefault(installation.room_id, []).append(installation.meter)
    return found


def _holds_on(rooms: Sequence[int], now: datetime) -> dict[int, StaffHold]:
    standing = StaffHold.objects.filter(Q(until_at__isnull=True) | Q(until_at__gt=now), lifted_at__isnull=True)
    return {hold.room_id: hold for hold in standing.filter(room__in=rooms)}


def _home(member: Member, *, meters: Sequence[Meter], hold: StaffHold | None, drawn: _Drawn, now: datetime) -> Home:
    purse: Purse | None = getattr(member.tenancy, "purse", None)
    price, next_price = drawn.prices.get(purse.pk, (None, None)) if purse else (None, None)
    return Home(
        tenancy=member.tenancy,
        role=member.role,
        balance=_balance(
            purse,
            meters,
            available_fen=member.available_fen,  # type: ignore[attr-defined]
            disputed_nano=member.disputed_nano,  # type: ignore[attr-defined]
            drawn=drawn,
        ),
        power=_power(member.tenancy, meters, now=now),
        meters=meters,
        hold=hold,
        alerts=[Low(*low) for low in zip(member.low_levels, member.low_since, strict=True)],  # type: ignore[attr-defined]
        price=price,
        next_price=next_price,
    )


def _balance(
    purse: Purse | None,
    meters: Sequence[Meter],
    *,
    available_fen: int | None,
    disputed_nano: int | None,
    drawn: _Drawn,
) -> Balance:
    told = [meter for meter in meters if meter.holds_money() and meter.balance_fen is not None]
    in_meter_fen = sum(meter.balance_fen or 0 for meter in told) if told else None
    available_fen = available_fen or 0  # a purse is made with the first money
    in_transit_fen = purse.in_transit_fen if purse else 0
    is_counted_here = any(not meter.holds_money() for meter in meters)  # as warnings look at it (billing/facts.py)
    left_fen = available_fen if is_counted_here else available_fen + in_transit_fen + (in_meter_fen or 0)
    in_meter_at = min((meter.reported_at for meter in told if meter.reported_at), default=None)
    as_of = [in_meter_at, *((purse.last_recharge_at, drawn.read_at.get(purse.pk)) if purse else ())]
    a_day_nano = drawn.a_day_nano.get(purse.pk, 0) if purse else 0
    return Balance(
        available_fen=available_fen,
        disputed_fen=units.to_fen(disputed_nano or 0),
        in_transit_fen=in_transit_fen,
        in_meter_fen=in_meter_fen,
        in_meter_at=in_meter_at,
        posted_fen=purse.paid_fen + purse.subsidy_fen if purse else 0,
        days_left=_days_left(left_fen, a_day_nano),
        left_fen=left_fen,
        a_day_nano=a_day_nano,
        as_of=max((at for at in as_of if at is not None), default=None),
    )


def _days_left(left_fen: int, a_day_nano: int) -> int | None:
    if a_day_nano <= 0:
        return None
    return max(left_fen, 0) * units.NANO_FEN_PER_FEN // a_day_nano


def _power(tenancy: Tenancy, meters: Sequence[Meter], *, now: datetime) -> Power:
    levels = [level for meter in meters for level in meter.relay_levels]  # type: ignore[attr-defined]  # see _meters_in
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
