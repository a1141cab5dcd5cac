"""The kinds of entries of the ledger in people's words."""

from __future__ import annotations

from typing import Final

from django.utils.translation import gettext_lazy as _

KINDS: Final = {
    "counter": _("counter recharge"),
    "counter_correction": _("correction of a counter recharge"),
    "from_suspense": _("out of suspense"),
    "onward": _("sent on to the meter"),
    "meter_taken_out": _("taken out of a meter"),
    "recharge": _("recharge"),
    "suspense": _("into suspense"),
    "refund": _("refund"),
    "top_up_landed": _("landed in the meter"),
    "top_up_cancelled": _("came back from a cancelled top-up"),
    "usage": _("electricity used in a day"),
    "usage_corrected": _("correction of a day's electricity"),
    "price_adjustment": _("a day's electricity at its final price"),
    "room_change": _("moved along into another room"),
}


def kind(code: str) -> str:
    """A kind of entry for people; a code that is not known is shown as it is."""
    return str(KINDS.get(code, code))
