"""Electricity is used until the money is gone: the tenant is warned, told, cut by the rules, and pays; the light comes
back within seconds. Readings come from the meter, through the broker; whoever is killed, it ends the same."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest
from django.core.cache import cache
from django.db import connection, transaction
from django.utils import timezone

from billing import audit, changes, notices, outages, prepaid
from billing.models import Alert, Interruption, Notice, SupplyDecision
from meters.models import Installation, Level
from notifications.models import Message
from tests import makers
from tests.gateways import hang
from tests.stories.database import backends
from tests.stories.homes import Home
from tests.stories.town import Town

pytestmark = [pytest.mark.kill, pytest.mark.django_db(transaction=True)]

DEAR = {"prices": [{"yuan": "100"}]}  # 10 fen a watt-hour: a few seconds are enough to use up a recharge


class Used:
    """A home that pays 10 fen a watt-hour, with 50.00 yuan and its power on."""

    def __init__(self, town: Town) -> None:
        now = timezone.now()
        self.town, self.paid = town, 0
        room = makers.a_room()
        makers.a_supply_price(room.property, yuan="100")
        makers.a_published_version(place=room.property, definition=DEAR, now=now)
        makers.a_policy(room.property, protects_holidays=False, notice_hours=0)
        tenancy = makers.a_tenancy(room=room, starts_at=now - timedelta(minutes=10))
        meter = hang(town.fleet, room=room, relay="closed", order="closed", power_w=0)
        Installation.objects.update(starts_at=now - timedelta(minutes=10))
        self.home = Home(tenancy, meter, "wechat")
        self.recharge(5000)
        changes.catch_up(now=now)
        town.until(lambda: self.home.agrees("closed"), "the power is on")
        self.use(0)

    def recharge(self, fen: int) -> None:
        self.paid += 1
        prepaid.top_up(
            key=f"payment:{self.paid}", kind="recharge", purse_id=self.home.purse.pk, amount_fen=fen,
            source=prepaid.Source("clearing", "test"), happened_at=timezone.now(), trace=f"paid-{self.paid}",
            now=timezone.now(),
        )  # fmt: skip

    def use(self, wh: int) -> None:
        """The meter counts so much, tells it, and it is rated."""
        code, serial = self.home.meter.property.code, self.home.meter.serial
        before = self.home.purse.available_fen()
        if wh:
            self.town.fleet.consume(code, serial, wh)
        self.town.fleet.report(code, serial)
        told = f"{wh} Wh are rated"
        self.town.until(lambda: self.home.purse.available_fen() == before - 10 * wh and self.is_rated(), told)

    def is_rated(self) -> bool:
        draw = self.home.purse.draws.get()
        return draw.is_plain and draw.last_at > draw.starts_at

    def use_up(self) -> None:
        self.use(405)
        self.use(100)
        self.until_decided("spared")

    def serve(self) -> None:
        notice = self.town.until(Notice.objects.filter(state="left").first, "a notice is left")
        now = timezone.now()
        notices.proven(notice_id=notice.pk, by=makers.a_user(), channel="", proof="by hand", at=now, now=now)

    def until_decided(self, verdict: str) -> SupplyDecision:
        decisions = SupplyDecision.objects.filter(purse=self.home.purse).order_by("pk")
        self.town.until(lambda: (last := decisions.last()) and last.verdict == verdict, f"it is {verdict}")
        last = decisions.last()
        assert last is not None
        return last

    def until_told(self, *levels: str) -> None:
        def told() -> set[str]:
            return set(Alert.objects.filter(over_at=None).values_list("level", flat=True))

        self.town.until(lambda: told() == set(levels), f"{levels} are told and not {told()}")

    def moves(self) -> list[str]:
        return self.town.moves_of(self.home)


@pytest.fixture
def used(quiet_town: Town) -> Used:
    """The chaser comes second: where it finds that no gateway is connected, nobody is cut for a quarter of an hour."""
    cache.delete(outages.GATEWAY)
    quiet_town.start("gateway")
    quiet_town.until(lambda: cache.get(outages.GATEWAY), "the gateway says that it is connected")
    quiet_town.start("chaser")
    return Used(quiet_town)


def test_from_the_first_warning_to_the_light(used: Used):
    town, home = used.town, used.home

    used.use(405)  # 9.50 yuan of 50.00 are left
    used.until_told("percent:20")
    used.use(50)
    used.until_told("percent:20", "percent:10")
    assert Message.objects.filter(kind="low_balance", state="waiting").count() == 2
    assert Message.objects.filter(kind="cut_notice", state="waiting").count() == 1
    used.use(50)
    used.until_told("percent:20", "percent:10", "used_up")
    spared = used.until_decided("spared")
    assert ([code for code, _ in spared.because], home.relay_wanted) == (["notice_not_proven"], "closed")

    used.serve()

    cut = used.until_decided("spent")
    town.until(lambda: home.agrees("open"), "the power is off")
    assert cut.because[0][0] == "notice"

    paid_at = timezone.now()
    used.recharge(3000)
    town.until(lambda: home.agrees("closed"), "the light is back")

    assert seconds_to_the_light(home, paid_at) < 10
    back = used.until_decided("paid")
    assert (back.trace, back.available_fen) == ("paid-2", 2950)
    assert used.moves() == ["open", "closed"]
    used.until_told()
    assert not Message.objects.filter(kind__in=["low_balance", "balance_used_up"], state="waiting").exists()
    interruption = town.until(Interruption.objects.filter(state="over").first, "the clock has stopped")
    assert (interruption.cause, interruption.seconds < 10) == ("spent", True)
    verdicts = list(SupplyDecision.objects.order_by("pk").values_list("verdict", flat=True))
    assert verdicts == ["paid", "spared", "spent", "paid"]
    assert audit.audit(checks=audit.CHECKS, now=timezone.now()).findings == ()


def seconds_to_the_light(home: Home, since: datetime) -> float:
    agreed_at = Level.objects.get(meter=home.meter, kind="relay").agreed_at
    assert agreed_at is not None
    return (agreed_at - since).total_seconds()


def test_a_cut_that_was_decided_while_no_gateway_ran_is_brought_to_the_meter_by_the_next(used: Used):
    used.use_up()
    used.town.kill("gateway")

    used.serve()
    used.until_decided("spent")
    assert used.moves() == []
    used.town.start("gateway")

    used.town.until(lambda: used.home.agrees("open"), "the power is off")
    assert used.moves() == ["open"]


def test_a_cut_that_nobody_has_sent_is_undone_by_a_payment_and_the_light_never_goes_out(used: Used):
    used.use_up()
    used.town.kill("gateway")
    used.serve()
    used.until_decided("spent")

    used.recharge(3000)
    used.until_decided("paid")
    used.town.start("gateway")
    used.use(10)

    used.town.until(lambda: used.home.agrees("closed"), "the power is on")
    assert used.moves() == []


def test_killed_in_the_middle_of_a_decision_it_is_made_by_the_next(used: Used):
    used.use_up()
    used.town.kill("gateway")
    with transaction.atomic():
        Level.objects.select_for_update().get(meter=used.home.meter, kind="relay")
        used.town.until(lambda: is_waiting_for_the_level(used), "the chaser stands still in the middle of it")
        used.town.kill("chaser")
    assert SupplyDecision.objects.latest("pk").verdict == "spared"

    used.town.start("chaser", "gateway")

    used.until_decided("spent")
    used.town.until(lambda: used.home.agrees("open"), "the power is off")
    assert SupplyDecision.objects.filter(verdict="spent").count() == 1


def is_waiting_for_the_level(used: Used) -> bool:
    """The level is held here, and the notice is served by somebody else: the chaser decides, and waits."""
    if not Notice.objects.filter(state="proven").exists():
        serving = threading.Thread(target=_serve_elsewhere, args=[used])
        serving.start()
        serving.join()
    return bool(backends("chaser", where="wait_event_type = 'Lock' and query like '%%meters_level%%'"))


def _serve_elsewhere(used: Used) -> None:
    try:
        used.serve()
    finally:
        connection.close()
