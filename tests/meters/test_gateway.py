"""The gateway between a real broker and a real database, with virtual meters at the other end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone
from paho.mqtt.enums import CallbackAPIVersion

from meters import desired, topups
from meters.gateway import Gateway, GatewayDiedError, Hooks
from meters.models import Batch, Command, Level, Meter, Reading, StrayReading, TopUp
from notifications.models import WorkItem
from sandbox.fleet import Fleet
from tests.gateways import KINDS, NAME, Wire, a_gateway, database_url, faults, hang, lease, there, wait_until
from tests.makers import a_meter

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module", params=KINDS)
def broker_url(request, tmp_path_factory) -> str:
    return lease(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def fleet(broker_url):
    with Fleet(broker_url) as fleet:
        yield fleet


def wants(meter: Meter, wanted: str, *, kind: str = "relay") -> None:
    desired.want(meter_id=meter.pk, kind=kind, wanted=wanted, reason="test", trace="t1", now=timezone.now())


def recharges(meter: Meter, amount_fen: int = 5000) -> TopUp:
    key = f"payment:{time.monotonic_ns()}"
    topups.queue(key=key, meter_id=meter.pk, amount_fen=amount_fen, trace="t1", now=timezone.now())
    return TopUp.objects.get(key=key)


def fresh(row):
    return type(row).objects.get(pk=row.pk)


def is_online(meter: Meter):
    return fresh(meter).is_online


def lying_unread(fleet: Fleet, meter: Meter) -> list[str]:
    """The relay positions that a sleeping meter has received. Our own "sent" is said before it is published."""
    told = there(fleet, meter)["commands"]
    return [one["position"] for one in told if (one["kind"], one["outcome"]) == ("relay", "waiting")]


def answered(meter: Meter) -> list[tuple[str, str]]:
    """What became of its commands, in the order in which they were wanted."""
    return list(Command.objects.filter(meter=meter).order_by("generation").values_list("state", "error"))


def agrees(meter: Meter, wanted: str, *, kind: str = "relay"):
    return Level.objects.filter(meter=meter, kind=kind, wanted=wanted, reported=wanted, agreed_at__isnull=False).first()


def listening(url: str, topic: str) -> tuple[mqtt.Client, list[mqtt.MQTTMessage]]:
    """Somebody else on the broker."""
    heard: list[mqtt.MQTTMessage] = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
    client.on_message = lambda _client, _data, message: heard.append(message)
    parts = urlsplit(url)
    client.connect(parts.hostname or "", parts.port or 1883)
    client.loop_start()
    return client, heard


def test_a_wish_reaches_the_meter_and_its_answer_is_stored_within_moments(broker_url, fleet):
    with a_gateway(broker_url, net_s=60):
        meter = hang(fleet, relay="open")
        wait_until(lambda: is_online(meter))
        began = time.monotonic()

        wants(meter, "closed")
        wait_until(lambda: agrees(meter, "closed"), within_s=3)

        assert time.monotonic() - began < 2  # no polling: the net is a minute wide
        assert there(fleet, meter)["relay"] == "closed"
        assert Command.objects.get(meter=meter).state == "done"


def test_the_display_shows_what_it_is_told(broker_url, fleet):
    with a_gateway(broker_url):
        meter = hang(fleet)
        wait_until(lambda: is_online(meter))

        wants(meter, "1250", kind="show")
        wait_until(lambda: agrees(meter, "1250", kind="show"))

        assert there(fleet, meter)["shown_fen"] == 1250


def test_two_recharges_of_a_sleeping_meter_go_in_one_after_the_other_when_it_comes_back(broker_url, fleet):
    landed: list[int] = []
    with a_gateway(broker_url, hooks=Hooks(after_intake=lambda taken: landed.extend(taken.landed))):
        meter = hang(fleet, held_by="meter", purchase_count=3)
        wait_until(lambda: is_online(meter))
        faults(fleet, meter, offline=True)
        wait_until(lambda: not is_online(meter))
        first, second = recharges(meter, 3000), recharges(meter, 2000)
        time.sleep(0.5)
        assert there(fleet, meter)["purchase_count"] == 3

        faults(fleet, meter, offline=False)
        wait_until(lambda: fresh(second).state == "landed")

        assert [fresh(first).number, fresh(second).number] == [4, 5]
        assert there(fleet, meter)["applied"] == {"4": 1, "5": 1}
        assert (there(fleet, meter)["balance_fen"], there(fleet, meter)["relay"]) == (5000, "closed")
        assert landed == [first.pk, second.pk]


def test_a_recharge_of_an_absent_meter_brings_the_power_back_when_the_meter_does(broker_url, fleet):
    with a_gateway(broker_url):
        meter = hang(fleet, relay="open")
        wait_until(lambda: is_online(meter))
        faults(fleet, meter, offline=True)
        wait_until(lambda: not is_online(meter))
        wants(meter, "closed")

        faults(fleet, meter, offline=False)
        wait_until(lambda: agrees(meter, "closed"))

        assert there(fleet, meter)["relay"] == "closed"


def test_a_trip_that_waited_for_a_sleeping_meter_never_fires_after_the_payment(broker_url, fleet):
    with a_gateway(broker_url):
        meter = hang(fleet, relay="closed")
        wait_until(lambda: is_online(meter))
        faults(fleet, meter, offline=True)
        wait_until(lambda: not is_online(meter))
        wants(meter, "open")
        wants(meter, "closed")

        faults(fleet, meter, offline=False)
        wait_until(lambda: agrees(meter, "closed"))
        time.sleep(0.5)

        assert there(fleet, meter)["relay_moves"] == []


def test_a_trip_that_is_out_to_a_meter_that_sleeps_on_is_overtaken_by_the_payment(broker_url, fleet):
    with a_gateway(broker_url):
        meter = hang(fleet, relay="closed")
        wait_until(lambda: is_online(meter))
        faults(fleet, meter, sleep=True)
        wants(meter, "open")
        wait_until(lambda: lying_unread(fleet, meter) == ["open"])
        wants(meter, "closed")
        wait_until(lambda: lying_unread(fleet, meter) == ["open", "closed"])

        faults(fleet, meter, sleep=False)
        wait_until(lambda: answered(meter) == [("refused", "stale"), ("done", "")])

        assert agrees(meter, "closed")
        assert there(fleet, meter)["relay_moves"] == []


@pytest.mark.parametrize("fault", [{"lose_answers": 1}, {"duplicate_answers": 1}, {"answer_late_ms": 2500}])
def test_a_top_up_is_one_step_of_the_count_whatever_becomes_of_its_answer(broker_url, fleet, fault):
    with a_gateway(broker_url):
        meter = hang(fleet, held_by="meter", ttl_s=1)
        wait_until(lambda: is_online(meter))
        faults(fleet, meter, **fault)

        top_up = recharges(meter)
        wait_until(lambda: fresh(top_up).state == "landed")

        assert there(fleet, meter)["applied"] == {"1": 1}


def test_answers_in_the_wrong_order_end_in_what_was_wanted_last(broker_url, fleet):
    with a_gateway(broker_url):
        meter = hang(fleet, relay="closed")
        wait_until(lambda: is_online(meter))
        faults(fleet, meter, out_of_order=2)
        wants(meter, "open")
        wait_until(lambda: there(fleet, meter)["relay"] == "open")
        wants(meter, "closed")

        wait_until(lambda: Command.objects.filter(meter=meter, state="done").count() == 2)
        wait_until(lambda: agrees(meter, "closed"))

        assert there(fleet, meter)["relay"] == "closed"


def test_a_deaf_meter_is_asked_again_until_it_hears(broker_url, fleet):
    with a_gateway(broker_url):
        meter = hang(fleet, relay="open", ttl_s=1)
        wait_until(lambda: is_online(meter))
        faults(fleet, meter, deaf=True)
        wants(meter, "closed")
        wait_until(lambda: Command.objects.filter(meter=meter, state="expired").count() >= 1)

        faults(fleet, meter, deaf=False)
        wait_until(lambda: agrees(meter, "closed"))

        assert there(fleet, meter)["relay"] == "closed"


def test_a_lost_notification_is_made_good_by_the_net(broker_url, fleet):
    with a_gateway(broker_url, net_s=0.5):
        meter = hang(fleet, relay="open")
        wait_until(lambda: is_online(meter))
        Meter.objects.filter(pk=meter.pk).update(is_online=False)
        wants(meter, "closed")  # nobody is rung for a meter that is away
        Meter.objects.filter(pk=meter.pk).update(is_online=True)

        wait_until(lambda: agrees(meter, "closed"))


def test_meters_that_were_there_before_the_gateway_are_known_when_it_starts(broker_url, fleet):
    meter = hang(fleet, relay="open")
    assert not is_online(meter)

    with a_gateway(broker_url):
        wait_until(lambda: is_online(meter))

    assert fresh(meter).relay == "open"


def test_what_was_said_while_no_gateway_ran_is_stored_when_one_does(broker_url, fleet):
    with a_gateway(broker_url):
        meter = hang(fleet)
        wait_until(lambda: is_online(meter))
    for _ in range(30):
        fleet.report(meter.property.code, meter.serial)
        time.sleep(0.005)
    before = Reading.objects.filter(meter=meter).count()

    with a_gateway(broker_url):
        wait_until(lambda: Reading.objects.filter(meter=meter).count() >= before + 30)


def test_a_frame_that_cannot_be_read_or_stored_costs_the_others_nothing(broker_url, fleet):
    """The database itself refuses one meter's readings here, as a column that is too small would."""
    cursed = a_meter()
    with connection.cursor() as cursor:
        cursor.execute(
            "alter table meters_reading add constraint no_curse check (meter_id <> %s) not valid", [cursed.pk]
        )
    client, _ = listening(broker_url, "nothing/at/all")
    try:
        with a_gateway(broker_url):
            meter = hang(fleet)
            wait_until(lambda: is_online(meter))
            fleet.add([{"property": cursed.property.code, "serial": cursed.serial, "kind": "server"}])
            client.publish(f"m/{meter.property.code}/{meter.serial}/up", b"{", qos=1).wait_for_publish(5)
            wants(meter, "closed")
            wait_until(lambda: agrees(meter, "closed"))

            keys = [f"bad_frame:m/{cursed.property.code}/{cursed.serial}/status"]
            keys += [f"bad_frame:m/{meter.property.code}/{meter.serial}/up"]
            wait_until(lambda: WorkItem.objects.filter(key__in=keys).count() == 2)
    finally:
        client.disconnect()
        client.loop_stop()
        with connection.cursor() as cursor:
            cursor.execute("alter table meters_reading drop constraint no_curse")


