"""What a work item is about, for people: each part with its label, money in yuan, codes in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import staff
from notifications.models import WorkItem
from notifications.words import in_words

LABELS = {
    "amount_fen": _("amount"),
    "available_fen": _("balance"),
    "balance_fen": _("balance in the meter"),
    "count": _("purchase count of the meter"),
    "dispute": _("dispute"),
    "doubt": _("reading in doubt"),
    "error": _("error"),
    "event": _("event"),
    "hours": _("limit, hours"),
    "import_wh": _("register, Wh"),
    "merchant": _("merchant"),
    "meter": _("meter"),
    "meters": _("meters"),
    "meter_fen": _("taken by the meter"),
    "month": _("month"),
    "number": _("number"),
    "online": _("online"),
    "ours_fen": _("by our tariff"),
    "payment": _("payment"),
    "property": _("property"),
    "purse": _("purse"),
    "read_at": _("read at"),
    "reason": _("reason"),
    "receipt": _("receipt number"),
    "refund": _("refund"),
    "reported": _("reported"),
    "room": _("room"),
    "silent": _("meters that are not heard"),
    "unread": _("meters that are not read"),
    "since": _("since"),
    "state": _("state"),
    "tenancy": _("tenancy"),
    "topic": _("topic"),
    "top_up": _("top-up"),
    "top_ups": _("top-ups"),
    "tries": _("tries"),
    "wanted": _("wanted"),
    "why": _("why"),
    # What a meter is told of the policy, and does not go by.
    "warn_1": _("first warning, fen"),
    "warn_2": _("second warning, fen"),
    "overdr": _("overdraft, fen"),
    "keep": _("keep supply"),
    "holidays": _("no cut on holidays"),
}
# Of meters, which lie above: positions of a relay, states of a top-up.
VALUES = {
    "open": _("open"),
    "permitted": _("close permitted"),
    "closed": _("closed"),
    "auto": _("automatic"),
    "waiting": _("waiting"),
    "sent": _("sent"),
    "unknown": _("unknown: reading back"),
    "landed": _("in the meter"),
    "stuck": _("needs a person"),
    "cancelled": _("cancelled"),
}
CODES = ("why", "reason", "error", "warn_1", "warn_2", "overdr", "keep", "holidays")
STATES = ("state", "wanted", "reported")


def laid_out(item: WorkItem) -> Iterator[tuple[str, str]]:
    """Label and value of everything that is known, in the order in which it was told."""
    for name, value in item.detail.items():
        yield str(LABELS.get(name, name)), _in_words(name, value)


def in_short(item: WorkItem) -> str:
    """What tells one item from another, in one line; the rest stands on its page."""
    told = [_in_words(name, item.detail[name]) for name in ("meter", "why", "reason") if item.detail.get(name)]
    fen = next((name for name in item.detail if name.endswith("_fen")), None)
    return ", ".join([*told, _in_words(fen, item.detail[fen])] if fen else told)[:120]


def _in_words(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, int) and name.endswith("_fen"):
        return staff.yuan(value)
    if value is None:
        return gettext("unknown")
    text = str(value)
    if name in CODES:
        return in_words(text)
    if name in ("since", "read_at") and (at := parse_datetime(text)):
        return timezone.localtime(at).strftime("%Y-%m-%d %H:%M:%S")
    return str(VALUES.get(text, text)) if name in STATES else text
