"""Two logins of one person become one: what was the one's is the other's from then on.

The older of the two stays. Whoever asks has proven that the other is theirs: by a code to its phone, or by logging in
with its WeChat or Alipay. Staff are never joined: what they may do hangs on their own login.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from accounts import consents
from accounts.models import AccessToken, Consent, Identity, Invitation, Member, Tenancy, User

Role = Member.Role


class StaffsLoginError(Exception):
    """One of the two is a member of staff's."""


class EndedLoginError(Exception):
    """One of the two has been closed, or joined with another, meanwhile."""


def standing(user: User) -> User:
    """Whose login it is by now: theirs, or the one it was joined with since the request began. Held until the
    transaction ends, so that what is written for them does not stay behind with a login that goes.

    The one that is kept is looked at alone: a second who asks for the same holds it, and waits for the one that went.
    """
    held = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    while held.merged_into is not None:
        held = held.merged_into
    return held


@transaction.atomic
def join(*, asking: User, other: User, now: datetime) -> tuple[User, User]:
    """Who is kept and who is gone, joined. Both are locked in the order of their keys, so that two who ask at once join
    them once; the second finds one of them ended.

    Who asks stays logged in, wherever they are; logins of the other end. Raises StaffsLoginError, EndedLoginError.
    """
    # Not against who refers to them: somebody who lets one of the two in holds the home, which is waited for below.
    both = User.objects.select_for_update(no_key=True).filter(pk__in={asking.pk, other.pk})
    kept, gone = both.order_by("pk")
    if kept.is_staff or gone.is_staff:
        raise StaffsLoginError
    if not (kept.is_active and gone.is_active):
        raise EndedLoginError
    Identity.objects.filter(user=gone).update(user=kept)
    Invitation.objects.filter(used_by=gone).update(used_by=kept)
    Invitation.objects.filter(created_by=gone).update(created_by=kept)  # who made a way in ends it when they leave
    _move_homes(kept, gone, now)
    AccessToken.objects.filter(user=other, revoked_at=None).update(revoked_at=now)
    AccessToken.objects.filter(user=asking).update(user=kept)
    _move_person(kept, gone, now)
    return kept, gone


def _move_homes(kept: User, gone: User, now: datetime) -> None:
    """Of two memberships in one home the stronger role stays. The homes are held, as by everybody who changes who lives
    there (members.py)."""
    homes = Member.objects.filter(user__in=(kept, gone), left_at=None).values("tenancy")
    list(Tenancy.objects.select_for_update().filter(pk__in=homes).order_by("pk"))
    theirs = {one.tenancy_id: one for one in Member.objects.filter(user=kept, left_at=None)}
    for member in Member.objects.filter(user=gone).order_by("pk"):
        same = theirs.get(member.tenancy_id) if member.left_at is None else None
        if same is None:
            member.user = kept
            member.save(update_fields=["user"])
            continue
        member.left_at = now
        member.save(update_fields=["left_at"])
        if member.role == Role.HOLDER:
            same.role = Role.HOLDER
            same.save(update_fields=["role"])


def _move_person(kept: User, gone: User, now: datetime) -> None:
    phone, name, has_consented = gone.phone, gone.name, consents.is_given(gone)
    gone.phone, gone.is_active, gone.merged_into, gone.merged_at = None, False, kept, now
    gone.save(update_fields=["phone", "is_active", "merged_into", "merged_at"])  # a number is one login's at a time
    kept.phone, kept.name = kept.phone or phone, kept.name or name
    kept.save(update_fields=["phone", "name"])
    if has_consented and not consents.is_given(kept):
        consents.give(user=kept, version=consents.CURRENT, came_through=Consent.Through.API, now=now)
