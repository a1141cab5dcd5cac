"""A member of staff sees all of their property through the admin, and nothing of another: whichever way they ask."""

from __future__ import annotations

import uuid

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Invitation, Member, Property, StaffRole, Tenancy
from accounts.panes import PropertyFilter
from billing import prepaid
from billing.models import Dispute, StaffHold
from meters.models import Command, Meter, MeterModel
from notifications.models import Template, WorkItem
from payments import counter
from payments.models import CounterReceipt, Payment, ProviderEvent, ShippingNotice
from tests import makers
from tests.desk import a_suspended_payment, address, at_work, do, one_of_everything, staff_of, windows

pytestmark = pytest.mark.django_db
EVERYBODYS = {MeterModel}  # tables that belong to no property


@pytest.fixture
def here() -> Property:
    return makers.a_property(name="Hereyard")


@pytest.fixture
def there() -> Property:
    return makers.a_property(name="Thereyard")


@pytest.fixture
def worlds(here, there):
    return one_of_everything(here), one_of_everything(there)


def test_there_is_one_of_everything_that_the_admin_shows(worlds):
    mine, _theirs = worlds

    assert set(windows()) == set(mine)


@pytest.mark.parametrize("role", ["manager", "finance", "service"])
def test_every_role_sees_every_list_and_row_of_its_property(worlds, here, role):
    client = at_work(staff_of(here, role))

    for model, row in worlds[0].items():
        listed = client.get(address(model, "changelist"))
        shown = client.get(address(row, "change"))

        assert (listed.status_code, shown.status_code) == (200, 200), model
        assert row in listed.context["cl"].result_list, model
        assert client.get(address(row, "history")).status_code == 200, model


def test_nothing_of_another_property_is_in_a_list_or_its_filters(worlds, here, there):
    client = at_work(staff_of(here))

    for model in windows():
        page = client.get(address(model, "changelist"))

        assert there.name not in page.content.decode(), model
        if model not in EVERYBODYS:
            assert worlds[1][model] not in page.context["cl"].result_list, model


def test_a_row_of_another_property_is_answered_like_one_that_does_not_exist(worlds, here):
    client = at_work(staff_of(here))

    for model, row in worlds[1].items():
        if model in EVERYBODYS:
            continue
        found = client.get(address(row, "change"))
        row.pk = uuid.UUID(int=0) if model is Command else 10**9
        missing = client.get(address(row, "change"))

        assert (found.status_code, found["Location"]) == (missing.status_code, missing["Location"]) == (302, "/admin/")


def test_a_search_for_another_property_finds_nothing(worlds, here, there):
    client = at_work(staff_of(here))
    words = [there.name, worlds[1][Meter].serial, worlds[1][Payment].number, f"138{there.pk:08d}"]

    for model, window in windows().items():
        if not window.search_fields or model in EVERYBODYS:
            continue
        for word in words:
            assert worlds[1][model] not in client.get(address(model, "changelist", q=word)).context["cl"].result_list


def test_a_filter_by_another_property_finds_nothing(worlds, here, there):
    client = at_work(staff_of(here))

    for model, window in windows().items():
        page = client.get(address(model, "changelist", property=there.pk))

        if PropertyFilter in window.list_filter:
            assert worlds[1][model] not in page.context["cl"].result_list, model
        assert there.name not in page.content.decode(), model


def test_who_sees_several_properties_may_look_at_one(worlds, here):
    client = at_work(makers.a_user(is_staff=True, is_superuser=True))

    for model, window in windows().items():
        if PropertyFilter in window.list_filter:
            page = client.get(address(model, "changelist", property=here.pk))

            found = set(page.context["cl"].result_list)
            assert (worlds[0][model] in found, worlds[1][model] in found) == (True, False), model


def test_no_filter_offers_what_it_finds_in_the_table():
    """A filter over a foreign key would offer the rows of every property."""
    for model, window in windows().items():
        for entry in window.list_filter:
            if isinstance(entry, str):
                field = model._meta.get_field(entry)
                assert field.choices or field.get_internal_type() == "BooleanField", (model, entry)


def test_what_a_choice_offers_is_ones_own(worlds, here, there):
    client = at_work(staff_of(here))
    asked = 0

    for model, window in windows().items():
        for name in window.autocomplete_fields:
            remote = model._meta.get_field(name).related_model
            query = {"app_label": model._meta.app_label, "model_name": model._meta.model_name, "field_name": name}
            found = client.get("/admin/autocomplete/", query).json()["results"]

            asked += 1
            assert str(worlds[0][remote].pk) in {each["id"] for each in found}, (model, name)
            if remote not in EVERYBODYS:
                assert str(worlds[1][remote].pk) not in {each["id"] for each in found}, (model, name)
    assert asked > 8


def test_an_add_page_named_after_another_home_says_nothing_of_it(worlds, here, there):
    client = at_work(staff_of(here))
    tenancy = worlds[1][Tenancy]

    for model in (CounterReceipt, Dispute, Invitation, StaffHold):
        page = client.get(address(model, "add", tenancy=tenancy.pk, room=tenancy.room_id, meter=worlds[1][Meter].pk))

        assert page.status_code == 200
        assert there.name not in page.content.decode()


