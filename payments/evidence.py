"""Evidence first: what a provider sent us is stored, in a transaction of its own, before anything is done with it.

A verified callback is kept whole and for ever. An unverified one leaves a hash, an excerpt and a reason; their number
is limited per merchant and reason, so that nobody fills our disk with noise, and they go after 30 days.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from payments.models import ProviderEvent
from payments.providers.base import Receipt

EXCERPT = 255
UNVERIFIED_A_MINUTE = 30
UNVERIFIED_KEPT = timedelta(days=30)
KEPT_HEADERS = (
    "content-type",
    "user-agent",
    "wechatpay-serial",
    "wechatpay-timestamp",
    "wechatpay-nonce",
    "wechatpay-signature",
    "wechatpay-signature-type",
    "request-id",
)

# In the order of the unique key, so that two processes that store the same events wait and do not lock each other out.
STORE = """
insert into payments_providerevent
    (merchant_id, provider, event_id, is_verified, state, body, body_sha256, excerpt, headers, receipt, reason, times,
     trace, received_at)
select merchant, provider, event, true, 'stored', body, sha256, '', headers::jsonb, receipt::jsonb, '', times, trace, at
  from unnest(%s::bigint[], %s::text[], %s::text[], %s::bytea[], %s::text[], %s::text[], %s::text[], %s::int[],
              %s::text[], %s::timestamptz[])
       e (merchant, provider, event, body, sha256, headers, receipt, times, trace, at)
 order by merchant, event
on conflict (merchant_id, event_id) where is_verified
do update set times = payments_providerevent.times + excluded.times
returning merchant_id, event_id, id, state, trace
"""

# One statement, so that a flood from many threads is counted right to within those at work at the same instant.
LEAVE = """
with flood as (
    select count(*) as count, max(id) as newest from payments_providerevent
     where not is_verified and received_at > %(now)s - interval '1 minute' and reason = %(reason)s
       and merchant_id is not distinct from %(merchant)s
), one_more as (
    update payments_providerevent set times = times + 1
     where id = (select newest from flood where count >= %(limit)s)
    returning id
)
insert into payments_providerevent
    (merchant_id, provider, event_id, is_verified, state, body, body_sha256, excerpt, headers, receipt, reason, times,
     trace, received_at)
select %(merchant)s, %(provider)s, '', false, 'refused', null, %(sha256)s, %(excerpt)s, %(headers)s, null, %(reason)s,
       1, %(trace)s, %(now)s
 where not exists (select from one_more)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A verified callback as it came in. `trace` is its request's, `at` when it came."""

    merchant_id: int
    receipt: Receipt
    body: bytes
    headers: Mapping[str, str]
    trace: str
    at: datetime

    @property
    def event(self) -> tuple[int, str]:
        """What makes it the same callback when it comes again."""
        return self.merchant_id, self.receipt.event_id


@dataclass(frozen=True, slots=True)
class Stored:
    """A verified event in the inbox. `trace` is that of its first arrival, whoever asks."""

    id: int
    state: str
    trace: str


def store(arrivals: Sequence[Arrival]) -> list[Stored]:
    """Keeps verified callbacks whole, in their order. The same event again counts one up and gives the first's state.

    One statement, durable when it returns: must not be called inside a transaction.
    """
    times = Counter(arrival.event for arrival in arrivals)
    firsts = {arrival.event: arrival for arrival in reversed(arrivals)}
    rows = [(*_columns(arrival), times[event], arrival.trace, arrival.at) for event, arrival in firsts.items()]
    with connection.cursor() as cursor:
        cursor.execute(STORE, [list(column) for column in zip(*rows, strict=True)])
        stored = {(merchant_id, event_id): Stored(*rest) for merchant_id, event_id, *rest in cursor.fetchall()}
    return [stored[arrival.event] for arrival in arrivals]


def _columns(arrival: Arrival) -> tuple[Any, ...]:
    receipt, body = arrival.receipt, arrival.body
    return (
        arrival.merchant_id, receipt.provider, receipt.event_id, body, hashlib.sha256(body).hexdigest(),
        json.dumps(kept_headers(arrival.headers)), json.dumps(receipt.as_json()),
    )  # fmt: skip


def leave_unverified(
    *, merchant_id: int | None, provider: str, reason: str, body: bytes, headers: Mapping[str, str], trace: str,
    now: datetime,
) -> None:  # fmt: skip
    """Leaves a hash, an excerpt and a reason of what nobody vouches for; beyond the limit only counts."""
    with connection.cursor() as cursor:
        cursor.execute(
            LEAVE,
            {
                "merchant": merchant_id,
                "provider": provider,
                "reason": reason[:64],
                "sha256": hashlib.sha256(body).hexdigest(),
                "excerpt": body[:EXCERPT].decode("ascii", "replace").replace("\x00", "?"),
                "headers": json.dumps(kept_headers(headers)),
                "trace": trace,
                "now": now,
                "limit": UNVERIFIED_A_MINUTE,
            },
        )


def refuse(*, event_id: int, reason: str, now: datetime) -> None:
    """A genuine event that is not for us: it stays as evidence, with the reason."""
    ProviderEvent.objects.filter(pk=event_id, state=ProviderEvent.State.STORED).update(
        state=ProviderEvent.State.REFUSED, reason=reason[:64], done_at=now
    )


def finish(*, event_id: int, now: datetime) -> None:
    ProviderEvent.objects.filter(pk=event_id, state=ProviderEvent.State.STORED).update(
        state=ProviderEvent.State.DONE, done_at=now
    )


def forget_unverified(*, now: datetime) -> int:
    """Takes away what nobody vouched for after its 30 days."""
    count, _ = ProviderEvent.objects.filter(is_verified=False, received_at__lt=now - UNVERIFIED_KEPT).delete()
    return count


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """What proves the signature and who sent it; nothing that could be a secret of ours."""
    return {name.lower(): value[:512] for name, value in headers.items() if name.lower() in KEPT_HEADERS}
