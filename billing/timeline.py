"""What happened to a home, newest first: its money, its power and why, what it was warned of, what staff held.

Each event is a row that lies elsewhere; nothing is written for the timeline. Within one instant the order is that of
KINDS, so a page can go on where the last one ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar

from django.db.models import Model, Q, QuerySet, Sum
from django.utils.translation import gettext as _

from accounts.models import Tenancy
from billing import ledger_words, supply_words
from billing.models import Alert, Emergency, Interruption, LedgerAccount, Purse, StaffHold, SupplyDecision, Transfer
from billing.policy import Verdict

KINDS: Final = (
    "money", "decision", "power_off", "power_on", "warning", "warning_over", "emergency_credit",
    "emergency_credit_repaid", "hold", "hold_over",
)  # fmt: skip
AT_MOST: Final = 100
Row = TypeVar("Row", bound=Model)
Rows = TypeVar("Rows", bound="QuerySet[Any, Any]")


class Place(NamedTuple):
    """Where an event stands among all: later instants first, then by the order of KINDS and by id, both backwards."""

    at: datetime
    kind: int
    id: int

    def __str__(self) -> str:
        at = self.at.astimezone(UTC).replace(tzinfo=None).isoformat()
        return f"{at}Z~{self.kind}~{self.id}"  # no "+", which an address that nobody encoded would make a space

    @classmethod
    def parse(cls, text: str) -> Place:
        """Raises ValueError for anything that `str` did not write."""
        at, kind, row_id = text.split("~")
        place = cls(datetime.fromisoformat(at), int(kind), int(row_id))
        if not at.endswith("Z") or str(place) != text:  # offsets that PostgreSQL does not know, other ways of writing
            raise ValueError(text)
        if not 0 <= place.kind < len(KINDS) or not 0 < place.id < 2**63:
            raise ValueError(text)
        return place


@dataclass(frozen=True, slots=True)
class Event:
    """`kind` is one of KINDS, `text` is in the reader's language; `amount_fen` is what the balance moved by, or what
    there was, and None where no money is meant."""

    place: Place
    text: str
    amount_fen: int | None = None

    @property
    def at(self) -> datetime:
        return self.place.at

    @property
    def kind(self) -> str:
        return KINDS[self.place.kind]


class _Page(NamedTuple):
    before: Place | None
    limit: int


def events(*, tenancy: Tenancy, before: Place | None = None, limit: int = 50) -> list[Event]:
    """The newest events of a tenancy that come after `before` on the way into the past, at most `limit` of them.

    Plan: each kind by an index on its purse or room. Of money all movements of the purse are summed up by entry, some
    hundreds a year; of the others at most `limit` rows are read.
    """
    page = _Page(before, min(limit, AT_MOST))
    purse = Purse.objects.filter(tenancy=tenancy).first()
    found = [*_holds(tenancy, page)]
    if purse is not None:
        for of_kind in (_money, _decisions, _interruptions, _warnings, _emergencies):
            found += of_kind(purse, page)
    return sorted(found, key=lambda event: event.place, reverse=True)[: page.limit]


def _money(purse: Purse, page: _Page) -> Iterable[Event]:
    """Entries that moved money of the purse. What only changed its place, into a meter, says how much did."""
    accounts = list(LedgerAccount.objects.filter(purse=purse).values_list("pk", flat=True))
    moved = Transfer.objects.filter(Q(credit__in=accounts) | Q(debit__in=accounts))
    rows = _of_page(
        moved.values("entry_id", "entry__posted_at", "entry__kind"), "money", "entry__posted_at", page, "entry_id"
    )
    sums = rows.annotate(
        came=Sum("amount_fen", filter=Q(credit__in=accounts), default=0),
        went=Sum("amount_fen", filter=Q(debit__in=accounts), default=0),
    )
    for row in sums[: page.limit]:
        place = Place(row["entry__posted_at"], KINDS.index("money"), row["entry_id"])
        yield Event(place, ledger_words.kind(row["entry__kind"]), row["came"] - row["went"] or row["came"])


def _decisions(purse: Purse, page: _Page) -> Iterable[Event]:
    rows = SupplyDecision.objects.filter(purse=purse)
    return _events(rows, "decision", "decided_at", page, _decided)


def _decided(decision: SupplyDecision) -> tuple[str, int | None]:
    said = supply_words.verdict(decision.verdict)
    reasons = supply_words.why_not(decision.because)
    if decision.verdict == Verdict.SPARED and reasons:
        said = _("%(decision)s: %(reasons)s") % {"decision": said, "reasons": supply_words.listed(reasons)}
    return said, decision.available_fen


def _interruptions(purse: Purse, page: _Page) -> Iterable[Event]:
    rows = Interruption.objects.filter(purse=purse)
    off = rows.filter(off_at__isnull=False)
    yield from _events(off, "power_off", "off_at", page, lambda _one: (_("The power went off."), None))
    yield from _events(rows.filter(on_at__isnull=False), "power_on", "on_at", page, _back)


def _back(interruption: Interruption) -> tuple[str, int | None]:
    if interruption.seconds is None:
        return _("The power is back."), None
    return _("The power is back, %(seconds)s seconds after it was ordered.") % {
        "seconds": f"{interruption.seconds:.0f}"
    }, None


def _warnings(purse: Purse, page: _Page) -> Iterable[Event]:
    rows = Alert.objects.filter(purse=purse)
    yield from _events(rows, "warning", "raised_at", page, _warned)
    over = rows.filter(over_at__isnull=False)
    yield from _events(over, "warning_over", "over_at", page, _not_any_more)


def _warned(alert: Alert) -> tuple[str, int | None]:
    return _("Balance: %(level)s.") % {"level": supply_words.level(alert.level)}, alert.available_fen


def _not_any_more(alert: Alert) -> tuple[str, int | None]:
    return _("Balance no longer: %(level)s.") % {"level": supply_words.level(alert.level)}, None


def _emergencies(purse: Purse, page: _Page) -> Iterable[Event]:
    rows = Emergency.objects.filter(purse=purse)
    taken = _("Emergency credit was taken.")
    yield from _events(rows, "emergency_credit", "taken_at", page, lambda one: (taken, one.amount_fen))
    repaid, back = rows.filter(repaid_at__isnull=False), _("Emergency credit is paid back.")
    yield from _events(repaid, "emergency_credit_repaid", "repaid_at", page, lambda one: (back, one.amount_fen))


def _holds(tenancy: Tenancy, page: _Page) -> Iterable[Event]:
    """Those of the room within the tenancy."""
    rows = StaffHold.objects.filter(room=tenancy.room_id, placed_at__gte=tenancy.starts_at)
    if tenancy.ends_at is not None:
        rows = rows.filter(placed_at__lt=tenancy.ends_at)
    yield from _events(rows, "hold", "placed_at", page, _held)
    over = _("The property has lifted its hold.")
    lifted = rows.filter(lifted_at__isnull=False)
    yield from _events(lifted, "hold_over", "lifted_at", page, lambda _one: (over, None))


def _held(hold: StaffHold) -> tuple[str, int | None]:
    words = {
        StaffHold.Position.OPEN.value: _("The property has switched the power off: %(reason)s"),
        StaffHold.Position.CLOSED.value: _("The property keeps the power on: %(reason)s"),
    }
    return words[hold.position] % {"reason": hold.reason}, None


def _events(
    rows: QuerySet[Row], kind: str, at: str, page: _Page, say: Callable[[Row], tuple[str, int | None]]
) -> Iterable[Event]:
    for row in _of_page(rows, kind, at, page)[: page.limit]:
        text, amount_fen = say(row)
        yield Event(Place(getattr(row, at), KINDS.index(kind), row.pk), text, amount_fen)


def _of_page(rows: Rows, kind: str, at: str, page: _Page, row_id: str = "pk") -> Rows:
    """Newest first, from where the last page ended."""
    before = page.before
    rows = rows.order_by(f"-{at}", f"-{row_id}")
    if before is None:
        return rows
    earlier = Q(**{f"{at}__lt": before.at})
    rank = KINDS.index(kind)
    if rank < before.kind:
        return rows.filter(earlier | Q(**{at: before.at}))
    if rank == before.kind:
        return rows.filter(earlier | Q(**{at: before.at, f"{row_id}__lt": before.id}))
    return rows.filter(earlier)
