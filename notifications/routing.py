"""By which channel a person is told: a pure decision about what is known of them.

The cheapest channel that will reach them comes first. What costs nothing is ordered by how much it proves: a message in
the mini-program needs a permit and tells when it arrived; the official account tells so too; Alipay tells nothing. An
SMS costs, so it is for what is serious, and for what fell through.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from notifications.kinds import Kind
from notifications.models import Channel
from notifications.models.consent import A_DAY, QUIET_FROM, QUIET_UNTIL

SHANGHAI: Final = ZoneInfo("Asia/Shanghai")
SMS: Final = (Channel.SMS_ALIYUN, Channel.SMS_TENCENT)
A_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who is to be told, and how they can be reached: `addresses` by channel, a number of 11 digits or an
    openid. `has_enough`: they were sent so much today that what is not urgent stays in the inbox.
    """

    user_id: int
    is_holder: bool = True
    addresses: dict[str, str]
    identity_id: int | None = None  # in the mini-program, whose permits count
    language: str = "zh-hans"
    off_kinds: frozenset[str] = frozenset()
    quiet_from: int = QUIET_FROM
    quiet_until: int = QUIET_UNTIL
    has_enough: bool = False


def wants(person: Person, *, kind: str, about: Kind) -> bool:
    """Whether this person is told of it at all."""
    if about.to_holder_alone and not person.is_holder:
        return False
    return about.is_compulsory or kind not in person.off_kinds


def next_channel(person: Person, *, about: Kind, tried: Collection[str], can: Callable[[str], bool]) -> str | None:
    """The next to be tried, None when the inbox alone is left.

    `can` says whether a channel is set up, has a text for this kind, a permit of this person where it needs one, and
    is within the vendor's limits.
    """
    if person.has_enough and not about.is_urgent:
        return None
    return next((one for one in _route(person, about) if one not in tried and can(one)), None)


def _route(person: Person, about: Kind) -> Iterator[str]:
    for channel in (Channel.WECHAT_SUBSCRIBE, Channel.WECHAT_TEMPLATE, Channel.ALIPAY_TEMPLATE):
        if person.addresses.get(channel):
            yield channel
    if about.is_serious:
        yield from (channel for channel in SMS if person.addresses.get(channel))
    yield Channel.CONSOLE


def not_before(person: Person, *, about: Kind, now: datetime) -> datetime:
    """When it may be sent: now, or at the end of this person's quiet hours."""
    if about.is_urgent or person.quiet_from == person.quiet_until:
        return now
    here = now.astimezone(SHANGHAI)
    minute = here.hour * 60 + here.minute
    past = (minute - person.quiet_from) % A_DAY
    lasts = (person.quiet_until - person.quiet_from) % A_DAY
    if past >= lasts:
        return now
    return here.replace(second=0, microsecond=0) + (lasts - past) * A_MINUTE


def again_after(tries: int) -> timedelta:
    """How long to wait after so many tries that the vendor put off: half a minute, doubled, an hour at most."""
    return timedelta(seconds=min(30 << min(tries - 1, 10), 3600))
