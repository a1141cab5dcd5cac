"""Warnings of a low balance: one a level and recharge, when it is reached; over when that is no longer true.

A warning is a row, and a message that is left with it. What is over before anybody carried the message is withdrawn;
where it was carried, the tenant is told that all is well again. The caller holds the purse.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from billing.models import Alert, Purse
from notifications import outbox

LOW, USED_UP, OVER = "low_balance", "balance_used_up", "balance_is_well"  # kinds of messages


def follow(*, purse: Purse, levels: Iterable[str], available_fen: int, now: datetime) -> None:
    """Raises what is reached and was not told since the last recharge, and ends what is no longer true.

    `levels` as billing/policy.py names them: "fen:500", "percent:20", "days:3", "used_up".
    """
    reached = frozenset(levels)
    standing = list(Alert.objects.filter(purse=purse, over_at=None).order_by("pk"))
    ended = [one for one in standing if one.level not in reached or one.recharge != purse.recharges]
    were_carried = [_end(one, purse, now) for one in ended]
    if any(were_carried) and not reached:
        _say(purse, key=f"alert_over:{purse.pk}:{purse.recharges}", kind=OVER, level="", fen=available_fen, now=now)
    for level in sorted(reached - {one.level for one in standing if one not in ended}):
        _raise(purse, level, available_fen, now)


def _raise(purse: Purse, level: str, available_fen: int, now: datetime) -> None:
    """Once a recharge: what fell, rose by a correction and fell again was told."""
    about = {"raised_at": now, "available_fen": available_fen}
    alert, is_new = Alert.objects.get_or_create(purse=purse, level=level, recharge=purse.recharges, defaults=about)
    if is_new:
        kind = USED_UP if level == "used_up" else LOW
        _say(purse, key=_key(alert), kind=kind, level=level, fen=available_fen, now=now)


def _end(alert: Alert, purse: Purse, now: datetime) -> bool:
    """Whether its message had been carried already."""
    Alert.objects.filter(pk=alert.pk).update(over_at=now)
    return purse.tenancy_id is not None and not outbox.withdraw(key=_key(alert), now=now)


def _key(alert: Alert) -> str:
    return f"alert:{alert.purse_id}:{alert.level}:{alert.recharge}"


def _say(purse: Purse, *, key: str, kind: str, level: str, fen: int, now: datetime) -> None:
    if purse.tenancy_id is not None:
        context = {"level": level, "available_fen": fen}
        outbox.leave(
            key=key, kind=kind, tenancy_id=purse.tenancy_id, property_id=purse.property_id, context=context, now=now
        )
