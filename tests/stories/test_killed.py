"""Every process is killed at a bad moment. After its restart each payment is one credit, one step of the meter's
count, and every relay stands where policy says.

The gateway's own bad moments, between commit, publish, answer and acknowledgement: test_gateway_killed.py.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import requests
from django.db import connection, transaction
from django.utils import timezone

from meters.models import TopUp
from payments.models import Attempt, Order, Payment, ProviderEvent
from sandbox.phone import Phone, PhoneError
from tests.gateways import faults
from tests.stories.database import backends, cut_off, database_away
from tests.stories.homes import Home
from tests.stories.town import CHANNEL, Town

pytestmark = [pytest.mark.kill, pytest.mark.django_db(transaction=True)]


def is_paid(order: Order) -> bool:
    return Order.objects.get(pk=order.pk).state == "paid"


# ---- the gateway ----


def test_what_was_paid_while_no_gateway_ran_is_brought_to_the_meters_by_the_next(town: Town):
    town.start("web", "gateway")
    homes = [town.home(), town.home(held_by="meter", provider="alipay")]
    phones = [town.phone_when_heard(home) for home in homes]  # or a cut is still on its way, and may be taken back
    town.kill("gateway")

    orders = [town.recharge(home, phone) for home, phone in zip(homes, phones, strict=True)]
    for home, order in zip(homes, orders, strict=True):
        town.until(partial(is_paid, order), "it is credited without a gateway")
        assert town.there(home)["relay"] == "open"
    town.start("gateway")

    for home in homes:
        town.until_power_is_back(home, fen=5000)
    assert town.findings() == []


# ---- the web ----


@contextmanager
def nobody_else_touches(order: Order):
    """Holds the order's row, so that whoever confirms its payment stands still in the middle of it."""
    with transaction.atomic():
        Order.objects.select_for_update().get(pk=order.pk)
        yield


def is_stuck_in_confirm() -> bool:
    return bool(backends("web", where="wait_event_type = 'Lock' and query like '%%payments_confirm%%'"))


def kill_web_in_confirm(town: Town, home: Home, *, server_notices: bool) -> Order:
    """Evidence is stored, the credit is not, and the process is gone (its server process too, or not yet)."""
    placed = town.phone(home).recharge(home.tenancy.pk, "50.00", "wechat_mini")
    order = Order.objects.get(number=placed["number"])
    number = order.attempts.get().number
    with nobody_else_touches(order):
        town.wechat.do(f"trades/{number}/pay")
        town.until(is_stuck_in_confirm, "the callback is being confirmed")
        town.kill("web")
        if server_notices:
            cut_off(backends("web"))
            town.until(lambda: not backends("web"), "its connections are gone")
    return order


@pytest.mark.parametrize("server_notices", [True, False], ids=["rolled_back", "finished_by_the_database"])
def test_web_killed_between_evidence_and_credit_is_made_good_by_the_providers_next_call(
    quiet_town: Town, server_notices
):
    town = quiet_town
    town.start("web")
    home = town.home()
    order = kill_web_in_confirm(town, home, server_notices=server_notices)
    if server_notices:
        assert (ProviderEvent.objects.get().state, is_paid(order)) == ("stored", False)

    town.start("web")

    accepted = town.until(lambda: [one for one in town.wechat.tries() if one["accepted"]], "WeChat calls again")
    assert (len(accepted), Payment.objects.get().state, home.purse.paid_fen) == (1, "credited", 5000)
    assert (ProviderEvent.objects.get().state, home.relay_wanted) == ("done", "closed")
    assert town.findings() == []


def test_web_killed_between_evidence_and_credit_is_made_good_by_the_chaser(quiet_town: Town):
    town = quiet_town
    town.start("web")
    home = town.home()
    order = kill_web_in_confirm(town, home, server_notices=True)
    long_ago = timezone.now() - timedelta(seconds=11)
    ProviderEvent.objects.update(received_at=long_ago)  # or we would wait until no callback can be in flight
    Attempt.objects.update(next_ask_at=timezone.now() + timedelta(hours=1))  # the evidence alone shall do

    town.start("chaser")

    town.until(lambda: is_paid(order), "the chaser takes up what was left lying")
    assert Payment.objects.get().found_by == "callback"
    assert (home.purse.paid_fen, home.relay_wanted) == (5000, "closed")
    assert town.findings() == []


# ---- the chaser ----


