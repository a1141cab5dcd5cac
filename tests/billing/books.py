"""Short ways to write entries and to read balances back from the transfers, for the tests of money."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.db.models import Sum

from billing import audit, ledger, mirror_audit, prepaid, usage_audit
from billing.ledger import Line
from billing.models import LedgerAccount, Purse, Transfer
from billing.prepaid import Source

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
BANK = Source("clearing", "merchant:wx-1")


def write(key: str, lines: Sequence[Line], **kwargs: Any) -> bool:
    about: dict[str, Any] = {
        "kind": "test",
        "property_id": None,
        "happened_at": NOW,
        "trace": "t",
        "actor_id": None,
        "reason": "",
    }
    return ledger.post(key=key, lines=lines, now=NOW, **about | kwargs)


def bank() -> int:
    return ledger.account(*BANK)


def paid_into(purse: Purse, amount_fen: int) -> Line:
    return Line(bank(), ledger.purse_account("paid", purse.pk), amount_fen)


def top_up(purse: Purse, amount_fen: int, *, key: str, **kwargs: Any) -> bool:
    about: dict[str, Any] = {"kind": "recharge", "source": BANK, "happened_at": NOW, "trace": "t", "now": NOW}
    return prepaid.top_up(key=key, purse_id=purse.pk, amount_fen=amount_fen, **about | kwargs)


def take_back(purse: Purse, amount_fen: int, *, key: str, **kwargs: Any) -> bool:
    about: dict[str, Any] = {
        "kind": "refund",
        "target": BANK,
        "happened_at": NOW,
        "trace": "t",
        "actor_id": None,
        "reason": "asked",
    }
    return prepaid.take_back(key=key, purse_id=purse.pk, amount_fen=amount_fen, now=NOW, **about | kwargs)


def columns(purse: Purse) -> dict[str, int]:
    """The running balances as they stand in the row."""
    purse.refresh_from_db()
    return {name: getattr(purse, f"{name}_fen") for name in ("paid", "subsidy", "in_transit", "in_meter")}


def summed(**account: Any) -> int:
    """What the transfers of the accounts that match sum to: credits less debits."""
    ids = list(LedgerAccount.objects.filter(**account).values_list("pk", flat=True))
    credited = Transfer.objects.filter(credit__in=ids).aggregate(fen=Sum("amount_fen", default=0))["fen"]
    debited = Transfer.objects.filter(debit__in=ids).aggregate(fen=Sum("amount_fen", default=0))["fen"]
    return int(credited - debited)


def set_available(purse: Purse, fen: int) -> None:
    """Puts a purse where a test wants it, without any decision."""
    paid = ledger.purse_account("paid", purse.pk)
    line = Line(bank(), paid, fen) if fen > 0 else Line(paid, bank(), -fen)
    write(f"set:{purse.pk}:{fen}", [line])


def all_adds_up() -> None:
    """What every audit says of money and usage; what meters were told is another matter."""
    checks = (
        *(check for check in audit.CHECKS if check is not audit.wishes),
        *usage_audit.CHECKS,
        *mirror_audit.CHECKS,
    )
    found = [str(finding) for check in checks for finding in check(NOW)]
    assert not found, found
