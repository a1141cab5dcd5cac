from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from accounts.models import Member
from billing import prepaid
from billing.models import Alert, StaffHold
from meters.models import Level, Meter
from portal import homes
from tests import makers
from tests.billing.rating import world
from tests.makers import LONG_AGO, a_meter, a_room, a_tenancy, a_user

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
EARLIER = NOON - timedelta(hours=3)


def a_level(meter, wanted, *, reason="paid", agreed_at=None):
    agreed = {"reported": wanted, "agreed_at": agreed_at} if agreed_at else {}
    return Level.objects.create(
        meter=meter, kind="relay", wanted=wanted, reason=reason, wanted_at=LONG_AGO, next_try_at=LONG_AGO, **agreed
    )


def recharged(tenancy, amount_fen):
    prepaid.top_up(
        key=f"test:{tenancy.pk}",
        kind="recharge",
        purse_id=prepaid.purse_of(tenancy).pk,
        amount_fen=amount_fen,
        source=prepaid.Source("cash", "desk"),
        happened_at=NOON,
        trace="t",
        now=NOON,
    )


def seen_by(tenant):
    [home] = homes.homes(user=tenant, now=NOON)
    return home


def test_a_home_with_power_says_so_and_nothing_else():
    tenant, room = a_user(), a_room()
    tenancy = a_tenancy(room=room, holder=tenant)
    a_level(a_meter(room=room, relay="closed", is_online=True), "closed", agreed_at=EARLIER)

    home = seen_by(tenant)

    assert (home.tenancy, home.role, home.hold) == (tenancy, "holder", None)
    assert home.power == homes.Power(relay="closed", since=EARLIER, wanted="closed", why="", how_to_restore="")


def test_a_recharge_is_seen_as_available_where_the_server_holds_the_money():
    tenant, room = a_user(), a_room()
    tenancy = a_tenancy(room=room, holder=tenant)
    a_meter(room=room)

    recharged(tenancy, 5000)

    assert seen_by(tenant).balance == homes.Balance(5000, 0, None, None, posted_fen=5000, as_of=NOON)


def test_a_recharge_is_seen_in_transit_until_the_meter_has_it():
    tenant, room = a_user(), a_room()
    tenancy = a_tenancy(room=room, holder=tenant)
    a_meter(room=room, held_by="meter", balance_fen=120, reported_at=EARLIER)

    recharged(tenancy, 5000)

    assert seen_by(tenant).balance == homes.Balance(0, 5000, 120, EARLIER, as_of=NOON)


def test_the_money_in_several_meters_is_as_old_as_the_oldest_report():
    tenant, room = a_user(), a_room()
    a_tenancy(room=room, holder=tenant)
    a_meter(room=room, held_by="meter", balance_fen=120, reported_at=EARLIER)
    a_meter(room=room, held_by="meter", balance_fen=-20, reported_at=NOON)
    a_meter(room=room, held_by="meter")

    balance = seen_by(tenant).balance

    assert (balance.in_meter_fen, balance.in_meter_at) == (100, EARLIER)


def test_used_up_money_is_why_the_power_is_off_and_a_recharge_brings_it_back():
    tenant, room = a_user(), a_room()
    prepaid.purse_of(a_tenancy(room=room, holder=tenant))
    a_level(a_meter(room=room, relay="open", is_online=True), "open", reason="spent", agreed_at=EARLIER)

    power = seen_by(tenant).power

    assert (power.relay, power.wanted, power.since) == ("open", "open", EARLIER)
    assert power.why == "The balance is used up."
    assert "Recharge" in power.how_to_restore


def test_what_staff_hold_is_named_with_their_reason():
    tenant, room = a_user(), a_room()
    a_tenancy(room=room, holder=tenant)
    hold = StaffHold.objects.create(
        room=room,
        property=room.property,
        position="open",
        reason="cable works",
        placed_at=EARLIER,
        placed_by=a_user(is_staff=True),
    )
    a_level(a_meter(room=room, relay="open", is_online=True), "open", reason="hold_open", agreed_at=EARLIER)

    home = seen_by(tenant)

    assert home.hold == hold
    assert "cable works" in home.power.why


@pytest.mark.parametrize("over", [{"lifted_at": EARLIER}, {"until_at": NOON}])
def test_a_hold_that_is_over_is_not_named(over):
    tenant, room = a_user(), a_room()
    a_tenancy(room=room, holder=tenant)
    StaffHold.objects.create(
        room=room,
        property=room.property,
        position="open",
        reason="cable works",
        placed_at=LONG_AGO,
        placed_by=a_user(),
        **over,
    )

    assert seen_by(tenant).hold is None


def test_the_worst_of_several_meters_is_said_of_the_home():
    tenant, room = a_user(), a_room()
    a_tenancy(room=room, holder=tenant)
    a_level(a_meter(room=room, relay="closed", is_online=True), "closed", agreed_at=EARLIER)
    a_level(a_meter(room=room, relay="open", is_online=True), "closed")

    power = seen_by(tenant).power

    assert (power.relay, power.wanted, power.since) == ("open", "closed", None)
    assert power.why == "The meter has been told to switch on."


def test_a_home_without_a_meter_is_seen_all_the_same():
    tenant = a_user()
    a_tenancy(holder=tenant)

    power = seen_by(tenant).power

    assert (power.relay, power.wanted) == ("unknown", "unknown")
    assert power.why == "No meter is recorded for this home."


