"""The work list: what needs a person is there once, counts, and is closed by one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from notifications import worklist
from notifications.models import WorkItem
from tests import makers
from tests.racing import race

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)


def raise_item(*, key: str = "payment:1", now: datetime = NOW, **detail: Any) -> None:
    worklist.raise_item(
        key=key, kind="payment_in_suspense", property_id=None, detail={"n": 1} | detail, trace="t", now=now
    )


def test_an_item_says_what_and_where() -> None:
    place = makers.a_property()

    worklist.raise_item(key="x", kind="top_up_stuck", property_id=place.pk, detail={"a": [1]}, trace="tr", now=NOW)

    item = WorkItem.objects.get()
    assert (item.key, item.kind, item.property, item.trace) == ("x", "top_up_stuck", place, "tr")
    assert (item.detail, item.state, item.times, item.raised_at) == ({"a": [1]}, "open", 1, NOW)


def test_an_item_without_a_property_is_for_everybody_who_sees_all() -> None:
    raise_item()

    assert WorkItem.objects.get().property is None


def test_raised_again_while_open_it_counts_and_tells_the_newest() -> None:
    raise_item()
    later = NOW + timedelta(minutes=1)

    raise_item(now=later, n=2)

    item = WorkItem.objects.get()
    assert (item.times, item.raised_at, item.last_raised_at, item.detail["n"]) == (2, NOW, later, 2)


def test_resolved_by_somebody_it_says_who_and_why_and_is_not_resolved_twice() -> None:
    by = makers.a_user()
    raise_item()

    assert worklist.resolve(key="payment:1", by=by, resolution="refunded", now=NOW) is True
    assert worklist.resolve(key="payment:1", by=None, resolution="again", now=NOW) is False

    item = WorkItem.objects.get()
    assert (item.state, item.resolved_by, item.resolution, item.resolved_at) == ("resolved", by, "refunded", NOW)


def test_raised_again_after_it_was_resolved_it_is_a_new_item() -> None:
    raise_item()
    worklist.resolve(key="payment:1", by=None, resolution="done", now=NOW)

    raise_item()

    assert sorted(WorkItem.objects.values_list("state", "times")) == [("open", 1), ("resolved", 1)]


def test_what_is_not_open_is_not_resolved() -> None:
    assert worklist.resolve(key="nobody", by=None, resolution="", now=NOW) is False


@pytest.mark.django_db(transaction=True)
def test_raised_by_many_at_once_it_is_one_item_that_counted_them_all() -> None:
    assert race([raise_item] * 30) == [None] * 30

    assert WorkItem.objects.get().times == 30


@pytest.mark.django_db(transaction=True)
def test_of_many_who_resolve_it_one_did() -> None:
    raise_item()

    answers = race([partial(worklist.resolve, key="payment:1", by=None, resolution="done", now=NOW)] * 20)

    assert sorted(answers) == [False] * 19 + [True]


@pytest.mark.django_db(transaction=True)
def test_raised_and_resolved_at_once_every_raising_is_counted_somewhere() -> None:
    calls: list[Callable[[], Any]] = [
        raise_item,
        partial(worklist.resolve, key="payment:1", by=None, resolution="done", now=NOW),
    ] * 15

    answers = race(calls)

    assert not [answer for answer in answers if isinstance(answer, Exception)]
    assert sum(WorkItem.objects.values_list("times", flat=True)) == 15
    assert WorkItem.objects.filter(state="open").count() <= 1
