"""Logging in by a code to one's phone, from any browser: made, sent, told, used."""

from __future__ import annotations

from datetime import datetime

from accounts import invitations, login, phone_codes
from accounts.login import SignedIn
from accounts.models import PhoneCode, User
from accounts.phone_codes import Made
from notifications import login_codes
from notifications.channels.base import Outcome

SENT = {
    Outcome.HANDED: PhoneCode.Sent.HANDED,
    Outcome.UNKNOWN: PhoneCode.Sent.UNKNOWN,
    Outcome.REFUSED: PhoneCode.Sent.REFUSED,
    Outcome.LATER: PhoneCode.Sent.REFUSED,
}


class NotSentError(Exception):
    """No vendor took the SMS; another code may be asked for in a minute."""


def send(*, phone: str, user: User | None, address: str, language: str, now: datetime) -> Made:
    """A code on its way to this phone: for logging in, or (with a user) to prove that the number is theirs.

    Says nothing about whether anybody has this number. Waits for the network. Raises guesses.TooManyGuessesError,
    login_codes.NoSmsError, NotSentError.
    """
    made = phone_codes.make(phone=phone, user=user, address=address, now=now)
    minutes = int(phone_codes.LIFETIME.total_seconds() // 60)
    outcome = login_codes.send(phone=phone, code=made.code, minutes=minutes, language=language)
    phone_codes.was_sent(made.row, sent=SENT[outcome])
    if outcome not in (Outcome.HANDED, Outcome.UNKNOWN):
        raise NotSentError
    return made


def enter(*, phone: str, code: str, now: datetime) -> SignedIn:
    """Logs in by the code. Homes that staff keep ready for this number are theirs from now on.

    Raises phone_codes.WrongCodeError, phone_codes.CodeEndedError, login.LoginClosedError.
    """
    phone_codes.use(phone=phone, user=None, code=code, now=now)
    signed_in = login.sign_in_phone(phone, now=now)
    invitations.join_by_phone(user=signed_in.user, phone=phone, now=now)
    return signed_in
