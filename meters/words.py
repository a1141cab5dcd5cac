"""What meters report, and why something is wanted of them, in the words of the property's staff."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

# By the floor above that decides about the supply (a reason that is not here is shown as it is).
LEVEL_REASONS = {
    "hold_open": _("held off by staff"),
    "hold_closed": _("held on by staff"),
    "paid": _("there is money left"),
    "spent": _("the money is used up"),
    "credit": _("used on credit"),
    "spared": _("used up, and it may not be cut now"),
    "none": _("nobody draws on it"),
    "policy": _("laid down by the property"),
}
# What the wire format knows (wire/base.py: Happening).
EVENTS = {
    "cover_opened": _("cover opened"),
    "power_failed": _("power failed"),
    "power_restored": _("power restored"),
    "balance_cut": _("switched off for want of money"),
    "overload": _("overload"),
    "button_pressed": _("button pressed"),
}


def level_reason(code: str) -> str:
    return str(LEVEL_REASONS.get(code, code))


def event(kind: str) -> str:
    return str(EVENTS.get(kind, kind))
