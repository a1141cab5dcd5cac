"""Whoever paid sees what became of money that came back, or has not found its place yet."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Member
from payments.models import Payment, Refund
from tests import makers
from tests.billing.rating.world import NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def payment() -> Payment:
    holder = makers.a_user()
    purse = makers.a_purse(tenancy=makers.a_tenancy(holder=holder))
    order = makers.an_order(purse=purse, user=holder)
    attempt = makers.an_attempt(order=order)
    return a_payment(attempt, purse=purse, state="credited")


def a_payment(attempt, **more) -> Payment:
    about = {"merchant": attempt.merchant, "property": attempt.property, "attempt": attempt, "order": attempt.order}
    said = {"number": attempt.number, "amount_fen": 5000, "paid_at": NOW, "found_at": NOW, "found_by": "callback"}
    number = f"T{Payment.objects.count()}"
    return Payment.objects.create(**about | said | {"provider_transaction": number, "trace": "t"} | more)


def a_refund(payment, fen: int, *, at=NOW) -> Refund:
    return Refund.objects.create(
        payment=payment, property=payment.property, number=f"F{fen}", amount_fen=fen, origin="console", refunded_at=at,
        found_at=at + timedelta(minutes=5), trace="t",
    )  # fmt: skip


def get(client, payment, user, *, language="en"):
    headers = makers.a_login(user) | {"Accept-Language": language}
    return client.get(f"/api/v1/recharges/{payment.order.number}/refunds", headers=headers)


def test_each_refund_says_how_much_and_when(client, payment):
    a_refund(payment, 2000, at=NOW + timedelta(days=1))
    a_refund(payment, 500)

    told = get(client, payment, payment.order.user).json()["refunds"]

    assert [one["amount"]["fen"] for one in told] == [500, 2000]
    assert told[0] == {
        "amount": {"fen": 500, "yuan": "5.00"},
        "state": "done",
        "text": "Given back, by the way it was paid.",
        "requested_at": "2026-11-12T00:00:00+08:00",
        "finished_at": "2026-11-12T00:00:00+08:00",
    }


def test_money_that_was_paid_twice_is_looked_into_until_it_is_given_back(client, payment):
    twice = a_payment(payment.attempt, state="suspended", suspicion="surplus")

    (told,) = get(client, payment, payment.order.user).json()["refunds"]
    assert (told["state"], told["amount"]["fen"], told["finished_at"]) == ("looked_into", 5000, None)

    a_refund(twice, 5000)
    Payment.objects.filter(pk=twice.pk).update(refunded_fen=5000)
    (told,) = get(client, payment, payment.order.user).json()["refunds"]
    assert (told["state"], told["amount"]["fen"]) == ("done", 5000)


def test_a_recharge_of_which_nothing_was_given_back_says_so(client, payment):
    assert get(client, payment, payment.order.user).json() == {"refunds": []}


def test_who_shares_the_home_sees_it_and_a_stranger_does_not(client, payment):
    sharer, late = makers.a_user(), makers.a_user()
    for user, joined_at in ((sharer, makers.LONG_AGO), (late, timezone.now() + timedelta(days=1))):
        Member.objects.create(tenancy=payment.order.tenancy, user=user, role="sharer", joined_at=joined_at)

    answers = [get(client, payment, user).status_code for user in (sharer, late, makers.a_user())]

    assert answers == [200, 404, 404]


def test_an_unknown_number_is_not_found(client):
    answer = client.get("/api/v1/recharges/R1/refunds", headers=makers.a_login(makers.a_user()))

    assert answer.status_code == 404
