"""The work list in the admin: what needs a person, in words, and closed with what was done."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from notifications import worklist
from notifications.models import WorkItem
from tests import makers
from tests.desk import address, at_work, do, staff_of, told

pytestmark = pytest.mark.django_db


@pytest.fixture
def place():
    return makers.a_property(name="Hereyard")


def an_item(place, *, key="k", **detail) -> WorkItem:
    worklist.raise_item(
        key=key, kind="payment_in_suspense", property_id=place.pk, detail=detail, trace="t", now=timezone.now()
    )
    return WorkItem.objects.get(key=key)


@pytest.mark.parametrize("role", ["manager", "finance", "service"])
def test_whoever_works_there_resolves_it_with_what_was_done(place, role):
    item = an_item(place)

    page = do(at_work(staff_of(place, role)), "resolve", [item], reason="called the tenant")

    item.refresh_from_db()
    assert (item.state, item.resolution, item.resolved_by.name) == (
        "resolved",
        "called the tenant",
        f"{role} of Hereyard",
    )
    assert "Resolved" in told(page)
    assert "called the tenant" in LogEntry.objects.get().change_message


def test_several_are_resolved_at_once(place):
    items = [an_item(place, key=key) for key in "ab"]

    do(at_work(staff_of(place)), "resolve", items, reason="all the same power cut")

    assert WorkItem.objects.filter(state="resolved").count() == 2


def test_a_second_time_is_refused_in_the_page(place):
    client, item = at_work(staff_of(place)), an_item(place)
    do(client, "resolve", [item], reason="done")

    page = do(client, "resolve", [item], reason="mine")

    item.refresh_from_db()
    assert (item.resolution, "resolved before" in told(page)) == ("done", True)


def test_an_item_that_was_resolved_does_not_resolve_its_successor(place):
    client, item = at_work(staff_of(place)), an_item(place)
    do(client, "resolve", [item], reason="done")
    worklist.raise_item(
        key="k", kind="payment_in_suspense", property_id=place.pk, detail={}, trace="t", now=timezone.now()
    )

    do(client, "resolve", [item], reason="the old one")

    assert WorkItem.objects.filter(state="open").count() == 1


def test_a_list_says_what_it_is_about_in_words(place):
    an_item(place, payment=7, amount_fen=12_345, why="wrong_amount")
    client = at_work(staff_of(place))

    page = client.get(address(WorkItem, "changelist", kind="payment_in_suspense")).content.decode()

    assert "wrong_amount, ¥123.45" in page
    assert "Payment in suspense" in page
    assert not client.get(address(WorkItem, "changelist", kind="bad_frame")).context["cl"].result_list


def test_its_page_leads_to_what_it_is_about(place):
    item = an_item(place, payment=7, meter="0007")

    page = at_work(staff_of(place)).get(address(item, "change")).content.decode()

    assert "/admin/payments/payment/7/change/" in page
    assert "/admin/meters/meter/?q=0007" in page
