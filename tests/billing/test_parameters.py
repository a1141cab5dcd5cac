"""The policy reaches meters that hold their own money, whoever changed it and whatever was killed in between."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from billing import holds, not_on_meter, parameters
from billing.models import RoomPolicy, SupplyPolicy
from billing.rules import LaidDown, laid_down
from meters import commands, desired
from meters.models import Command, Installation, Level, Meter, MeterModel
from portal import homes
from tests.desk import address, at_work, staff_of
from tests.gateways import database_url, wait_until
from tests.makers import a_meter, a_policy, a_property, a_room, a_tenancy, a_user
from tests.racing import race

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 1, 4, tzinfo=UTC)
SECOND = timedelta(seconds=1)
KNOWN = ["warn_1", "warn_2", "overdr", "keep", "holidays"]


@pytest.fixture
def place():
    return a_property(name="Hereyard")


@pytest.fixture
def room(place):
    return a_room(place=place)


def a_telling_meter(room=None, *, known=KNOWN, is_online=True, **kwargs) -> Meter:
    meter = a_meter(held_by="meter", room=room, is_online=is_online, **kwargs)
    MeterModel.objects.filter(pk=meter.model_id).update(parameters=known)
    return meter


def a_room_policy(room, **columns) -> RoomPolicy:
    return RoomPolicy.objects.create(**{"room": room, "property": room.property, "changed_at": NOW} | columns)


def wanted(meter: Meter) -> dict[str, str]:
    return dict(Level.objects.filter(meter=meter).values_list("kind", "wanted"))


def page(client, row) -> str:
    return str(client.get(address(row, "change")).content.decode())


def test_a_meter_is_told_what_its_property_laid_down(place, room):
    a_policy(place, warn_fens=[500, 2000, 500, 100], overdraft_fen=300, protects_holidays=False)
    meter = a_telling_meter(room)

    assert parameters.push(now=NOW) == 1

    assert wanted(meter) == {"warn_1": "2000", "warn_2": "500", "overdr": "300", "keep": "off", "holidays": "off"}
    assert {one.reason for one in Level.objects.all()} == {"policy"}


def test_its_rooms_own_exceptions_come_first(place, room):
    a_policy(place, warn_fens=[2000, 500], overdraft_fen=300)
    a_room_policy(room, is_protected=True, protected_reason="保电", warn_fens=[900], overdraft_fen=0)
    meter = a_telling_meter(room)

    parameters.push(now=NOW)

    assert wanted(meter) == {"warn_1": "900", "warn_2": "0", "overdr": "0", "keep": "on", "holidays": "on"}


def test_only_what_a_model_can_be_told_is_wanted_of_its_meters(place, room):
    a_policy(place)
    some, other = a_telling_meter(room, known=["overdr"]), a_meter(room=room)

    parameters.push(now=NOW)

    assert wanted(some) == {"overdr": "0"}
    assert wanted(other) == {}


def test_where_nothing_is_laid_down_nothing_is_said(room):
    meter = a_telling_meter(room)

    assert parameters.push(now=NOW) == 0
    assert wanted(meter) == {}


def test_a_meter_that_was_told_something_is_told_otherwise_in_its_next_room(place, room):
    meter = a_telling_meter(room)
    a_room_policy(room, is_protected=True, protected_reason="保电")
    parameters.push(now=NOW)
    Installation.objects.filter(meter=meter).update(ends_at=NOW)
    Installation.objects.create(property=place, room=a_room(place=place), meter=meter, starts_at=NOW + SECOND)

    parameters.push(now=NOW + 2 * SECOND)

    assert wanted(meter)["keep"] == "off"


def test_what_stands_is_not_pushed_again(place, room):
    a_policy(place)
    a_telling_meter(room)
    parameters.push(now=NOW)

    assert parameters.push(now=NOW + SECOND) == 0


def test_the_sweep_finds_what_somebody_changed_without_a_word(place, room):
    a_policy(place, overdraft_fen=100)
    meter = a_telling_meter(room)
    parameters.push(now=NOW)
    SupplyPolicy.objects.update(overdraft_fen=700)  # and recorded_at says nothing of it
    MeterModel.objects.update(parameters=["overdr", "keep"])

    assert parameters.push(now=NOW + SECOND) == 1

    assert wanted(meter)["overdr"] == "700"


def test_a_hold_takes_back_what_keeps_a_supply_on_and_gives_it_again(place, room):
    a_policy(place)
    a_room_policy(room, is_protected=True, protected_reason="保电")
    meter, clerk = a_telling_meter(room), a_user()
    parameters.push(now=NOW)

    holds.hold_room(room=room, position="open", reason="leak", by=clerk, until=NOW + 90 * SECOND, now=NOW + SECOND)
    parameters.push(now=NOW + 2 * SECOND)
    assert wanted(meter)["keep"] == "off"

    parameters.push(now=NOW + 91 * SECOND)  # its end has come, whether somebody lifted it or not
    assert wanted(meter)["keep"] == "on"


@pytest.mark.django_db(transaction=True)
def test_holding_a_room_and_letting_go_tells_its_meter_at_once(place, room):
    a_room_policy(room, is_protected=True, protected_reason="保电")
    meter, clerk = a_telling_meter(room), a_user()
    parameters.push(now=NOW)

    holds.hold_room(room=room, position="open", reason="leak", by=clerk, until=None, now=NOW + SECOND)
    assert wanted(meter)["keep"] == "off"
    holds.lift_hold(room=room, by=clerk, now=NOW + 2 * SECOND)
    assert wanted(meter)["keep"] == "on"


def test_a_whole_property_is_told_in_groups_and_none_is_added_while_a_gateway_is_behind(place, monkeypatch):
    monkeypatch.setattr(parameters, "METERS_AT_MOST", 3)
    monkeypatch.setattr(parameters, "DUE_AT_MOST", 20)
    a_policy(place)
    for _ in range(8):
        a_telling_meter(a_room(place=place))

    assert [parameters.push(now=NOW), parameters.push(now=NOW)] == [3, 3]
    assert parameters.push(now=NOW) == 0  # thirty wait to be sent
    Level.objects.update(next_try_at=NOW + SECOND)  # as when they were
    assert parameters.push(now=NOW) == 2
    assert Level.objects.count() == 40


class TestDesk:
    """Staff save what they lay down, and meters are told; what meters cannot be told is on the page."""

    def test_saving_a_policy_tells_the_meters_of_the_property(self, place, room):
        manager, meter = at_work(staff_of(place)), a_telling_meter(room)
        answers = {
            "legal_basis": "lease § 7",
            "notice": "7 days",
            "warn_fens": "2000",
            "warn_percents": "20",
            "overdraft_fen": "100",
            "restore_above_fen": "0",
            "emergency_fen": "0",
            "notice_hours": "24",
            "cuts_a_day": "1",
            "fresh_for_s": "7200",
            "unreachable_debt_fen": "5000",
            "restore_limit_s": "60",
            "proof_level": "delivered",
            "price_notice_days": "7",
            "silent_hours": "6",
        }

        manager.post(address(SupplyPolicy, "add"), {"property": place.pk} | answers)

        assert wanted(meter)["overdr"] == "100"

    def test_saving_a_rooms_policy_tells_its_meter(self, place, room):
        manager, meter = at_work(staff_of(place)), a_telling_meter(room)

        manager.post(address(RoomPolicy, "add"), {"room": room.pk, "is_protected": "on", "protected_reason": "保电"})

        assert wanted(meter)["keep"] == "on"

    def test_hanging_a_meter_tells_it(self, place, room):
        a_policy(place, overdraft_fen=100)
        manager, meter = at_work(staff_of(place)), a_telling_meter(place=place)

        manager.post(
            address(Installation, "add"),
            {
                "room": room.pk,
                "meter": meter.pk,
                "starts_wh": "0",
                "starts_at_0": "2026-01-01",
                "starts_at_1": "00:00",
            },
        )

        assert wanted(meter)["overdr"] == "100"

    def test_what_meters_do_not_keep_is_on_the_pages_of_policies_and_at_the_meter(self, place, room):
        policy = a_policy(place, protected_hours=[["22:00", "08:00"]])
        own = a_room_policy(room, is_protected=True, protected_reason="保电")
        a_telling_meter(room, known=["warn_1"])
        manager = at_work(staff_of(place))

        of_property = page(manager, policy)
        of_room = page(manager, own)
        of_meter = page(manager, Installation.objects.get())

        assert "model-meter: nobody is cut on a public holiday; protected hours" in of_property
        assert "model-meter: the power of this room is kept on; nobody is cut" in of_room
        assert "the power of this room is kept on; nobody is cut" in of_meter

    def test_the_operator_says_what_a_model_can_be_told(self):
        model = MeterModel.objects.create(name="m", balance_held_by="meter")
        operator = at_work(a_user(is_staff=True, is_superuser=True))

        operator.post(
            address(model, "change"),
            {"name": "m", "codec": "json_v1", "command_ttl_s": "30", "parameters": ["keep", "overdr"]},
        )

        model.refresh_from_db()
        assert model.parameters == ["keep", "overdr"]


# ---- what a meter cannot do ----


def lacks(place, room, *, known=KNOWN, untaken=()) -> list[str]:
    model = MeterModel(balance_held_by="meter", parameters=known)
    stands = laid_down(room_id=room.pk, property_id=place.pk)
    return not_on_meter.not_on_meter(model=model, laid_down=stands, untaken=untaken)


def test_a_meter_that_knows_everything_lacks_what_no_wire_can_tell_it(place, room):
    a_policy(place, warn_fens=[3, 2, 1], protected_weekdays=[6], restore_above_fen=1, emergency_fen=1, overdraft_fen=1)
    a_room_policy(room, is_protected=True, protected_reason="保电", protected_hours=[["22:00", "08:00"]])

    assert lacks(place, room) == [
        *("protected_hour", "protected_weekday", "notice", "weather", "cuts_a_day", "restore_above", "emergency"),
        *("warn_fens", "warn_others"),
    ]


@pytest.mark.parametrize(
    ("kind", "code"), [("keep", "protected_room"), ("overdr", "overdraft"), ("holidays", "holiday")]
)
def test_what_a_model_does_not_know_or_a_meter_did_not_take_is_lacking(place, room, kind, code):
    a_policy(place, overdraft_fen=100)
    a_room_policy(room, is_protected=True, protected_reason="保电")

    assert code not in lacks(place, room)
    assert code in lacks(place, room, known=[one for one in KNOWN if one != kind])
    assert code in lacks(place, room, untaken=[kind])


def test_what_is_not_laid_down_is_not_lacking(place, room):
    assert lacks(place, room, known=[]) == []
    a_policy(place, protects_holidays=False, warn_percents=[], notice_hours=0)
    assert lacks(place, room, known=[]) == ["weather", "cuts_a_day"]


def test_a_meter_of_the_server_lacks_nothing(place):
    policy = a_policy(place, protected_hours=[["22:00", "08:00"]])

    assert not_on_meter.not_on_meter(model=MeterModel(balance_held_by="server"), laid_down=LaidDown(policy)) == []


def test_a_tenant_is_told_what_their_meter_does_not_keep(place, room):
    a_policy(place, protected_hours=[["22:00", "08:00"]], notice_hours=0)
    tenant = a_user()
    a_tenancy(room=room, holder=tenant)
    meter = a_telling_meter(room)
    parameters.push(now=NOW)

    [home] = homes.homes(user=tenant, now=NOW)
    assert home.power.not_kept == (
        "The meter switches off by itself when its money is used up. It does not keep: nobody is cut on a public"
        " holiday; protected hours."
    )

    Level.objects.filter(meter=meter).update(reported="on")
    [home] = homes.homes(user=tenant, now=NOW)
    assert home.power.not_kept.endswith("It does not keep: protected hours.")


# ---- at once, and killed ----


@pytest.mark.django_db(transaction=True)
def test_many_who_save_and_push_at_once_leave_what_was_saved_last(place):
    a_policy(place)
    meters = [a_telling_meter(a_room(place=place)) for _ in range(5)]

    def save(fen: int) -> None:
        for step in range(4):
            with transaction.atomic():
                SupplyPolicy.objects.filter(property=place).update(overdraft_fen=fen + step)
                parameters.push(now=NOW, property_id=place.pk)

    def sweep() -> None:
        for _ in range(6):
            parameters.push(now=NOW)
            desired.reconcile_parameters(now=NOW, limit=50)
            commands.claim_parameters(now=NOW, limit=50)

    calls = [functools.partial(save, 100 * (number + 1)) for number in range(6)]
    assert [one for one in race([*calls, sweep, sweep, sweep]) if one is not None] == []

    stands = SupplyPolicy.objects.get().overdraft_fen
    assert {wanted(meter)["overdr"] for meter in meters} == {str(stands)}


@pytest.mark.django_db(transaction=True)
def test_a_policy_that_is_saved_while_the_command_is_out_is_what_goes_out_next(place, room):
    a_policy(place, overdraft_fen=100)
    meter = a_telling_meter(room, known=["overdr"])
    parameters.push(now=NOW)
    desired.reconcile_parameters(now=NOW, limit=50)

    def save() -> None:
        SupplyPolicy.objects.update(overdraft_fen=200)
        parameters.push(now=NOW, property_id=place.pk)

    def claim() -> list[str]:
        return [one.value for one in commands.claim_parameters(now=NOW, limit=50)]

    _saved, out = race([save, claim])
    later = NOW + timedelta(minutes=2)
    commands.expire(now=later)
    desired.reconcile_parameters(now=later, limit=50)

    assert out in (["100"], [])
    assert [one.value for one in commands.claim_parameters(now=later, limit=50)] == ["200"]
    assert Command.objects.filter(meter=meter, state="queued").count() == 0


_SAVES_AND_PUSHES = """
import django
django.setup()
from django.utils import timezone
from billing import parameters
from billing.models import SupplyPolicy
SupplyPolicy.objects.update(overdraft_fen=900)
print("saved", flush=True)
parameters.push(now=timezone.now())
print("pushed", flush=True)
"""


@pytest.mark.django_db(transaction=True)
def test_what_was_saved_and_not_pushed_when_its_process_was_killed_is_pushed_by_the_sweep(place):
    a_policy(place, overdraft_fen=100)
    meters = [a_telling_meter(a_room(place=place)) for _ in range(6)]
    parameters.push(now=NOW)
    Level.objects.update(next_try_at=timezone.now() + timedelta(days=1))
    environment = os.environ | {"DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "config.settings"}
    with transaction.atomic():  # the last of the levels is held, so that the push stops in the middle
        Level.objects.select_for_update().get(meter=meters[-1], kind="overdr")
        with subprocess.Popen(
            [sys.executable, "-c", _SAVES_AND_PUSHES], cwd=settings.BASE_DIR, env=environment, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"saved\n"
            wait_until(_somebody_waits)
            child.send_signal(signal.SIGKILL)
            assert child.wait(10) == -signal.SIGKILL
            assert child.stdout.read() == b""
    wait_until(lambda: not _somebody_waits())
    assert {wanted(meter)["overdr"] for meter in meters} == {"100"}

    parameters.push(now=timezone.now())

    assert {wanted(meter)["overdr"] for meter in meters} == {"900"}
    assert Level.objects.filter(kind="overdr").count() == 6


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from pg_locks where not granted")
        row = cursor.fetchone()
    return bool(row and row[0])
