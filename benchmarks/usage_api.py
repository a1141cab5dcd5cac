"""`usage_api`: a home's day, month and year as its tenant asks for them, with 5 million readings stored.

One home has hourly readings since January (since yesterday by the quarter of an hour), stored, rated and closed day by
day as in production; ten thousand others have their month's days, and 5 million readings lie in the month's partition.
The reference is the same view of a home that moved in a month ago and has never been read, in the same minutes.
Through Django's whole stack, without the socket.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.database import Server
from benchmarks.result import Result

if TYPE_CHECKING:
    from accounts.models import Tenancy
    from benchmarks.streets import Streets

GOAL = 5.0
NAME = "bench_usage_api"
BEGINS = datetime(2026, 1, 1, 16, tzinfo=UTC)  # midnight in Shanghai
HOURS_A_BATCH = 24
WATTS = 300
MONTH = timedelta(days=30)
SIZES = {"small": (10_000, 5_000_000), "full": (10_000, 50_000_000)}


def run(*, quick: bool) -> Result:
    """Five interleaved runs of each view; `quick` does one, of a month. Raises RuntimeError when a view fails or does
    not say what was used.
    """
    rounds, asks, (others, stored) = (1, 3, (100, 2000)) if quick else (5, 40, SIZES[os.environ.get("SCALE", "small")])
    server = Server()
    server.open_fresh(NAME)
    from django.db import connection
    from django.utils import timezone

    from accounts.models import Tenancy
    from benchmarks import bills, ingest
    from benchmarks.streets import Streets

    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    begins_at = now - MONTH if quick else BEGINS
    streets = Streets(begins_at=begins_at)
    streets.add(1)
    known = Tenancy.objects.get()
    used_wh = _live(streets, begins_at, now)
    streets.add(others, since=now - MONTH)
    with connection.cursor() as cursor:
        cursor.execute(bills.DAYS_OF_OTHERS, [known.pk])
    ingest.fill(stored, meters=others + 1, before=now - timedelta(days=2))
    streets.add(1, since=now - MONTH)
    server.settle()
    tenants = {"with": Tenant(known), "without": Tenant(Tenancy.objects.latest("pk"))}
    views = _views(now.date())
    _check(tenants["with"], begins_at.date(), now.date(), used_wh)
    runs = [
        {"view": view, "ours": tenants["with"].ms(query, asks), "reference": tenants["without"].ms(query, asks)}
        for _ in range(rounds + 1)
        for view, query in views.items()
    ]
    return _result(runs[len(views) :])


class Tenant:
    """Somebody who lives there, logged in, and asks."""

    def __init__(self, tenancy: Tenancy) -> None:
        from django.test import Client
        from django.utils import timezone

        from accounts import consents, login
        from accounts.models import AccessToken, Member, User

        now, token = timezone.now(), f"bench-{tenancy.pk}"
        user = User.objects.create(username=token, notice_version=consents.CURRENT)
        Member.objects.create(tenancy=tenancy, user=user, role=Member.Role.HOLDER, joined_at=tenancy.starts_at)
        AccessToken.objects.create(
            user=user, digest=login.digest_of(token), created_at=now, expires_at=now + timedelta(days=1)
        )
        self._client = Client(headers={"Authorization": f"Bearer {token}"})
        self._home = f"/api/v1/homes/{tenancy.pk}/usage"

    def ask(self, query: str) -> Any:
        answer = self._client.get(self._home + query)
        if answer.status_code != 200:
            raise RuntimeError(f"{query} was answered with {answer.status_code}: {answer.content[:200]!r}")
        return answer.json()

    def ms(self, query: str, asks: int) -> float:
        """The median of so many."""
        took = []
        for _ in range(asks):
            began = time.perf_counter()
            self.ask(query)
            took.append((time.perf_counter() - began) * 1000)
        return median(took)


def _views(today: date) -> dict[str, str]:
    yesterday, year = today - timedelta(days=1), today - timedelta(days=364)
    return {
        "a closed day": f"/{yesterday - timedelta(days=2)}",
        "today": f"/{today}",
        "month by day": f"?by=day&from={today - MONTH}&to={today}",
        "year by month": f"?by=month&from={max(year, date(2026, 1, 1))}&to={today}",
    }


def _live(streets: Streets, begins_at: datetime, now: datetime) -> int:
    """What the home uses until now, told, rated and closed as time goes by. Returns the watt-hours."""
    from billing import rating
    from billing.rating import days
    from meters import intake, partitions
    from meters.intake import Frame, Heard
    from meters.wire.base import Report, Telemetry

    hours = int((now - begins_at) / timedelta(hours=1))
    quarters = (begins_at + timedelta(hours=hours - 24, minutes=15 * n) for n in range(1, 97))
    instants: Iterator[datetime] = chain((begins_at + timedelta(hours=n) for n in range(1, hours - 23)), quarters)
    said: list[Heard] = []
    wh = 0
    for at in instants:
        wh = int((at - begins_at).total_seconds()) * WATTS // 3600
        report = Report(at=at, import_wh=wh, relay="closed", order="closed", generation=0)
        frame = Frame("", b"", at)
        said.append(Heard(streets.addresses[0], Telemetry(id=f"{at:%Y%m%d%H%M}", readings=(report,)), frame))
        if len(said) == HOURS_A_BATCH or at == now:
            later = at + timedelta(seconds=2)
            partitions.make_months(now=later)
            intake.keep(said, [], now=later)
            said = []
            while rating.work(now=later) or days.close(now=later):
                pass
    return wh


def _check(tenant: Tenant, first: date, today: date, used_wh: int) -> None:
    """All of it is shown, by whichever sum."""
    for by in ("month", "year"):
        shown = tenant.ask(f"?by={by}&from={first}&to={today + timedelta(days=1)}")["usage"]
        shown_wh = round(sum(float(one["energy_kwh"]) for one in shown) * 1000)
        if shown_wh != used_wh:
            raise RuntimeError(f"by {by}: {shown_wh} Wh are shown of {used_wh}: not a benchmark, a fault")


def _result(runs: list[dict[str, Any]]) -> Result:
    medians = {
        view: {name: median(one[name] for one in runs if one["view"] == view) for name in ("ours", "reference")}
        for view in dict.fromkeys(one["view"] for one in runs)
    }
    ratios = {view: each["ours"] / each["reference"] for view, each in medians.items()}
    worst = max(ratios, key=lambda view: ratios[view])
    return Result(
        name="usage_api",
        unit=f"ms ({worst})",
        ours=medians[worst]["ours"],
        reference=medians[worst]["reference"],
        ratio=ratios[worst],
        goal=f"at most {GOAL:g}",
        is_met=ratios[worst] <= GOAL,
        runs=runs,
        more={"views": {view: {**medians[view], "ratio": ratios[view]} for view in medians}},
    )
