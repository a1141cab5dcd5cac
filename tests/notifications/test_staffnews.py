"""Staff are told of what came onto the work list: together, once, and only while it is open."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from accounts.models import Property
from notifications import staffnews, worklist
from notifications.models import Message, WorkItem
from tests import makers
from tests.notifications.carried import carry
from tests.racing import race

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LATER = NOW + 6 * MINUTE


@pytest.fixture
def place() -> Property:
    return makers.a_property()


def silent(place: Property, meter: str, *, at: datetime = NOW) -> None:
    worklist.raise_item(
        key=f"silent:{meter}",
        kind="meter_does_not_answer",
        property_id=place.pk,
        detail={"meter": meter},
        trace="",
        now=at,
    )


def raise_item(kind: str, place: Property | None, *, key: str = "k", now: datetime = NOW, **detail: Any) -> None:
    place_id = place.pk if place else None
    worklist.raise_item(key=key, kind=kind, property_id=place_id, detail=detail, trace="", now=now)


def told(kind: str) -> list[Message]:
    return list(Message.objects.filter(kind=kind).order_by("pk"))


def test_what_came_together_is_told_in_one_message_to_the_staff_of_the_property(place):
    elsewhere = makers.a_property()
    for n in range(7):
        silent(place, f"M{n}")
    silent(elsewhere, "X")

    assert staffnews.gather(now=NOW + 4 * MINUTE) == 0  # more may come
    assert staffnews.gather(now=LATER) == 2

    ours, _theirs = told("commands_given_up")
    assert (ours.property_id, ours.tenancy_id, ours.context["count"]) == (place.pk, None, 7)
    assert ours.context["meters"] == "M0, M1, M2, M3, M4 …"
    assert ours.context["what"]["en"] == "Meter does not answer (7)"


def test_no_item_is_told_twice_and_a_new_one_is(place):
    silent(place, "M1")
    staffnews.gather(now=LATER)
    silent(place, "M1", at=LATER)  # again: it counts, and is the same item
    silent(place, "M2", at=LATER)

    assert staffnews.gather(now=LATER + 6 * MINUTE) == 1
    assert staffnews.gather(now=LATER + 7 * MINUTE) == 0

    assert [one.context["meters"] for one in told("commands_given_up")] == ["M1", "M2"]


def test_what_settled_itself_before_it_was_told_is_no_news(place):
    silent(place, "M1")
    worklist.resolve(key="silent:M1", by=None, resolution="r", now=NOW)

    assert staffnews.gather(now=LATER) == 0


def test_what_is_settled_before_anybody_was_told_is_taken_back(place):
    silent(place, "M1")
    silent(place, "M2")
    staffnews.gather(now=LATER)
    worklist.resolve(key="silent:M1", by=None, resolution="r", now=LATER)
    staffnews.gather(now=LATER)
    assert told("commands_given_up")[0].state == "waiting"  # M2 is open
    worklist.resolve(key="silent:M2", by=None, resolution="r", now=LATER)

    staffnews.gather(now=LATER)

    assert told("commands_given_up")[0].state == "withdrawn"


def test_an_outage_is_told_at_once_and_one_of_all_to_each_property(place):
    other = makers.a_property()
    raise_item("outage", None, of="broker")
    raise_item("outage", place, key="p", of="provider")

    assert staffnews.gather(now=NOW) == 2

    first, second = told("outage")
    assert (first.property_id, first.context["count"]) == (place.pk, 2)
    assert first.context["what"]["en"] == "no connection to the meters, a payment provider does not answer"
    assert (second.property_id, second.context["what"]["en"]) == (other.pk, "no connection to the meters")


def test_differences_are_told_by_their_kinds(place):
    raise_item("rating_differs", place, key="a")
    raise_item("rating_differs", place, key="b")
    raise_item("payment_in_suspense", place, key="c")
    raise_item("bad_frame", place, key="d")

    staffnews.gather(now=LATER)

    (message,) = Message.objects.all()
    assert message.kind == "differences_found"
    assert message.context["count"] == 3
    assert message.context["what"]["en"] == "Rating and accounting differ (2), Payment in suspense"


def test_what_lay_there_for_days_is_on_the_work_list_alone(place):
    silent(place, "M1", at=NOW - timedelta(days=2))

    assert staffnews.gather(now=NOW) == 0


def test_so_many_that_one_message_would_not_hold_them_are_told_in_several(place, monkeypatch):
    monkeypatch.setattr(staffnews, "AT_MOST", 2)
    for n in range(3):
        silent(place, f"M{n}")

    assert [staffnews.gather(now=LATER) for _ in range(3)] == [1, 1, 0]


@pytest.mark.django_db(transaction=True)
def test_rounds_at_once_while_items_come_in_tell_each_item_once(place):
    for n in range(5):
        silent(place, f"M{n}")

    race([partial(staffnews.gather, now=LATER)] * 4 + [partial(silent, place, f"N{n}", at=NOW) for n in range(4)])
    staffnews.gather(now=LATER + 10 * MINUTE)

    about = [pk for message in told("commands_given_up") for pk in message.context["items"]]
    assert sorted(about) == sorted(WorkItem.objects.values_list("pk", flat=True))


@pytest.mark.django_db(transaction=True)
def test_taken_back_or_carried_and_never_both(place):
    silent(place, "M1")
    staffnews.gather(now=LATER)
    worklist.resolve(key="silent:M1", by=None, resolution="r", now=LATER)

    _gathered, carried = race([partial(staffnews.gather, now=LATER), partial(carry, kind="commands_given_up")])

    (message,) = told("commands_given_up")
    assert message.state in ("withdrawn", "carried")
    assert carried == message.deliveries.count()
