"""The list of a tenant's recharges: theirs, of their homes, of their time; newest first, page by page."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Member
from tests import makers

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant():
    return makers.a_user(name="", phone=None)


@pytest.fixture
def purse(tenant):
    """That of the tenant's home; they live there alone."""
    return makers.a_purse(tenancy=makers.a_tenancy(holder=tenant))


def ask(user, **query):
    headers = makers.a_login(user) | {"Accept-Language": "en"}
    return Client(headers=headers).get("/api/v1/recharges", query)


def numbers(user, **query):
    return [one["number"] for one in ask(user, **query).json()["recharges"]]


def recharged(purse, user, *, days_ago=0, **kwargs):
    order = makers.an_order(purse=purse, user=user, placed_at=timezone.now() - timedelta(days=days_ago), **kwargs)
    makers.an_attempt(order=order)
    return order


def moves_in(purse, user, *, days_ago):
    return Member.objects.create(
        tenancy=purse.tenancy, user=user, role="sharer", joined_at=timezone.now() - timedelta(days=days_ago)
    )


def test_it_tells_all_of_a_recharge(tenant, purse):
    order = recharged(purse, tenant, state="paid", paid_at=timezone.now())

    answer = ask(tenant)

    assert answer.status_code == 200
    (told,) = answer.json()["recharges"]
    assert (told["number"], told["home"], told["state"]) == (order.number, purse.tenancy_id, "paid")
    assert (told["amount"], told["refunded"], told["channel"], told["by_me"]) == ("50.00", "0.00", "wechat_mini", True)
    assert told["placed_at"]
    assert told["paid_at"]
    assert told["closed_at"] is None
    assert answer.json()["next"] is None


def test_it_tells_what_was_given_back(tenant, purse):
    order = recharged(purse, tenant, state="paid", paid_at=timezone.now())
    merchant = order.attempts.get().merchant
    now = timezone.now()
    order.payments.create(
        merchant=merchant, property=purse.property, provider_transaction="42", number="A1", amount_fen=5000, trace="t",
        paid_at=now, found_at=now, found_by="callback", state="credited", purse=purse, refunded_fen=1250,
    )  # fmt: skip

    (told,) = ask(tenant).json()["recharges"]

    assert told["refunded"] == "12.50"


def test_the_newest_comes_first_and_pages_meet_without_gap_or_double(tenant, purse):
    placed = [recharged(purse, tenant, days_ago=day // 2).number for day in range(7)]  # two share an instant, nearly
    seen, cursor = [], {}

    while True:
        answer = ask(tenant, limit=3, **cursor).json()
        seen += [one["number"] for one in answer["recharges"]]
        if answer["next"] is None:
            break
        cursor = {"cursor": answer["next"]}

    assert seen == numbers(tenant)
    assert sorted(seen) == sorted(placed)
    assert [one["placed_at"] for one in ask(tenant).json()["recharges"]] == sorted(
        (one["placed_at"] for one in ask(tenant).json()["recharges"]), reverse=True
    )


def test_what_is_recharged_meanwhile_does_not_move_the_next_page(tenant, purse):
    first, second, third = (recharged(purse, tenant, days_ago=day).number for day in (3, 2, 1))
    page = ask(tenant, limit=2).json()
    recharged(purse, tenant)

    following = ask(tenant, limit=2, cursor=page["next"]).json()

    assert [one["number"] for one in page["recharges"]] == [third, second]
    assert ([one["number"] for one in following["recharges"]], following["next"]) == ([first], None)


def test_two_at_the_same_instant_are_both_told(tenant, purse):
    at = timezone.now()
    one, other = (makers.an_order(purse=purse, user=tenant, placed_at=at) for _each in range(2))
    for order in (one, other):
        makers.an_attempt(order=order)

    page = ask(tenant, limit=1).json()

    assert [each["number"] for each in page["recharges"]] == [other.number]
    assert numbers(tenant, limit=1, cursor=page["next"]) == [one.number]


def test_a_home_may_be_chosen(tenant, purse):
    there = makers.a_purse(tenancy=makers.a_tenancy(holder=tenant))
    here, elsewhere = recharged(purse, tenant), recharged(there, tenant)

    assert set(numbers(tenant)) == {here.number, elsewhere.number}
    assert numbers(tenant, home=there.tenancy_id) == [elsewhere.number]


def test_a_neighbour_sees_nothing_whatever_they_ask_for(tenant, purse):
    order = recharged(purse, tenant)
    neighbour = makers.a_user()
    makers.a_tenancy(room=makers.a_room(place=purse.property), holder=neighbour)

    assert numbers(neighbour) == []
    assert numbers(neighbour, home=purse.tenancy_id) == []
    answer = ask(neighbour, cursor=order.number)
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_cursor")


def test_who_shares_a_home_sees_its_recharges_from_the_day_they_joined(tenant, purse):
    sharer = makers.a_user()
    recharged(purse, tenant, days_ago=9)
    moves_in(purse, sharer, days_ago=5)
    after = recharged(purse, tenant, days_ago=1)

    (told,) = ask(sharer).json()["recharges"]

    assert (told["number"], told["by_me"]) == (after.number, False)
    looked = Client(headers=makers.a_login(sharer)).get(f"/api/v1/recharges/{after.number}")
    assert looked.status_code == 200


def test_nobody_calls_off_what_another_ordered(tenant, purse):
    sharer = makers.a_user()
    moves_in(purse, sharer, days_ago=5)
    order = recharged(purse, tenant)

    answer = Client(headers=makers.a_login(sharer)).post(f"/api/v1/recharges/{order.number}/cancel")

    assert answer.status_code == 404


def test_who_has_left_keeps_what_they_paid_and_sees_no_more_of_the_others(tenant, purse):
    sharer = makers.a_user()
    membership = moves_in(purse, sharer, days_ago=5)
    own = recharged(purse, sharer, days_ago=3)
    recharged(purse, tenant, days_ago=2)
    membership.left_at = timezone.now() - timedelta(days=1)
    membership.save(update_fields=["left_at"])
    recharged(purse, tenant)

    assert numbers(sharer) == [own.number]
    assert len(numbers(tenant)) == 3


def test_the_next_tenant_of_a_room_sees_nothing_of_the_former_one(tenant, purse):
    order = recharged(purse, tenant, days_ago=2)
    purse.tenancy.ends_at = timezone.now() - timedelta(days=1)
    purse.tenancy.save(update_fields=["ends_at"])
    successor = makers.a_user()
    makers.a_tenancy(room=purse.tenancy.room, holder=successor, starts_at=purse.tenancy.ends_at)

    assert numbers(successor) == []
    assert numbers(tenant) == [order.number]


def test_without_a_token_there_is_nothing():
    assert Client().get("/api/v1/recharges").status_code == 401


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"home": "x"}, {"home": 0}, {"cursor": "x" * 33}])
def test_a_query_that_means_nothing_is_refused(tenant, query):
    assert ask(tenant, **query).status_code == 400


def test_a_page_takes_as_many_queries_as_its_first_recharge(tenant, purse, django_assert_max_num_queries):
    for _each in range(5):
        recharged(purse, tenant)
    headers = makers.a_login(tenant)

    with django_assert_max_num_queries(4):  # the token, the list, its attempts, and one to spare
        Client(headers=headers).get("/api/v1/recharges")
