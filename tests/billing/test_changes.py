"""Supply follows what changes without money: moving in, hanging a meter, recording a policy."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing import changes
from billing.models import Draw, Purse
from billing.prepaid import Source, top_up
from meters.models import Installation, Level, TopUp
from tests import makers

pytestmark = pytest.mark.django_db


def wanted() -> str:
    return Level.objects.get(kind="relay").wanted


def recharge(purse: Purse, amount_fen: int = 5000) -> None:
    now = timezone.now()
    top_up(
        key="payment:1",
        kind="recharge",
        purse_id=purse.pk,
        amount_fen=amount_fen,
        source=Source("clearing", "merchant:x"),
        happened_at=now,
        trace="",
        now=now,
    )


def test_a_tenant_who_paid_ahead_has_power_when_the_tenancy_begins():
    room = makers.a_room()
    meter = makers.a_meter(room=room)
    makers.a_policy(room.property)
    Level.objects.create(
        meter=meter, kind="relay", wanted="open", reason="spent", wanted_at=makers.LONG_AGO, next_try_at=makers.LONG_AGO
    )
    begins_at = timezone.now() + timedelta(days=1)
    recharge(makers.a_purse(tenancy=makers.a_tenancy(room=room, starts_at=begins_at)))
    assert wanted() == "open"

    assert changes.catch_up(now=begins_at + timedelta(seconds=1)) == 1

    assert wanted() == "closed"


def test_money_paid_before_the_meter_hung_goes_on_into_it():
    room = makers.a_room()
    purse = makers.a_purse(tenancy=makers.a_tenancy(room=room))
    recharge(purse)
    makers.a_meter(room=room, held_by="meter")
    Installation.objects.update(starts_at=timezone.now())

    changes.catch_up(now=timezone.now())

    purse.refresh_from_db()
    assert (purse.paid_fen, purse.in_transit_fen) == (0, 5000)
    assert TopUp.objects.get().amount_fen == 5000


def test_a_home_without_a_purse_is_decided_too():
    room = makers.a_room()
    makers.a_meter(room=room)
    makers.a_tenancy(room=room)

    changes.catch_up(now=timezone.now())

    assert wanted() == "closed"
    assert Purse.objects.filter(tenancy__room=room).exists()


def test_a_policy_that_is_recorded_is_followed():
    room = makers.a_room()
    makers.a_meter(room=room)
    makers.a_tenancy(room=room)
    now = timezone.now()
    changes.catch_up(now=now)
    assert wanted() == "closed"
    makers.a_cut_ready_home(room, recorded_at=now + timedelta(seconds=1))

    changes.catch_up(now=now + timedelta(seconds=2))

    assert wanted() == "open"


def test_what_was_decided_since_is_left_alone():
    room = makers.a_room()
    makers.a_meter(room=room)
    makers.a_tenancy(room=room)
    changes.catch_up(now=timezone.now())

    assert changes.catch_up(now=timezone.now()) == 0


def test_draws_follow_what_staff_wrote_about_tenancies_and_meters_and_then_nothing_is_left_to_do():
    room, now = makers.a_room(), timezone.now()
    makers.a_meter(room=room)
    tenancy = makers.a_tenancy(room=room, starts_at=makers.LONG_AGO + timedelta(days=1))
    changes.catch_up(now=now)
    assert list(Draw.objects.order_by("starts_at").values_list("tenancy", flat=True)) == [None, tenancy.pk]

    tenancy.ends_at = makers.LONG_AGO + timedelta(days=9)
    tenancy.save(update_fields=["ends_at"])
    Installation.objects.update(ends_at=makers.LONG_AGO + timedelta(days=20))
    changes.catch_up(now=now)
    ends = list(Draw.objects.order_by("starts_at").values_list("ends_at", flat=True))
    assert ends == [tenancy.starts_at, tenancy.ends_at, makers.LONG_AGO + timedelta(days=20)]

    with CaptureQueriesContext(connection) as asked:
        changes.catch_up(now=now)
    assert not [query for query in asked.captured_queries if "FOR NO KEY UPDATE" in query["sql"]]
