"""Purchase numbers: which of them a meter's count may give to a top-up, and who else has it. Part of topups."""

from __future__ import annotations

from django.db.models import F, QuerySet

from meters.models import TopUp

State = TopUp.State


def went_back(top_up: TopUp, number: int) -> bool:
    """Whether the newest that landed in this meter had this number or a higher one: then the count went back.

    The newest alone: once one has landed in a meter that was set back, those behind it follow its number.
    """
    landed = _others(top_up).filter(state=State.LANDED, number__gt=0)
    newest = landed.order_by(F("landed_at").desc(nulls_last=True), "-pk").values_list("number", flat=True).first()
    return newest is not None and newest >= number


def is_held(top_up: TopUp, number: int) -> bool:
    """Whether another one is out under it, or waits with it for a person."""
    return _others(top_up).filter(state__in=(State.SENT, State.UNKNOWN, State.STUCK), number=number).exists()


def take_over(top_up: TopUp, number: int) -> bool:
    """Takes the number from one that was sent with it, is proven not to be in, and may not go any more.

    A late copy of that makes ours a duplicate, which is seen. False when somebody else holds its row: later, then.
    """
    with_it = _others(top_up).filter(state=State.WAITING, number=number)
    free = list(with_it.select_for_update(skip_locked=True).values_list("pk", flat=True))
    TopUp.objects.filter(pk__in=free).update(number=None)
    return not with_it.exists()


def no_meters_number(top_up: TopUp) -> int:
    """For what landed by a person's word, without a number of ours: meters count from one."""
    lowest = TopUp.objects.filter(meter_id=top_up.meter_id, number__lte=0).order_by("number").first()
    return (lowest.number or 0) - 1 if lowest else 0


def _others(top_up: TopUp) -> QuerySet[TopUp]:
    return TopUp.objects.filter(meter_id=top_up.meter_id).exclude(pk=top_up.pk)