@pytest.mark.parametrize("shares", [False, True])
def test_two_gateways_store_and_send_everything_once_whether_they_share_or_not(broker_url, fleet, shares):
    with (
        a_gateway(broker_url, shares=shares, name=f"{NAME}-{shares}"),
        a_gateway(broker_url, shares=shares, name=f"{NAME}-{shares}-2"),
    ):
        meters = [hang(fleet, held_by="meter") for _ in range(6)]
        wait_until(lambda: all(is_online(meter) for meter in meters))
        top_ups = [recharges(meter) for meter in meters * 2]

        wait_until(lambda: all(fresh(top_up).state == "landed" for top_up in top_ups))

        assert all(there(fleet, meter)["applied"] == {"1": 1, "2": 1} for meter in meters)
        assert Command.objects.filter(kind="top_up").count() == 12
    assert sum(Batch.objects.values_list("readings", flat=True)) == Reading.objects.count() > 12


def test_while_the_broker_is_away_no_command_is_sent_into_the_void(broker_url, fleet):
    with Wire(broker_url) as wire, a_gateway(wire.url) as gateway:
        meter = hang(fleet, relay="open")
        wait_until(lambda: is_online(meter))
        wire.cut()
        wait_until(lambda: not gateway.is_connected())
        wants(meter, "closed")
        time.sleep(0.3)
        assert gateway.is_connected() or Command.objects.get(meter=meter).state == "queued"

        wait_until(lambda: agrees(meter, "closed"))

        assert Command.objects.filter(meter=meter).count() == 1


