"""What a dispute freezes while it stands: days that are not posted, and money that cuts nobody. Reads only.

How one is opened, withdrawn and decided is in billing/rating/disputing.py, above those that only want to know.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from django.db.models import Sum

from billing.models import Dispute, Draw

# Until a reading follows the disputed one, nobody knows how far its second interval reaches: nothing behind is posted.
UNTIL_READ = date(9999, 12, 31)


def frozen_nano(*, purse_id: int) -> int:
    """What the disputed intervals of this purse cost, in nano-fen: it is accrued or posted, and cuts nobody.

    Plan: the partial unique index on the open disputes of a purse.
    """
    standing = Dispute.objects.filter(purse=purse_id, state=Dispute.State.OPEN)
    return standing.aggregate(nano=Sum("frozen_nano"))["nano"] or 0


def frozen_dates(*, draw_ids: Iterable[int]) -> dict[int, tuple[date, date]]:
    """The days of these draws that are neither posted nor posted anew now: first and last, both in it, by draw.

    A draw that is not in it has none. Read it while the draws are held: whoever opens or ends a dispute holds them.
    What a meter counts down itself is gone from it already, so nothing of that is frozen.
    """
    standing = Dispute.objects.filter(draw__in=list(draw_ids), state=Dispute.State.OPEN)
    counted_here = standing.filter(draw__counted_by=Draw.Counter.SERVER)
    return {draw: (first, last) for draw, first, last in counted_here.values_list("draw_id", "from_date", "to_date")}
