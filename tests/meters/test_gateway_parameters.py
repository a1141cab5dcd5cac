"""Parameters over real brokers, between a gateway and virtual meters that go by them."""

from __future__ import annotations

import time

import pytest
from django.utils import timezone

from meters import commands, desired, topups
from meters.models import Command, Level, Meter, MeterModel, TopUp
from sandbox.fleet import Fleet
from tests.gateways import KINDS, a_gateway, faults, hang, lease, there, wait_until

pytestmark = pytest.mark.django_db(transaction=True)
KNOWN = ["warn_1", "warn_2", "overdr", "keep", "holidays"]
ALL = {"warn_1": "1000", "warn_2": "500", "overdr": "2000", "keep": "on", "holidays": "on"}
AS_TOLD = {
    "warn_1_fen": 1000,
    "warn_2_fen": 500,
    "overdraft_fen": 2000,
    "keep_supply": True,
    "holidays": True,
}


@pytest.fixture(scope="module", params=KINDS)
def broker_url(request, tmp_path_factory) -> str:
    return lease(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def fleet(broker_url):
    with Fleet(broker_url) as fleet:
        yield fleet


def hung(fleet: Fleet, *, ttl_s: int = 30, **registers) -> Meter:
    meter = hang(fleet, held_by="meter", ttl_s=ttl_s, **registers)
    MeterModel.objects.filter(pk=meter.model_id).update(parameters=KNOWN)
    return meter


def is_there(meter: Meter) -> bool:
    return Meter.objects.get(pk=meter.pk).is_online


def wish(*meters: Meter, **values: str) -> None:
    wishes = [(meter.pk, kind, value) for meter in meters for kind, value in values.items()]
    desired.want_parameters(wishes, reason="policy", now=timezone.now())


def agrees(meter: Meter, **values: str) -> bool:
    agreed = Level.objects.filter(meter=meter, kind__in=values, agreed_at__isnull=False)
    return {one.kind: one.reported for one in agreed} == values


def told(fleet: Fleet, meter: Meter, outcome: str) -> list[str]:
    """The parameters that it received with this outcome, in the order of arrival."""
    received = there(fleet, meter)["commands"]
    return [one["name"] for one in received if (one["kind"], one["outcome"]) == ("set", outcome)]


def test_a_meter_is_told_everything_and_goes_by_it(broker_url, fleet):
    with a_gateway(broker_url):
        meter = hung(fleet)
        wait_until(lambda: is_there(meter))
        assert there(fleet, meter)["relay"] == "open"

        wish(meter, **ALL)
        wait_until(lambda: agrees(meter, **ALL))

        assert there(fleet, meter)["parameters"] == AS_TOLD
        assert there(fleet, meter)["relay"] == "closed"  # its supply is kept
        assert Command.objects.filter(meter=meter, state="done").count() == 5


@pytest.mark.parametrize(
    "fault", [{"lose_answers": 2}, {"duplicate_answers": 3}, {"answer_late_ms": 1500}, {"out_of_order": 2}]
)
def test_whatever_becomes_of_its_answers_the_meter_has_what_was_wanted_last(broker_url, fleet, fault):
    with a_gateway(broker_url):
        meter = hung(fleet, ttl_s=1)
        wait_until(lambda: is_there(meter))
        faults(fleet, meter, **fault)
        wish(meter, overdr="1000", keep="on")
        wait_until(lambda: told(fleet, meter, "done"))

        wish(meter, overdr="2000", keep="off")
        wait_until(lambda: agrees(meter, overdr="2000", keep="off"), within_s=30)

        parameters = there(fleet, meter)["parameters"]
        assert (parameters["overdraft_fen"], parameters["keep_supply"]) == (2000, False)


def test_a_policy_that_changes_while_the_command_lies_unread_is_what_the_meter_has_in_the_end(broker_url, fleet):
    with a_gateway(broker_url):
        meter = hung(fleet, ttl_s=1)
        wait_until(lambda: is_there(meter))
        faults(fleet, meter, sleep=True)
        wish(meter, overdr="1000")
        wait_until(lambda: told(fleet, meter, "waiting"))
        wish(meter, overdr="2000")
        wait_until(lambda: len(told(fleet, meter, "waiting")) == 2)  # after the first ran out

        faults(fleet, meter, sleep=False)
        wait_until(lambda: agrees(meter, overdr="2000"))

        assert there(fleet, meter)["parameters"]["overdraft_fen"] == 2000


def test_a_meter_that_refuses_is_asked_once(broker_url, fleet):
    with a_gateway(broker_url, net_s=0.1):
        meter = hung(fleet, ttl_s=1, parameters={"warn_1_fen": 0})
        wait_until(lambda: is_there(meter))

        wish(meter, keep="on", warn_1="1000")
        wait_until(lambda: agrees(meter, warn_1="1000") and told(fleet, meter, "unsupported"))
        time.sleep(2)

        assert told(fleet, meter, "unsupported") == ["keep_supply"]


def test_a_sleeping_meter_finds_one_parameter_before_its_top_up_and_never_more(broker_url, fleet):
    with a_gateway(broker_url):
        meter = hung(fleet, purchase_count=0)
        wait_until(lambda: is_there(meter))
        faults(fleet, meter, sleep=True)
        wish(meter, **ALL)
        wait_until(lambda: told(fleet, meter, "waiting"))
        topups.queue(key="payment:1", meter_id=meter.pk, amount_fen=5000, trace="t", now=timezone.now())
        wait_until(lambda: TopUp.objects.get().state == "sent")
        time.sleep(0.6)
        assert [one["kind"] for one in there(fleet, meter)["commands"]] == ["set", "top_up"]

        faults(fleet, meter, sleep=False)
        wait_until(lambda: TopUp.objects.get().state == "landed")
        wait_until(lambda: agrees(meter, **ALL))

        assert there(fleet, meter)["applied"] == {"1": 1}


def test_relays_go_at_once_while_a_policy_is_pushed_to_a_whole_property(broker_url, fleet):
    with a_gateway(broker_url, net_s=60):
        meters = [hung(fleet) for _ in range(60)]
        light = hang(fleet, relay="open")
        wait_until(lambda: all(is_there(meter) for meter in [*meters, light]))
        wish(*meters, **ALL)
        wait_until(lambda: Command.objects.filter(state="done").count() > 20)
        waited = []
        for wanted in ("closed", "open", "closed", "open", "closed"):
            began = time.monotonic()
            desired.want(meter_id=light.pk, kind="relay", wanted=wanted, reason="test", trace="t", now=timezone.now())
            wait_until(lambda wanted=wanted: there(fleet, light)["relay"] == wanted)
            waited.append(time.monotonic() - began)
        left = Command.objects.filter(kind__in=KNOWN, state="done").count()

        wait_until(lambda: all(agrees(meter, **ALL) for meter in meters), within_s=60)

        assert left < 300  # it was not over yet
        assert sorted(waited)[2] < 0.5


def test_what_a_gateway_claimed_before_it_died_is_said_by_the_next(broker_url, fleet):
    with a_gateway(broker_url):
        meter = hung(fleet)
        wait_until(lambda: is_there(meter))
    wish(meter, overdr="2000")
    desired.reconcile_parameters(now=timezone.now(), limit=10)
    assert len(commands.claim_parameters(now=timezone.now(), limit=10)) == 1  # and here it was killed

    with a_gateway(broker_url):
        wait_until(lambda: agrees(meter, overdr="2000"))

    assert Command.objects.filter(meter=meter).count() == 1


def test_a_kept_supply_gives_way_to_the_property_before_the_relay_does(broker_url, fleet):
    with a_gateway(broker_url, net_s=60):
        meter = hung(fleet, balance_fen=5000)
        wait_until(lambda: is_there(meter))
        wish(meter, keep="on")
        wait_until(lambda: agrees(meter, keep="on"))
        now = timezone.now()
        desired.want(meter_id=meter.pk, kind="relay", wanted="open", reason="hold_open", trace="t", now=now)
        wait_until(lambda: Command.objects.filter(kind="relay", error="keep_supply").exists())

        wish(meter, keep="off")
        wait_until(lambda: there(fleet, meter)["relay"] == "open", within_s=5)
