"""Money, prices, usage, and what decides whether power may flow."""

from billing.models.purses import JournalEntry, LedgerAccount, Purse, Transfer
from billing.models.supply import CutHold, StaffHold, SupplyPolicy

__all__ = ["CutHold", "JournalEntry", "LedgerAccount", "Purse", "StaffHold", "SupplyPolicy", "Transfer"]
