"""Codes by SMS: whoever tells the code reads what is sent to that number, and so the number is theirs.

Six digits can be guessed, so a code ends after five tries and ten minutes, the newest alone is good, and it is good
once. An SMS costs, and annoys who did not ask for it: so they are counted by number and by address.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.db.models import F
from django.utils.crypto import constant_time_compare, salted_hmac

from accounts import guesses
from accounts.guesses import Limit
from accounts.models import PhoneCode, User

LIFETIME: Final = timedelta(minutes=10)
TRIES: Final = 5
# As vendors limit codes themselves (facts: one a minute, five an hour, ten a day), so that we say it first.
PER_PHONE: Final = (
    Limit(kind="sms_minute", times=1, window=timedelta(minutes=1)),
    Limit(kind="sms_hour", times=5, window=timedelta(hours=1)),
    Limit(kind="sms_day", times=10, window=timedelta(days=1)),
)
PER_ADDRESS: Final = Limit(kind="sms_address", times=30, window=timedelta(hours=1))


class WrongCodeError(Exception):
    """This is not the code that was sent. It can be tried again."""


class CodeEndedError(Exception):
    """There is no code, it was used, tried too often, or has run out: ask for another."""


class Made(NamedTuple):
    """`code` is told here and never again; another may be asked for from `again_at` on."""

    row: PhoneCode
    code: str
    again_at: datetime


def make(*, phone: str, user: User | None, address: str, now: datetime) -> Made:
    """A code for logging in, or (with a user) for proving a number; committed before anybody sends it.

    Raises guesses.TooManyGuessesError.
    """
    for limit in PER_PHONE:
        guesses.spend(limit, who=phone, now=now)
    guesses.spend(PER_ADDRESS, who=address[:64], now=now)
    code = f"{secrets.randbelow(10**6):06d}"
    row = PhoneCode.objects.create(
        phone=phone,
        purpose=_purpose(user),
        user=user,
        digest=_digest(phone, user, code),
        made_at=now,
        expires_at=now + LIFETIME,
    )
    return Made(row, code, now + PER_PHONE[0].window)


def use(*, phone: str, user: User | None, code: str, now: datetime) -> None:
    """Uses up the newest code of this number: of two who tell it at once, one is believed.

    Call it outside of a transaction that may be rolled back: a try that failed stays counted. Raises WrongCodeError,
    CodeEndedError.
    """
    use_up(look_at(phone=phone, user=user, code=code, now=now), now=now)


def use_up(told: PhoneCode, *, now: datetime) -> None:
    """Ends a code that was looked at and found right; no try more. Raises CodeEndedError where it ended meanwhile."""
    if not PhoneCode.objects.filter(pk=told.pk, used_at=None).update(used_at=now):
        raise CodeEndedError


def look_at(*, phone: str, user: User | None, code: str, now: datetime) -> PhoneCode:
    """The code, if it is right, without using it up: for a question that comes before what it is needed for. It counts
    as a try all the same. Raises as `use`.
    """
    asked = PhoneCode.objects.filter(phone=phone, purpose=_purpose(user), user=user)
    newest = asked.order_by("-made_at", "-pk").first()
    if newest is None:
        raise CodeEndedError
    good = PhoneCode.objects.filter(pk=newest.pk, used_at=None, expires_at__gt=now)
    if not good.filter(tries__lt=TRIES).update(tries=F("tries") + 1):
        raise CodeEndedError
    if not constant_time_compare(newest.digest, _digest(phone, user, code)):
        raise WrongCodeError
    return newest


def was_sent(row: PhoneCode, *, sent: str) -> None:
    """Notes what the vendor answered."""
    PhoneCode.objects.filter(pk=row.pk).update(sent=sent)


def forget_old(*, now: datetime) -> int:
    """Deletes codes that ended a month ago: they tell who wanted to log in when. Returns how many."""
    return PhoneCode.objects.filter(expires_at__lt=now - timedelta(days=30)).delete()[0]


def _purpose(user: User | None) -> str:
    return PhoneCode.Purpose.LOGIN if user is None else PhoneCode.Purpose.PHONE


def _digest(phone: str, user: User | None, code: str) -> str:
    """Keyed, so that a table of a million digests finds no code."""
    told = f"{phone}:{user.pk if user else ''}:{code}"
    return salted_hmac("accounts.phone_codes", told, algorithm="sha256").hexdigest()
