"""What came into a home's purse and what went out of it, newest first, with the balance after each.

Each is an entry of the ledger: a recharge, a day of electricity, a subsidy, a refund, a correction. What only changed
its place, from the purse into a meter, moved nothing; emergency credit is a limit and no money (both are on the
timeline). The purse is the tenancy's own, so it knows of nothing before they moved in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from django.db.models import Q, Sum
from django.db.models.expressions import CombinedExpression

from accounts.models import Tenancy, User
from billing import ledger_words
from billing.models import LedgerAccount, Transfer
from payments import history
from payments.models import CounterReceipt, Payment, Refund

AT_MOST: Final = 100


@dataclass(frozen=True, slots=True)
class Movement:
    """`amount_fen` below zero went out. `balance_fen` is what was there after it: at the server, on its way to a meter
    and in it. `recharge` is the number of the recharge or counter receipt it belongs to, blank for none; `usage_date`
    the day whose electricity it is."""

    entry_id: int
    at: datetime
    kind: str
    amount_fen: int
    balance_fen: int
    recharge: str
    usage_date: date | None

    @property
    def text(self) -> str:
        return ledger_words.kind(self.kind)


@dataclass(frozen=True, slots=True)
class Page:
    """`following` is the cursor of the next page, None on the last."""

    movements: list[Movement]
    following: int | None


def page_of(*, tenancy: Tenancy, user: User, before: int | None, at_most: int, now: datetime) -> Page:
    """The page after the entry with the id `before` (None: the newest), in the order in which the books were written.

    `user` is who reads it: of somebody else's recharge from before they joined, the number is left out.

    Plan: the purse's accounts and their transfers by index, some hundreds a year, summed up twice; then the entries of
    the page, and the payments and receipts that they name, by key.
    """
    accounts = list(LedgerAccount.objects.filter(purse__tenancy=tenancy).values_list("pk", flat=True))
    if not accounts:
        return Page([], None)
    rows = _moved(accounts, before)[: min(at_most, AT_MOST) + 1]
    shown = list(rows)[: min(at_most, AT_MOST)]
    if not shown:
        return Page([], None)
    numbers = _numbers([row["entry__key"] for row in shown], user=user, now=now)
    balance_fen = _balance_fen(accounts, shown[0]["entry"])
    found = []
    for row in shown:
        found.append(_movement(row, balance_fen, numbers))
        balance_fen -= row["net_fen"]
    return Page(found, shown[-1]["entry"] if len(rows) > len(shown) else None)


def _net(accounts: Sequence[int]) -> CombinedExpression:
    """What came less what went; from one account of the purse to another, nothing."""
    came, went = Q(credit__in=accounts), Q(debit__in=accounts)
    return Sum("amount_fen", filter=came, default=0) - Sum("amount_fen", filter=went, default=0)


def _moved(accounts: Sequence[int], before: int | None) -> Any:
    rows = Transfer.objects.filter(Q(credit__in=accounts) | Q(debit__in=accounts))
    if before is not None:
        rows = rows.filter(entry__lt=before)
    summed = rows.values("entry", "entry__key", "entry__kind", "entry__posted_at").annotate(net_fen=_net(accounts))
    return summed.exclude(net_fen=0).order_by("-entry")


def _balance_fen(accounts: Sequence[int], entry_id: int) -> int:
    """After this entry."""
    rows = Transfer.objects.filter(Q(credit__in=accounts) | Q(debit__in=accounts), entry__lte=entry_id)
    return int(rows.aggregate(fen=_net(accounts))["fen"])


def _movement(row: dict[str, Any], balance_fen: int, numbers: dict[tuple[str, int], str]) -> Movement:
    return Movement(
        entry_id=row["entry"],
        at=row["entry__posted_at"],
        kind=row["entry__kind"],
        amount_fen=row["net_fen"],
        balance_fen=balance_fen,
        recharge=numbers.get(_about(row["entry__key"]), ""),
        usage_date=_usage_date(row["entry__key"]),
    )


def _usage_date(key: str) -> date | None:
    """Of a key such as usage:7:2026-11-23:1 (billing/rating/posting.py)."""
    kind, *rest = key.split(":")
    return date.fromisoformat(rest[1]) if kind == "usage" else None


def _about(key: str) -> tuple[str, int]:
    """What an entry belongs to, by its key: payment:7, refund:3, counter:12:corrected. Id 0: to nothing of these."""
    kind, *rest = key.split(":")
    return kind, int(rest[0]) if rest and rest[0].isdecimal() else 0


def _numbers(keys: Iterable[str], *, user: User, now: datetime) -> dict[tuple[str, int], str]:
    """Numbers of recharges that this person may look at, and of the counter's receipts."""
    named: dict[str, set[int]] = {}
    for kind, pk in map(_about, keys):
        named.setdefault(kind, set()).add(pk)
    mine = history.visible_to(user, now)
    found: dict[tuple[str, int], str] = {}
    for kind, rows, number in (
        ("payment", Payment.objects.filter(order__in=mine), "order__number"),
        ("suspense", Payment.objects.filter(order__in=mine), "order__number"),
        ("refund", Refund.objects.filter(payment__order__in=mine), "payment__order__number"),
        ("counter", CounterReceipt.objects.all(), "number"),
    ):
        if kind in named:
            told = rows.filter(pk__in=named[kind]).values_list("pk", number)
            found |= {(kind, pk): text for pk, text in told}
    return found
