"""Closed days move money: the running total of a draw is rounded once, and each day posts what is new of it.

A day's energy is taken from the subsidy first, then from what was paid, which may fall below zero. The service fee's
share goes on from the property's revenue to an account of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from django.db.models import Sum

from billing import ledger
from billing.ledger import Line
from billing.models import Draw, Purse, Transfer
from billing.tariff.civil import instant
from billing.tariff.units import to_fen

# Kinds of entries.
USED: Final = "usage"
CORRECTED: Final = "usage_corrected"
PRICE: Final = "price_adjustment"


@dataclass(frozen=True, slots=True)
class DayMoney:
    """What a closed day adds to its draw's running totals, in nano-fen; less than nothing where a revision gives back.

    `fee_nano` is not in `cost_nano`. `revision` counts from 1; `kind` is the entry's.
    """

    usage_date: date
    revision: int
    cost_nano: int
    fee_nano: int
    kind: str = USED


def post_days(*, draw: Draw, days: Sequence[DayMoney], fee_before_nano: int, now: datetime) -> int:
    """Posts days of a draw, in order; fen taken from the purse, negative when more was given back.

    `fee_before_nano`: the fees of all its days so far. The caller holds purse and draw; `closed_nano` and `posted_fen`
    are changed on the instance and saved. A first revision's entry happened when its day ended, a later one's now.
    Energy that the meter itself counts down is not posted. Raises ledger.LedgerConflict where a day was posted before
    with another amount.
    """
    before_fen = draw.posted_fen
    for day in days:
        draw.closed_nano += day.cost_nano + day.fee_nano
        fee_fen = to_fen(fee_before_nano + day.fee_nano) - to_fen(fee_before_nano)
        fee_before_nano += day.fee_nano
        if draw.counted_by == Draw.Counter.SERVER:
            amount_fen = to_fen(draw.closed_nano) - draw.posted_fen
            lines = [*_lines(draw, day, amount_fen), *_fee(draw, fee_fen)]
            _post(draw, day, lines, now)
            draw.posted_fen = to_fen(draw.closed_nano)
    draw.save(update_fields=["closed_nano", "posted_fen"])
    return draw.posted_fen - before_fen


def key(draw_id: int, usage_date: date, revision: int) -> str:
    return f"usage:{draw_id}:{usage_date.isoformat()}:{revision}"


def _post(draw: Draw, day: DayMoney, lines: list[Line], now: datetime) -> None:
    if not lines:
        return
    ledger.post(
        key=key(draw.pk, day.usage_date, day.revision),
        kind=day.kind,
        property_id=draw.property_id,
        lines=lines,
        happened_at=min(now, instant(day.usage_date, minute=24 * 60)) if day.revision == 1 else now,
        trace="",
        actor_id=None,
        reason="" if day.revision == 1 else f"{day.usage_date} · {day.revision}",
        now=now,
    )


def _lines(draw: Draw, day: DayMoney, amount_fen: int) -> Iterator[Line]:
    revenue = ledger.account("revenue", f"property:{draw.property_id}")
    paid = ledger.purse_account("paid", draw.purse_id)
    subsidy = ledger.purse_account("subsidy", draw.purse_id)
    if amount_fen > 0:
        has_fen = Purse.objects.values_list("subsidy_fen", flat=True).get(pk=draw.purse_id)
        given_fen = min(amount_fen, has_fen)
        parts = [Line(subsidy, revenue, given_fen), Line(paid, revenue, amount_fen - given_fen)]
    else:
        back_fen = min(-amount_fen, max(0, _taken_fen(draw, day, paid)))
        parts = [Line(revenue, paid, back_fen), Line(revenue, subsidy, -amount_fen - back_fen)]
    yield from (line for line in parts if line.amount_fen > 0)


def _taken_fen(draw: Draw, day: DayMoney, paid: int) -> int:
    """What the day's entries have taken of what was paid. Plan: the entries by their unique keys."""
    keys = [key(draw.pk, day.usage_date, revision) for revision in range(1, day.revision)]
    rows = Transfer.objects.filter(entry__key__in=keys)
    taken = rows.filter(debit=paid).aggregate(fen=Sum("amount_fen"))["fen"] or 0
    given = rows.filter(credit=paid).aggregate(fen=Sum("amount_fen"))["fen"] or 0
    return int(taken) - int(given)


def _fee(draw: Draw, fee_fen: int) -> Iterator[Line]:
    """From the property's revenue to that of its service, or back."""
    if fee_fen == 0:
        return
    revenue = ledger.account("revenue", f"property:{draw.property_id}")
    service = ledger.account("revenue", f"property:{draw.property_id}:service")
    yield Line(revenue, service, fee_fen) if fee_fen > 0 else Line(service, revenue, -fee_fen)
