"""`messages`: 10,000 notices of a cut to 10,000 homes, from the commit that left them to the vendor's last answer.

One `manage.py carrier`, a process of its own, sends them as SMS to the sandbox's Aliyun, another process: routed,
claimed, committed, signed, sent, recorded, durably. The reference is a bare loop of an HTTP client with a session that
posts as many requests, signed beforehand, to the same sandbox, one after the other.

Beside it: notices that are left one by one, 20 a second, from each commit to the vendor's answer.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import requests

from benchmarks.database import Server, folder
from benchmarks.result import Result
from benchmarks.web import free_port
from config.embedded.broker import is_free
from config.embedded.children import end, spawn
from sandbox.keys import make_world

GOAL, AIM_S = 0.4, 2.0
NAME = "bench_messages"
A_SECOND, SINGLES = 20, 300
START_S, PATIENCE_S = 30.0, 300.0
TEMPLATE = "SMS_1000"

_HOMES = """
with place as (
    insert into accounts_property (code, name, phone, created_at) values ('bench', 'Bench', '400-000-0000', now())
    returning id
), building as (
    insert into accounts_building (property_id, name) select id, '1' from place returning id, property_id
), room as (
    insert into accounts_room (property_id, building_id, number)
    select b.property_id, b.id, n::text from building b cross join generate_series(1, %(homes)s) n
    returning id, property_id, number
), tenancy as (
    insert into accounts_tenancy (property_id, room_id, starts_at) select property_id, id, %(since)s from room
    returning id
), person as (
    insert into accounts_user (username, name, phone, password, is_superuser, is_staff, is_active, email, date_joined,
                               notice_version)
    select 'bench-' || n, '', '138' || lpad(n::text, 8, '0'), '', false, false, true, '', now(), ''
      from generate_series(1, %(homes)s) n
    returning id
)
insert into accounts_member (tenancy_id, user_id, role, joined_at)
select t.id, p.id, 'holder', %(since)s
  from (select id, row_number() over (order by id) n from tenancy) t
  join (select id, row_number() over (order by id) n from person) p on p.n = t.n
"""
_LEAVE = """
select notifications_leave('bench:' || %(turn)s || ':' || id, 'cut_notice', property_id, id,
                           '{"available_fen": -120, "hours": 24}', now())
  from accounts_tenancy
 order by id
 limit %(count)s
"""
_OPEN = """
select (select count(*) from notifications_message where state = 'waiting')
     + (select count(*) from notifications_delivery where state in ('waiting', 'unknown'))
     + (select count(*) from notifications_delivery where state = 'claimed')
"""


def run(*, quick: bool) -> Result:
    """Five interleaved runs of both; `quick` does one of 200. Raises RuntimeError unless each was sent once."""
    rounds, homes, singles = (1, 200, 20) if quick else (5, 10_000, SINGLES)
    server = Server()
    server.open_fresh(NAME)
    with _vendor() as url:
        return _measured(server, url, rounds=rounds, homes=homes, singles=singles)


def _measured(server: Server, url: str, *, rounds: int, homes: int, singles: int) -> Result:
    from django.db import connection
    from django.utils import timezone

    from notifications.models import Template

    since = timezone.now() - timedelta(days=30)
    with connection.cursor() as cursor:
        cursor.execute(_HOMES, {"homes": homes, "since": since})
    Template.objects.create(kind="cut_notice", channel="sms_aliyun", template_id=TEMPLATE, changed_at=timezone.now())
    runs: list[dict[str, float]] = []
    with _carrier(url):
        for turn in range(rounds + 1):
            server.settle()
            ours = homes / _carried(turn, homes)
            server.settle()
            runs.append({"ours": ours, "reference": homes / _posted(url, turn, homes)})
        waits = _one_by_one(singles)
    _check(url, homes * (rounds + 1) + singles)
    return _result(runs[1:] if rounds > 1 else runs, waits)


# ---- ours ----


def _carried(turn: int, count: int) -> float:
    """Seconds from the commit that left so many messages to the last answer written down."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(_LEAVE, {"turn": turn, "count": count})
        began = time.perf_counter()
        while time.perf_counter() < began + PATIENCE_S:
            cursor.execute(_OPEN)
            if not cursor.fetchone()[0]:
                return time.perf_counter() - began
            time.sleep(0.05)
    raise RuntimeError("the messages were not carried in time")


