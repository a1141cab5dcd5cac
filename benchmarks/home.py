"""`home`: a home as its tenant opens it, by the API and as a page, of 10,000 homes with a year behind them.

95 of 100 requests are answered within the figure. The reference is a Django view that returns a constant through the
same server and middleware, in the same minutes. One client after another asks for a home of their own, so nothing is
warm that would not be.
"""

from __future__ import annotations

import http.client
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any

from benchmarks import bills
from benchmarks.database import Server, folder
from benchmarks.result import Result
from benchmarks.web import PROJECT, free_port, wait_for
from config.embedded.children import end, spawn

GOAL, AIM = 8.0, 4.0
NAME = "bench_home"
MONTH = timedelta(days=30)
WORDS = ["--worker-class", "gthread", "--workers", "1", "--threads", "4", "--keep-alive", "75"]
_MONTHS = """
insert into billing_usagemonth (draw_id, month_date, property_id, purse_id, days, energy_wh, cost_nano, fee_nano,
                                period_wh, line_wh)
select d.id, (date_trunc('month', now()) - n * interval '1 month')::date, d.property_id, d.purse_id, 30, 288000,
       288000 * 56000000::bigint, 288000 * 3000000::bigint, '{"peak": 144000, "valley": 144000}', '{}'
  from billing_draw d cross join generate_series(1, 12) n
    on conflict do nothing
"""


def run(*, quick: bool) -> Result:
    """Five interleaved runs of each; `quick` does a tiny one. Raises RuntimeError when one is not answered with 200."""
    rounds, asks, homes, people = (1, 20, 100, 10) if quick else (5, 400, 10_000, 500)
    server = Server()
    server.open_fresh(NAME)
    from django.db import connection
    from django.utils import timezone

    from benchmarks.streets import Streets

    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    streets = Streets(begins_at=now - MONTH)
    streets.add(homes, since=now - MONTH)
    with connection.cursor() as cursor:
        cursor.execute(bills.DAYS_OF_OTHERS, [0])
        cursor.execute(_MONTHS)
    tenants = _tenants(people, now)
    server.settle()
    with _running(folder()) as port:
        ask = Asking(port, tenants)
        ways: dict[str, Callable[[], float]] = {
            "constant": lambda: ask.p95(asks, lambda _home: "/constant"),
            "API": lambda: ask.p95(asks, lambda home: f"/api/v1/homes/{home}"),
            "page": lambda: ask.p95(asks, lambda home: f"/home/{home}/"),
        }
        for way in ways.values():
            way()  # the first ones load code and plans
        runs = [{name: way() for name, way in ways.items()} for _ in range(rounds)]
    return _result(runs)


class Asking:
    """Tenants who ask one after another over one connection each time."""

    def __init__(self, port: int, tenants: list[tuple[int, str]]) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._tenants = tenants
        self._dice = random.Random(7)

    def p95(self, asks: int, path: Callable[[int], str]) -> float:
        """Within how many ms 95 of 100 are answered."""
        took = [self._ask(path) for _ in range(asks)]
        return quantiles(took, n=20)[-1]

    def _ask(self, path: Callable[[int], str]) -> float:
        home, token = self._dice.choice(self._tenants)
        headers = {"Authorization": f"Bearer {token}", "Cookie": f"meterpay_login={token}"}
        began = perf_counter()
        self._http.request("GET", path(home), headers=headers)
        answer = self._http.getresponse()
        answer.read()
        took_ms = (perf_counter() - began) * 1000
        if answer.status != 200:
            raise RuntimeError(f"{path(home)} was answered with {answer.status}")
        return took_ms


def _tenants(people: int, now: datetime) -> list[tuple[int, str]]:
    """Homes and the tokens of who lives there."""
    from accounts import consents, login
    from accounts.models import AccessToken, Member, Tenancy, User

    tenancies = list(Tenancy.objects.order_by("pk")[:people])
    users = User.objects.bulk_create(
        User(username=f"bench-{one.pk}", notice_version=consents.CURRENT) for one in tenancies
    )
    pairs = list(zip(tenancies, users, strict=True))
    Member.objects.bulk_create(
        Member(tenancy=home, user=user, role=Member.Role.HOLDER, joined_at=home.starts_at) for home, user in pairs
    )
    tokens = [f"bench-token-{home.pk}" for home in tenancies]
    AccessToken.objects.bulk_create(
        AccessToken(user=user, digest=login.digest_of(token), created_at=now, expires_at=now + timedelta(days=1))
        for user, token in zip(users, tokens, strict=True)
    )
    return [(home.pk, token) for home, token in zip(tenancies, tokens, strict=True)]


@contextmanager
def _running(where: Path) -> Iterator[int]:
    port = free_port()
    words = [sys.executable, "-m", "gunicorn", "benchmarks.constant:application()", "--chdir", str(PROJECT)]
    child = spawn(
        [*words, "--bind", f"127.0.0.1:{port}", *WORDS],
        env=dict(os.environ) | {"LOG_FORMAT": "json"},
        log=where / "web.log",
    )
    try:
        wait_for(port, where)
        yield port
    finally:
        end(child, patience_s=10)


def _result(runs: list[dict[str, Any]]) -> Result:
    medians = {name: median(one[name] for one in runs) for name in runs[0]}
    ratios = {name: medians[name] / medians["constant"] for name in ("API", "page")}
    worst = max(ratios, key=lambda name: ratios[name])
    return Result(
        name="home",
        unit=f"ms ({worst}, p95)",
        ours=medians[worst],
        reference=medians["constant"],
        ratio=ratios[worst],
        goal=f"at most {GOAL:g}, aim {AIM:g}",
        is_met=ratios[worst] <= GOAL,
        runs=runs,
        more={name: {"ms": medians[name], "ratio": ratios.get(name)} for name in medians},
    )
