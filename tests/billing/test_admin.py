"""Holds, policies, purses and hanging meters in the admin."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from billing import changes, prepaid
from billing.models import JournalEntry, Purse, StaffHold
from meters.models import Installation, Level, TopUp
from payments import counter
from tests import makers
from tests.desk import address, at_work, do, staff_of, told

pytestmark = pytest.mark.django_db


@pytest.fixture
def place():
    return makers.a_property(name="Hereyard")


@pytest.fixture
def room(place):
    return makers.a_room(place=place)


@pytest.fixture
def clerk(place):
    return at_work(staff_of(place, "service"))


@pytest.fixture
def manager(place):
    return at_work(staff_of(place))


def hold(client, room, **answers):
    data = {"room": room.pk, "position": "open", "reason": "burst pipe"} | answers
    return client.post(address(StaffHold, "add"), data, follow=True)


class TestHolds:
    def test_the_desk_holds_a_room_off_and_its_meter_is_told(self, clerk, room):
        meter = makers.a_meter(room=room)
        makers.a_tenancy(room=room)

        page = hold(clerk, room)

        standing = StaffHold.objects.get()
        assert told(page) == f"{room} is held off."
        assert (standing.placed_by.name, standing.reason) == ("service of Hereyard", "burst pipe")
        level = Level.objects.get(meter=meter, kind="relay")
        assert (level.wanted, level.reason) == ("open", "hold_open")
        assert "burst pipe" in LogEntry.objects.get().change_message

    def test_until_is_read_in_the_time_of_the_place(self, clerk, room):
        until = timezone.localtime() + timedelta(days=1)

        hold(clerk, room, until=f"{until:%Y-%m-%dT%H:%M}")

        assert StaffHold.objects.get().until_at == until.replace(second=0, microsecond=0)

    @pytest.mark.parametrize(
        ("answers", "words"), [({"reason": " "}, "required"), ({"until": "2020-01-01T00:00"}, "lies in the past")]
    )
    def test_what_cannot_be_held_is_refused_in_the_page(self, clerk, room, answers, words):
        page = hold(clerk, room, **answers)

        assert words in page.content.decode()
        assert not StaffHold.objects.exists()

    @pytest.mark.parametrize(("left_out", "words"), [("until", "needs an end"), ("reason", "required")])
    def test_power_is_held_on_with_a_reason_and_an_end_or_not_at_all(self, clerk, room, left_out, words):
        answers = {"reason": "oxygen machine", "until": f"{timezone.localtime() + timedelta(days=1):%Y-%m-%dT%H:%M}"}

        page = hold(clerk, room, position="closed", **answers | {left_out: ""})
        assert words in str(page.context["form"].errors[left_out])
        assert not StaffHold.objects.exists()

        assert told(hold(clerk, room, position="closed", **answers)) == f"{room} is held on."

    def test_a_room_that_is_held_is_not_held_again(self, clerk, room):
        hold(clerk, room)

        assert "held already" in hold(clerk, room).content.decode()

    def test_another_propertys_room_is_no_choice(self, clerk):
        page = hold(clerk, makers.a_room())

        assert "room" in page.context["form"].errors

    def test_it_is_lifted_once_with_a_reason(self, clerk, room):
        hold(clerk, room)
        standing = StaffHold.objects.get()

        first = do(clerk, "lift", [standing], reason="mended")
        second = do(clerk, "lift", [standing], reason="mended")

        standing.refresh_from_db()
        assert standing.lifted_by.name == "service of Hereyard"
        assert ("Lifted" in told(first), "lifted before" in told(second)) == (True, True)
        assert "mended" in LogEntry.objects.latest("pk").change_message

    def test_lifting_an_old_hold_leaves_its_successor_standing(self, clerk, room):
        hold(clerk, room)
        old = StaffHold.objects.get()
        do(clerk, "lift", [old], reason="mended")
        hold(clerk, room, reason="burst again")

        do(clerk, "lift", [old], reason="mended")

        assert StaffHold.objects.get(lifted_at=None).reason == "burst again"

    def test_finance_holds_nothing(self, place):
        assert at_work(staff_of(place, "finance")).get(address(StaffHold, "add")).status_code == 403


class TestPurse:
    @pytest.fixture
    def purse(self, place, room):
        purse = prepaid.purse_of(makers.a_tenancy(room=room))
        by, now = staff_of(place, "service"), timezone.now()
        counter.take_money(
            purse=purse, amount_fen=123_456, by=by, form_key="f", meter=None, note="cash", trace="t", now=now
        )
        return purse

    def test_its_page_shows_money_in_yuan_and_what_moved(self, manager, purse):
        page = manager.get(address(purse, "change")).content.decode()

        assert "¥1,234.56" in page
        assert "counter recharge" in page
        assert "cash at the counter" in page

    def test_nobody_writes_it(self, purse):
        root = at_work(makers.a_user(is_staff=True, is_superuser=True))

        refused = root.post(address(purse, "change"), {"paid_fen": "1"})

        assert (refused.status_code, Purse.objects.get().paid_fen) == (403, 123_456)
        assert root.get(address(Purse, "add")).status_code == 403
        assert root.get(address(JournalEntry, "add")).status_code == 403

    def test_its_whole_journal_is_a_click_away_and_its_own(self, manager, place, purse):
        other = prepaid.purse_of(makers.a_tenancy(room=makers.a_room(place=place)))
        counter.take_money(
            purse=other, amount_fen=5, by=makers.a_user(), form_key="g", meter=None, note="", trace="t",
            now=timezone.now(),
        )  # fmt: skip

        listed = manager.get(address(JournalEntry, "changelist", purse=purse.pk)).context["cl"].result_list
        everything = manager.get(address(JournalEntry, "changelist", purse="x")).context["cl"].result_list

        assert (len(listed), len(everything)) == (1, 2)


class TestHanging:
    def test_a_manager_hangs_a_meter_and_who_lives_there_is_decided_about(self, manager, place, room):
        tenancy = makers.a_tenancy(room=room)
        meter = makers.a_meter(place=place)
        makers.a_policy(place)
        changes.catch_up(now=timezone.now())

        manager.post(
            address(Installation, "add"),
            {"room": room.pk, "meter": meter.pk, "starts_at_0": "2026-02-01", "starts_at_1": "08:00", "starts_wh": "5"},
        )
        changes.catch_up(now=timezone.now())

        assert Installation.objects.get().property == place
        level = Level.objects.get(meter=meter, kind="relay")
        assert (level.wanted, level.reason) == ("closed", "spared")  # the policy alone cuts nobody
        assert tenancy.purse.decided_at is not None

    def test_money_paid_before_goes_on_into_a_meter_that_was_hung_with_an_earlier_date(self, manager, place, room):
        purse = prepaid.purse_of(makers.a_tenancy(room=room))
        counter.take_money(
            purse=purse, amount_fen=5000, by=makers.a_user(), form_key="g", meter=None, note="", trace="t",
            now=timezone.now(),
        )  # fmt: skip
        meter = makers.a_meter(place=place, held_by="meter", purchase_count=0)

        manager.post(
            address(Installation, "add"),
            {"room": room.pk, "meter": meter.pk, "starts_at_0": "2026-02-01", "starts_at_1": "08:00", "starts_wh": "5"},
        )
        changes.catch_up(now=timezone.now())

        assert TopUp.objects.get(meter=meter).amount_fen == 5000

    @pytest.mark.parametrize(
        ("answers", "words"),
        [
            ({"ends_at_0": "2026-06-01", "ends_at_1": "08:00"}, "both the time and its register"),
            ({"ends_wh": "9"}, "both the time and its register"),
            ({"ends_at_0": "2020-06-01", "ends_at_1": "08:00", "ends_wh": "9"}, "taken down after it was hung"),
            ({"ends_at_0": "2026-06-01", "ends_at_1": "08:00", "ends_wh": "-9"}, "cannot have run backwards"),
        ],
    )
    def test_what_cannot_be_is_refused_in_words(self, manager, room, answers, words):
        makers.a_meter(room=room)

        page = manager.post(address(Installation.objects.get(), "change"), answers)

        assert words in page.content.decode()
        assert Installation.objects.get().ends_at is None

    def test_a_meter_is_taken_down_and_hung_elsewhere(self, manager, place, room):
        meter = makers.a_meter(room=room)
        answers = {"room": makers.a_room(place=place).pk, "meter": meter.pk, "starts_wh": "9", "starts_at_1": "09:00"}

        twice = manager.post(address(Installation, "add"), answers | {"starts_at_0": "2026-06-01"})
        manager.post(
            address(Installation.objects.get(), "change"),
            {"ends_at_0": "2026-06-01", "ends_at_1": "08:00", "ends_wh": "9"},
        )
        manager.post(address(Installation, "add"), answers | {"starts_at_0": "2026-06-01"})

        assert "Take it down there first" in twice.content.decode()
        assert Installation.objects.filter(meter=meter).count() == 2

    def test_a_meter_of_one_property_does_not_hang_in_another(self, place, room):
        root = at_work(makers.a_user(is_staff=True, is_superuser=True))

        page = root.post(
            address(Installation, "add"),
            {"room": room.pk, "meter": makers.a_meter().pk, "starts_at_0": "2026-02-01", "starts_at_1": "08:00"}
            | {"starts_wh": "0"},
        )

        assert "different properties" in page.content.decode()