def _one_by_one(count: int) -> list[float]:
    """Seconds from each commit to the vendor's answer, as it was written down."""
    from django.db import connection

    from accounts.models import Tenancy
    from notifications import outbox
    from notifications.models import Delivery

    left: dict[str, float] = {}
    for n, home in enumerate(Tenancy.objects.order_by("pk")[:count]):
        key, now = f"single:{n}", datetime.now().astimezone()
        outbox.leave(
            key=key, kind="cut_notice", tenancy_id=home.pk, property_id=home.property_id,
            context={"available_fen": -120, "hours": 24}, now=now,
        )  # fmt: skip
        left[key] = time.time()
        time.sleep(1 / A_SECOND)
    time.sleep(2)
    with connection.cursor() as cursor:
        cursor.execute(_OPEN)
        if cursor.fetchone()[0]:
            raise RuntimeError("messages that were left one by one are still open")
    answered = Delivery.objects.filter(message__key__startswith="single:", channel="sms_aliyun")
    return [at.timestamp() - left[key] for key, at in answered.values_list("message__key", "handed_at") if at]


def _check(url: str, count: int) -> None:
    """Every message once: the vendor says so."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("select reference from notifications_delivery where channel = 'sms_aliyun'")
        ours = {reference for (reference,) in cursor.fetchall()}
    sent = [one["reference"] for one in _get(url, "/sandbox/messages")["messages"] if one["reference"] in ours]
    if not len(sent) == len(set(sent)) == len(ours) == count:
        raise RuntimeError(f"{len(sent)} SMS of {len(set(sent))} messages were sent, {count} were left: a fault")


# ---- the reference ----


def _posted(url: str, turn: int, count: int) -> float:
    """Seconds for as many requests, one after the other, on one connection."""
    account = make_world(folder() / "world")["sms"]["aliyun"]
    secret = Path(account["secret_file"]).read_bytes()
    asked = [_signed(url, account["key_id"], secret, turn=turn, n=n) for n in range(count)]
    with requests.Session() as http:
        http.trust_env = False
        began = time.perf_counter()
        for address, headers in asked:
            answer = http.post(address, headers=headers, timeout=5)
            if answer.json()["Code"] != "OK":
                raise RuntimeError(answer.text)
        return time.perf_counter() - began


def _signed(url: str, key_id: str, secret: bytes, *, turn: int, n: int) -> tuple[str, dict[str, str]]:
    """Address and headers of one SendSms."""
    from notifications.channels import sms_aliyun

    query = sms_aliyun.canonical_query(
        {
            "OutId": f"reference-{turn}-{n}",
            "PhoneNumbers": f"139{n:08d}",
            "SignName": "meterpay",
            "TemplateCode": TEMPLATE,
            "TemplateParam": '{"room": "1-101", "balance": "-1.20"}',
        }
    )
    headers = {
        "host": urlsplit(url).netloc,
        "x-acs-action": "SendSms",
        "x-acs-content-sha256": sms_aliyun.NO_BODY,
        "x-acs-date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "x-acs-signature-nonce": uuid4().hex,
        "x-acs-version": sms_aliyun.VERSION,
    }
    headers["Authorization"] = sms_aliyun.authorization(key_id, secret, query=query, headers=headers)
    return f"{url}/?{query}", headers


# ---- processes ----


@contextmanager
def _vendor() -> Iterator[str]:
    port = free_port()
    words = [sys.executable, "-m", "sandbox.sms", "--world", str(folder() / "world"), "--port", str(port)]
    child = spawn(words, env=dict(os.environ), log=folder() / "sms.log")
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        end(child, patience_s=10)


@contextmanager
def _carrier(url: str) -> Iterator[None]:
    account = make_world(folder() / "world")["sms"]
    settings = {
        "ALIYUN_SMS_URL": url,
        "ALIYUN_SMS_KEY_ID": account["aliyun"]["key_id"],
        "ALIYUN_SMS_SECRET_REF": f"file:{account['aliyun']['secret_file']}",
        "ALIYUN_SMS_SIGN_NAME": account["sign_name"],
        "LOG_FORMAT": "json",
    }
    words = [sys.executable, "manage.py", "carrier"]
    child = spawn(words, env=dict(os.environ) | settings, log=folder() / "carrier.log")
    try:
        yield
    finally:
        end(child, patience_s=20)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START_S
    while is_free(port):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the sandbox does not come up: see {folder() / 'sms.log'}")
        time.sleep(0.1)


def _get(url: str, path: str) -> dict[str, Any]:
    with requests.Session() as http:
        http.trust_env = False
        return dict(http.get(url + path, timeout=60).json())


def _result(runs: list[dict[str, float]], waits: list[float]) -> Result:
    ours, reference = (median(one[name] for one in runs) for name in ("ours", "reference"))
    ratio = median(one["ours"] / one["reference"] for one in runs)
    p99_s = quantiles(waits, n=100)[98]
    return Result(
        name="messages",
        unit="messages a second",
        ours=ours,
        reference=reference,
        ratio=ratio,
        goal=f"at least {GOAL}; p99 from commit to answer {p99_s * 1000:.0f} ms, aim under {AIM_S:g} s",
        is_met=ratio >= GOAL and p99_s < AIM_S,
        runs=runs,
        more={"p50_ms": median(waits) * 1000, "p99_ms": p99_s * 1000},
    )
