from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from accounts.models import Member, StaffRole
from accounts.scope import homes_of, properties_of
from tests.makers import LONG_AGO, a_property, a_tenancy, a_user

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
A_DAY = timedelta(days=1)


def test_a_tenant_reaches_their_own_home_and_no_other():
    tenant = a_user()
    home = a_tenancy(holder=tenant)
    a_tenancy(holder=a_user())
    a_tenancy()

    assert list(homes_of(tenant, NOON)) == [home]


def test_sharers_reach_the_home_as_its_holder_does():
    holder, sharer = a_user(), a_user()
    home = a_tenancy(holder=holder)
    Member.objects.create(tenancy=home, user=sharer, role="sharer", joined_at=LONG_AGO)

    assert list(homes_of(sharer, NOON)) == list(homes_of(holder, NOON)) == [home]


def test_who_left_reaches_it_no_longer():
    leaver = a_user()
    a_tenancy(holder=leaver)
    Member.objects.update(left_at=NOON - A_DAY)

    assert not homes_of(leaver, NOON).exists()


def test_who_left_and_came_back_sees_it_once():
    tenant = a_user()
    home = a_tenancy(holder=tenant)
    Member.objects.update(left_at=NOON - A_DAY)
    Member.objects.create(tenancy=home, user=tenant, role="holder", joined_at=NOON)

    assert list(homes_of(tenant, NOON)) == [home]


def test_a_tenancy_is_over_at_the_instant_it_ends():
    tenant = a_user()
    a_tenancy(holder=tenant, ends_at=NOON)

    assert homes_of(tenant, NOON - timedelta(microseconds=1)).exists()
    assert not homes_of(tenant, NOON).exists()


def test_a_tenancy_that_has_not_begun_is_not_theirs_yet():
    tenant = a_user()
    a_tenancy(holder=tenant, starts_at=NOON)

    assert not homes_of(tenant, NOON - timedelta(microseconds=1)).exists()
    assert homes_of(tenant, NOON).exists()


def test_whose_login_was_closed_reaches_nothing():
    tenant = a_user(is_active=False)
    a_tenancy(holder=tenant)

    assert not homes_of(tenant, NOON).exists()


def test_staff_see_the_properties_they_work_for():
    clerk, mine = a_user(is_staff=True), a_property()
    a_property()
    StaffRole.objects.create(user=clerk, property=mine, role=StaffRole.Role.SERVICE)

    assert list(properties_of(clerk)) == [mine]


def test_a_superuser_sees_every_property():
    a_property()
    a_property()

    assert properties_of(a_user(is_staff=True, is_superuser=True)).count() == 2


@pytest.mark.parametrize(
    "person",
    [
        {"is_staff": False},
        {"is_staff": False, "is_superuser": True},
        {"is_staff": True, "is_active": False},
        {"is_staff": True, "is_superuser": True, "is_active": False},
    ],
)
def test_who_is_no_staff_any_more_sees_no_property(person):
    former = a_user(**person)
    StaffRole.objects.create(user=former, property=a_property(), role=StaffRole.Role.MANAGER)

    assert not properties_of(former).exists()
