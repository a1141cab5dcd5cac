"""How a home stands: the one place that gathers what a decision about its power looks at.

`held` locks the purse, then its draws, so that no accrual is in flight while the home is looked at; `facts` reads the
rest. What speaks against a cut is looked up only where a cut is near.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from django.db.models import Max, Q, Sum

from accounts.models import Tenancy
from billing import disputes, emergency, holidays, outages, recent_use, wishes
from billing.models import (
    Backlog,
    CutHold,
    Doubt,
    Draw,
    Notice,
    Purse,
    StaffHold,
    SupplyDecision,
    Transfer,
    WeatherHold,
)
from billing.policy import Facts, Rule, Verdict, usable_nano
from billing.tariff.civil import civil_date, instant
from billing.tariff.units import NANO_FEN_PER_FEN
from meters.models import Installation, Level, Reading

CUT_FOR_MONEY: Final = (Verdict.SPENT, Verdict.SPARED)  # reasons of a relay that money has opened
MONEY_IN: Final = ("recharge", "counter", "from_suspense")  # kinds of entries: what a home pays
AHEAD: Final = timedelta(minutes=10)  # no clock of a stored reading is further ahead (meters/clocks.py)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hanging:
    """A meter of the home, and what it was told last: blank where it was told nothing."""

    meter_id: int
    installation_id: int
    holds_money: bool
    has_display: bool
    balance_fen: int | None
    hung_at: datetime
    relay: str = ""
    relay_since: datetime | None = None
    is_obeyed: bool = False
    reason: str = ""
    shown: str = ""
    trace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A purse that is held, with its draws, and who lives on it. `tenancy` None: nobody draws on it now."""

    purse: Purse
    tenancy: Tenancy | None
    draws: tuple[Draw, ...]
    meters: tuple[Hanging, ...]
    notice: Notice | None
    own_fen: int | None = None  # what the home itself wants to be warned below

    @property
    def counted_here(self) -> tuple[Hanging, ...]:
        """The meters whose money the server counts."""
        return tuple(meter for meter in self.meters if not meter.holds_money)

    def left_nano(self) -> int:
        """What is posted, less what the server has accrued since."""
        counted = (draw for draw in self.draws if draw.counted_by == Draw.Counter.SERVER)
        accrued = sum(draw.total_nano - draw.posted_fen * NANO_FEN_PER_FEN for draw in counted)
        return (self.purse.paid_fen + self.purse.subsidy_fen) * NANO_FEN_PER_FEN - accrued

    def available_nano(self) -> int:
        """What the home can use. Where meters alone count, it is in them and on its way to them."""
        if self.counted_here or not self.meters:
            return self.left_nano()
        in_meters = sum(meter.balance_fen or 0 for meter in self.meters)
        return self.left_nano() + (in_meters + self.purse.in_transit_fen) * NANO_FEN_PER_FEN

    def is_known(self) -> bool:
        """Whether it is known what the home can use: a meter that counts alone has to have told."""
        return bool(self.counted_here) or all(meter.balance_fen is not None for meter in self.meters)

    def available_fen(self) -> int:
        return self.available_nano() // NANO_FEN_PER_FEN


def lock(*, purse_id: int) -> tuple[Purse, tuple[Draw, ...]]:
    """The purse, then its draws in the order of their ids, held to the end of the caller's transaction.

    The draws of a property's own purse are left alone: thousands of empty rooms draw on it, and nobody is cut for it.
    Raises Purse.DoesNotExist.
    """
    purse = Purse.objects.select_for_update(no_key=True, of=("self",)).get(pk=purse_id)
    if purse.tenancy_id is None:
        return purse, ()
    return purse, tuple(Draw.objects.select_for_update(no_key=True).filter(purse=purse).order_by("pk"))


def held(*, purse_id: int, now: datetime) -> Home:
    """Locks a purse and its draws and looks at its home. Raises Purse.DoesNotExist."""
    purse, draws = lock(purse_id=purse_id)
    tenancy = Tenancy.objects.filter(purse=purse).first()
    if tenancy is not None and not tenancy.is_open(now):
        tenancy = None
    notice = Notice.objects.filter(purse=purse).exclude(state=Notice.State.VOID).first()
    own_fen = wishes.own_level_fen(purse_id=purse_id)  # not joined to the purse: that would be how it stood before
    return Home(purse=purse, tenancy=tenancy, draws=draws, meters=_meters(tenancy), notice=notice, own_fen=own_fen)


def _meters(tenancy: Tenancy | None) -> tuple[Hanging, ...]:
    if tenancy is None:
        return ()
    hanging = Installation.objects.filter(room=tenancy.room_id, ends_at=None).select_related("meter__model")
    return tuple(_hanging(one) for one in hanging.prefetch_related("meter__levels").order_by("meter_id"))


def _hanging(installation: Installation) -> Hanging:
    meter = installation.meter
    told = {level.kind: level for level in meter.levels.all()}
    relay, show = told.get(Level.Kind.RELAY), told.get(Level.Kind.SHOW)
    return Hanging(
        meter_id=meter.pk,
        installation_id=installation.pk,
        holds_money=meter.holds_money(),
        has_display=meter.model.has_display,
        balance_fen=meter.balance_fen,
        hung_at=installation.starts_at,
        relay=relay.wanted if relay else "",
        relay_since=relay.wanted_at if relay else None,
        is_obeyed=relay is not None and relay.wanted in (relay.reported, meter.relay),
        reason=relay.reason if relay else "",
        trace=relay.trace if relay else "",
        shown=show.wanted if show else "",
    )


