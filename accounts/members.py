"""Who shares a home: the holder lets people in, sends them out, and may hand the home over; everybody may leave.

Nothing is deleted: `left_at` ends a membership, and from that instant a person sees nothing of the home any more
(scope.py), whatever login they still have. What they recharged stays theirs to look at. Who sent whom out, and who
handed over to whom, stands in the log with the trace of the request.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Q, QuerySet

from accounts import invitations
from accounts.invitations import Invited
from accounts.models import Invitation, Member, Tenancy, User

log = logging.getLogger(__name__)
OPEN_AT_MOST: Final = 5
LIFETIME: Final = timedelta(days=7)
Role = Member.Role


class NoSuchMemberError(Exception):
    """Nobody who lives there has this number; they may have left a moment ago."""


class NotTheHolderError(Exception):
    """This is the holder's to do."""


class HolderStaysError(Exception):
    """The holder hands the home over before they leave; who lives there alone moves out at the property."""


class TooManyInvitationsError(Exception):
    """So many are open already: take one back first."""


def of(tenancy: Tenancy) -> QuerySet[Member]:
    """Who lives there now, the holder first, then who came first."""
    present = Member.objects.filter(tenancy=tenancy, left_at=None).select_related("user", "tenancy__room__building")
    return present.order_by("role", "joined_at", "pk")  # "holder" stands before "sharer"


def is_holder(tenancy: Tenancy, user: User) -> bool:
    """Whether what the holder alone may say is this person's to say."""
    return of(tenancy).filter(user=user, role=Role.HOLDER).exists()


def open_invitations(tenancy: Tenancy, *, now: datetime) -> QuerySet[Invitation]:
    """Those of tenants that somebody can still use; those of staff are not among them.

    Who made one may hold the home no more, or have another login by now: it opens the door all the same.
    """
    still_open = Invitation.objects.filter(tenancy=tenancy, used_at=None, revoked_at=None, expires_at__gt=now)
    people = tenancy.members.values("user")
    return still_open.filter(Q(created_by__in=people) | Q(created_by__merged_into__in=people)).order_by("pk")


@transaction.atomic
def invite(*, tenancy_id: int, by: User, now: datetime) -> Invited:
    """A code that lets one more person in, as a sharer; good for a week. Raises NotTheHolderError,
    TooManyInvitationsError, invitations.TenancyEndedError."""
    tenancy = _held(tenancy_id)
    _check_holder(tenancy, by)
    if open_invitations(tenancy, now=now).count() >= OPEN_AT_MOST:
        raise TooManyInvitationsError
    return invitations.invite(tenancy=tenancy, role=Role.SHARER, phone="", by=by, now=now, lifetime=LIFETIME)


@transaction.atomic
def take_back(*, tenancy_id: int, invitation_id: int, by: User, now: datetime) -> bool:
    """Ends an invitation of a tenant; False when it was used, taken back or had run out before, or is none of theirs.
    Raises NotTheHolderError."""
    tenancy = _held(tenancy_id)
    _check_holder(tenancy, by)
    invitation = open_invitations(tenancy, now=now).filter(pk=invitation_id).first()
    return invitation is not None and invitations.revoke(invitation=invitation, now=now)


@transaction.atomic
def send_out(*, tenancy_id: int, member_id: int, by: User, trace: str, now: datetime) -> Member:
    """Ends a membership: the holder sends a sharer out, or somebody leaves. Raises NoSuchMemberError,
    NotTheHolderError, HolderStaysError."""
    tenancy = _held(tenancy_id)
    member = _present(tenancy, member_id)
    if member.role == Role.HOLDER and member.user_id == by.pk:
        raise HolderStaysError
    if member.user_id != by.pk:
        _check_holder(tenancy, by)
    if not end(member=member, now=now):
        raise NoSuchMemberError
    _note("sent out of", tenancy, member, by=by, trace=trace)
    return member


@transaction.atomic
def end(*, member: Member, now: datetime) -> bool:
    """Ends a membership, whoever says so; False when it had ended before. Open invitations that the person made end
    with it, or they would come in again by one."""
    _held(member.tenancy_id)
    if not _living(member).update(left_at=now):
        return False
    member.left_at = now
    theirs = Q(created_by=member.user_id) | Q(created_by__merged_into=member.user_id)
    still_good = Invitation.objects.filter(theirs, tenancy=member.tenancy_id, used_at=None, revoked_at=None)
    still_good.update(revoked_at=now)
    return True


@transaction.atomic
def hand_over(*, tenancy_id: int, member_id: int, by: User, trace: str) -> Member:
    """Makes a sharer the holder; who was it shares from now on. Again, by who is the holder no more, it is
    NotTheHolderError. Raises NoSuchMemberError."""
    tenancy = _held(tenancy_id)
    holder = _check_holder(tenancy, by)
    member = _present(tenancy, member_id)
    if member.pk != holder.pk:
        for one, role in ((holder, Role.SHARER), (member, Role.HOLDER)):  # never two holders at once
            if not _living(one).update(role=role):  # staff end a membership without asking us, and nothing is done
                raise NoSuchMemberError
            one.role = role
        _note("made holder of", tenancy, member, by=by, trace=trace)
    return member


def _held(tenancy_id: int) -> Tenancy:
    """Locked first by everybody who changes who lives there (also by who joins), and looked at then."""
    return Tenancy.objects.select_for_update().get(pk=tenancy_id)


def _present(tenancy: Tenancy, member_id: int) -> Member:
    member = of(tenancy).filter(pk=member_id).first()
    if member is None:
        raise NoSuchMemberError
    return member


def _living(member: Member) -> QuerySet[Member]:
    return Member.objects.filter(pk=member.pk, left_at=None)


def _note(what: str, tenancy: Tenancy, member: Member, *, by: User, trace: str) -> None:
    log.info("user %d %s tenancy %d by user %d", member.user_id, what, tenancy.pk, by.pk, extra={"trace": trace})


def _check_holder(tenancy: Tenancy, by: User) -> Member:
    holder = of(tenancy).filter(user=by, role=Role.HOLDER).first()
    if holder is None:
        raise NotTheHolderError
    return holder
