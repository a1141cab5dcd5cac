"""Warnings of a low balance: one a level and recharge, when it is reached; over when that is no longer true.

A warning is a row, and a message that is left with it. What is over before anybody carried the message is withdrawn;
where it was carried, the tenant is told that all is well again. The caller holds the purse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from billing.models import Alert, Purse
from notifications import outbox

LOW, USED_UP, OVER = "low_balance", "balance_used_up", "balance_is_well"  # kinds of messages
AMOUNTS: Final = ("fen", "own")  # levels that are an amount


def follow(
    *, purse: Purse, levels: Iterable[str], available_fen: int, now: datetime, days_left: int | None = None
) -> None:
    """Raises what is reached and was not told since the last recharge, and ends what is no longer true.

    `levels` as billing/policy.py names them: "fen:500", "percent:20", "days:3", "own:5000", "used_up". `days_left`, for
    which the balance lasts at the usual use, is told where it is known.
    """
    reached = frozenset(levels)
    standing = list(Alert.objects.filter(purse=purse, over_at=None).order_by("pk"))
    ended = [one for one in standing if one.level not in reached or one.recharge != purse.recharges]
    were_carried = [_end(one, purse, now) and not _was_moved(one, available_fen) for one in ended]
    if any(were_carried) and not reached:
        context = {"level": "", "available_fen": available_fen}
        _say(purse, key=f"alert_over:{purse.pk}:{purse.recharges}", kind=OVER, context=context, now=now)
    for level in sorted(reached - {one.level for one in standing if one not in ended}):
        _raise(purse, level, available_fen, days_left, now)


def _was_moved(alert: Alert, available_fen: int) -> bool:
    """Whether it ended because somebody moved the level below the balance, and not because the balance rose."""
    name, _colon, figure = alert.level.partition(":")
    return name in AMOUNTS and int(figure) >= available_fen


def _raise(purse: Purse, level: str, available_fen: int, days_left: int | None, now: datetime) -> None:
    """Once a recharge: what fell, rose by a correction and fell again was told."""
    about = {"raised_at": now, "available_fen": available_fen}
    alert, is_new = Alert.objects.get_or_create(purse=purse, level=level, recharge=purse.recharges, defaults=about)
    if is_new:
        kind = USED_UP if level == "used_up" else LOW
        context = {"level": level, "available_fen": available_fen, "days_left": days_left}
        _say(purse, key=_key(alert), kind=kind, context=context, now=now)


def _end(alert: Alert, purse: Purse, now: datetime) -> bool:
    """Whether its message had been carried already."""
    Alert.objects.filter(pk=alert.pk).update(over_at=now)
    return purse.tenancy_id is not None and not outbox.withdraw(key=_key(alert), now=now)


def _key(alert: Alert) -> str:
    return f"alert:{alert.purse_id}:{alert.level}:{alert.recharge}"


def _say(purse: Purse, *, key: str, kind: str, context: Mapping[str, Any], now: datetime) -> None:
    if purse.tenancy_id is not None:
        outbox.leave(
            key=key, kind=kind, tenancy_id=purse.tenancy_id, property_id=purse.property_id, context=context, now=now
        )
