"""Money, prices, usage, and what decides whether power may flow."""

from billing.models.decisions import Alert, Emergency, Interruption, Notice, Outage, SupplyDecision
from billing.models.mirror import MeterMoney, MirroredDay
from billing.models.operations import Dispute, Operation
from billing.models.purses import JournalEntry, LedgerAccount, Purse, Transfer
from billing.models.supply import CutHold, ProofLevel, RoomPolicy, StaffHold, SupplyPolicy, WeatherHold
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
from billing.models.told import Blackout, OwnLevel, PriceChange
from billing.models.usage import Backlog, Doubt, Draw, Review, UsageDay, UsageMonth, UsageRevision

__all__ = [
    "Alert",
    "Backlog",
    "Blackout",
    "CutHold",
    "Dispute",
    "Doubt",
    "Draw",
    "Emergency",
    "Household",
    "Interruption",
    "JournalEntry",
    "LedgerAccount",
    "MarkUp",
    "MeterMoney",
    "MirroredDay",
    "Notice",
    "Operation",
    "Outage",
    "OwnLevel",
    "PriceChange",
    "PriceSlot",
    "ProofLevel",
    "Purse",
    "Review",
    "RoomPolicy",
    "SpecialDay",
    "StaffHold",
    "SupplyDecision",
    "SupplyPolicy",
    "SupplyPrice",
    "Tariff",
    "TariffAssignment",
    "TariffVersion",
    "Transfer",
    "UsageDay",
    "UsageMonth",
    "UsageRevision",
    "WeatherHold",
]
