"""What needs a person because nobody may be cut: a debt without a legal basis, a debtor whom nobody reaches."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.utils.translation import gettext as _

from billing.facts import Home
from billing.models import Notice
from billing.policy import Decision, Rule, Verdict
from notifications import worklist

WITHOUT_BASIS: Final = "debt_without_basis"  # kinds of work items
UNREACHABLE: Final = "unreachable"
OF_WHO_LEFT: Final = "debt_of_who_left"
NOBODYS_WORK_FEN: Final = 1  # so much may be owed for the parts of a fen


def follow(home: Home, decision: Decision, *, rule: Rule, unreachable_fen: int, trace: str, now: datetime) -> None:
    """Puts the home's debt on the work list where it belongs there, and takes it off. The home is held."""
    if home.left_nano() > 0:
        worklist.resolve(key=f"debt:{home.purse.pk}", by=None, resolution=_("The debt is paid."), now=now)
    elif decision.verdict == Verdict.SPARED and not rule.has_legal_basis and _owes(home):
        _raise(home, f"debt:{home.purse.pk}", WITHOUT_BASIS, trace, now)
    if _is_unreachable(home, rule, unreachable_fen, now):
        _raise(home, f"unreachable:{home.purse.pk}", UNREACHABLE, trace, now)
    else:
        worklist.resolve(key=f"unreachable:{home.purse.pk}", by=None, resolution=_("Settled."), now=now)


def follow_who_left(home: Home, *, trace: str, now: datetime) -> None:
    """Nobody draws on it (any more): there is nothing to be cut, and what is still owed is somebody's work. The home is
    held."""
    for kind in ("debt", "unreachable"):
        worklist.resolve(key=f"{kind}:{home.purse.pk}", by=None, resolution=_("Nobody lives there now."), now=now)
    if home.purse.tenancy_id is None:
        return
    key = f"left:{home.purse.pk}"
    if home.available_fen() < -NOBODYS_WORK_FEN:
        _raise(home, key, OF_WHO_LEFT, trace, now)
    else:
        worklist.resolve(key=key, by=None, resolution=_("The debt is paid."), now=now)


def _owes(home: Home) -> bool:
    """Where meters hold the money a purse stands at zero and nothing is wrong."""
    return home.left_nano() < 0 or bool(home.counted_here)


def _is_unreachable(home: Home, rule: Rule, unreachable_fen: int, now: datetime) -> bool:
    """The notice was left, its period has passed, and nobody knows that it arrived; or nothing is left already, and it
    is known that it will not."""
    notice = home.notice
    if notice is None or notice.state != Notice.State.LEFT:
        return False
    if notice.stranded_at is not None and home.available_fen() <= 0:
        return True
    return notice.left_at + rule.notice_for <= now and -home.available_fen() > unreachable_fen


def _raise(home: Home, key: str, kind: str, trace: str, now: datetime) -> None:
    worklist.raise_item(
        key=key,
        kind=kind,
        property_id=home.purse.property_id,
        detail={
            "purse": home.purse.pk,
            "tenancy": home.purse.tenancy_id,
            "available_fen": home.available_fen(),
        },
        trace=trace,
        now=now,
    )
