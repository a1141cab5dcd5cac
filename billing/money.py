"""Fen inside, yuan at the edges: what people type and read, and what providers write into files.

Money is an `int` of fen everywhere else. Text that says anything finer than a fen is refused, never rounded.
"""

from __future__ import annotations

import re

from django.utils.translation import gettext as _

# ASCII digits only (`\d` would take full-width ones), no exponent, no sign but minus, no separators; 13 digits of yuan
# stay far inside a bigint of fen.
_YUAN = re.compile(r"(-?)(0|[1-9][0-9]{0,12})(?:\.([0-9]+))?")


class NotAnAmount(ValueError):
    """The text is not an amount of money in yuan and fen. The message is for the person who typed it."""


def from_yuan(text: str) -> int:
    """Yuan as written ("50", "50.5", "50.00", "-0.05") to fen.

    Raises NotAnAmount for anything else: blanks, separators, exponents, more than two decimals (even zeros).
    """
    match = _YUAN.fullmatch(text)
    if match is None:
        raise NotAnAmount(_("Write an amount in yuan, such as 50 or 50.00."))
    sign, yuan, decimals = match.groups(default="")
    if len(decimals) > 2:
        raise NotAnAmount(_("Nothing is finer than a fen: write at most two decimals."))
    fen = int(yuan) * 100 + int(decimals.ljust(2, "0"))
    return -fen if sign else fen


def to_yuan(fen: int) -> str:
    """Fen to yuan with two decimals and without separators, as files and programs write it: "-1234.50"."""
    yuan, rest = divmod(abs(fen), 100)
    return f"{'-' if fen < 0 else ''}{yuan}.{rest:02d}"


def shown(fen: int) -> str:
    """Fen as people read it: "¥1,234.50", "-¥0.05"."""
    yuan, rest = divmod(abs(fen), 100)
    return f"{'-' if fen < 0 else ''}¥{yuan:,}.{rest:02d}"