def test_nothing_from_before_they_moved_in_is_told():
    tenant, room = a_user(), a_room()
    a_tenancy(room=room, holder=tenant, starts_at=NOON - timedelta(hours=1))
    a_level(a_meter(room=room, relay="closed", is_online=True), "closed", agreed_at=EARLIER)

    assert seen_by(tenant).power.since == NOON - timedelta(hours=1)


def test_a_meter_that_was_taken_down_is_gone():
    tenant, room = a_user(), a_room()
    a_tenancy(room=room, holder=tenant)
    a_meter(room=room).installations.update(ends_at=EARLIER)

    assert seen_by(tenant).meters == []


def test_three_homes_ask_as_many_questions_as_one(django_assert_num_queries):
    tenant = a_user()
    for _ in range(3):
        room = a_room()
        recharged(a_tenancy(room=room, holder=tenant), 5000)
        for _meter in range(2):
            a_level(a_meter(room=room, relay="closed", is_online=True), "closed", agreed_at=EARLIER)

    with django_assert_num_queries(1):  # memberships, meters, levels, holds, what draws; days of use where it does
        seen = homes.homes(user=tenant, now=NOON)

    assert len(seen) == 3


class TestAHomeThatIsRead:
    """One whose readings are rated."""

    @pytest.fixture
    def draw(self):
        draw = world.a_draw(world.a_version(world.PERIODS_AND_TIERS))
        Member.objects.create(tenancy=draw.tenancy, user=a_user(), role="holder", joined_at=LONG_AGO)
        return draw

    def seen(self, draw, *, now):
        (home,) = homes.homes(user=draw.tenancy.members.get().user, now=now)
        return home

    def test_says_what_its_price_is_and_when_another_follows(self, draw):
        home = self.seen(draw, now=world.START + timedelta(hours=9))

        now, following = home.price, home.next_price
        assert (now.period, now.from_at, now.to_at) == (
            *("peak", world.START + timedelta(hours=8.5)),
            world.START + timedelta(hours=22),
        )
        assert (following.period, following.from_at) == ("valley", now.to_at)
        assert following.prices == [28800003, 33800003, 58800003]

    def test_looks_beyond_midnight(self, draw):
        home = self.seen(draw, now=world.START + timedelta(hours=23))

        assert (home.price.period, home.price.to_at) == ("valley", world.START + timedelta(hours=24 + 8.5))
        assert home.next_price.period == "peak"

    def test_knows_the_prices_of_another_version_that_begins_tomorrow(self, draw):
        tomorrow = world.START.date() + timedelta(days=1)
        version = makers.a_version(draw.version.tariff, starts_date=tomorrow, state="published", published_at=NOON)
        draw.version.slots.filter(usage_date__gte=tomorrow).delete()
        world.lay_out(version, world.ONE_PRICE, first_date=tomorrow, days=2)

        home = self.seen(draw, now=world.START + timedelta(hours=23))

        assert (home.next_price.period, home.next_price.from_at) == ("flat", world.START + timedelta(days=1))
        assert home.next_price.prices == [50000000]

    def test_with_one_price_nothing_follows(self, draw):
        draw.version.slots.all().delete()
        world.lay_out(draw.version, world.ONE_PRICE, first_date=world.START.date(), days=3)

        home = self.seen(draw, now=world.START)

        assert (home.price.period, home.next_price) == ("flat", None)

    def test_says_as_of_when_its_balance_is(self, draw):
        assert self.seen(draw, now=NOON).balance.as_of == world.START

        recharged(draw.tenancy, 5000)

        assert self.seen(draw, now=NOON).balance.as_of == NOON

    def test_tells_the_warnings_that_stand_and_no_others(self, draw):
        for level, over_at in (("percent:20", None), ("fen:500", EARLIER), ("used_up", None)):
            Alert.objects.create(
                purse=draw.purse, level=level, recharge=0, raised_at=EARLIER, available_fen=0, over_at=over_at
            )

        alerts = self.seen(draw, now=NOON).alerts

        assert [(one.level, one.since) for one in alerts] == [("percent:20", EARLIER), ("used_up", EARLIER)]
        assert alerts[1].text == "used up"

    def test_and_three_of_them_ask_as_many_questions_as_one(self, draw, django_assert_num_queries):
        tenant = draw.tenancy.members.get().user
        for _ in range(2):
            other = world.a_draw(draw.version)
            Member.objects.create(tenancy=other.tenancy, user=tenant, role="sharer", joined_at=LONG_AGO)
            a_level(other.meter, "closed", agreed_at=EARLIER)
        Meter.objects.update(relay="closed")

        with django_assert_num_queries(1):  # memberships, meters, levels, holds, draws, prices, days of use
            assert len(homes.homes(user=tenant, now=NOON)) == 3


def test_homes_of_others_are_none_of_theirs():
    tenant = a_user()
    others = a_tenancy(holder=a_user())

    assert homes.homes(user=tenant, now=NOON) == []
    assert homes.home(user=tenant, home_id=others.pk, now=NOON) is None
    assert homes.home(user=tenant, home_id=10**30, now=NOON) is None


def test_sharers_see_the_home_with_their_own_role():
    sharer = a_user()
    Member.objects.create(tenancy=a_tenancy(holder=a_user()), user=sharer, role="sharer", joined_at=LONG_AGO)

    assert seen_by(sharer).role == "sharer"
