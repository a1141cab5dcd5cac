"""What the statement reads is what the ORM reads: of whom, and every part of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import scope
from accounts.models import Member, Tenancy
from billing import holds, prepaid
from billing.models import Alert, Draw, StaffHold
from meters.models import Installation, Level
from portal import home_rows
from tests import makers

pytestmark = pytest.mark.django_db
BOUND = [timedelta(days=-2), timedelta(0), timedelta(days=2), None]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(
    starts=st.sampled_from([timedelta(days=-9), timedelta(0), timedelta(days=1)]),
    ends=st.sampled_from(BOUND),
    left=st.sampled_from([timedelta(days=-1), None]),
    is_active=st.booleans(),
    is_other=st.booleans(),
)
def test_a_home_is_ones_own_exactly_when_the_scope_says_so(starts, ends, left, is_active, is_other):
    now = timezone.now()
    if ends is not None and ends <= starts:
        ends = starts + timedelta(hours=1)
    user = makers.a_user(is_active=is_active)
    home = makers.a_tenancy(starts_at=now + starts, ends_at=now + ends if ends is not None else None)
    living = makers.a_user() if is_other else user
    Member.objects.create(
        tenancy=home, user=living, role="sharer", joined_at=makers.LONG_AGO, left_at=now + left if left else None
    )

    read = [row.tenancy.pk for row in home_rows.of(user=user, home_id=None, now=now)]
    one = [row.tenancy.pk for row in home_rows.of(user=user, home_id=home.pk, now=now)]

    assert read == one == list(scope.homes_of(user, now).values_list("pk", flat=True))


@pytest.fixture
def home() -> Tenancy:
    room = makers.a_room()
    makers.a_meter(room=room, is_online=True, relay="closed", import_wh=2**40, reported_at=timezone.now())
    tenancy = makers.a_tenancy(room=room, holder=makers.a_user())
    makers.a_cut_ready_home(room, purse=prepaid.purse_of(tenancy))
    return tenancy


def test_every_column_is_read_as_the_orm_reads_it(home):
    now = timezone.now()
    staff = makers.a_user(is_staff=True, is_superuser=True)
    until, position = now + timedelta(days=1), StaffHold.Position.OPEN
    holds.hold_room(room=home.room, position=position, reason="检修", by=staff, until=until, now=now)
    purse = prepaid.purse_of(home)

    (row,) = home_rows.of(user=home.members.get().user, home_id=home.pk, now=now)

    kept = Tenancy.objects.get(pk=home.pk)
    hung = Installation.objects.get(room=home.room, ends_at=None)
    meter = row.meters[0]
    for read, of_orm in (
        (row.tenancy, kept),
        (row.tenancy.room, kept.room),
        (row.tenancy.room.building, kept.room.building),
        (row.tenancy.room.building.property, kept.property),
        (row.purse, purse.__class__.objects.get(pk=purse.pk)),
        (row.hold, StaffHold.objects.get()),
        (meter, hung.meter),
        (meter.model, hung.meter.model),
    ):
        columns = [field.attname for field in of_orm._meta.concrete_fields]
        assert [getattr(read, name) for name in columns] == [getattr(of_orm, name) for name in columns]
    levels = Level.objects.filter(meter=hung.meter, kind="relay")
    assert [one.pk for one in meter.relay_levels] == list(levels.values_list("pk", flat=True))
    assert row.available_fen == purse.available_fen()
    assert len(row.draws) == Draw.objects.filter(purse=purse).count()
    assert [level for level, _since in row.low] == list(
        Alert.objects.filter(purse=purse, over_at=None).values_list("level", flat=True)
    )


def test_a_hold_that_ran_out_or_was_lifted_is_not_there(home):
    now = timezone.now()
    staff = makers.a_user(is_staff=True, is_superuser=True)
    position = StaffHold.Position.OPEN
    holds.hold_room(
        room=home.room, position=position, reason="检修", by=staff, until=now + timedelta(seconds=1), now=now
    )

    (row,) = home_rows.of(user=home.members.get().user, home_id=home.pk, now=now + timedelta(minutes=1))

    assert row.hold is None
