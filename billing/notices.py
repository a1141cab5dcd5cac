"""The notice before a cut: left for the tenant, proven by a channel or by staff who served it, void when paid.

Its period runs from the instant at which it is proven. One notice of a purse stands at a time. Whoever changes one
holds the purse.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import User
from billing import reviews, rules
from billing.models import Notice, Purse
from billing.policy import Rule, earliest_cut
from notifications import languages, outbox

KIND: Final = "cut_notice"  # of a message
State = Notice.State
MOVES: Final[dict[str, frozenset[str]]] = {
    State.LEFT: frozenset({State.PROVEN, State.VOID}),
    State.PROVEN: frozenset({State.VOID}),
    State.VOID: frozenset(),
}
A_MINUTE: Final = timedelta(minutes=1)  # people write down no seconds


class NoticeRefused(Exception):
    """The notice cannot be proven as asked; nothing was changed. The text is for the person who asked."""


def leave(*, purse: Purse, available_fen: int, is_used_up: bool, rule: Rule, now: datetime) -> Notice:
    """Tells the tenant that a cut is near, in the caller's transaction, unless they are being told already."""
    if purse.tenancy_id is None:
        raise ValueError("nobody to tell")
    key = f"notice:{purse.pk}:{purse.recharges}:{now.isoformat()}"
    about = {"property_id": purse.property_id, "recharge": purse.recharges, "left_at": now, "message_key": key}
    standing = Notice.objects.exclude(state=State.VOID)
    notice, is_new = standing.get_or_create(purse=purse, defaults=about)
    if is_new:
        context = {
            "available_fen": available_fen,
            "hours": int(rule.notice_for / timedelta(hours=1)),
            "not_before": earliest_cut(rule, now=now).isoformat(),
            "why": languages.in_each(lambda: _("the balance is used up") if is_used_up else _("the balance is low")),
        }
        outbox.leave(
            key=key,
            kind=KIND,
            tenancy_id=purse.tenancy_id,
            property_id=purse.property_id,
            context=context,
            now=now,
        )
    return notice


def proven(*, notice_id: int, by: User | None, channel: str, proof: str, at: datetime, now: datetime) -> Notice:
    """The tenant was told at that instant: a channel says so (`channel`), or a member of staff who served it (`by`).

    The period of the property's policy runs from there, and supply is looked at again at once. Raises NoticeRefused
    without proof, for an instant before the notice was left or in the future, and where it does not wait for one.
    """
    proof = proof.strip()
    if not proof and not channel:
        raise NoticeRefused(_("Say how it was served."))
    with transaction.atomic():
        notice = _held(notice_id)
        if at > now or at < notice.left_at - A_MINUTE:
            raise NoticeRefused(
                _("It was served between %(left)s and now.") % {"left": f"{notice.left_at:%Y-%m-%d %H:%M}"}
            )
        served_at = max(at, notice.left_at)
        _move(
            notice,
            State.PROVEN,
            proven_at=served_at,
            proven_by=by,
            proven_by_channel=channel,
            proof=proof,
            runs_until=served_at + _notice_for(notice),
        )
        reviews.ask(purse_ids=[notice.purse_id], why="notice", now=now)
    return notice


def strand(*, notice_id: int, now: datetime) -> bool:
    """It is known that its message reaches nobody: somebody has to serve it.

    False where that was known, or it waits for no proof any more.
    """
    with transaction.atomic():
        notice = _held(notice_id)
        stranded = Notice.objects.filter(pk=notice_id, state=State.LEFT, stranded_at=None).update(stranded_at=now)
        if stranded:
            reviews.ask(purse_ids=[notice.purse_id], why="notice", now=now)
    return stranded > 0


def void(*, notice_id: int, now: datetime) -> None:
    """It was paid, or is about nothing any more. A message that nobody carried yet is withdrawn."""
    with transaction.atomic():
        notice = _held(notice_id)
        _move(notice, State.VOID, void_at=now)
        outbox.withdraw(key=notice.message_key, now=now)


def _held(notice_id: int) -> Notice:
    purse_id = Notice.objects.values_list("purse_id", flat=True).get(pk=notice_id)
    Purse.objects.select_for_update(no_key=True).get(pk=purse_id)
    return Notice.objects.get(pk=notice_id)


def _move(notice: Notice, to: str, **changes: object) -> None:
    before = [state for state, after in MOVES.items() if to in after]
    moved = Notice.objects.filter(pk=notice.pk, state__in=before).update(state=to, **changes)
    if not moved:
        raise NoticeRefused(_("This notice is %(state)s.") % {"state": notice.get_state_display()})
    notice.refresh_from_db()


def _notice_for(notice: Notice) -> timedelta:
    tenancy = notice.purse.tenancy
    if tenancy is None:
        raise ValueError("nobody was told")
    return rules.rule_for(room_id=tenancy.room_id, property_id=notice.property_id).notice_for
