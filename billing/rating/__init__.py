"""Readings become energy and charges: accrued fast by SQL, closed exactly by the engine, what is unusual with care.

`accrue` advances a Draw for each new reading by one statement and leaves what is unusual in the Backlog; `chain` says
which readings follow one another (pure); `careful` folds, prices and writes what the backlog names; `doubts` lets staff
decide about readings that cannot follow; `days` closes civil days, `posting` moves their money.

    work(now=) -> how much was done, supply reviewed with it: what a gateway's rater calls
    accrue.accrue(now=, batches_at_most=8) -> Accrued(done, left_over, looked, batches)
    chain.fold(points, start=, rulings=, rule=) -> Folded(spans, doubts, clean, end, is_broken)
    careful.work(now=, limit=200) -> how many installations were worked off
    careful.leave(installation_ids=, from_at=, reason=, now=)      the door into the backlog
    doubts.decide(doubt_id=, as_=, by=, note=, now=)
    days.close(now=, limit=500), days.close_now(draw_id=, until=, now=)
    posting.post_days(draw=, days=, reason=, now=) -> fen          the caller holds purse and draw

Locks: accrue takes Draw, then Backlog and Review, and never a Purse; careful and closing take Purse, then Draw, each in
the order of ids, and delete Backlog and Review rows last, guarded by their bumps. Nobody waits for a Purse or a Draw
while holding a Backlog or a Review.
"""

from __future__ import annotations

from datetime import datetime

from billing import review
from billing.rating import accrue, careful


def work(*, now: datetime) -> int:
    """Rates all that is stored and not rated, then some of the backlog, then looks at the supply of homes for which
    that matters. Returns how much was done; 0 when idle.

    Several processes may do it at once. Raises OperationalError when the database is away: come again.
    """
    done = 0
    while (accrued := accrue.accrue(now=now)).batches:
        done += accrued.batches
    done += careful.work(now=now)
    return done + review.work(now=now)
