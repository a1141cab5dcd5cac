"""The door to a review: whose supply is to be looked at, and why."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import connection

# Plan: one insert a purse, by key and in order. A property's own purse is never cut.
_ASK = """
insert into billing_review as v (purse_id, bumps, why, asked_at)
select id, 1, %s, %s from billing_purse where id = any(%s) and tenancy_id is not null order by id
on conflict (purse_id) do update set bumps = v.bumps + 1
"""


def ask(*, purse_ids: Iterable[int], why: str, now: datetime) -> None:
    """Has these purses' supply looked at soon, in the caller's transaction. `why` is a word of up to 16 letters."""
    with connection.cursor() as cursor:
        cursor.execute(_ASK, [why, now, sorted(purse_ids)])
