"""Meters in the admin: registered by hand, looked at, and a stuck top-up decided about."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from meters import desired, topups
from meters.models import Command, Level, Meter, MeterEvent, MeterModel, TopUp
from tests import makers
from tests.desk import address, at_work, do, no_rows, staff_of, told

pytestmark = pytest.mark.django_db


@pytest.fixture
def place():
    return makers.a_property(name="Hereyard")


@pytest.fixture
def manager(place):
    return at_work(staff_of(place))


def register(client, place, *, serial="000000000777"):
    model, _ = MeterModel.objects.get_or_create(name="DDZY", defaults={"balance_held_by": "server"})
    answers = {"property": place.pk, "model": model.pk, "serial": serial}
    return client.post(address(Meter, "add"), answers | no_rows("levels") | no_rows("installations"))


class TestRegister:
    def test_a_manager_registers_a_meter(self, manager, place):
        register(manager, place)

        assert Meter.objects.get().property == place

    def test_once(self, manager, place):
        register(manager, place)

        assert "has a meter of this number" in register(manager, place).content.decode()

    def test_not_at_another_property(self, manager):
        register(manager, makers.a_property())

        assert not Meter.objects.exists()

    def test_what_it_reports_is_not_written_by_hand(self, manager, place):
        meter = makers.a_meter(place=place, serial="1", balance_fen=100)

        manager.post(
            address(meter, "change"),
            {"serial": "2", "balance_fen": "9", "relay": "open", "verified_until_date": "2034-01-01"}
            | no_rows("levels")
            | no_rows("installations"),
        )

        meter.refresh_from_db()
        assert (meter.serial, meter.balance_fen, meter.relay, meter.verified_until_date.year) == ("1", 100, "", 2034)

    def test_models_are_the_operators(self, manager):
        assert manager.get(address(MeterModel, "add")).status_code == 403


def test_levels_and_commands_say_positions_and_yuan(manager, place):
    meter = makers.a_meter(place=place)
    now = timezone.now()
    desired.want(meter_id=meter.pk, kind="show", wanted="12345", reason="paid", trace="t", now=now)
    desired.want(meter_id=meter.pk, kind="relay", wanted="permitted", reason="paid", trace="t", now=now)

    for model in (Level, Command):
        page = manager.get(address(model, "changelist")).content.decode()
        assert "¥123.45" in page
        assert "close permitted" in page
    page = manager.get(address(meter, "change")).content.decode()
    assert "¥123.45" in page


def test_what_meters_said_and_why_is_listed_in_words(manager, place):
    meter = makers.a_meter(place=place)
    now = timezone.now()
    desired.want(meter_id=meter.pk, kind="relay", wanted="open", reason="spent", trace="t", now=now)
    Command.objects.filter(meter=meter).update(state="refused", error="keep_supply", sent_at=now, answered_at=now)
    for number, kind in enumerate(("cover_opened", "balance_cut")):
        MeterEvent.objects.create(
            meter=meter, property=place, message_id=f"{number}", kind=kind, happened_at=now, received_at=now
        )

    levels, commands, events, chosen = (
        manager.get(address(model, "changelist", **query)).content.decode()
        for model, query in ((Level, {}), (Command, {}), (MeterEvent, {}), (MeterEvent, {"kind": "balance_cut"}))
    )

    assert "the money is used up" in levels
    assert "the meter is set to keep the supply on" in commands
    assert "keep_supply" not in commands
    assert ">cover opened</td>" in events
    assert ">cover opened</td>" not in chosen
    assert ">switched off for want of money</td>" in chosen


def test_rows_are_called_by_words(place):
    meter = makers.a_meter(place=place, serial="310000000042", held_by="meter")
    now = timezone.now()
    desired.want(meter_id=meter.pk, kind="relay", wanted="auto", reason="paid", trace="t", now=now)
    top_up = TopUp(meter=meter, amount_fen=5000, state="landed")
    command = Command.objects.get(meter=meter)

    assert str(Level.objects.get(meter=meter)) == "310000000042 relay: automatic"
    assert str(command) == f"relay automatic ({command.get_state_display()})"
    assert str(Command(kind="read", state="done")) == "read back (done)"
    assert str(top_up) == "310000000042 ¥50.00 (in the meter)"
    assert str(MeterEvent(meter=meter, kind="overload")) == "310000000042 overload"


class TestStuck:
    @pytest.fixture
    def top_up(self, place) -> TopUp:
        top_up = TopUp.objects.create(
            key="k",
            meter=makers.a_meter(place=place, held_by="meter", purchase_count=3),
            property=place,
            amount_fen=5000,
            queued_at=timezone.now(),
            next_try_at=timezone.now(),
        )
        topups.stick(top_up, note="number_used", count=3, now=timezone.now())
        return top_up

    @pytest.mark.parametrize("to", ["waiting", "landed", "cancelled"])
    def test_a_person_decides_with_a_reason(self, manager, top_up, to):
        page = do(manager, "release", [top_up], to=to, reason="looked at the display")

        top_up.refresh_from_db()
        assert (top_up.state, top_up.note) == (to, "looked at the display")
        assert "Decided" in told(page)
        assert "looked at the display" in LogEntry.objects.get().change_message

    def test_once(self, manager, top_up):
        do(manager, "release", [top_up], to="landed", reason="x")

        page = do(manager, "release", [top_up], to="cancelled", reason="x")

        top_up.refresh_from_db()
        assert (top_up.state, "no longer" in told(page)) == ("landed", True)

    def test_the_desk_does_not(self, place, top_up):
        do(at_work(staff_of(place, "service")), "release", [top_up], to="landed", reason="x")

        top_up.refresh_from_db()
        assert top_up.state == "stuck"

    def test_its_page_has_the_button_while_it_is_stuck(self, manager, top_up):
        assert "Decide about a stuck top-up" in manager.get(address(top_up, "change")).content.decode()
        do(manager, "release", [top_up], to="landed", reason="x")
        assert "Decide about a stuck top-up" not in manager.get(address(top_up, "change")).content.decode()
