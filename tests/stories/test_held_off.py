"""Staff hold a home off: money arrives, the power does not come back before they lift it, and the tenant reads why."""

from __future__ import annotations

import pytest
from django.utils import timezone

from billing import holds
from tests import makers
from tests.stories.homes import Home, seen_by
from tests.stories.town import Town

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("held_by", ["server", "meter"])
def test_a_recharge_does_not_end_what_staff_hold_off_and_says_why(quiet_village: Town, held_by):
    village = quiet_village
    home = village.home(held_by=held_by)
    phone = village.phone_when_heard(home)
    room, staff = home.tenancy.room, makers.a_user()
    holds.hold_room(room=room, position="open", reason="water in the cellar", by=staff, until=None, now=timezone.now())
    village.until(lambda: home.agrees("open"), "the meter holds it off")

    village.recharge(home, phone, wait=True)

    village.until(lambda: has_money(village, home), "the money has arrived")
    assert village.there(home)["relay"] == "open"
    assert village.moves_of(home) == []
    power = seen_by(phone)["power"]
    assert (power["relay"], power["wanted"]) == ("open", "open")
    assert "water in the cellar" in power["why"]
    assert "recharge alone does not" in power["how_to_restore"]
    assert seen_by(phone)["hold"]["reason"] == "water in the cellar"

    assert holds.lift_hold(room=room, by=staff, now=timezone.now())

    village.until_power_is_back(home, fen=5000)
    assert seen_by(phone)["power"]["why"] == ""
    assert village.findings() == []


def has_money(town: Town, home: Home) -> bool:
    there = town.there(home)
    return bool(there["balance_fen" if home.meter.holds_money() else "shown_fen"] == 5000)
