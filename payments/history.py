"""The recharges that a tenant may look at, newest first, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from accounts import scope
from accounts.models import User
from payments.models import Attempt, Order


class UnknownCursor(Exception):
    """No recharge of theirs has this number: a page cannot begin after it."""


@dataclass(frozen=True, slots=True)
class Page:
    """Recharges with `tried` (attempts, the newest first) and `refunded_fen` on each; `following` is the cursor of the
    next page, blank on the last."""

    orders: list[Order]
    following: str


def visible_to(user: User, now: datetime) -> QuerySet[Order]:
    """What they ordered themselves, wherever and whenever; and what others ordered for the homes they live in at `now`,
    from the day they joined. Of a home they have left, the others' recharges are none of theirs any more."""
    shared = scope.memberships_of(user, now).filter(tenancy=OuterRef("tenancy"), joined_at__lte=OuterRef("placed_at"))
    return Order.objects.filter(Q(user=user) | Q(Exists(shared.order_by().values("pk"))))


def page_of(user: User, *, home_id: int | None, cursor: str, at_most: int, now: datetime) -> Page:
    """The page that begins after the recharge with the number `cursor` (blank: with the newest).

    A home that is not theirs has no recharges, whether or not it exists. Raises UnknownCursor.
    """
    orders = visible_to(user, now)
    if home_id is not None:
        orders = orders.filter(tenancy=home_id)
    if cursor:
        orders = orders.filter(_older_than(orders.filter(number=cursor).first()))
    found = list(_told_in_full(orders).order_by("-placed_at", "-pk")[: at_most + 1])
    return Page(orders=found[:at_most], following=found[at_most - 1].number if len(found) > at_most else "")


def _older_than(last: Order | None) -> Q:
    if last is None:
        raise UnknownCursor
    return Q(placed_at__lt=last.placed_at) | Q(placed_at=last.placed_at, pk__lt=last.pk)


def _told_in_full(orders: QuerySet[Order]) -> QuerySet[Order]:
    tried = Prefetch("attempts", Attempt.objects.order_by("-pk"), to_attr="tried")
    return orders.annotate(refunded_fen=Coalesce(Sum("payments__refunded_fen"), 0)).prefetch_related(tried)


def take_over(*, kept_id: int, gone_id: int) -> None:
    """The recharges of one login are the other's from now on: they are one person. A key that both have used stays with
    each, so that it is still an answer."""
    same = Order.objects.filter(user=kept_id, idempotency_key=OuterRef("idempotency_key"))
    Order.objects.filter(~Exists(same), user=gone_id).update(user=kept_id)
