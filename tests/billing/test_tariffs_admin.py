"""Tariffs, assignments, special days, supply prices and households in the admin."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from billing import tariffs
from billing.models import (
    Backlog,
    Household,
    MarkUp,
    PriceSlot,
    SpecialDay,
    SupplyPrice,
    Tariff,
    TariffAssignment,
    TariffVersion,
)
from billing.tariff.civil import civil_date
from tests import makers
from tests.desk import address, at_work, do, staff_of, told

pytestmark = pytest.mark.django_db


@pytest.fixture
def place():
    return makers.a_property(name="Hereyard")


@pytest.fixture
def manager(place):
    return at_work(staff_of(place))


def today():
    return civil_date(timezone.now())


def test_a_tariff_and_its_versions_are_written_by_managers(manager, place):
    manager.post(address(Tariff, "add"), {"property": place.pk, "name": "peak and valley"})
    tariff = Tariff.objects.get()
    for day in (1, 2):
        answers = {"tariff": tariff.pk, "starts_date": f"2027-01-0{day}", "definition": json.dumps(makers.ONE_PRICE)}
        manager.post(address(TariffVersion, "add"), answers)

    assert [version.number for version in tariff.versions.order_by("number")] == [1, 2]
    assert not PriceSlot.objects.exists()


@pytest.mark.parametrize("role", ["finance", "service"])
def test_others_look_at_them(place, role):
    version = makers.a_tariff(place=place)
    client = at_work(staff_of(place, role))

    assert client.post(address(Tariff, "add"), {"property": place.pk, "name": "x"}).status_code == 403
    do(client, "publish", [version], reason="mine")

    version.refresh_from_db()
    assert version.state == "draft"
    assert "0.62" in client.get(address(version, "change")).content.decode()


def test_what_is_wrong_with_a_definition_is_said_with_its_place(manager, place):
    version = makers.a_tariff(place=place)
    answers = {"starts_date": "2027-01-01", "definition": '{"prices": [{"yuan": {"sharp": "1.2"}}]}'}

    page = manager.post(address(version, "change"), answers)

    assert "prices[0]" in page.content.decode()
    version.refresh_from_db()
    assert version.definition == makers.ONE_PRICE


def test_a_week_of_prices_is_shown(manager, place):
    version = makers.a_tariff(place=place, definition=makers.TIME_OF_USE_AND_TIERS)

    page = manager.get(address(version, "change")).content.decode()

    assert "08:00–22:00" in page
    assert "22:00–24:00" in page
    assert all(f"<td>{price}</td>" in page for price in ("0.568", "0.618", "0.868", "0.02"))


def test_a_draft_is_published_with_a_reason_that_is_kept(manager, place):
    makers.a_supply_price(place)
    version = makers.a_tariff(place=place)

    page = do(manager, "publish", [version], reason="price list of May")

    assert "Published: holds from 2026-01-01 on." in told(page)
    version.refresh_from_db()
    assert (version.state, version.reason) == ("published", "price list of May")
    assert "price list of May" in LogEntry.objects.latest("pk").change_message


def test_a_mark_up_is_refused_in_words_until_a_reason_is_given(manager, place):
    makers.a_supply_price(place, yuan="0.6")
    version = makers.a_tariff(place=place)

    refused = do(manager, "publish", [version], reason="price list of May")
    done = do(manager, "publish", [version], reason="price list of May", mark_up="losses")

    assert "the property pays 0.6 yuan" in told(refused)
    assert "Published" in told(done)
    assert MarkUp.objects.get().reason == "losses"
    assert "losses" in manager.get(address(version, "change")).content.decode()


def test_what_is_published_is_not_changed_in_the_admin(manager, place):
    version = makers.a_published_version(place=place)

    page = manager.post(address(version, "change"), {"starts_date": "2027-01-01", "definition": "{}"})

    assert page.status_code == 403


def test_a_version_is_withdrawn(manager, place):
    first = makers.a_published_version(place=place)
    later = makers.a_version(first.tariff, starts_date=today() + timedelta(days=9))
    tariffs.publish(version_id=later.pk, by=None, reason="", now=timezone.now())

    page = do(manager, "withdraw", [later], reason="a slip")

    assert "Withdrawn" in told(page)


def test_a_tariff_is_assigned_and_the_assignment_ended(manager, place):
    version = makers.a_published_version(place=place)
    room = makers.a_room(place=place)
    makers.a_meter(room=room)
    answers = {"tariff": version.tariff.pk, "room": room.pk, "starts_date": f"{today()}", "reason": "lease"}

    manager.post(address(TariffAssignment, "add"), answers)

    assignment = TariffAssignment.objects.get(room=room)
    assert (assignment.starts_date, assignment.reason) == (today(), "lease")
    assert Backlog.objects.exists()
    page = do(manager, "end", [assignment], ends_date=f"{today() + timedelta(days=3)}", reason="moved")
    assert "Ends on" in told(page)


def test_another_propertys_rooms_are_no_choice(manager, place):
    version, elsewhere = makers.a_published_version(place=place), makers.a_room()
    answers = {"tariff": version.tariff.pk, "room": elsewhere.pk, "starts_date": f"{today()}", "reason": "lease"}

    manager.post(address(TariffAssignment, "add"), answers)

    assert not TariffAssignment.objects.filter(room=elsewhere).exists()


def test_a_manager_enters_days_of_the_property_alone(manager, place):
    answers = {"on_date": "2027-02-03", "kind": "holiday", "name": "feast"}

    assert "required" in manager.post(address(SpecialDay, "add"), answers).content.decode()
    manager.post(address(SpecialDay, "add"), answers | {"property": place.pk})

    day = SpecialDay.objects.get(on_date=date(2027, 2, 3))
    assert (day.property, day.entered_by.name) == (place, "manager of Hereyard")


def test_the_countrys_days_are_seen_by_all_and_written_by_the_operator(manager):
    day = SpecialDay.objects.create(on_date=date(2028, 1, 1), kind="holiday", name="New Year")
    operator = at_work(makers.a_user(is_staff=True, is_superuser=True))
    answers = {"kind": "ordinary", "name": "New Year"}

    assert day in manager.get(address(SpecialDay, "changelist")).context["cl"].result_list
    assert manager.post(address(day, "change"), answers).status_code == 403
    operator.post(address(day, "change"), answers)

    day.refresh_from_db()
    assert day.kind == "ordinary"


def test_what_the_property_pays_is_written_in_yuan(place):
    finance = at_work(staff_of(place, "finance"))
    begins = {"property": place.pk, "starts_date": "2026-12-01", "source": "price list"}

    wrong = finance.post(address(SupplyPrice, "add"), begins | {"peak": "a lot"}).content.decode()
    both = finance.post(address(SupplyPrice, "add"), begins | {"all": "0.6", "peak": "0.7"}).content.decode()
    finance.post(address(SupplyPrice, "add"), begins | {"peak": "0.7", "valley": "0.31234567"})

    assert "at most 8 decimals" in wrong
    assert "one price for all periods" in both
    assert SupplyPrice.objects.get().prices == {"peak": 70_000_000, "valley": 31_234_567}


def test_a_supply_price_below_what_tenants_pay_is_said_at_once(manager, place):
    makers.a_published_version(place=place)
    begins = {"property": place.pk, "starts_date": f"{today()}", "source": "price list", "all": "0.5"}

    page = manager.post(address(SupplyPrice, "add"), begins, follow=True)

    assert "on the work list" in told(page)


def test_the_desk_records_how_many_live_there(place):
    tenancy = makers.a_tenancy(room=makers.a_room(place=place))
    makers.a_meter(room=tenancy.room)
    clerk = at_work(staff_of(place, "service"))

    answers = {"tenancy": tenancy.pk, "starts_date": "2026-05-01", "persons": "5", "proof": "booklet"}
    clerk.post(address(Household, "add"), answers)

    assert Household.objects.get().persons == 5
    assert Backlog.objects.exists()
