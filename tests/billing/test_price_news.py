"""Homes are told of other prices some days before they pay them, once, and when they do not come after all."""

from __future__ import annotations

from datetime import date, timedelta
from functools import partial
from typing import Any

import pytest

from accounts.models import Property, Tenancy
from billing import assignments, price_news, tariffs
from billing.models import PriceChange, Purse, Tariff, TariffVersion
from billing.tariff.civil import instant
from notifications.models import Message
from tests import makers
from tests.notifications.carried import carry
from tests.racing import race

pytestmark = pytest.mark.django_db
NOW = instant(date(2026, 11, 23), minute=600)
CHANGE = date(2026, 11, 28)
DEARER = {"prices": [{"yuan": "0.70"}], "fee_yuan": "0.02"}


@pytest.fixture
def place() -> Property:
    """A tariff holds in all of it: 0.62 yuan."""
    place = makers.a_property()
    makers.a_published_version(place=place, now=NOW)
    return place


def a_home(place: Property, **tenancy: Any) -> Purse:
    room = makers.a_room(place=place)
    makers.a_meter(room=room)
    return makers.a_purse(tenancy=makers.a_tenancy(room=room, **tenancy))


def dearer(place: Property, *, on: date = CHANGE, definition: dict[str, Any] | None = None) -> TariffVersion:
    """The tariff's next version."""
    tariff = Tariff.objects.get(property=place)
    version = makers.a_version(tariff, definition=definition or DEARER, starts_date=on)
    return tariffs.publish(version_id=version.pk, by=None, reason="", now=NOW)


def told() -> list[Message]:
    return list(Message.objects.filter(kind="price_change").order_by("pk"))


def test_each_home_is_told_from_when_which_prices_hold_and_once(place):
    homes = [a_home(place), a_home(place)]
    version = dearer(place)

    assert price_news.announce(now=NOW) == 2
    assert price_news.announce(now=NOW + timedelta(days=1)) == 0

    assert [one.tenancy_id for one in told()] == [home.tenancy_id for home in homes]
    context = told()[0].context
    assert (context["starts_on"], context["tariff"], context["version"]) == (
        "2026-11-28",
        version.tariff.name,
        version.pk,
    )
    assert (context["lowest_micro_fen"], context["highest_micro_fen"]) == (72_000_000, 72_000_000)
    assert context["prices"]["en"] == "0.72 yuan per kWh"
    assert context["is_taken_back"] is False


def test_a_tariff_with_periods_is_told_from_the_lowest_to_the_highest_price(place):
    a_home(place)
    dearer(place, definition=makers.TIME_OF_USE_AND_TIERS)

    price_news.announce(now=NOW)

    assert told()[0].context["prices"]["en"] == "0.308 to 0.888 yuan per kWh"


@pytest.mark.parametrize(("days", "is_told"), [(4, False), (5, True), (30, True)])
def test_it_is_told_as_many_days_before_as_the_property_says(place, days, is_told):
    makers.a_policy(place, price_notice_days=days)
    a_home(place)
    dearer(place)

    price_news.announce(now=NOW)

    assert bool(told()) == is_told


def test_a_version_that_says_the_same_changes_nothing(place):
    a_home(place)
    dearer(place, definition=makers.ONE_PRICE)

    assert price_news.announce(now=NOW) == 0


def test_a_tariff_that_is_assigned_to_a_room_is_told_there_alone(place):
    theirs, _others = a_home(place), a_home(place)
    other = tariffs.publish(version_id=makers.a_tariff(place=place, definition=DEARER).pk, by=None, reason="", now=NOW)
    where = assignments.Place(property=place, room=theirs.tenancy.room)
    assignments.assign(tariff=other.tariff, place=where, starts_date=CHANGE, by=None, reason="", now=NOW)

    price_news.announce(now=NOW)

    assert [(one.tenancy_id, one.context["tariff"]) for one in told()] == [(theirs.tenancy_id, other.tariff.name)]


def test_who_has_moved_out_by_then_and_an_empty_room_are_told_nothing(place):
    a_home(place, ends_at=instant(CHANGE))
    makers.a_meter(room=makers.a_room(place=place))
    dearer(place)

    assert price_news.announce(now=NOW) == 0


def test_a_change_that_is_withdrawn_before_anybody_was_told_is_not_told(place):
    a_home(place)
    version = dearer(place)
    price_news.announce(now=NOW)

    tariffs.withdraw(version_id=version.pk, by=None, reason="", now=NOW)
    price_news.announce(now=NOW)

    assert [one.state for one in told()] == ["withdrawn"]
    assert PriceChange.objects.get().withdrawn_at == NOW


def test_who_was_told_is_told_that_prices_stay_as_they_are(place):
    a_home(place)
    version = dearer(place)
    price_news.announce(now=NOW)
    carry(kind="price_change")

    tariffs.withdraw(version_id=version.pk, by=None, reason="", now=NOW)
    price_news.announce(now=NOW)
    price_news.announce(now=NOW)

    _first, second = told()
    assert (second.state, second.context["is_taken_back"]) == ("waiting", True)
    assert (second.context["starts_on"], second.context["prices"]["en"]) == ("2026-11-28", "0.62 yuan per kWh")


def test_other_prices_in_its_place_are_told_instead(place):
    a_home(place)
    version = dearer(place)
    price_news.announce(now=NOW)
    carry(kind="price_change")
    replacing = makers.a_version(
        version.tariff, definition={"prices": [{"yuan": "0.65"}]}, starts_date=CHANGE, replaces=version
    )

    tariffs.publish(version_id=replacing.pk, by=None, reason="", now=NOW)
    price_news.announce(now=NOW)

    assert [one.context["prices"]["en"] for one in told()] == ["0.72 yuan per kWh", "0.65 yuan per kWh"]
    assert not told()[1].context["is_taken_back"]


def test_what_was_taken_back_and_comes_after_all_is_told_again(place):
    home = a_home(place)
    other = makers.a_tariff(place=place, definition=DEARER)
    tariffs.publish(version_id=other.pk, by=None, reason="", now=NOW)
    where = assignments.Place(property=place, room=home.tenancy.room)

    for _ in range(2):
        given = assignments.assign(tariff=other.tariff, place=where, starts_date=CHANGE, by=None, reason="", now=NOW)
        price_news.announce(now=NOW)
        given.delete()
        price_news.announce(now=NOW)

    assert [one.state for one in told()] == ["withdrawn", "withdrawn"]


def test_what_was_announced_stands_when_the_property_announces_later_from_now_on(place):
    policy = makers.a_policy(place, price_notice_days=7)
    a_home(place)
    dearer(place)
    price_news.announce(now=NOW)
    policy.price_notice_days = 1
    policy.save()

    assert price_news.announce(now=NOW) == 0

    assert told()[0].state == "waiting"


def test_homes_are_told_in_batches(place, monkeypatch):
    monkeypatch.setattr(price_news, "A_BATCH", 2)
    homes = [a_home(place) for _ in range(5)]
    dearer(place)

    assert price_news.announce(now=NOW) == len(homes)

    assert Tenancy.objects.count() == len(told()) == 5


@pytest.mark.django_db(transaction=True)
def test_several_rounds_at_once_tell_each_home_once(place):
    for _ in range(3):
        a_home(place)
    version = dearer(place)

    race([partial(price_news.announce, now=NOW)] * 4)
    assert len(told()) == 3
    carry(kind="price_change")
    tariffs.withdraw(version_id=version.pk, by=None, reason="", now=NOW)
    race([partial(price_news.announce, now=NOW)] * 4)

    assert len([one for one in told() if one.context["is_taken_back"]]) == 3
