"""A home as its tenant sees it, composed from the floors below: money, power and why, meters, what staff hold.

Seven queries however many homes, and a few more for each home that has no power, to explain it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.db.models import BigIntegerField, F, Func, OuterRef, Prefetch, Q, QuerySet, Subquery

from accounts import scope
from accounts.models import Member, Tenancy, User
from billing import not_on_meter, recent_use, supply
from billing.models import Dispute, Draw, Purse, StaffHold
from billing.tariff import units
from meters.models import Installation, Level, Meter, Relay

UNKNOWN = "unknown"  # of a relay: no meter hangs there, or none has reported
# Several meters may serve a home. What is worst for the tenant comes first, and is said of the home.
WORST_FIRST = (Relay.OPEN, Relay.PERMITTED, UNKNOWN, Relay.AUTO, Relay.CLOSED)


@dataclass(frozen=True, slots=True)
class Balance:
    """`available_fen` is at the server: what is posted, less what was used since. `disputed_fen` of that use nobody is
    cut for while staff look into it; `in_transit_fen` is on its way into a meter. `in_meter_fen` is what meters that
    hold their own money last reported (none has: None), at the oldest of those instants. `days_left` is for how many
    whole days what the home can use lasts at the usual use; None where that is not known."""

    available_fen: int
    in_transit_fen: int
    in_meter_fen: int | None
    in_meter_at: datetime | None
    disputed_fen: int = 0
    posted_fen: int = 0
    days_left: int | None = None

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


@dataclass(frozen=True, slots=True)
class Home:
    tenancy: Tenancy
    role: str
    balance: Balance
    power: Power
    meters: Sequence[Meter]
    hold: StaffHold | None


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
    standing = Dispute.objects.filter(purse=OuterRef("tenancy__purse"), state=Dispute.State.OPEN)
    disputed_nano = Subquery(standing.values("frozen_nano")[:1])  # a_purse_has_one_open_dispute
    mine = mine.select_related("tenancy__purse")
    members = list(mine.annotate(available_fen=available_fen, disputed_nano=disputed_nano))
    rooms = [member.tenancy.room_id for member in members]
    meters = _meters_in(rooms)
    holds, not_kept = _holds_on(rooms, now), not_on_meter.to_tenants(meters)
    used = recent_use.by_purse(Draw.objects.filter(purse__tenancy__in=[one.tenancy_id for one in members]), now=now)
    composed = []
    for member in members:
        room = member.tenancy.room_id
        one = _home(member, meters=meters.get(room, []), hold=holds.get(room), used=used, now=now)
        composed.append(replace(one, power=replace(one.power, not_kept=not_kept.get(room, ""))))
    return composed


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


def _home(
    member: Member, *, meters: Sequence[Meter], hold: StaffHold | None, used: Mapping[int, int], now: datetime
) -> Home:
    tenancy = member.tenancy
    return Home(
        tenancy=tenancy,
        role=member.role,
        balance=_balance(
            getattr(tenancy, "purse", None),
            meters,
            available_fen=member.available_fen,  # type: ignore[attr-defined]
            disputed_nano=member.disputed_nano,  # type: ignore[attr-defined]
            used=used,
        ),
        power=_power(tenancy, meters, now=now),
        meters=meters,
        hold=hold,
    )


def _balance(
    purse: Purse | None,
    meters: Sequence[Meter],
    *,
    available_fen: int | None,
    disputed_nano: int | None,
    used: Mapping[int, int],
) -> Balance:
    told = [meter for meter in meters if meter.holds_money() and meter.balance_fen is not None]
    in_meter_fen = sum(meter.balance_fen or 0 for meter in told) if told else None
    available_fen = available_fen or 0  # a purse is made with the first money
    in_transit_fen = purse.in_transit_fen if purse else 0
    is_counted_here = any(not meter.holds_money() for meter in meters)  # as warnings look at it (billing/facts.py)
    left_fen = available_fen if is_counted_here else available_fen + in_transit_fen + (in_meter_fen or 0)
    return Balance(
        available_fen=available_fen,
        disputed_fen=units.to_fen(disputed_nano or 0),
        in_transit_fen=in_transit_fen,
        in_meter_fen=in_meter_fen,
        in_meter_at=min((meter.reported_at for meter in told if meter.reported_at), default=None),
        posted_fen=purse.paid_fen + purse.subsidy_fen if purse else 0,
        days_left=_days_left(left_fen, used.get(purse.pk, 0) if purse else 0),
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
