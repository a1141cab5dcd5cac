"""What the channels share: answers read, and failures of a call named as an outcome."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from accounts.vendors import Answer as Told
from accounts.vendors import ProviderBadAnswer, ProviderError, ProviderRefused, excerpt
from notifications.channels.base import Answer, Outcome

BEIJING: Final = ZoneInfo("Asia/Shanghai")  # in which vendors write instants and days
TOO_MANY: Final = 429
LONGEST: Final = 64  # what we keep of a vendor's number or code
LONGEST_MESSAGE: Final = 400
MOST_PARTS: Final = 20
NOT_EVEN_CONNECTED: Final = {"ConnectTimeout", "SSLError"}  # nothing was sent


def as_object(answer: Told) -> dict[str, Any]:
    """The JSON object of an answer, whatever its status says. Raises ProviderBadAnswer for anything else."""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ProviderBadAnswer(f"HTTP {answer.status}", excerpt(answer.body), status=answer.status)
    return found


def failed(error: ProviderError) -> Answer:
    """A call without a usable answer: put off where nothing can have been sent, else unknown."""
    if isinstance(error, ProviderRefused):
        return Answer(outcome=Outcome.REFUSED, code=error.code, detail=error.message[:200])
    surely_not = error.code in NOT_EVEN_CONNECTED or error.status == TOO_MANY
    return Answer(outcome=Outcome.LATER if surely_not else Outcome.UNKNOWN, code=error.code)


def wechat_failed(error: ProviderError) -> Answer:
    """The same for WeChat, which says with an errcode that it did not take a message: busy, a quota, a token."""
    if error.code == "token" or error.code.lstrip("-").isdigit():
        return Answer(outcome=Outcome.LATER, code=error.code)
    return failed(error)


def text_of(row: Mapping[str, Any], name: str) -> str:
    """A vendor's text or number as our tables take it: blank where it is neither, or holds what no text holds."""
    value = row.get(name)
    text = str(value)[:LONGEST] if isinstance(value, str | int) else ""
    return text if text.isprintable() else ""


def instant_of(text: str) -> datetime | None:
    """A vendor's "2017-05-25 00:00:00"; None where it is blank or something else."""
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=BEIJING)
    except ValueError:
        return None


def parts_of(row: Mapping[str, Any], name: str) -> int:
    """How many parts of an SMS were charged; 0 where the vendor does not say, or says what cannot be."""
    text = text_of(row, name)
    return int(text) if text.isascii() and text.isdigit() and int(text) <= MOST_PARTS else 0


def without_person(text: str, address: str) -> str:
    """A vendor's message, for the log and the staff: without the number or openid that it may repeat."""
    shown = "".join(character for character in text[:LONGEST_MESSAGE] if character.isprintable())
    return (shown.replace(address, "…") if address else shown)[:200]
