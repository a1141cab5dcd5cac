"""A person says what went into a meter or out of it past our top-ups, so that its balance adds up again.

Nothing is booked by itself: what was bought elsewhere is no money of ours, and only makes what the meter took of it
chargeable; what was taken out goes back to what the tenant paid. Explanations stay as they were written.
Lock order: Purse, Draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from accounts.models import User
from billing import ledger
from billing.ledger import Line
from billing.mirror import sweep
from billing.models import Draw, MeterMoney, Purse
from meters.models import Installation, TopUp

Kind = MeterMoney.Kind


class ExplanationRefused(Exception):
    """It cannot be so, and nothing was written; the text is for the person who said it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """Who explains which meter's balance, why, and as of when. `key` is the form's: the same again is an answer."""

    installation: Installation
    at: datetime
    by: User
    reason: str
    key: str


def bought_elsewhere(word: Word, *, amount_fen: int, number: int | None, now: datetime) -> MeterMoney:
    """So much was bought elsewhere, under this purchase number where it took one. Raises ExplanationRefused."""
    if amount_fen <= 0:
        raise ExplanationRefused(_("The amount must be above zero."))
    if number is not None and (number <= 0 or _is_ours(word.installation, number)):
        raise ExplanationRefused(_("This purchase number is one of our own top-ups, or none."))
    return _explain(word, kind=Kind.ELSEWHERE, amount_fen=amount_fen, number=number, now=now)


def taken_out(word: Word, *, amount_fen: int, now: datetime) -> MeterMoney:
    """So much was taken out by hand, and is paid money of whoever lived there. Raises ExplanationRefused."""
    if amount_fen <= 0:
        raise ExplanationRefused(_("The amount must be above zero."))
    with transaction.atomic():
        money = _explain(word, kind=Kind.TAKEN_OUT, amount_fen=-amount_fen, number=None, now=now)
        purse = _purse_at(word)
        ledger.post(
            key=f"taken_out:{money.pk}",
            kind="meter_taken_out",
            property_id=money.property_id,
            lines=[Line(ledger.purse_account("in_meter", purse), ledger.purse_account("paid", purse), amount_fen)],
            happened_at=word.at,
            trace="",
            actor_id=word.by.pk,
            reason=money.reason,
            now=money.entered_at,
        )
    return money


def accept(word: Word, *, now: datetime) -> MeterMoney:
    """The meter is right until then, even where its balance rose: what it gave back is given back to the tenant.

    Raises ExplanationRefused.
    """
    return _explain(word, kind=Kind.ACCEPTED, amount_fen=0, number=None, now=now)


def _explain(word: Word, *, kind: Kind, amount_fen: int, number: int | None, now: datetime) -> MeterMoney:
    """Writes it down and looks at the meter again, together."""
    installation = word.installation
    if not word.reason.strip():
        raise ExplanationRefused(_("Give a reason."))
    if not installation.starts_at <= word.at <= min(now, installation.ends_at or now):
        raise ExplanationRefused(_("The meter did not hang there then."))
    with transaction.atomic():
        _hold(installation)
        before = MeterMoney.objects.filter(key=word.key).first()
        if before is not None:
            if (before.installation_id, before.kind, before.amount_fen) != (installation.pk, kind, amount_fen):
                raise ExplanationRefused(_("This form was sent before, with other words."))
            return before
        if number is not None and MeterMoney.objects.filter(installation=installation, number=number).exists():
            raise ExplanationRefused(_("This purchase number has been explained."))
        money = MeterMoney.objects.create(
            key=word.key,
            kind=kind,
            property_id=installation.property_id,
            installation=installation,
            number=number,
            amount_fen=amount_fen,
            happened_at=word.at,
            entered_at=now,
            entered_by=word.by,
            reason=word.reason.strip(),
        )
        sweep.one(installation_id=installation.pk, now=now)
    return money


def _hold(installation: Installation) -> None:
    draws = Draw.objects.filter(installation=installation)
    purses = list(draws.values_list("purse_id", flat=True))
    list(Purse.objects.select_for_update(no_key=True).filter(pk__in=purses).order_by("pk"))
    list(draws.select_for_update(no_key=True).order_by("pk"))


def _is_ours(installation: Installation, number: int) -> bool:
    ours = TopUp.objects.filter(meter=installation.meter_id, number=number, landed_at__gte=installation.starts_at)
    return ours.filter(state=TopUp.State.LANDED).exists()


def _purse_at(word: Word) -> int:
    draws = Draw.objects.filter(Q(ends_at=None) | Q(ends_at__gte=word.at), starts_at__lte=word.at)
    draw = draws.filter(installation=word.installation).order_by("starts_at").first()
    if draw is None:
        raise ExplanationRefused(_("Nobody draws on this meter yet. Try again in a minute."))
    return draw.purse_id
