"""The work list in the admin: what needs a person, in words, and closed with what was done."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from notifications import outbox, words, worklist
from notifications.models import Message, WorkItem
from tests import makers
from tests.desk import address, at_work, do, staff_of, told

pytestmark = pytest.mark.django_db


@pytest.fixture
def place():
    return makers.a_property(name="Hereyard")


def an_item(place, *, key="k", **detail: object) -> WorkItem:
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

    assert "other amount than ordered, ¥123.45" in page
    assert "wrong_amount" not in page
    assert "Payment in suspense" in page
    assert not client.get(address(WorkItem, "changelist", kind="bad_frame")).context["cl"].result_list


def test_its_page_leads_to_what_it_is_about(place):
    item = an_item(place, payment=7, meter="0007")

    page = at_work(staff_of(place)).get(address(item, "change")).content.decode()

    assert "/admin/payments/payment/7/change/" in page
    assert "/admin/meters/meter/?q=0007" in page


def test_the_list_opens_with_what_is_open(place):
    client = at_work(staff_of(place))
    opened, resolved = an_item(place, key="a"), an_item(place, key="b")
    do(client, "resolve", [resolved], reason="done")

    def listed(**query):
        return set(client.get(address(WorkItem, "changelist", **query)).context["cl"].result_list)

    assert listed() == {opened}
    assert listed(state="resolved") == {WorkItem.objects.get(key="b")}
    assert len(listed(state="all")) == 2


def test_its_page_tells_the_detail_with_labels_and_no_code(place):
    item = an_item(
        place, meter="0007", online=False, tries=4, wanted="closed", reported="open", why="number_taken", count=None,
        since="2026-11-23T01:02:03+00:00", amount_fen=5000, error="ReadTimeout", merchant="wx-main",
    )  # fmt: skip

    page = at_work(staff_of(place)).get(address(item, "change")).content.decode()

    for cells in (
        *("<td>online</td><td>no</td>", "<td>wanted</td><td>closed</td>", "<td>amount</td><td>¥50.00</td>"),
        *("<td>since</td><td>2026-11-23 09:02:03</td>", "<td>error</td><td>no answer</td>"),
        *("<td>why</td><td>somebody else used this purchase number</td>", "<td>merchant</td><td>wx-main</td>"),
        "<td>purchase count of the meter</td><td>unknown</td>",
    ):
        assert cells in page


def test_what_was_told_to_tenants_is_listed_in_words(place):
    tenancy = makers.a_tenancy(room=makers.a_room(place=place))
    outbox.leave(
        key="k", kind="recharge_received", tenancy_id=tenancy.pk, property_id=place.pk, context={}, now=timezone.now()
    )

    page = at_work(staff_of(place)).get(address(Message, "changelist")).content.decode()

    assert "Recharge received" in page
    assert "recharge_received" not in page
    assert str(Message.objects.get()) == f"Recharge received · {tenancy}"


def test_a_code_that_nobody_knows_and_a_vendors_own_words_are_shown_as_they_are():
    assert words.in_words("isv.something-new") == "isv.something-new"
    assert words.in_words("SYSTEM_ERROR: 系统繁忙") == "a fault at the provider: 系统繁忙"
    assert words.in_words("") == ""
