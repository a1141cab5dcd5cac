"""What every channel takes and gives: a letter in, an answer out. Channels translate; they never decide, and they do
not see our tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Protocol


class Outcome(StrEnum):
    """What a vendor said about one letter."""

    HANDED = "handed"  # taken over
    REFUSED = "refused"  # for good: the same again would be refused again
    LATER = "later"  # not now, and surely not sent: a frequency limit, a quota, a fault before it was looked at
    UNKNOWN = "unknown"  # nobody can say: a timeout, a broken line, an answer that cannot be believed


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One message, ready for its channel.

    `reference` is ours, 32 characters of [0-9a-f], unique: SMS vendors keep it (OutId, SessionContext), the official
    account drops a second one of the same (client_msg_id). `address` is a phone number of 11 digits or an openid.
    `fields` are the parameters of the vendor's template in its order, by the vendor's names; `text` is what a person
    reads where the channel has no template (inbox, console), and what is kept as proof. `page` is a path within the
    mini-program, blank for none; `url` an address that a browser opens.
    """

    reference: str
    address: str = field(repr=False)
    template_id: str
    fields: Mapping[str, str]
    text: str = field(repr=False)
    language: str = "zh-hans"
    page: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The outcome; `code` is the vendor's, `detail` its message, cut to 200 characters and without personal data.

    `is_permit_gone`: the person has no subscription left. `is_person_gone`: they left the app or the account, or the
    number does not exist. `parts` is how many SMS were charged, 0 where the vendor does not say.
    """

    outcome: Outcome
    vendor_id: str = ""
    code: str = ""
    detail: str = ""
    is_permit_gone: bool = False
    is_person_gone: bool = False
    parts: int = 0


class Fate(StrEnum):
    """What became of a letter after the vendor had taken it."""

    HANDED = "handed"  # on its way, or the vendor has no news
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """News about one letter, from a vendor's callback or an answer to our question.

    It is found by `reference` where the vendor keeps ours, else by `vendor_id`. `at` is the vendor's instant, None
    where it tells none; `code` why it was not delivered.
    """

    fate: Fate
    reference: str = ""
    vendor_id: str = ""
    at: datetime | None = None
    code: str = ""
    parts: int = 0


class BadReceiptError(Exception):
    """A callback that nobody vouches for, or that cannot be read. `code` is a word of notifications/words.py."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Carries(Protocol):
    """A channel. Safe to share between threads; no network until something is sent; never raises for what a vendor
    says or does.
    """

    def send(self, letter: Letter) -> Answer:
        """Hands one letter over: one request, with a timeout, without a second try."""


class Traceable(Carries, Protocol):
    """A channel that can be asked what became of a letter.

    What it does not know `absence_proves_after` it was never taken; None where its silence proves nothing.
    """

    absence_proves_after: timedelta | None

    def look_up(self, *, reference: str, address: str, sent_on: date) -> Sequence[Receipt] | None:
        """What the vendor knows of it: empty when it knows of none by now, None when it could not be asked."""
