"""What a person was told, as they find it again: newest first. What was sent to somebody stays theirs."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from accounts.models import User
from notifications.models import Channel, Delivery, Preference


def of(user: User) -> QuerySet[Delivery]:
    """The inbox, with message, home and property loaded. Plan: the index on (user, made_at)."""
    ours = Delivery.objects.filter(user=user, channel=Channel.INBOX)
    return ours.select_related("message__tenancy__room__building", "message__property").order_by("-pk")


def unread(user: User) -> int:
    return Delivery.objects.filter(user=user, channel=Channel.INBOX, state=Delivery.State.HANDED).count()


def read(*, user: User, up_to: int, only: bool, now: datetime) -> int:
    """This one, or (`only` false) it and all before it, were opened. Returns how many were not before.

    That somebody opened it is proof that they know (proof.py), so no other channel is tried any more.
    """
    ours = Delivery.objects.filter(user=user, channel=Channel.INBOX, state=Delivery.State.HANDED)
    with transaction.atomic():
        chosen = dict(
            (ours.filter(pk=up_to) if only else ours.filter(pk__lte=up_to))
            .order_by("pk")
            .select_for_update(no_key=True)
            .values_list("pk", "message")
        )
        Delivery.objects.filter(pk__in=chosen).update(state=Delivery.State.READ, read_at=now, ended_at=now)
        others = Delivery.objects.filter(user=user, message__in=set(chosen.values()), follow_at__isnull=False)
        others.update(follow_at=None)
    return len(chosen)


def take_over(*, kept_id: int, gone_id: int) -> None:
    """What one login was told, and wished to be told, is the other's from now on: they are one person. What both were
    told stays with each."""
    same = Delivery.objects.filter(
        user=kept_id, message=OuterRef("message"), channel=OuterRef("channel"), turn=OuterRef("turn")
    )
    Delivery.objects.filter(~Exists(same), user=gone_id).update(user=kept_id)
    if not Preference.objects.filter(user=kept_id).exists():
        Preference.objects.filter(user=gone_id).update(user=kept_id)
