"""What can be wrong with an installation, looked for one by one; each finding says how to mend it.

Settings are validated before anything runs (config/settings.py); here are the things that settings only name: keys,
certificates, clocks, the database and the broker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import psycopg
import requests
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from accounts import pem
from accounts.keys import UnreadableKeyError, read_key
from config.ailment import Ailment
from config.channels_ready import message_channels
from config.merchant_keys import merchant_keys
from config.prices_known import prices
from config.ways_to_pay import ways_to_pay

CLOCK_MAY_BE_OFF = timedelta(seconds=60)
OLDEST_POSTGRESQL = 160000


Examination = Callable[[datetime], Iterator[Ailment]]


def database(now: datetime) -> Iterator[Ailment]:
    """Reachable, young enough, durable, migrated, with a clock like ours, and LISTEN works through its own address."""
    try:
        psycopg.connect(settings.DATABASE_URL, connect_timeout=5).close()  # the pool would not say why it cannot
        with connection.cursor() as cursor:
            cursor.execute(
                "select current_setting('server_version_num')::int, current_setting('fsync'),"
                " current_setting('synchronous_commit'), clock_timestamp()"
            )
            version, fsync, synchronous_commit, clock = cursor.fetchone()
    except (DatabaseError, psycopg.Error) as error:
        yield Ailment("DATABASE_URL", str(error).split("\n", maxsplit=1)[0], "start PostgreSQL, or mend the address")
        return
    if version < OLDEST_POSTGRESQL:
        yield Ailment("PostgreSQL", f"version {version // 10000} is too old", "use version 16 or later")
    if (fsync, synchronous_commit) != ("on", "on"):
        yield Ailment(
            "PostgreSQL",
            f"fsync is {fsync}, synchronous_commit is {synchronous_commit}",
            "switch both on: a payment that was confirmed must survive a power cut",
        )
    yield from _clock("PostgreSQL", clock, now)
    yield from _migrations()
    yield from _listening()


def _migrations() -> Iterator[Ailment]:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        yield Ailment("PostgreSQL", f"{len(missing)} migrations are not applied", "run `manage.py migrate`")


def _listening() -> Iterator[Ailment]:
    url = settings.DATABASE_LISTEN_URL or settings.DATABASE_URL
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as direct:
            direct.execute("listen meterpay_doctor")
            direct.execute("notify meterpay_doctor")
            heard = list(direct.notifies(timeout=3, stop_after=1))
    except psycopg.Error as error:
        heard, why = [], str(error).split("\n", maxsplit=1)[0]
    else:
        why = "a notification did not arrive"
    if not heard:
        yield Ailment(
            "DATABASE_LISTEN_URL",
            why,
            "name a direct connection, not a pooler in transaction mode: LISTEN needs one",
        )


def own_keys(_now: datetime) -> Iterator[Ailment]:
    """The keys that settings name can be read, where they are named at all."""
    for name in ("WECHAT_MINI_SECRET_REF", "ALIPAY_PRIVATE_KEY_REF", "ALIPAY_PUBLIC_KEY_REF"):
        ref = getattr(settings, name)
        if not ref:
            yield Ailment(name, "is not set", "set it, or tenants cannot log in with that app", is_warning=True)
            continue
        try:
            text = read_key(ref)
            if name == "ALIPAY_PRIVATE_KEY_REF":
                pem.private_key(text)
            elif name == "ALIPAY_PUBLIC_KEY_REF":
                pem.public_key(text)
        except (UnreadableKeyError, ValueError) as error:
            yield Ailment(name, str(error), "name a file or a variable that holds the key")


def vendors_clocks(now: datetime) -> Iterator[Ailment]:
    """WeChat and Alipay answer, and their clocks are like ours: both refuse requests that are five minutes off."""
    for name in ("WECHAT_PAY_URL", "WECHAT_API_URL", "ALIPAY_GATEWAY_URL"):
        try:
            answer = requests.get(getattr(settings, name), timeout=settings.VENDOR_TIMEOUT_S, allow_redirects=False)
            date = parsedate_to_datetime(answer.headers["Date"])
        except requests.RequestException:
            yield Ailment(name, "does not answer", "let this machine reach the vendor", is_warning=True)
        except (KeyError, ValueError):
            continue  # no Date, no comparison
        else:
            yield from _clock(name, date, now)


def _clock(where: str, theirs: datetime, now: datetime) -> Iterator[Ailment]:
    off = abs(theirs - now)
    if off > CLOCK_MAY_BE_OFF:
        yield Ailment(where, f"its clock and ours are {int(off.total_seconds())} s apart", "set up NTP")


EXAMINATIONS: tuple[Examination, ...] = (
    database,
    own_keys,
    merchant_keys,
    ways_to_pay,
    prices,
    message_channels,
    vendors_clocks,
)
