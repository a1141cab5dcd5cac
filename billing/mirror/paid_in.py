"""What went into a meter that holds its own money, and what it showed, read from the rows."""

from __future__ import annotations

from datetime import datetime

from billing.mirror.account import PutIn, Shown
from billing.models import Doubt, MeterMoney
from meters.models import Installation, Reading, TopUp


def since_hung(installation: Installation, *, now: datetime) -> tuple[tuple[PutIn, ...], datetime | None]:
    """Top-ups that landed while the meter hung there, what people explained, and until when its balance was accepted.

    Plan: the meter's top-ups and the installation's explanations by their indexes.
    """
    landed = TopUp.objects.filter(
        meter=installation.meter_id, state=TopUp.State.LANDED, landed_at__gte=installation.starts_at, landed_at__lte=now
    )
    next_at = _hung_again_at(installation)
    if next_at:
        landed = landed.filter(landed_at__lt=next_at)
    put_in = [_put_in(top_up, now) for top_up in landed.order_by("pk")]
    accepted_until: datetime | None = None
    for money in MeterMoney.objects.filter(installation=installation, entered_at__lte=now).order_by("pk"):
        if money.kind == MeterMoney.Kind.ACCEPTED:
            accepted_until = max(money.happened_at, accepted_until or money.happened_at)
        else:
            put_in.append(PutIn(money.amount_fen, money.number, money.happened_at))
    return tuple(put_in), accepted_until


def _put_in(top_up: TopUp, now: datetime) -> PutIn:
    """What landed by a person's word alone has no number: it is in since it was sent."""
    if top_up.number is not None and top_up.number > 0:
        return PutIn(top_up.amount_fen, top_up.number, top_up.landed_at or now)
    return PutIn(top_up.amount_fen, None, top_up.sent_at or top_up.landed_at or now)


def _hung_again_at(installation: Installation) -> datetime | None:
    """Top-ups that land later are the next room's."""
    later = Installation.objects.filter(meter=installation.meter_id, starts_at__gt=installation.starts_at)
    return later.order_by("starts_at").values_list("starts_at", flat=True).first()


def readings(installation: Installation, *, after_at: datetime, is_first: bool, until_at: datetime) -> list[Shown]:
    """What the meter showed of its money after an instant (`is_first`: at it, too), in order, and one reading more than
    until_at: it tells whether the last is right. Readings in doubt are left out.

    Plan: the key of the months between.
    """
    ends_at = installation.ends_at
    rows = Reading.objects.filter(
        meter=installation.meter_id, balance_fen__isnull=False, purchase_count__isnull=False
    ).exclude(read_at__in=_in_doubt(installation, after_at))
    since = rows.filter(read_at__gte=after_at) if is_first else rows.filter(read_at__gt=after_at)
    told = since.filter(read_at__lte=until_at)
    following = rows.filter(read_at__gt=until_at)
    if ends_at:
        following = following.filter(read_at__lte=ends_at)
    columns = ("read_at", "purchase_count", "balance_fen")
    found = [*told.order_by("read_at").values_list(*columns), *following.order_by("read_at").values_list(*columns)[:1]]
    return [Shown(*one) for one in found]


def _in_doubt(installation: Installation, after_at: datetime) -> list[datetime]:
    counted = (Doubt.State.BELIEVED, Doubt.State.REBASED)
    doubts = Doubt.objects.filter(installation=installation, read_at__gte=after_at).exclude(state__in=counted)
    return list(doubts.values_list("read_at", flat=True))
