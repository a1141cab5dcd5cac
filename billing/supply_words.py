"""Why a home keeps its power although its money is used up: the codes of billing/policy.py in people's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import reduce
from typing import Any, Final

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing import money
from billing.policy import Verdict, Why

WHY_NOT: Final = {
    Why.NO_LEGAL_BASIS: gettext_lazy("the property has not recorded on what basis it may cut"),
    Why.PROTECTED_ROOM: gettext_lazy("the power of this room is kept on"),
    Why.MONEY_BEING_CONFIRMED: gettext_lazy("a payment is being confirmed"),
    Why.READING_IN_DOUBT: gettext_lazy("a reading of the meter is being looked into"),
    Why.READING_STALE: gettext_lazy("the meter has not reported for a while"),
    Why.OUTAGE: gettext_lazy("a system that it depends on is disturbed"),
    Why.EXTREME_WEATHER: gettext_lazy("extreme weather"),
    Why.PROTECTED_HOUR: gettext_lazy("nobody is cut at this hour"),
    Why.PROTECTED_WEEKDAY: gettext_lazy("nobody is cut on this weekday"),
    Why.HOLIDAY: gettext_lazy("nobody is cut on a public holiday"),
    Why.CUT_TODAY: gettext_lazy("the power was cut today already"),
    Why.NOTICE_NOT_PROVEN: gettext_lazy("the notice has not been proven to have arrived"),
    Why.NOTICE_RUNNING: gettext_lazy("the period of the notice is running"),
}
VERDICTS: Final = {
    Verdict.HOLD_OPEN: gettext_lazy("held off by the property"),
    Verdict.HOLD_CLOSED: gettext_lazy("held on by the property"),
    Verdict.PAID: gettext_lazy("there is money"),
    Verdict.CREDIT: gettext_lazy("on credit"),
    Verdict.SPARED: gettext_lazy("used up, not cut"),
    Verdict.SPENT: gettext_lazy("used up, cut"),
    Verdict.NONE: gettext_lazy("nobody lives there"),
}


def verdict(code: str) -> str:
    """A verdict for people; a code that is not known is shown as it is."""
    return str(VERDICTS[Verdict(code)]) if code in set(Verdict) else code


def level(code: str) -> str:
    """A level that is warned of ("fen:500", "percent:20", "days:3", "own:5000", "used_up") for people."""
    name, _colon, figure = code.partition(":")
    if name == "fen" and figure.lstrip("-").isdecimal():
        return _("below %(amount)s") % {"amount": money.shown(int(figure))}
    if name == "percent":
        return _("below %(percent)s %% of the last recharge") % {"percent": figure}
    if name == "days":
        return _("lasts for less than %(days)s days") % {"days": figure}
    if name == "own" and figure.isdecimal():
        return _("below %(amount)s, as the home has asked") % {"amount": money.shown(int(figure))}
    return _("used up") if code == "used_up" else code


def why_not(because: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """The reasons of a decision (`SupplyDecision.because`) that keep the power on, with their ends where known."""
    return [_reason(Why(code), params) for code, params in because if code in set(Why)]


def listed(reasons: Iterable[str]) -> str:
    """Reasons one after another, for people."""
    first, *others = [*reasons] or [""]
    return reduce(lambda said, more: _("%(said)s; %(more)s") % {"said": said, "more": more}, others, first)


def _reason(code: Why, params: Mapping[str, Any]) -> str:
    until = params.get("until")
    if not isinstance(until, str):
        return str(WHY_NOT[code])
    at = timezone.localtime(datetime.fromisoformat(until))
    return _("%(reason)s, until %(at)s") % {"reason": WHY_NOT[code], "at": f"{at:%Y-%m-%d %H:%M}"}
