"""Who is to be told of a message, and how each can be reached: read for many messages in a few statements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from django.conf import settings
from django.db.models import Q

from accounts.models import Identity, Member, StaffRole, User
from notifications import limits
from notifications.models import Channel, Delivery, Message, Preference
from notifications.routing import SMS, Person


def of_messages(messages: Iterable[Message], *, now: datetime) -> dict[int, list[Person]]:
    """By message: the people of its tenancy (who had not left when it was left), or the property's staff."""
    messages = list(messages)
    roles = _members(messages) | _staff(messages)
    known = _known({user_id for told in roles.values() for user_id in told}, now=now)
    return {
        message_id: [_person(known[user_id], is_holder=is_holder) for user_id, is_holder in told.items()]
        for message_id, told in roles.items()
    }


def of_deliveries(deliveries: Iterable[Delivery], *, now: datetime) -> dict[int, Person]:
    """By delivery: the person it is for. They were told by another channel before, so their role is no question."""
    wanted = {delivery.pk: delivery.user_id for delivery in deliveries}
    known = _known(set(wanted.values()), now=now)
    return {pk: _person(known[user_id], is_holder=True) for pk, user_id in wanted.items()}


# ---- who ----


def _members(messages: list[Message]) -> dict[int, dict[int, bool]]:
    """By message: user to whether they are the holder."""
    ours = [message for message in messages if message.tenancy_id is not None]
    told: dict[int, dict[int, bool]] = {message.pk: {} for message in ours}
    of_tenancy = defaultdict(list)
    members = Member.objects.filter(tenancy__in={message.tenancy_id for message in ours}, user__is_active=True)
    for member in members.order_by("pk"):
        of_tenancy[member.tenancy_id].append(member)
    for message in ours:
        for member in of_tenancy[message.tenancy_id or 0]:
            if member.left_at is None or member.left_at > message.left_at:
                is_holder = member.role == Member.Role.HOLDER
                told[message.pk][member.user_id] = is_holder or told[message.pk].get(member.user_id, False)
    return told


def _staff(messages: list[Message]) -> dict[int, dict[int, bool]]:
    """By message without a tenancy: the staff of its property."""
    theirs = [message for message in messages if message.tenancy_id is None]
    of_property: dict[int, dict[int, bool]] = defaultdict(dict)
    roles = StaffRole.objects.filter(property__in={message.property_id for message in theirs}, user__is_active=True)
    for role in roles.order_by("pk"):
        of_property[role.property_id][role.user_id] = True
    return {message.pk: of_property[message.property_id] for message in theirs}


# ---- what is known of them ----


class _Known:
    """What is known of a person, before it is asked in which role."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.identities: dict[str, Identity] = {}
        self.preference: Preference | None = None
        self.has_enough = False


def _known(user_ids: set[int], *, now: datetime) -> dict[int, _Known]:
    known = {user.pk: _Known(user) for user in User.objects.filter(pk__in=user_ids)}
    for identity in Identity.objects.filter(_apps(), user__in=user_ids, left_at=None).order_by("pk"):
        known[identity.user_id].identities[_channel_of(identity)] = identity  # the newest, where there are two
    for preference in Preference.objects.filter(user__in=user_ids):
        known[preference.user_id].preference = preference
    for user_id in limits.persons_with_enough(user_ids, now=now):
        known[user_id].has_enough = True
    return known


def _apps() -> Q:
    wechat = Q(provider=Identity.Provider.WECHAT, app_id__in=_wechat_apps())
    return wechat | Q(provider=Identity.Provider.ALIPAY, app_id=settings.ALIPAY_APP_ID)


def _wechat_apps() -> list[str]:
    return [app_id for app_id in (settings.WECHAT_MINI_APP_ID, settings.WECHAT_OFFICIAL_APP_ID) if app_id]


def _channel_of(identity: Identity) -> str:
    if identity.provider == Identity.Provider.ALIPAY:
        return Channel.ALIPAY_TEMPLATE
    is_mini = identity.app_id == settings.WECHAT_MINI_APP_ID
    return Channel.WECHAT_SUBSCRIBE if is_mini else Channel.WECHAT_TEMPLATE


def _person(known: _Known, *, is_holder: bool) -> Person:
    user, mini = known.user, known.identities.get(Channel.WECHAT_SUBSCRIBE)
    addresses = {str(channel): identity.subject for channel, identity in known.identities.items()}
    if user.phone:
        addresses |= {str(channel): user.phone for channel in SMS}
    wanted = known.preference or Preference(user=user)
    return Person(
        user_id=user.pk,
        is_holder=is_holder,
        addresses=addresses,
        identity_id=mini.pk if mini else None,
        language=wanted.language,
        off_kinds=frozenset(wanted.off_kinds),
        quiet_from=wanted.quiet_from,
        quiet_until=wanted.quiet_until,
        has_enough=known.has_enough,
    )
