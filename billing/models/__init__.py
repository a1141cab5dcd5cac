"""Money, prices, usage, and what decides whether power may flow."""

from billing.models.purses import JournalEntry, LedgerAccount, Purse, Transfer
from billing.models.supply import CutHold, StaffHold, SupplyPolicy
from billing.models.tariffs import (
    Household,
    MarkUp,
    PriceSlot,
    SpecialDay,
    SupplyPrice,
    Tariff,
    TariffAssignment,
    TariffVersion,
)
from billing.models.usage import Backlog, Doubt, Draw, Review, UsageDay, UsageMonth, UsageRevision

__all__ = [
    "Backlog",
    "CutHold",
    "Doubt",
    "Draw",
    "Household",
    "JournalEntry",
    "LedgerAccount",
    "MarkUp",
    "PriceSlot",
    "Purse",
    "Review",
    "SpecialDay",
    "StaffHold",
    "SupplyPolicy",
    "SupplyPrice",
    "Tariff",
    "TariffAssignment",
    "TariffVersion",
    "Transfer",
    "UsageDay",
    "UsageMonth",
    "UsageRevision",
]
