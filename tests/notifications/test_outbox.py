"""Messages: left once under their key, taken back when they are no longer true."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.db import transaction

from accounts.models import Tenancy
from notifications import outbox
from notifications.models import Message
from tests import makers
from tests.racing import race

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)


def leave(tenancy: Tenancy, *, key: str = "payment:1", amount_fen: int = 5000) -> None:
    outbox.leave(
        key=key,
        kind="recharge_received",
        tenancy_id=tenancy.pk,
        property_id=tenancy.property_id,
        context={"amount_fen": amount_fen, "who": "王小明 'quoted' %s"},
        now=NOW,
    )


def test_a_message_waits_with_all_that_it_will_say() -> None:
    tenancy = makers.a_tenancy()

    leave(tenancy)

    message = Message.objects.get()
    assert (message.key, message.kind, message.state) == ("payment:1", "recharge_received", "waiting")
    assert (message.tenancy, message.property, message.left_at) == (tenancy, tenancy.property, NOW)
    assert message.context == {"amount_fen": 5000, "who": "王小明 'quoted' %s"}


def test_the_same_key_again_changes_nothing() -> None:
    tenancy = makers.a_tenancy()
    leave(tenancy)

    leave(tenancy, amount_fen=1)

    assert Message.objects.get().context["amount_fen"] == 5000


def test_a_message_goes_with_the_transaction_that_left_it() -> None:
    tenancy = makers.a_tenancy()

    with transaction.atomic():
        leave(tenancy)
        transaction.set_rollback(True)

    assert not Message.objects.exists()


def test_what_is_no_longer_true_is_taken_back_once_and_stays_so() -> None:
    tenancy = makers.a_tenancy()
    leave(tenancy)
    later = NOW + timedelta(hours=1)

    assert outbox.withdraw(key="payment:1", now=later) is True
    assert outbox.withdraw(key="payment:1", now=later) is False
    leave(tenancy)

    message = Message.objects.get()
    assert (message.state, message.withdrawn_at) == ("withdrawn", later)


def test_nothing_is_taken_back_where_nothing_waits() -> None:
    leave(makers.a_tenancy())

    assert outbox.withdraw(key="payment:2", now=NOW) is False

    assert Message.objects.get().state == "waiting"


@pytest.mark.django_db(transaction=True)
def test_many_who_leave_one_message_leave_one() -> None:
    tenancy = makers.a_tenancy()

    assert race([partial(leave, tenancy)] * 20) == [None] * 20

    assert Message.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_many_who_take_it_back_one_did() -> None:
    leave(makers.a_tenancy())

    answers = race([partial(outbox.withdraw, key="payment:1", now=NOW)] * 20)

    assert sorted(answers) == [False] * 19 + [True]
