"""Tariffs in a reader's words: names of periods, and what is wrong with a definition."""

from __future__ import annotations

from typing import Final

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.deeds import Text
from billing.tariff.errors import DefinitionError
from billing.tariff.periods import Period

PERIODS: Final[dict[Period, Text]] = {
    "sharp": _("sharp"),
    "peak": _("peak"),
    "flat": _("flat"),
    "valley": _("valley"),
    "deep_valley": _("deep valley"),
}


def wrong(error: DefinitionError) -> str:
    """What is wrong, after the place where it is wrong: "prices[0].yuan: …"."""
    text = gettext(error.message_id) % error.params
    return f"{error.path}: {text}" if error.path else text