def test_a_chaser_killed_while_it_asks_leaves_the_payment_to_be_asked_about_again(quiet_town: Town):
    town = quiet_town
    town.start("web")
    home = town.home()
    town.wechat.do("faults", callbacks="never", answers=[{"match": "out-trade-no", "delay_ms": 2000}])
    order = town.recharge(home, town.phone(home))
    its_turn_comes_now()
    town.start("chaser")
    town.until(lambda: Attempt.objects.get().asks == 1, "the chaser asks")

    town.kill("chaser")
    assert not is_paid(order)
    its_turn_comes_now()
    town.start("chaser")

    town.until(lambda: is_paid(order), "the next one asks again")
    assert Payment.objects.get().found_by == "query"
    assert home.purse.paid_fen == 5000
    assert town.findings() == []


def its_turn_comes_now() -> None:
    """Instead of after 5 and 30 seconds, as WeChat advises."""
    Attempt.objects.update(next_ask_at=timezone.now())


# ---- the database ----


def test_a_callback_that_comes_while_the_database_is_away_is_credited_once_when_it_is_back(quiet_town: Town):
    town = quiet_town
    town.start("web", "gateway")
    homes = [town.home(), town.home(held_by="meter")]
    placed = [town.phone(home).recharge(home.tenancy.pk, "50.00", "wechat_mini") for home in homes]
    numbers = [Attempt.objects.get(order__number=one["number"]).number for one in placed]
    connection.ensure_connection()

    with database_away("web", "gateway"):
        for number in numbers:
            town.wechat.do(f"trades/{number}/pay")
        for number in numbers:
            town.until(partial(town.wechat.tries, number), "the callback was tried")
        assert not any(one["accepted"] for one in town.wechat.tries())

    for home in homes:
        town.until_power_is_back(home, fen=5000)
    assert town.findings() == []


# ---- everything ----

KILLS = 6
ENOUGH_S = 60  # of killing, where a process takes long to come up
RECHARGES = 5
SEED = 20260301


def insist(deed: Callable[[], Any]) -> Any:
    """What a person does whose app says that it did not work: tries again."""
    until = time.monotonic() + 60
    while True:
        try:
            return deed()
        except (requests.RequestException, PhoneError) as error:
            is_ours = not isinstance(error, PhoneError) or error.status >= 500
            if not is_ours or time.monotonic() > until:
                raise
            time.sleep(0.2)


def recharge_again_and_again(home: Home, phone: Phone, amounts: list[int], pause_s: list[float]) -> None:
    """A tenant in a thread; it talks HTTP alone."""
    for turn, (fen, wait_s) in enumerate(zip(amounts, pause_s, strict=True)):
        key, amount = f"{home.tenancy.pk}-turn-{turn}", f"{fen // 100}.{fen % 100:02d}"
        placed = insist(partial(phone.recharge, home.tenancy.pk, amount, CHANNEL[home.provider], key=key))
        phone.pay(placed)
        time.sleep(wait_s)


def test_recharges_go_through_while_everything_is_killed_again_and_again(town: Town):
    dice = random.Random(SEED)
    town.start("web", "gateway", "chaser")
    homes = [
        town.home(held_by=held_by, provider=provider, ttl_s=2)
        for held_by in ("server", "meter")
        for provider in ("wechat", "alipay")
    ]
    phones = [town.phone_when_heard(home) for home in homes]  # or a cut is still on its way, and may be taken back
    amounts = {home: [dice.randrange(1000, 9000) for _ in range(RECHARGES)] for home in homes}
    for home in homes:
        faults(town.fleet, home.meter, lose_answers=2, duplicate_answers=1)

    with ThreadPoolExecutor(len(homes)) as tenants:
        paying = [
            tenants.submit(
                recharge_again_and_again, home, phone, amounts[home], [dice.uniform(0.3, 3) for _ in range(RECHARGES)]
            )
            for home, phone in zip(homes, phones, strict=True)
        ]
        over = time.monotonic() + ENOUGH_S
        for _ in range(KILLS):
            if time.monotonic() > over:
                break
            victim = dice.choice(["web", "gateway", "gateway", "chaser"])
            time.sleep(dice.uniform(0.05, 0.5))
            town.kill(victim)
            town.start(victim)
        for tenant in paying:
            tenant.result()

    for home in homes:
        town.until_power_is_back(home, fen=sum(amounts[home]), recharges=RECHARGES)
        assert set(town.moves_of(home)) == {"closed"}, town.there(home)["relay_moves"]
    assert not Order.objects.exclude(state="paid").exists()
    assert not TopUp.objects.exclude(state="landed").exists()
    assert Payment.objects.count() == Order.objects.count() == len(homes) * RECHARGES
    assert town.findings() == []
