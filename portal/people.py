"""A person's own login: the number it has, the apps it is known by, and two logins that turn out to be one person's."""

from __future__ import annotations

from datetime import datetime

from django.db import IntegrityError, transaction

from accounts import joining, login, phone_codes
from accounts.login import Person
from accounts.models import User
from notifications import inbox
from payments import history


class AnotherLoginError(Exception):
    """Somebody logs in by this already: themselves, earlier; or who had the number before. They have to say which."""


def take_number(*, user: User, phone: str, code: str, joins: bool, now: datetime) -> User:
    """The number is theirs from now on; whose login it is then (the older one, where two were joined).

    Raises phone_codes.WrongCodeError, phone_codes.CodeEndedError; AnotherLoginError unless it `joins` (the code stays
    good for saying so); joining.StaffsLoginError, joining.EndedLoginError.
    """
    try:
        told = phone_codes.look_at(phone=phone, user=user, code=code, now=now)
    except phone_codes.CodeEndedError:
        if User.objects.filter(pk=user.pk, phone=phone).exists():
            return user  # sent again, because the answer was lost: it is theirs
        raise
    if not joins and _owner(phone, user) is not None:
        raise AnotherLoginError
    phone_codes.use_up(told, now=now)
    other = _owner(phone, user)
    with transaction.atomic():
        kept = join(asking=user, other=other, now=now) if other is not None else joining.standing(user)
        try:
            with transaction.atomic():
                User.objects.filter(pk=kept.pk).update(phone=phone)
        except IntegrityError:
            raise AnotherLoginError from None  # taken by another login within this instant
    kept.phone = phone
    return kept


def add_app(*, user: User, person: Person, joins: bool, now: datetime) -> User:
    """They log in by this app as well from now on; whose login it is then. Raises as take_number."""
    with transaction.atomic():
        identity = login.recognise(person, asking=user)
        user = joining.standing(user)
    if identity.user_id == user.pk:
        return user
    if not joins:
        raise AnotherLoginError
    return join(asking=user, other=identity.user, now=now)


@transaction.atomic
def join(*, asking: User, other: User, now: datetime) -> User:
    """Two logins of one person become one, with all that is theirs on every floor; the one that is kept."""
    kept, gone = joining.join(asking=asking, other=other, now=now)
    history.take_over(kept_id=kept.pk, gone_id=gone.pk)
    inbox.take_over(kept_id=kept.pk, gone_id=gone.pk)
    return kept


def _owner(phone: str, user: User) -> User | None:
    return User.objects.filter(phone=phone).exclude(pk=user.pk).first()
