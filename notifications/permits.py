"""Subscriptions of the mini-program: reported by it, counted here, used up by deliveries (routes.py, outcomes.py).

Source: developers.weixin.qq.com/miniprogram/dev/api/open-api/subscribe-message/wx.requestSubscribeMessage.html (one
prompt asks for three templates at most; each that is accepted allows one message).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from django.db import transaction
from django.db.models import Count

from accounts.models import Identity
from notifications.kinds import TOLD
from notifications.models import Channel, Delivery, Permit, Template

Outcome = Literal["accept", "reject", "ban", "filter"]
AT_ONCE: Final = 3
AT_MOST: Final = 20  # nobody taps more often in good faith; what a forged report could pile up ends here


@dataclass(frozen=True, slots=True)
class Subscription:
    """A template of the mini-program, the kinds of messages it carries, and how many more this person allows."""

    template_id: str
    kinds: tuple[str, ...]
    left: int


def report(*, identity: Identity, outcomes: Mapping[str, Outcome], reported_as: str, now: datetime) -> int:
    """What the person answered to one prompt, by template. The same report again changes nothing.

    Templates that are not ours are passed over. Returns how many permits are new. A ban ends what was left; it is kept
    as a permit that ended when it was given, so that a ban told again does not end what was allowed after it.
    """
    with transaction.atomic():
        Identity.objects.select_for_update(no_key=True).get(pk=identity.pk)  # one report of a person at a time
        known = set(
            Permit.objects.filter(identity=identity, reported_as=reported_as).values_list("template_id", flat=True)
        )
        ours = {one.template_id for one in subscriptions(identity)} - known
        banned = [template for template, outcome in outcomes.items() if outcome == "ban" and template in ours]
        end(app_id=identity.app_id, openid=identity.subject, template_ids=banned, given_before=now, now=now)
        left = _left(identity)
        accepted = [
            template
            for template, outcome in outcomes.items()
            if outcome == "accept" and template in ours and left[template] < AT_MOST
        ]
        about = {"identity": identity, "reported_as": reported_as, "given_at": now}
        Permit.objects.bulk_create(
            [Permit(template_id=template, **about) for template in accepted]
            + [Permit(template_id=template, ended_at=now, **about) for template in banned]
        )
    return len(accepted)


def end(*, app_id: str, openid: str, template_ids: Iterable[str], given_before: datetime, now: datetime) -> int:
    """A person wants no messages of these templates: what they allowed until then is over. Returns how many permits.

    One that was given later stands: WeChat's event may come late.
    """
    left = Permit.objects.filter(
        identity__provider=Identity.Provider.WECHAT,
        identity__app_id=app_id,
        identity__subject=openid,
        template_id__in=list(template_ids),
        given_at__lte=given_before,
        ended_at=None,
    )
    return left.update(ended_at=now)


def give_back(delivery_ids: Iterable[int]) -> None:
    """The permits of deliveries of which WeChat has seen nothing, or which it has refused for another reason."""
    deliveries = Delivery.objects.filter(pk__in=list(delivery_ids), permit__isnull=False)
    permits = list(deliveries.values_list("permit", flat=True))
    deliveries.update(permit=None)
    Permit.objects.filter(pk__in=permits).update(used_at=None, ended_at=None)


def subscriptions(identity: Identity) -> list[Subscription]:
    """All templates of the mini-program, what is needed most first: serious kinds, and those with the fewest left."""
    kinds: dict[str, set[str]] = {}
    rows = Template.objects.filter(channel=Channel.WECHAT_SUBSCRIBE).exclude(template_id="")
    for template_id, kind in rows.values_list("template_id", "kind"):
        if kind in TOLD and not TOLD[kind].is_for_staff:
            kinds.setdefault(template_id, set()).add(kind)
    left = _left(identity)
    found = [Subscription(template_id, tuple(sorted(of)), left[template_id]) for template_id, of in kinds.items()]
    return sorted(found, key=lambda one: (not _is_serious(one), one.left, one.template_id))


def ask_next(identity: Identity) -> list[str]:
    """The templates that the next prompt should ask for, at the moment when it helps: after a recharge, say."""
    return [one.template_id for one in subscriptions(identity) if one.left < AT_MOST][:AT_ONCE]


def _is_serious(one: Subscription) -> bool:
    return any(TOLD[kind].is_serious for kind in one.kinds)


def _left(identity: Identity) -> Counter[str]:
    """Plan: the partial index on what is left of an identity."""
    rows = (
        Permit.objects.filter(identity=identity, ended_at=None).values_list("template_id").annotate(times=Count("pk"))
    )
    return Counter(dict(rows))
