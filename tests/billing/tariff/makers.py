"""Tariffs and instants with one interesting argument each."""

from __future__ import annotations

from datetime import datetime

from billing.tariff import parse
from billing.tariff.civil import CIVIL
from billing.tariff.split import Split, Term, split
from billing.tariff.version import Tariff

DAY_AND_NIGHT = [{"day": {"peak": ["08:00-22:00"], "valley": ["22:00-08:00"]}}]


def at(text: str) -> datetime:
    """An instant, in China unless the text says otherwise: "2026-07-01 08:00"."""
    said = datetime.fromisoformat(text)
    return said if said.tzinfo else said.replace(tzinfo=CIVIL)


def one_price(yuan: str = "0.50") -> Tariff:
    return parse.tariff({"prices": [{"yuan": yuan}]})


def day_and_night(**more) -> Tariff:
    """Peak 0.60 from 08:00 to 22:00, valley 0.30 for the rest."""
    return parse.tariff({"periods": DAY_AND_NIGHT, "prices": [{"yuan": {"peak": "0.60", "valley": "0.30"}}], **more})


def tiered(*, kwh=(100,), cycle=None, **more) -> Tariff:
    """0.50 in the first tier, 0.10 more in each that follows."""
    prices = {"yuan": {"flat": "0.50"}, "surcharge_yuan": [f"0.{tier + 1}" for tier in range(len(kwh))]}
    tiers = {"cycle": cycle or {"months": 12}, "limits": [{"kwh": list(kwh)}], **more}
    return parse.tariff({"tiers": tiers, "prices": [prices]})


def cut(from_at: str, to_at: str, energy_wh: int, *tariffs: Tariff, special_days=None, **more) -> Split:
    """The split of an interval under tariffs that follow each other at the given `changes`."""
    starts = ["2000-01-01", *more.pop("changes", [])]
    terms = [
        Term(at(start), version, tariff) for version, (start, tariff) in enumerate(zip(starts, tariffs, strict=True))
    ]
    return split(
        from_at=at(from_at), to_at=at(to_at), energy_wh=energy_wh, terms=terms, special_days=special_days or {}, **more
    )
