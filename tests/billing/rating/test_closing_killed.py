"""Whoever closes days is killed before each of its statements, before and after each commit: the days are the same."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from billing import audit, usage_audit
from billing.models import Draw, JournalEntry, Purse, Review, UsageDay, UsageMonth, UsageRevision
from billing.rating import accrue, careful, days
from tests.billing.rating import world
from tests.billing.rating.world import HOUR, NOW, START
from tests.gateways import database_url

pytestmark = [pytest.mark.kill, pytest.mark.django_db(transaction=True)]

# One process that has loaded all and is connected to nothing; each of its children gets one step further than the one
# before, until one comes to the end.
_CLOSES_AND_DIES = """
import itertools, os, signal
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
import django
django.setup()
from datetime import datetime
from django.db import connection
from billing.rating import days

def close_until(step):
    steps = itertools.count(1)
    def live():
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)
    def statement(execute, *words):
        live()
        return execute(*words)
    commit = connection._commit
    def committed():
        live()
        commit()
        live()
    connection._commit = committed
    with connection.execute_wrapper(statement):
        days.close(now=datetime.fromisoformat("{now}"))
    os._exit(0)

for step in itertools.count(1):
    child = os.fork()
    if child == 0:
        close_until(step)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        print(step - 1)
        break
"""


def use(draws: list[Draw], told: list[tuple[float, int]]) -> None:
    for draw in draws:
        world.tell([(draw.meter, START + hours * HOUR, wh) for hours, wh in told], stored_at=NOW)
        while accrue.accrue(now=NOW).batches:
            pass
    careful.work(now=NOW)


def kill_at_each_step() -> int:
    """How many were killed."""
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_CLOSES_AND_DIES.format(now=NOW.isoformat()))],
        env={**os.environ, "DATABASE_URL": database_url()},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(said.stdout)


def closed(purses: set[int]) -> dict[str, list[str]]:
    """What stands of these homes, and how often."""
    rows = {
        "days": UsageDay.objects.filter(purse__in=purses).values_list(
            "usage_date", "opens_wh", "closes_wh", "energy_wh", "cost_nano", "fee_nano", "posted_fen", "revision"
        ),
        "months": UsageMonth.objects.filter(purse__in=purses).values_list(
            "month_date", "days", "energy_wh", "cost_nano"
        ),
        "money": Purse.objects.filter(pk__in=purses).values_list("paid_fen", "subsidy_fen"),
        "draws": Draw.objects.filter(purse__in=purses).values_list(
            "closed_until", "closed_nano", "posted_fen", "total_nano", "revision"
        ),
        "revisions": UsageRevision.objects.filter(draw__purse__in=purses).values_list("usage_date", "revision"),
        "reviews": Review.objects.filter(purse__in=purses).values_list("why"),
        "entries": JournalEntry.objects.filter(transfers__debit__purse__in=purses).values_list("kind", "happened_at"),
    }
    return {name: sorted(map(repr, found)) for name, found in rows.items()}


def test_days_are_closed_once_whoever_dies_and_wherever():
    version = world.a_version(world.PERIODS_AND_TIERS)
    spared = [world.a_draw(version)]
    use(spared, [(6, 101_000), (25, 102_400), (49, 104_000)])
    days.close(now=NOW)
    other = world.a_draw(world.a_version(world.PERIODS_AND_TIERS))
    use([other], [(6, 101_000), (25, 102_400), (49, 104_000)])

    killed = kill_at_each_step()

    assert killed > 20
    expected = closed({spared[0].purse_id})
    assert closed({other.purse_id}) == expected
    assert days.close(now=NOW) == 0
    assert_audit_is_clean()


def test_a_closed_day_that_turns_out_otherwise_is_revised_once_whoever_dies():
    """A late reading opened it again; its difference is posted once."""
    spared, other = (world.a_draw(world.a_version(world.PERIODS_AND_TIERS)) for _ in range(2))
    use([spared, other], [(25, 102_400), (49, 104_000)])
    days.close(now=NOW)
    use([spared], [(8, 101_900)])
    days.close(now=NOW)
    use([other], [(8, 101_900)])

    killed = kill_at_each_step()

    assert killed > 20
    assert closed({other.purse_id}) == closed({spared.purse_id})
    assert UsageRevision.objects.filter(draw=other).exists()
    assert_audit_is_clean()


def assert_audit_is_clean() -> None:
    checks = (audit.balances, audit.entries, usage_audit.days, usage_audit.months, usage_audit.draws)
    assert [finding for check in checks for finding in check(NOW)] == []
