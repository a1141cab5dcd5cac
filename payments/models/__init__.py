"""Who takes money for us, what somebody wants to pay, and what a provider says was paid."""

from __future__ import annotations

from payments.models.counter import CounterReceipt, Means, ReceiptNumbers
from payments.models.merchant import Merchant, MerchantProperty, Provider, ProviderKey, RechargeLimits
from payments.models.order import Attempt, Order
from payments.models.payment import Payment, ProviderEvent, Refund, ShippingNotice

__all__ = [
    "Attempt",
    "CounterReceipt",
    "Means",
    "Merchant",
    "MerchantProperty",
    "Order",
    "Payment",
    "Provider",
    "ProviderEvent",
    "ProviderKey",
    "ReceiptNumbers",
    "RechargeLimits",
    "Refund",
    "ShippingNotice",
]