def test_forged_ids_reach_nothing(worlds, here):
    client = at_work(staff_of(here))
    before = {model: model.objects.filter(pk=row.pk).values().get() for model, row in worlds[1].items()}
    mine = worlds[0][Tenancy].pk

    for model, window in windows().items():
        for deed in window.deeds:
            page = do(client, deed.name, [worlds[1][model]], reason="mine!", tenancy=mine, to="cancelled")

            assert page.status_code == 200
    for model, row in worlds[1].items():
        if model not in {CounterReceipt, Dispute, Invitation, StaffHold}:  # nothing to add here
            client.post(address(row, "change"), {"name": "taken over", "number": "1", "ends_at_0": "2026-01-01"})
        client.post(address(row, "delete"), {"post": "yes"})

    assert before == {model: model.objects.filter(pk=row.pk).values().get() for model, row in worlds[1].items()}
    assert not LogEntry.objects.exists()


def test_a_hidden_column_cannot_be_guessed_by_filtering(worlds, here):
    client = at_work(staff_of(here))

    for model, lookup in [
        (Invitation, "code_digest__startswith"),
        (ProviderEvent, "body__contains"),
        (type(worlds[0][Payment].merchant), "private_key_ref__startswith"),
        (Member, "user__password__startswith"),
    ]:
        assert client.get(address(model, "changelist", **{lookup: "e"})).status_code in {302, 400}, lookup


def test_who_works_at_two_properties_has_a_role_at_each(worlds, here, there):
    user = staff_of(here, "manager")
    StaffRole.objects.create(user=user, property=there, role="service")
    client = at_work(user)

    assert set(client.get(address(Property, "changelist")).context["cl"].result_list) == {here, there}
    refused = do(client, "correct", [worlds[1][CounterReceipt]], reason="x")
    assert "Your role does not reach" in refused.content.decode()
    client.post(address(worlds[1][Property], "change"), {"name": "renamed"})
    there.refresh_from_db()
    assert there.name == "Thereyard"
    client.post(address(worlds[1][StaffRole], "delete"), {"post": "yes"})
    client.post(
        address(StaffRole, "changelist"),
        {"action": "delete_selected", "_selected_action": [worlds[1][StaffRole].pk], "post": "yes"},
    )
    assert StaffRole.objects.filter(pk=worlds[1][StaffRole].pk).exists()


def test_nobody_deletes_what_money_hangs_on(worlds):
    client = at_work(makers.a_user(is_staff=True, is_superuser=True))

    for model, row in worlds[0].items():
        if model not in (StaffRole, Template):
            assert client.post(address(row, "delete"), {"post": "yes"}).status_code == 403, model


def test_a_superuser_sees_all_and_what_belongs_to_nobody(worlds):
    client = at_work(makers.a_user(is_staff=True, is_superuser=True))
    now = timezone.now()
    nobodys = WorkItem.objects.create(key="k", kind="bad_frame", raised_at=now, last_raised_at=now)

    for model in windows():
        listed = client.get(address(model, "changelist"))
        assert set(listed.context["cl"].result_list) >= {worlds[0][model], worlds[1][model]}
        assert client.get(address(worlds[1][model], "change")).status_code == 200
    assert client.get(address(nobodys, "change")).status_code == 200


@pytest.mark.parametrize("kwargs", [{"is_staff": False}, {"is_staff": True}, {"is_staff": True, "is_active": False}])
def test_without_a_role_there_is_nothing_to_see(worlds, kwargs):
    client = at_work(makers.a_user(**kwargs))

    assert all(client.get(address(model, "changelist")).status_code in {302, 403} for model in windows())
    query = {"app_label": "billing", "model_name": "purse", "field_name": "tenancy"}
    assert client.get("/admin/autocomplete/", query).status_code in {302, 403}


class TestWhatBelongsToNoProperty:
    """A payment for no order of ours is the merchant's properties', where all of them are the reader's."""

    def test_the_only_property_of_a_merchant_sees_it(self, here):
        merchant = makers.a_merchant(place=here)
        payment = a_suspended_payment(None, merchant=merchant)

        assert at_work(staff_of(here)).get(address(payment, "change")).status_code == 200

    def test_it_is_not_shown_to_one_of_several(self, here, there):
        merchant = makers.a_merchant(place=here)
        merchant.assignments.create(property=there, starts_at=makers.LONG_AGO, ends_at=timezone.now())
        payment = a_suspended_payment(None, merchant=merchant)

        assert at_work(staff_of(here)).get(address(payment, "change")).status_code == 302


def test_a_full_list_costs_a_bounded_number_of_queries(here):
    """Every list with 100 rows of a hundred homes asks no more often than with one."""
    client = at_work(staff_of(here))
    one_of_everything(here)
    few = {model: _queries(client, model) for model in windows()}
    _a_hundred_homes(here)

    for model in windows():
        assert _queries(client, model) <= few[model] + 2, model


def _queries(client, model) -> int:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert client.get(address(model, "changelist")).status_code == 200
    return len(queries)


def _a_hundred_homes(place: Property) -> None:
    clerk, merchant, now = staff_of(place, "service"), makers.a_merchant(place=place), timezone.now()
    for n in range(100):
        tenancy = makers.a_tenancy(room=makers.a_room(place=place), holder=makers.a_user(phone=f"139{n:08d}"))
        makers.a_meter(room=tenancy.room, held_by="meter", purchase_count=0)
        purse = prepaid.purse_of(tenancy)
        counter.take_money(
            purse=purse, amount_fen=100, by=clerk, form_key=f"n{n}", meter=None, note="", trace="t", now=now
        )
        attempt = makers.an_attempt(order=makers.an_order(purse=purse), merchant=merchant)
        payment = a_suspended_payment(place, merchant=merchant, attempt=attempt, order=attempt.order)
        ShippingNotice.objects.create(payment=payment, next_try_at=now)
