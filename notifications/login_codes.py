"""A code for logging in, sent by SMS at once: somebody is looking at the form.

It is no row and in no log: whoever read it could log in as somebody else. So nobody sends it again for the person, and
what a vendor answered is all that is kept.
"""

from __future__ import annotations

import logging
from uuid import uuid4

from accounts.models import Property
from notifications import channels
from notifications.channels.base import Outcome
from notifications.letters import Texts
from notifications.models import Channel, Message
from notifications.routing import SMS

log = logging.getLogger(__name__)
KIND = "login_code"


class NoSmsError(Exception):
    """Nobody here sends SMS: no vendor is set up, or none has a template for codes."""


def send(*, phone: str, code: str, minutes: int, language: str) -> Outcome:
    """By the first vendor that does not refuse it; one that says nothing may have sent it, and is not followed by
    another: two codes would come. Waits for the network. Raises NoSmsError.
    """
    texts, ways = Texts.load(), channels.set_up()
    message = Message(kind=KIND, property=Property(), context={"code": code, "minutes": str(minutes)})
    outcome: Outcome | None = None
    for channel in (*SMS, Channel.CONSOLE):
        carries = texts.carries(kind=KIND, channel=channel, language=language, property_id=0)
        is_fallback = channel == Channel.CONSOLE and outcome is not None
        if channel not in ways or not carries or is_fallback:
            continue
        reference = uuid4().hex
        written = texts.write(message=message, channel=channel, language=language, reference=reference, address=phone)
        answer = ways[channel].send(written.letter)
        outcome = answer.outcome
        log.info("code %s by %s: %s %s", reference, channel, outcome, answer.code)
        if outcome in (Outcome.HANDED, Outcome.UNKNOWN):
            return outcome
    if outcome is None:
        raise NoSmsError
    return outcome
