"""Watt-hours, micro-fen and nano-fen: integers that multiply exactly and are rounded once.

1 kWh is 1,000 Wh and a micro-fen is 1e-8 yuan, so Wh x micro-fen/kWh = 1e-3 x 1e-6 fen = 1e-9 fen: a nano-fen.
"""

from __future__ import annotations

import re
from typing import Final

NANO_FEN_PER_FEN: Final = 1_000_000_000
MICRO_FEN_PER_YUAN: Final = 100_000_000

# Published prices have up to 8 decimals of a yuan; ASCII digits only, no sign, no exponent.
_YUAN_PER_KWH = re.compile(r"(0|[1-9][0-9]{0,2})(?:\.([0-9]{1,8}))?")
_KWH = re.compile(r"(0|[1-9][0-9]{0,8})(?:\.([0-9]{1,3}))?")


def price(yuan_per_kwh: str) -> int:
    """Yuan per kWh as written ("0.60886875") in micro-fen per kWh. Raises ValueError for anything else."""
    return _scaled(_YUAN_PER_KWH.fullmatch(yuan_per_kwh), decimals=8)


def yuan(price_micro_fen_per_kwh: int) -> str:
    """Micro-fen per kWh as yuan, without zeros at the end: "0.53", "1"."""
    return _written(price_micro_fen_per_kwh, decimals=8)


def energy_wh(kwh: str) -> int:
    """Kilowatt-hours as written ("2760", "0.125") in Wh. Raises ValueError for anything else."""
    return _scaled(_KWH.fullmatch(kwh), decimals=3)


def kwh(energy_wh: int) -> str:
    """Wh as kilowatt-hours, without zeros at the end: "2760", "0.125"."""
    return _written(energy_wh, decimals=3)


def to_fen(total_nano_fen: int) -> int:
    """A running total in whole fen, half a fen up: towards plus infinity, below zero too."""
    return (2 * total_nano_fen + NANO_FEN_PER_FEN) // (2 * NANO_FEN_PER_FEN)


def to_post(*, total_nano_fen: int, posted_fen: int) -> int:
    """Fen to post now, so that all postings together are the running total, rounded once. Negative: give back."""
    return to_fen(total_nano_fen) - posted_fen


def shown_apart(*, energy_nano_fen: int, fee_nano_fen: int) -> tuple[int, int]:
    """Fen for the energy and fen for the service fee, as a bill shows them: together they are the rounded total.

    The fee is rounded by itself and the energy is what remains, so its share may differ from its own rounding by a fen.
    """
    fee_fen = to_fen(fee_nano_fen)
    return to_fen(energy_nano_fen + fee_nano_fen) - fee_fen, fee_fen


def share(whole: int, *, part: int, of: int) -> int:
    """`whole x part / of`, floored. Parts taken as differences of shares of a running total always add up."""
    return whole * part // of


def _scaled(match: re.Match[str] | None, *, decimals: int) -> int:
    if match is None:
        raise ValueError("not a decimal number of this unit")
    whole, fraction = match.groups(default="")
    return int(whole + fraction.ljust(decimals, "0"))


def _written(scaled: int, *, decimals: int) -> str:
    whole, fraction = divmod(scaled, 10**decimals)
    return f"{whole}.{fraction:0{decimals}d}".rstrip("0").rstrip(".")
