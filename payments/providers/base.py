"""What all providers translate into: one frozen Receipt, and errors by blame. They translate, they never decide."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, Protocol

from accounts.vendors import ProviderBadAnswer, ProviderError, ProviderRefused, ProviderUnsure

__all__ = [
    "CLOSED",
    "NOTHING",
    "PAID",
    "PAYMENT",
    "REFUND",
    "UNKNOWN",
    "UNPAID",
    "BadCallback",
    "BadContent",
    "BadSignature",
    "Probe",
    "Provider",
    "ProviderBadAnswer",
    "ProviderError",
    "ProviderRefused",
    "ProviderUnsure",
    "Receipt",
    "Receiver",
    "WrongReceiver",
    "fen_of",
    "yuan_of",
]

PAYMENT, REFUND, NOTHING = "payment", "refund", "nothing"
UNPAID, PAID, CLOSED, UNKNOWN = "unpaid", "paid", "closed", "unknown"

CURRENCY = "CNY"
MOST_FEN = 2**31 - 1  # what our columns hold; 21 million yuan is no recharge
YUAN = re.compile(r"[0-9]{1,10}(\.[0-9]{1,2})?")
INSTANTS = ("paid_at", "refunded_at")


class BadCallback(Exception):
    """A callback that is not acted on. `reason` is a short word for machines, `detail` names the part at fault.

    `is_signed` tells whether the provider's signature was right all the same: then a person has to look.
    """

    is_signed: ClassVar[bool] = False

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail[:64]


class BadSignature(BadCallback):
    """Nothing proves that the provider sent this."""


class Probe(BadSignature):
    """WeChat's own test whether we verify: refused like any other forgery, but nothing to be alarmed about."""


class BadContent(BadCallback):
    """The provider signed it, and it cannot be read: a wrong key of ours, or a change of theirs."""

    is_signed = True


class WrongReceiver(BadCallback):
    """Genuine, and meant for somebody else. `reason` says what differs: wrong_account, wrong_app_id, …"""

    is_signed = True


class Receiver(NamedTuple):
    """Who was paid. None where the provider does not say, "" where there is none.

    WeChat: mchid, sub_mchid, appid, sub_appid (partner mode: sp_mchid and sp_appid come first). Alipay: seller_id and
    app_id.
    """

    account: str | None = None
    sub_account: str | None = None
    app_id: str | None = None
    sub_app_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a provider says of one attempt, verified: by callback or in answer to a query.

    `kind` is payment, refund or nothing; a payment names its transaction, its amount and when. `trade_state` is unpaid,
    paid, closed, or unknown: the provider has not heard of the number (yet). `provider_state` is the provider's word.
    `amount_fen` is what was ordered and paid, coupons included. `refund_fen` is what was given back: in all so far
    where `is_refund_total` (Alipay), by this refund alone otherwise (WeChat). Instants are aware.
    """

    provider: str
    kind: str
    trade_state: str
    attempt_number: str
    provider_state: str = ""
    event_id: str = ""
    provider_transaction: str = ""
    amount_fen: int = 0
    currency: str = CURRENCY
    paid_at: datetime | None = None
    payer: str = ""
    receiver: Receiver = field(default_factory=Receiver)
    refund_fen: int = 0
    is_refund_total: bool = False
    refund_number: str = ""
    refund_state: str = ""  # success, abnormal (the payer's bank refused it: a person must act), closed (it is off)
    refunded_at: datetime | None = None

    def check_receiver(self, expected: Receiver) -> None:
        """Raises WrongReceiver unless everything the provider says about the receiver is as expected."""
        for name, said, wanted in zip(Receiver._fields, self.receiver, expected, strict=True):
            if said is not None and said != (wanted or ""):
                raise WrongReceiver(f"wrong_{name}", said)
        if self.currency != CURRENCY:
            raise WrongReceiver("wrong_currency", self.currency)

    def is_for(self, receiver: Receiver) -> bool:
        """Whether nothing about the receiver is other than expected."""
        try:
            self.check_receiver(receiver)
        except WrongReceiver:
            return False
        return True

    def is_refund_done(self) -> bool:
        """Whether money went back. A refund that failed at the payer's bank, or was called off, has moved none."""
        return self.kind == REFUND and self.refund_state == "success"

    def as_json(self) -> dict[str, Any]:
        """For the evidence; `from_json` reads it back."""
        content = {one.name: getattr(self, one.name) for one in fields(self)}
        content["receiver"] = self.receiver._asdict()
        for name in INSTANTS:
            instant = content[name]
            content[name] = instant.isoformat() if instant else None
        return content

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Receipt:
        """The receipt that `as_json` wrote down."""
        instants = {name: datetime.fromisoformat(content[name]) if content[name] else None for name in INSTANTS}
        return cls(**content | instants | {"receiver": Receiver(**content["receiver"])})


class Provider(Protocol):
    """An outgoing client. Every call ends in time; it raises ProviderRefused, ProviderUnsure or ProviderBadAnswer."""

    def create(
        self, *, number: str, amount_fen: int, description: str, payer: str, expires_at: datetime, notify_url: str
    ) -> str:
        """Makes the trade in the mini-program and returns its handle; the same parameters again are an answer."""

    def query(self, number: str) -> Receipt:
        """How the trade stands."""

    def close(self, number: str) -> str:
        """Closes an unpaid trade and returns its state then: closed, paid (too late), or unknown (see Receipt)."""


def fen_of(yuan: str) -> int:
    """Fen from a provider's text such as 50.00; ValueError for anything finer than a fen, negative or absurd."""
    if not YUAN.fullmatch(yuan):
        raise ValueError("not an amount in yuan")
    whole, _, part = yuan.partition(".")
    fen = int(whole) * 100 + int(part.ljust(2, "0"))
    if fen > MOST_FEN:
        raise ValueError("more than anybody pays")
    return fen


def yuan_of(amount_fen: int) -> str:
    """Two decimals, always: 50.00."""
    return f"{amount_fen // 100}.{amount_fen % 100:02d}"