def test_a_gateway_that_loses_the_database_for_a_moment_goes_on(broker_url, fleet):
    with a_gateway(broker_url, net_s=60):
        meter = hang(fleet, relay="open")
        wait_until(lambda: is_online(meter))
        with connection.cursor() as cursor:
            cursor.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )

        wants(meter, "closed")
        wait_until(lambda: agrees(meter, "closed"))


def test_nothing_is_acknowledged_that_the_database_has_not_taken(broker_url, fleet):
    meter = hang(fleet)
    with psycopg.connect(database_url()) as blocker, a_gateway(broker_url):
        wait_until(lambda: is_online(meter))
        stored = Reading.objects.filter(meter=meter).count()
        blocker.execute("lock table meters_reading in access exclusive mode")
        fleet.report(meter.property.code, meter.serial)
        time.sleep(0.3)
        blocker.rollback()
        wait_until(lambda: Reading.objects.filter(meter=meter).count() == stored + 1)


def test_faults_of_the_floors_above_do_not_stop_the_intake(broker_url, fleet):
    def fails(*_):
        raise ValueError("a tariff is broken")

    with a_gateway(broker_url, hooks=Hooks(after_intake=fails, regularly=fails)):
        meter = hang(fleet, relay="open")
        wait_until(lambda: is_online(meter))
        wants(meter, "closed")
        wait_until(lambda: agrees(meter, "closed"))


def rates(rated: list[int], **fault: Exception):
    """Rates what is marked, oldest first; fails instead as long as `fault` has something."""

    def rate(_now):
        if fault:
            raise fault.popitem()[1]
        batches = list(Batch.objects.order_by("pk"))
        for batch in batches:
            rated.extend(batch.meter_ids)
            batch.delete()
        return len(batches)

    return rate


