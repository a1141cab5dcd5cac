"""What vendors answered is written down, a batch in one statement, and what follows from it.

From claimed (the moves; others change nothing):

    handed      follow_at: when the next channel is tried, where the kind wants a receipt by then
    refused     the next channel at once; a permit that WeChat did not use is given back
    waiting     not now: again later, after some times by the next channel if there is one; given up when it is too late
    unknown     nobody can say: the vendor is asked first (tracing.py)

An answer counts for the claim that it belongs to (`claimed_at`), even if that has run out meanwhile, and never takes
back what a receipt has told already.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction

from accounts.models import Identity
from notifications import permits, receipts, routing
from notifications.channels.base import Answer, Outcome
from notifications.claims import TOO_LATE, Claimed, cost_milli_fen
from notifications.kinds import TOLD
from notifications.models import Channel, Delivery, Permit

State = Delivery.State
ASK_AFTER: Final = timedelta(seconds=10)  # an unknown outcome; vendors know of a message after seconds
PATIENCE: Final = 4  # a vendor that put us off so often: another channel, if there is one
NOT_SENT: Final = Answer(outcome=Outcome.LATER, code="not_sent")  # claimed, and its time was up before it was sent


@dataclass(frozen=True, slots=True)
class Result:
    """A claim, and what the vendor said of it."""

    claimed: Claimed
    answer: Answer


@dataclass(frozen=True, slots=True)
class _Change:
    state: str
    next_at: datetime | None = None
    follow_at: datetime | None = None
    ended_at: datetime | None = None
    code: str = ""


# Plan: one update by primary key. What a receipt told before us stays; a later claim of the same row is not touched.
_RECORD = """
update notifications_delivery d
   set state = case when d.state in ('claimed', 'unknown', 'lost') then r.state else d.state end,
       next_at = case when d.state in ('claimed', 'unknown', 'lost') then r.next_at else d.next_at end,
       follow_at = case when d.state in ('claimed', 'unknown', 'lost') then r.follow_at else d.follow_at end,
       ended_at = case when d.state in ('claimed', 'unknown', 'lost') then r.ended_at else d.ended_at end,
       handed_at = case when r.state = 'handed' then coalesce(d.handed_at, %(now)s) else d.handed_at end,
       vendor_id = case when r.vendor_id <> '' then r.vendor_id else d.vendor_id end,
       parts = case when r.parts > 0 then r.parts else d.parts end,
       cost_milli_fen = case when r.parts > 0 then r.cost else d.cost_milli_fen end,
       code = case when d.state in ('claimed', 'unknown', 'lost') then r.code else d.code end,
       detail = case when d.state in ('claimed', 'unknown', 'lost') then r.detail else d.detail end
  from unnest(%(ids)s::bigint[], %(claimed)s::timestamptz[], %(states)s::text[], %(next)s::timestamptz[],
              %(follow)s::timestamptz[], %(ended)s::timestamptz[], %(vendor_ids)s::text[], %(parts)s::int[],
              %(costs)s::int[], %(codes)s::text[], %(details)s::text[])
       as r (id, claimed_at, state, next_at, follow_at, ended_at, vendor_id, parts, cost, code, detail)
 where d.id = r.id and d.claimed_at = r.claimed_at
   and (d.state in ('claimed', 'delivered', 'undelivered', 'read')
        or (d.state in ('unknown', 'lost') and r.state in ('handed', 'refused')))
"""


def record(*, channel: str, results: list[Result], now: datetime) -> None:
    """Writes down what a batch of one channel came to. The same again changes nothing."""
    if not results:
        return
    with transaction.atomic():
        changed = [(one, _change(channel, one, now)) for one in results]
        _write(changed, channel, now)
        if channel == Channel.WECHAT_SUBSCRIBE:
            _permits(changed, now)
        _persons(channel, [one for one in results if one.answer.is_person_gone], now)
        receipts.use_early(channel=channel, vendor_ids=[one.answer.vendor_id for one in results], now=now)


def _change(channel: str, result: Result, now: datetime) -> _Change:
    answer, claimed = result.answer, result.claimed
    about = TOLD[claimed.kind]
    too_late_at = claimed.left_at + about.good_for
    if answer.outcome == Outcome.HANDED:
        wait = about.falls_back_after
        return _Change(State.HANDED, follow_at=now + wait if wait else None)
    if answer.outcome == Outcome.UNKNOWN:
        return _Change(State.UNKNOWN, next_at=now + ASK_AFTER, code=answer.code)
    if answer.outcome == Outcome.REFUSED:
        return _Change(State.REFUSED, follow_at=now, ended_at=now, code=answer.code)
    again_at = now if answer is NOT_SENT else now + routing.again_after(claimed.tries)
    if again_at >= too_late_at:
        return _Change(State.GIVEN_UP, ended_at=now, code=answer.code or TOO_LATE)
    has_waited = claimed.tries >= PATIENCE and answer is not NOT_SENT
    return _Change(State.WAITING, next_at=again_at, follow_at=now if has_waited else None, code=answer.code)


def _write(changed: list[tuple[Result, _Change]], channel: str, now: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            _RECORD,
            {
                "now": now,
                "ids": [one.claimed.pk for one, _to in changed],
                "claimed": [one.claimed.claimed_at for one, _to in changed],
                "states": [to.state for _one, to in changed],
                "next": [to.next_at for _one, to in changed],
                "follow": [to.follow_at for _one, to in changed],
                "ended": [to.ended_at for _one, to in changed],
                "vendor_ids": [one.answer.vendor_id[:64] for one, _to in changed],
                "parts": [one.answer.parts for one, _to in changed],
                "costs": [cost_milli_fen(channel, one.answer.parts) for one, _to in changed],
                "codes": [to.code[:64] for _one, to in changed],
                "details": [one.answer.detail[:200] for one, _to in changed],
            },
        )


def _permits(changed: list[tuple[Result, _Change]], now: datetime) -> None:
    """A permit that WeChat did not use is good again; 43101 ends all that this person had left of the template."""
    unsent = (State.REFUSED, State.GIVEN_UP)
    unused = [one for one, to in changed if to.state in unsent and not one.answer.is_permit_gone]
    permits.give_back([one.claimed.pk for one in unused])
    for one, _to in changed:
        if one.answer.is_permit_gone:
            left = Permit.objects.filter(
                identity__subject=one.claimed.letter.address, template_id=one.claimed.letter.template_id, ended_at=None
            )
            left.update(ended_at=now)


def _persons(channel: str, results: list[Result], now: datetime) -> None:
    """Who left an app is not written to there any more. A phone number that does not exist is the tenant's to mend."""
    if channel not in (Channel.WECHAT_SUBSCRIBE, Channel.WECHAT_TEMPLATE, Channel.ALIPAY_TEMPLATE):
        return
    gone = Delivery.objects.filter(pk__in=[one.claimed.pk for one in results]).values("user", "address")
    for one in gone:
        Identity.objects.filter(user=one["user"], subject=one["address"], left_at=None).update(left_at=now)
