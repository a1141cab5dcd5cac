"""A home's supply is looked at, and all that follows is written at once: relay, warnings, notice, work items, why.

This is where power is cut for money, and nowhere else. Asked for by a row (`Review`, reviews.py) or by the hour
(`Purse.look_at`); rows are read without a lock and deleted last, guarded by their bumps, so that what came meanwhile
is looked at once more. Lock order: Purse, Draws, then alerts and notices, Review, the meters' levels.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import OperationalError, transaction
from django.utils.translation import gettext as _

from billing import alerts, debts, emergency, facts, interruptions, notices, rules
from billing.facts import Home
from billing.models import Notice, Purse, Review, SupplyDecision
from billing.policy import (
    NEVER_ABOVE,
    Decision,
    Facts,
    Rule,
    Verdict,
    Why,
    days_left,
    decide,
    is_near,
    usable_nano,
)
from billing.tariff.civil import DAY_MINUTES, civil_date, instant
from billing.tariff.units import NANO_FEN_PER_FEN
from meters import desired
from meters.models import Level
from notifications import worklist

log = logging.getLogger(__name__)

FAILED: Final = "review_failed"  # a kind of work item
AFTER_FAILURE: Final = timedelta(minutes=1)
# What ends without anybody telling: an outage, a silent meter. It is looked for again as long as it keeps the power on.
LOOK_AGAIN: Final = {
    Why.READING_IN_DOUBT: timedelta(seconds=20),  # most often what is being rated at this moment
    Why.READING_STALE: timedelta(minutes=5),
    Why.OUTAGE: timedelta(minutes=5),
    Why.EXTREME_WEATHER: timedelta(minutes=5),
}
TOLD: Final = frozenset({Why.NO_LEGAL_BASIS, Why.PROTECTED_ROOM, Why.NOTICE_NOT_PROVEN})  # whoever ends them asks
SPREAD_MINUTES: Final = 360  # over which homes are looked at again each day, that are warned of days left
NOBODY: Final = Decision(verdict=Verdict.NONE, wants="closed")


def work(*, now: datetime, limit: int = 200) -> int:
    """Reviews the purses that are due, each in a transaction of its own. Returns how many were done.

    Several callers share the work: a purse that somebody holds is passed over and comes again. One that raises waits a
    minute, goes onto the work list and holds up nobody. Raises OperationalError when the database is away.
    """
    asked = Review.objects.order_by("asked_at", "purse").values_list("purse_id", flat=True)[:limit]
    by_the_hour = Purse.objects.filter(look_at__lte=now).order_by("look_at").values_list("pk", flat=True)[:limit]
    return sum(_try(purse_id, now) for purse_id in dict.fromkeys([*asked, *by_the_hour]))


def one(*, purse_id: int, trace: str, now: datetime) -> Decision:
    """Decides for the home of a purse and writes what follows, in the caller's transaction. Raises Purse.DoesNotExist.

    Locks the purse and its draws first; callers who hold levels of this home already hold the purse.
    """
    with transaction.atomic():
        home = facts.held(purse_id=purse_id, now=now)
        asked = Review.objects.filter(purse=purse_id).values_list("bumps", flat=True).first()
        decision = _decided(home, home.tenancy.room_id, trace, now) if home.tenancy else _at_rest(home, trace, now)
        if asked is not None:
            Review.objects.filter(purse=purse_id, bumps=asked).delete()
    return decision


def _try(purse_id: int, now: datetime) -> int:
    try:
        with transaction.atomic():
            free = Purse.objects.select_for_update(no_key=True, of=("self",), skip_locked=True).filter(pk=purse_id)
            if not free.values_list("pk", flat=True):
                return 0
            one(purse_id=purse_id, trace="", now=now)
            worklist.resolve(key=f"{FAILED}:{purse_id}", by=None, resolution=_("Decided."), now=now)
    except OperationalError:
        raise
    except Exception as error:
        log.exception("supply of purse %s could not be reviewed", purse_id)
        with transaction.atomic():
            _put_off(purse_id, error, now)
        return 0
    return 1


def _put_off(purse_id: int, error: Exception, now: datetime) -> None:
    purse = Purse.objects.select_for_update(no_key=True, of=("self",)).get(pk=purse_id)
    Purse.objects.filter(pk=purse_id).update(look_at=now + AFTER_FAILURE)
    Review.objects.filter(purse=purse_id).delete()
    worklist.raise_item(
        key=f"{FAILED}:{purse_id}",
        kind=FAILED,
        property_id=purse.property_id,
        detail={"purse": purse_id, "error": f"{type(error).__name__}: {error}"[:200]},
        trace="",
        now=now,
    )


# ---- one home ----


def _at_rest(home: Home, trace: str, now: datetime) -> Decision:
    """Nobody draws on it: nothing is warned of, nothing runs, and nothing is looked for."""
    alerts.follow(purse=home.purse, levels=(), available_fen=home.available_fen(), now=now)
    if home.notice is not None:
        notices.void(notice_id=home.notice.pk, now=now)
    debts.follow_who_left(home, trace=trace, now=now)
    _note(home.purse, look_below_fen=NEVER_ABOVE, look_at=None, needs_review=False)
    return NOBODY


def _decided(home: Home, room_id: int, trace: str, now: datetime) -> Decision:
    laid_down = rules.laid_down(room_id=room_id, property_id=home.purse.property_id)
    rule = replace(laid_down.rule(), own_fen=home.own_fen)
    if home.left_nano() > 0:
        emergency.repaid(purse_id=home.purse.pk, now=now)
    known = facts.facts(home, rule=rule, now=now)
    decision = _of_its_kind(home, decide(known, rule=rule, now=now))
    left_fen, left_days = home.available_fen(), days_left(known)
    alerts.follow(purse=home.purse, levels=decision.alerts, available_fen=left_fen, days_left=left_days, now=now)
    home = replace(home, notice=_follow_notice(home, decision, known, rule, now))
    unreachable_fen = laid_down.value("unreachable_debt_fen")
    debts.follow(home, decision, rule=rule, unreachable_fen=unreachable_fen, trace=trace, now=now)
    is_news = _write_down(home, decision, known, room_id=room_id, trace=trace, now=now)
    _tell_meters(home, decision, trace=trace, is_news=is_news, now=now)
    limit_fen = rule.overdraft_fen + known.emergency_fen + known.frozen_nano // NANO_FEN_PER_FEN
    _note(
        home.purse,
        limit_fen=limit_fen,
        restore_above_fen=-limit_fen if known.emergency_fen else rule.restore_above_fen,  # it brings back below zero
        look_below_fen=decision.look_below_fen,
        look_at=_look_at(home, decision, rule, now),
        needs_review=_needs_review(home, decision, known),
    )
    return decision


def _of_its_kind(home: Home, decision: Decision) -> Decision:
    """Meters that hold their money cut and restore by it themselves; we warn, and say what the purse owes."""
    if home.counted_here or decision.verdict in (Verdict.HOLD_OPEN, Verdict.HOLD_CLOSED):
        return decision
    decision = replace(decision, wants="closed", why_not=(), needs_notice=False, look_at=None)
    decision = replace(decision, verdict=Verdict.SPARED if home.left_nano() < 0 else Verdict.PAID)
    return decision if home.is_known() else replace(decision, alerts=frozenset(), look_below_fen=0)


def _follow_notice(home: Home, decision: Decision, known: Facts, rule: Rule, now: datetime) -> Notice | None:
    """A recharge that lifts the balance voids it, protection of the room and oblivion too; where a cut is near all the
    same, a new one is left."""
    notice = home.notice
    is_paid = notice is not None and notice.recharge < home.purse.recharges and usable_nano(known, rule) > 0
    is_moot = rule.is_protected or (notice is not None and notice.is_forgotten(now) and decision.wants == "closed")
    if notice is not None and (is_paid or is_moot or not is_near(decision.alerts)):
        notices.void(notice_id=notice.pk, now=now)
        notice = None
    if notice is None and decision.needs_notice and rule.has_legal_basis and not rule.is_protected:
        left_fen, is_used_up = home.available_fen(), usable_nano(known, rule) <= 0
        notice = notices.leave(purse=home.purse, available_fen=left_fen, is_used_up=is_used_up, rule=rule, now=now)
    return notice


def _needs_review(home: Home, decision: Decision, known: Facts) -> bool:
    """Whether something hangs on the next recharge."""
    return bool(decision.alerts) or decision.wants == "open" or home.notice is not None or known.emergency_fen > 0


def _look_at(home: Home, decision: Decision, rule: Rule, now: datetime) -> datetime | None:
    """When time alone may change the decision."""
    due = [decision.look_at]
    why_not = set(decision.why_not)
    if not why_not & TOLD:
        due += [now + after for why, after in LOOK_AGAIN.items() if why in why_not]
    if home.notice is not None and home.notice.state == Notice.State.LEFT:
        due.append(home.notice.left_at + rule.notice_for)
    if rule.warn_days is not None and home.purse.last_recharge_at is not None:
        due.append(instant(civil_date(now), minute=DAY_MINUTES + home.purse.pk % SPREAD_MINUTES))
    return min((at for at in due if at is not None and at > now), default=None)


def _note(purse: Purse, **columns: Any) -> None:
    """What SQL needs of it, written where it changed."""
    changed = {name: value for name, value in columns.items() if getattr(purse, name) != value}
    if changed:
        Purse.objects.filter(pk=purse.pk).update(**changed)


# ---- what is written down, and what meters are told ----


def _write_down(home: Home, decision: Decision, known: Facts, *, room_id: int, trace: str, now: datetime) -> bool:
    """A row where verdict, wish or reasons are others than before. Whether there was one to write."""
    last = SupplyDecision.objects.filter(purse=home.purse).order_by("-decided_at", "-pk").first()
    codes = [str(why) for why in decision.why_not]
    if last is not None and _said(last) == (decision.verdict, decision.wants, codes):
        return False
    told = trace or next((meter.trace for meter in home.meters if meter.reason == decision.verdict), "")
    SupplyDecision.objects.create(
        purse=home.purse,
        room_id=room_id,
        property_id=home.purse.property_id,
        decided_at=max(now, last.decided_at) if last else now,
        verdict=decision.verdict,
        wants=decision.wants,
        because=[[code, _until(code, known)] for code in codes] or _rests_on(home, decision),
        available_fen=home.available_fen(),
        read_at=known.read_at,
        trace=told,
    )
    return True


def _said(row: SupplyDecision) -> tuple[str, str, list[str]]:
    return row.verdict, row.wants, [code for code, _params in row.because if code in set(Why)]


def _until(code: str, known: Facts) -> dict[str, str]:
    ends = {Why.MONEY_BEING_CONFIRMED: known.cut_hold_until, Why.NOTICE_RUNNING: known.notice_runs_until}
    ends_at = ends.get(Why(code))
    return {"until": ends_at.isoformat()} if ends_at else {}


def _rests_on(home: Home, decision: Decision) -> list[list[Any]]:
    """What a cut rests on: the notice and since when it is proven."""
    if decision.verdict != Verdict.SPENT or home.notice is None or home.notice.proven_at is None:
        return []
    return [["notice", {"id": home.notice.pk, "proven_at": home.notice.proven_at.isoformat()}]]


def _tell_meters(home: Home, decision: Decision, *, trace: str, is_news: bool, now: datetime) -> None:
    """Relays of the meters whose money is counted here, and what their displays show when there is something new."""
    relay = [one for one in home.counted_here if (one.relay, one.reason) != (decision.wants, decision.verdict)]
    shown = str(home.available_fen())
    displays = [one for one in home.counted_here if one.has_display]
    show = [one for one in displays if one in relay or (is_news and one.shown != shown)]
    if not relay and not show:
        return
    theirs = [meter.meter_id for meter in home.meters]
    list(Level.objects.select_for_update(no_key=True).filter(meter__in=theirs).order_by("pk").values_list("pk"))
    wishes: list[tuple[int, str, str]] = [(one.meter_id, "relay", decision.wants) for one in relay]
    wishes += [(one.meter_id, "show", shown) for one in show]
    for meter_id, kind, wanted in sorted(wishes):
        desired.want(meter_id=meter_id, kind=kind, wanted=wanted, reason=decision.verdict, trace=trace, now=now)
    if relay and decision.wants == "open":
        interruptions.order(meter_ids=[one.meter_id for one in relay], now=now)
