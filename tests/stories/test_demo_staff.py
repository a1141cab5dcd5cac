"""The demo's two logins: what the front desk sees and may do comes from its role, and the demo itself looks."""

from __future__ import annotations

import pytest

from accounts.models import Property, StaffRole, User
from config.demo import staff
from tests import makers

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def place() -> Property:
    return makers.a_property(code="sunshine", name="阳光花园")


@pytest.fixture
def _seeded(place, tmp_path):
    staff.enter(staff.ADMIN, tmp_path)
    staff.give_roles(place, tmp_path)


@pytest.mark.usefixtures("_seeded")
def test_the_front_desk_sees_its_property_alone_and_the_demo_says_so(live_server, tmp_path):
    everything, desk = staff.compare(live_server.url, tmp_path)

    assert "月光公寓" in everything
    assert "阳光花园" in everything
    assert desk.startswith("frontdesk: 阳光花园 alone; ")


@pytest.mark.usefixtures("_seeded")
def test_a_role_that_reaches_too_far_ends_the_demo(live_server, tmp_path):
    User.objects.filter(username="frontdesk").update(is_superuser=True)

    with pytest.raises(AssertionError, match="front desk sees"):
        staff.compare(live_server.url, tmp_path)


@pytest.mark.usefixtures("_seeded")
def test_a_manager_is_not_a_front_desk(live_server, tmp_path):
    StaffRole.objects.update(role="manager")

    with pytest.raises(AssertionError, match="kept from"):
        staff.compare(live_server.url, tmp_path)


@pytest.mark.usefixtures("_seeded")
def test_again_it_changes_nothing_and_the_passwords_stay(place, tmp_path):
    before = [one.password(tmp_path) for one in (staff.ADMIN, staff.FRONT_DESK)]

    staff.enter(staff.ADMIN, tmp_path)
    staff.give_roles(place, tmp_path)

    assert [one.password(tmp_path) for one in (staff.ADMIN, staff.FRONT_DESK)] == before
    assert (User.objects.count(), StaffRole.objects.count(), Property.objects.count()) == (2, 1, 2)


def test_a_password_is_true_to_the_file_when_the_database_is_another(tmp_path):
    staff.enter(staff.FRONT_DESK, tmp_path)
    User.objects.all().delete()

    assert staff.enter(staff.FRONT_DESK, tmp_path).check_password(staff.FRONT_DESK.password(tmp_path))
    assert (tmp_path / "frontdesk_password").stat().st_mode & 0o077 == 0


def test_a_login_that_fails_is_told(live_server, place, tmp_path):
    with pytest.raises(AssertionError, match="admin cannot log in"):
        staff.compare(live_server.url, tmp_path)
