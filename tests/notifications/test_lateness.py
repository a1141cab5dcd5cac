"""Messages that nobody carries are noticed by somebody else than the carrier."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from notifications import lateness, routes
from notifications.models import WorkItem
from tests.notifications.post import a_home, leave

pytestmark = pytest.mark.django_db


def test_what_waits_too_long_is_on_the_work_list_until_it_is_carried() -> None:
    now = timezone.now()
    leave(a_home(), now=now - timedelta(minutes=6))

    assert lateness.look(now=now) is True
    assert lateness.look(now=now) is True
    item = WorkItem.objects.get()
    assert (item.kind, item.state, item.times) == ("messages_wait", "open", 2)

    routes.route(channels=(), now=now)
    assert lateness.look(now=now) is False
    item.refresh_from_db()
    assert item.state == "resolved"


def test_what_was_left_just_now_is_not_late() -> None:
    leave(a_home())

    assert lateness.look(now=timezone.now()) is False
    assert not WorkItem.objects.exists()
