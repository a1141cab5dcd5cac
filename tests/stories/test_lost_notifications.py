"""NOTIFY is a bell and no message: what nobody heard is found again."""

from __future__ import annotations

import pytest
from django.db import connection, transaction
from django.utils import timezone

from billing import prepaid
from billing.prepaid import Source
from tests.stories.homes import Home
from tests.stories.town import Town

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_command_whose_bell_nobody_heard_goes_out_with_the_next_sweep(quiet_village: Town):
    village = quiet_village
    home = village.home()
    village.phone_when_heard(home)
    village.until(lambda: home.agrees("open"), "all is settled before")

    with transaction.atomic(), connection.cursor() as cursor:
        # In this transaction another function answers to the name: the rows are written and nobody is notified.
        cursor.execute("create function public.pg_notify(text, text) returns void language sql as 'select'")
        cursor.execute("set local search_path = public, pg_catalog")
        pay_in_cash(home, 5000)
        cursor.execute("set local search_path to default")
        cursor.execute("drop function public.pg_notify(text, text)")

    village.until(lambda: village.there(home)["relay"] == "closed", "it is found again")
    village.until(lambda: home.agrees("closed"), "we know it")


def pay_in_cash(home: Home, amount_fen: int) -> None:
    now, source = timezone.now(), Source("cash", "desk")
    prepaid.top_up(
        key="cash:1", kind="counter", purse_id=home.purse.pk, amount_fen=amount_fen, source=source, happened_at=now,
        trace="cash", now=now,
    )  # fmt: skip


def test_a_gateway_whose_ear_was_cut_off_listens_again(quiet_village: Town):
    village = quiet_village
    home = village.home()
    village.phone_when_heard(home)
    village.until(lambda: home.agrees("open"), "all is settled before")
    ears = (
        "select pid from pg_stat_activity where datname = current_database() and query = 'listen \"meterpay_commands\"'"
    )
    with connection.cursor() as cursor:
        cursor.execute(ears)
        before = {pid for (pid,) in cursor.fetchall()}
        cursor.execute("select pg_terminate_backend(pid) from unnest(%s) as pid", [list(before)])

    pay_in_cash(home, 5000)

    village.until(lambda: village.there(home)["relay"] == "closed", "the recharge goes out all the same")
    with connection.cursor() as cursor:
        cursor.execute(ears)
        after = {pid for (pid,) in cursor.fetchall()}
    assert len(after) == len(before) == 1
    assert after != before