def test_what_is_stored_is_rated_at_once(broker_url, fleet):
    rated: list[int] = []
    with a_gateway(broker_url, hooks=Hooks(rate=rates(rated)), net_s=60):  # so it is not found by the net
        meter = hang(fleet)
        wait_until(lambda: meter.pk in rated)
        wait_until(lambda: not Batch.objects.exists())


def test_a_fault_in_rating_stops_neither_intake_nor_commands_and_is_made_good(broker_url, fleet):
    rated: list[int] = []
    with a_gateway(broker_url, hooks=Hooks(rate=rates(rated, once=ValueError("a tariff is broken")))):
        meter = hang(fleet, relay="open")
        wants(meter, "closed")
        wait_until(lambda: agrees(meter, "closed"))

        wait_until(lambda: meter.pk in rated)


A_GATEWAY_THAT_NEVER_RATES = """
import sys, time
import django
django.setup()
from meters.gateway import Gateway, Hooks
hooks = Hooks(rate=lambda now: time.sleep(3600))
Gateway(broker_url=sys.argv[1], name=sys.argv[2], listen_url=sys.argv[3], hooks=hooks).run()
"""


@pytest.mark.kill
def test_what_a_killed_gateway_had_stored_and_not_rated_is_found_by_the_next(broker_url, fleet):
    meter = hang(fleet)
    env = os.environ | {"DATABASE_URL": database_url(), "SECRET_KEY": settings.SECRET_KEY, "MQTT_URL": broker_url}
    words = [sys.executable, "-c", A_GATEWAY_THAT_NEVER_RATES, broker_url, NAME, database_url()]
    with subprocess.Popen(words, env=env) as process:
        try:
            wait_until(Batch.objects.exists, within_s=40)
        finally:
            process.kill()
    assert Reading.objects.filter(meter=meter).exists()

    rated: list[int] = []
    with a_gateway(broker_url, hooks=Hooks(rate=rates(rated))):
        wait_until(lambda: meter.pk in rated)
        wait_until(lambda: not Batch.objects.exists())


def test_a_meter_whose_clock_is_ahead_is_put_on_the_list_and_obeys_all_the_same(broker_url, fleet):
    with a_gateway(broker_url):
        meter = hang(fleet, relay="open")
        wait_until(lambda: is_online(meter))
        stored = Reading.objects.filter(meter=meter).count()
        faults(fleet, meter, clock_off_s=3600)
        fleet.report(meter.property.code, meter.serial)
        wait_until(lambda: WorkItem.objects.filter(key=f"clock:{meter.pk}", kind="clock_is_off").exists())
        faults(fleet, meter, clock_off_s=0)

        wants(meter, "closed")
        wait_until(lambda: agrees(meter, "closed"))

        assert StrayReading.objects.filter(meter=meter, reason="ahead", state="open").exists()
        assert Reading.objects.filter(meter=meter).count() > stored


def test_registers_by_period_arrive(broker_url, fleet):
    with a_gateway(broker_url):
        meter = hang(fleet, timetable={"00:00": "flat"})
        fleet.consume(meter.property.code, meter.serial, 30)
        fleet.report(meter.property.code, meter.serial)

        wait_until(lambda: Reading.objects.filter(meter=meter, import_wh=30, period_wh=[0, 0, 30, 0, 0]).exists())


def test_a_command_that_cannot_be_said_does_not_stop_the_others(broker_url, fleet):
    with a_gateway(broker_url):
        meter = hang(fleet, relay="open")
        wait_until(lambda: is_online(meter))
        wants(meter, str(10**17), kind="show")  # more than a display holds

        wants(meter, "closed")
        wait_until(lambda: agrees(meter, "closed"))


def test_others_can_see_whether_a_gateway_is_there(broker_url):
    client, heard = listening(broker_url, f"gateway/{NAME}/status")
    try:
        with a_gateway(broker_url):
            wait_until(lambda: heard and json.loads(heard[-1].payload)["online"])
        wait_until(lambda: not json.loads(heard[-1].payload)["online"])
    finally:
        client.disconnect()
        client.loop_stop()


def test_a_thread_that_dies_ends_the_gateway():
    gateway = Gateway(broker_url="mqtt://127.0.0.1:1", name=NAME, listen_url="postgresql://?no_such_option=1")

    with pytest.raises(GatewayDiedError):
        gateway.run()


def test_a_gateway_waits_for_its_broker_and_can_be_stopped_meanwhile():
    gateway = Gateway(broker_url="mqtt://127.0.0.1:1", name=NAME, listen_url=database_url())
    timer = threading.Timer(0.5, gateway.stop)
    timer.start()

    gateway.run()

    timer.join()
    assert not gateway.is_connected()