def facts(home: Home, *, rule: Rule, now: datetime) -> Facts:
    """What `policy.decide` is told. The home is held."""
    hold = _hold(home, now)
    cut = [meter for meter in home.counted_here if _is_cut(meter, home.tenancy)]
    known = Facts(
        available_nano=home.available_nano(),
        frozen_nano=disputes.frozen_nano(purse_id=home.purse.pk),
        emergency_fen=emergency.standing_fen(purse_id=home.purse.pk),
        last_recharge_fen=home.purse.last_recharge_fen,
        used_a_day_nano=recent_use.a_day_nano(home.draws, now=now) if rule.warn_days is not None else 0,
        hold=_position(hold),
        hold_until=hold.until_at if hold else None,
        is_cut=bool(cut),
        is_cut_on_its_way=bool(cut) and not any(meter.is_obeyed for meter in cut),
    )
    if known.is_cut and usable_nano(known, rule) > 0:
        known = replace(known, paid_since_cut_fen=_paid_since_cut_fen(home.purse, cut))
    is_dark = known.is_cut and not known.is_cut_on_its_way and not rule.is_protected
    if known.hold or is_dark or not home.counted_here or usable_nano(known, rule) > 0:
        return known
    return _against(known, home, rule, now)


def _is_cut(meter: Hanging, tenancy: Tenancy | None) -> bool:
    """Whether money has opened it for who lives there now: another's cut, in this room or the one where the meter hung
    before, is none of theirs."""
    if tenancy is None or meter.relay != "open" or meter.reason not in CUT_FOR_MONEY or meter.relay_since is None:
        return False
    return meter.relay_since >= max(tenancy.starts_at, meter.hung_at)


def _paid_since_cut_fen(purse: Purse, cut: list[Hanging]) -> int:
    """Plan: the transfers of a purse's accounts by index, some hundreds."""
    cut_at = min(meter.relay_since for meter in cut if meter.relay_since is not None)
    paid = Transfer.objects.filter(credit__purse=purse, entry__kind__in=MONEY_IN, entry__posted_at__gte=cut_at)
    return int(paid.aggregate(fen=Sum("amount_fen", default=0))["fen"])


def _against(known: Facts, home: Home, rule: Rule, now: datetime) -> Facts:
    """What may stand in the way of a cut. Plan: each a look-up by an index of its own."""
    notice, place = home.notice, home.purse.property_id
    return replace(
        known,
        cut_hold_until=CutHold.objects.filter(purse=home.purse, expires_at__gt=now).aggregate(at=Max("expires_at"))[
            "at"
        ],
        read_at=read_at(home, fresh_for=rule.fresh_for, now=now),
        is_in_doubt=_is_in_doubt(home),
        has_outage=outages.stands(property_id=place, now=now),
        has_extreme_weather=WeatherHold.objects.filter(
            Q(until_at=None) | Q(until_at__gt=now), property=place, from_at__lte=now
        ).exists(),
        is_holiday=holidays.special_days(property_id=place).get(civil_date(now)) == "holiday",
        cuts_today=_cuts_today(home.purse, now) - known.is_cut_on_its_way,
        is_notice_proven=notice is not None and notice.holds(now),
        notice_runs_until=notice.runs_until if notice else None,
    )


def read_at(home: Home, *, fresh_for: timedelta, now: datetime) -> datetime | None:
    """The oldest of its meters' newest readings that were rated; None where one of them has none that is fresh.

    Where energy has no price, readings are not rated: what the meter told last counts.
    """
    drawn = {draw.meter_id: draw.last_at for draw in _priced(home)}
    newest = [
        drawn.get(meter.meter_id) or _newest_reading(meter.meter_id, now - fresh_for, now)
        for meter in home.counted_here
    ]
    known = [at for at in newest if at is not None]
    return min(known) if known and len(known) == len(newest) else None


def _priced(home: Home) -> list[Draw]:
    """Those that are counted now: also of a tenancy whose end is known already."""
    going_on = (draw for draw in home.draws if draw.ends_at is None or draw.is_current)
    return [draw for draw in going_on if draw.version_id and draw.counted_by == Draw.Counter.SERVER]


def _newest_reading(meter_id: int, since_at: datetime, now: datetime) -> datetime | None:
    """Plan: the key of one partition, or two at a month's edge."""
    readings = Reading.objects.filter(meter=meter_id, read_at__gte=since_at, read_at__lte=now + AHEAD)
    return readings.order_by("-read_at").values_list("read_at", flat=True).first()


def _is_in_doubt(home: Home) -> bool:
    """Whether what is accrued may yet change by what lies before us already."""
    theirs = [draw.installation_id for draw in _priced(home)]
    if Doubt.objects.filter(installation__in=theirs, state=Doubt.State.OPEN).exists():
        return True
    return Backlog.objects.filter(installation__in=theirs).exists()


def _cuts_today(purse: Purse, now: datetime) -> int:
    """Decisions to cut since midnight: a row each, written under the lock that is held here, whatever came of it."""
    since = instant(civil_date(now))
    return SupplyDecision.objects.filter(purse=purse, verdict=Verdict.SPENT, decided_at__gte=since).count()


def _hold(home: Home, now: datetime) -> StaffHold | None:
    if home.tenancy is None:
        return None
    standing = StaffHold.objects.filter(Q(until_at=None) | Q(until_at__gt=now), lifted_at=None)
    return standing.filter(room=home.tenancy.room_id).first()


def _position(hold: StaffHold | None) -> Literal["", "open", "closed"]:
    if hold is None:
        return ""
    return "open" if hold.position == StaffHold.Position.OPEN else "closed"
