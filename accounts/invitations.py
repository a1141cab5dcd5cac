"""Ways into a tenancy: a code that staff print, or a phone number that WeChat vouches for. Each is used once.

A code is shown when it is made and never again: its keyed digest is kept, so that neither our tables nor a backup of
them tells it. Tries are counted per person before they are looked at.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils.crypto import salted_hmac

from accounts import guesses, joining
from accounts.models import PHONE, Invitation, Member, Tenancy, User

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # without 0 and O, 1 and I: people copy it from paper
CODE_LENGTH = 8  # 32 ** 8 codes: at ten guesses an hour a person nobody finds one
LIFETIME = timedelta(days=14)
GUESSES = guesses.Limit(kind="invitation", times=10, window=timedelta(hours=1))


class UnknownCodeError(Exception):
    """No open invitation has this code: never made, used by another, taken back or run out. Told alike to guessers."""


class TenancyEndedError(Exception):
    """Nobody can join: the tenancy has ended."""


class Invited(NamedTuple):
    invitation: Invitation
    code: str


class Joined(NamedTuple):
    """`is_new` is False when they lived there already, and then nothing was written."""

    member: Member
    is_new: bool


def invite(
    *, tenancy: Tenancy, role: str, phone: str, by: User | None, now: datetime, lifetime: timedelta = LIFETIME
) -> Invited:
    """Makes a way into a tenancy; `phone` (11 digits or blank) also lets that number in without the code.

    Raises TenancyEndedError, and ValidationError for what is no mainland mobile number. A tenancy that has not begun
    may be joined already; it is seen from its first day.
    """
    if tenancy.ends_at is not None and tenancy.ends_at <= now:
        raise TenancyEndedError
    if phone:
        PHONE(phone)
    code = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))
    invitation = Invitation.objects.create(
        tenancy=tenancy,
        role=role,
        code_digest=digest_of(code),
        phone=phone,
        created_at=now,
        expires_at=now + lifetime,
        created_by=by,
    )
    return Invited(invitation, code)


def revoke(*, invitation: Invitation, now: datetime) -> bool:
    """Takes an invitation back; False when somebody used it, or took it back, before."""
    open_one = Invitation.objects.filter(pk=invitation.pk, used_at__isnull=True, revoked_at__isnull=True)
    return open_one.update(revoked_at=now) == 1


def join_by_code(*, user: User, code: str, now: datetime) -> Joined:
    """Lets a person into the tenancy of a code; their own code again is an answer, not an error.

    Who is invited as holder where one lives already joins as sharer. Raises TooManyGuessesError, UnknownCodeError,
    TenancyEndedError. Not to be called inside a transaction: the guess
    is counted even when it fails.
    """
    guesses.spend(GUESSES, who=f"user:{user.pk}", now=now)
    invitation = Invitation.objects.filter(code_digest=digest_of(code)).first()
    if invitation is None:
        raise UnknownCodeError
    return _join(invitation, user=user, now=now)


def join_by_phone(*, user: User, phone: str, now: datetime) -> list[Joined]:
    """Lets the proven owner of a phone number into every tenancy that invited it; none is an empty list.

    The number becomes the person's own, unless it is another's. Invitations whose tenancy has ended are passed over.
    """
    user = _keep_phone(user, phone)
    with transaction.atomic():
        invited = Invitation.objects.filter(_open(now) | Q(used_by=user), phone=phone).order_by("tenancy_id", "pk")
        return list(_join_those_possible(invited, user=user, now=now))


def digest_of(code: str) -> str:
    """SHA-256 keyed with SECRET_KEY. Case, blanks and hyphens do not count: people type them as they like."""
    plain = "".join(code.split()).replace("-", "").upper()
    return salted_hmac("accounts.invitations", plain, algorithm="sha256").hexdigest()


def _open(now: datetime) -> Q:
    return Q(used_at__isnull=True, revoked_at__isnull=True, expires_at__gt=now)


def _join_those_possible(invited: Iterable[Invitation], *, user: User, now: datetime) -> Iterable[Joined]:
    for invitation in invited:
        try:
            yield _join(invitation, user=user, now=now)
        except (UnknownCodeError, TenancyEndedError):
            continue  # somebody was quicker, or staff ended it: the others still count


@transaction.atomic
def _join(invitation: Invitation, *, user: User, now: datetime) -> Joined:
    """Locks the tenancy, then looks: so one holder, one membership a person, one use of an invitation. The person is
    held before it, as where two logins are joined."""
    user = joining.standing(user)
    tenancy = Tenancy.objects.select_for_update().get(pk=invitation.tenancy_id)
    if tenancy.ends_at is not None and tenancy.ends_at <= now:
        raise TenancyEndedError
    present = Member.objects.filter(tenancy=tenancy, left_at__isnull=True)
    usable = Invitation.objects.filter(_open(now), pk=invitation.pk)
    if member := present.filter(user=user).first():
        if not usable.exists() and not Invitation.objects.filter(pk=invitation.pk, used_by=user).exists():
            raise UnknownCodeError
        return Joined(member, is_new=False)  # the invitation stays open for whom it was meant
    if not usable.update(used_at=now, used_by=user):
        raise UnknownCodeError
    role = Member.Role.SHARER if present.filter(role=Member.Role.HOLDER).exists() else invitation.role
    return Joined(Member.objects.create(tenancy=tenancy, user=user, role=role, joined_at=now), is_new=True)


def _keep_phone(user: User, phone: str) -> User:
    try:
        with transaction.atomic():
            kept = joining.standing(user)
            User.objects.filter(pk=kept.pk).update(phone=phone)
    except IntegrityError:
        return user  # it stands with another login of theirs, or with its former owner: staff sort that out
    user.phone = kept.phone = phone
    return kept
