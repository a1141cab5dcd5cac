"""A tenant reads what came into their purse and what went out, to the fen and to the end, and nobody else's."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Member, Tenancy
from billing import ledger, prepaid
from billing.models import UsageDay
from billing.prepaid import Source
from payments import counter
from payments.models import Payment, Refund
from tests import makers
from tests.billing.rating import world
from tests.billing.rating.world import HOUR, NOW, PERIODS_AND_TIERS, START
from tests.portal.test_usage_api import tell

pytestmark = pytest.mark.django_db


@pytest.fixture
def draw():
    draw = world.a_draw(world.a_version(PERIODS_AND_TIERS))
    Member.objects.create(tenancy=draw.tenancy, user=makers.a_user(), role="holder", joined_at=START)
    return draw


@pytest.fixture
def tenant(draw):
    return makers.a_login(draw.tenancy.members.get().user)


def recharge(purse, key, fen, *, at=NOW):
    prepaid.top_up(
        key=key, kind="recharge", purse_id=purse.pk, amount_fen=fen, source=Source("clearing", "merchant:x"),
        happened_at=at, trace="", now=at,
    )  # fmt: skip


def a_payment(purse, *, fen=5000, user=None, placed_at=None) -> Payment:
    order = makers.an_order(purse=purse, user=user, amount_fen=fen, placed_at=placed_at or timezone.now())
    attempt = makers.an_attempt(order=order)
    payment = Payment.objects.create(
        merchant=attempt.merchant, property=purse.property, provider_transaction=f"T{order.pk}", number=attempt.number,
        attempt=attempt, order=order, purse=purse, amount_fen=fen, paid_at=NOW, found_at=NOW, found_by="callback",
        state="credited", trace="t",
    )  # fmt: skip
    recharge(purse, f"payment:{payment.pk}", fen)
    return payment


def get(client, draw, headers, **query):
    headers = {"Accept-Language": "en"} | headers
    return client.get(f"/api/v1/homes/{draw.tenancy_id}/movements", query, headers=headers)


def test_each_movement_says_what_it_was_how_much_and_what_was_there_after_it(client, draw, tenant):
    payment = a_payment(draw.purse)
    tell(draw, *((h, 100_000 + 500 * h) for h in (0.25, 6, 12, 18, 24, 30)))
    used_fen = UsageDay.objects.get().posted_fen

    told = get(client, draw, tenant).json()

    usage, paid = told["movements"]
    assert told["next"] is None
    assert (usage["kind"], usage["text"], usage["usage_date"]) == (
        *("usage", "electricity used in a day"),
        "2026-11-10",
    )
    assert (usage["amount"]["fen"], usage["balance"]["fen"], usage["recharge"]) == (-used_fen, 5000 - used_fen, "")
    assert (paid["text"], paid["amount"]["yuan"], paid["balance"]["fen"]) == ("recharge", "50.00", 5000)
    assert (paid["recharge"], paid["usage_date"]) == (payment.order.number, None)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_go_on_to_the_first_and_the_balance_goes_with_them(client, draw, tenant, limit):
    for n in range(1, 6):
        recharge(draw.purse, f"r{n}", 100 * n, at=NOW)
    pages, query = [], {}
    while True:
        page = get(client, draw, tenant, limit=limit, **query).json()
        pages += page["movements"]
        if page["next"] is None:
            break
        query = {"cursor": page["next"]}

    assert [one["amount"]["fen"] for one in pages] == [500, 400, 300, 200, 100]
    assert [one["balance"]["fen"] for one in pages] == [1500, 1000, 600, 300, 100]


def test_before_the_first_there_is_nothing(client, draw, tenant):
    recharge(draw.purse, "r1", 5000)

    assert get(client, draw, tenant, cursor=1).json() == {"movements": [], "next": None}


def test_what_goes_on_into_a_meter_is_one_movement(client):
    room, tenant = makers.a_room(), makers.a_user()
    makers.a_meter(room=room, held_by="meter", is_online=True)
    purse = makers.a_purse(tenancy=makers.a_tenancy(room=room, holder=tenant))
    recharge(purse, "r1", 5000, at=timezone.now())

    told = client.get(f"/api/v1/homes/{purse.tenancy_id}/movements", headers=makers.a_login(tenant)).json()

    (one,) = told["movements"]
    assert (one["amount"]["fen"], one["balance"]["fen"]) == (5000, 5000)


def test_counter_recharge_correction_refund_and_subsidy_are_all_told(client, draw, tenant):
    purse, clerk = draw.purse, makers.a_user(is_staff=True)
    payment = a_payment(purse)
    receipt = counter.take_money(
        form_key="f1", purse=purse, meter=None, amount_fen=3000, note="", by=clerk, trace="t", now=NOW
    )
    counter.correct(receipt_id=receipt.pk, by=clerk, reason="typed twice", now=NOW)
    refund = Refund.objects.create(
        payment=payment, property=purse.property, number="x1", amount_fen=1000, origin="console", refunded_at=NOW,
        found_at=NOW, trace="t",
    )  # fmt: skip
    prepaid.take_back(
        key=f"refund:{refund.pk}", kind="refund", purse_id=purse.pk, amount_fen=1000,
        target=Source("clearing", "merchant:x"), happened_at=NOW, trace="t", actor_id=None, reason="", now=NOW,
    )  # fmt: skip
    given = ledger.Line(ledger.account("subsidies", "property:1"), ledger.purse_account("subsidy", purse.pk), 700)
    ledger.post(
        key="subsidy:1", kind="subsidy", property_id=purse.property_id, lines=[given], happened_at=NOW, trace="",
        actor_id=None, reason="", now=NOW,
    )  # fmt: skip

    told = get(client, draw, tenant).json()["movements"]

    assert [(one["kind"], one["amount"]["fen"], one["balance"]["fen"]) for one in told] == [
        ("subsidy", 700, 4700),
        ("refund", -1000, 4000),
        ("counter_correction", -3000, 5000),
        ("counter", 3000, 8000),
        ("recharge", 5000, 5000),
    ]
    assert [one["recharge"] for one in told] == [
        *("", payment.order.number, receipt.number, receipt.number),
        payment.order.number,
    ]
    assert "typed twice" not in str(told)


def test_who_joined_later_reads_the_movement_but_not_the_number_of_the_recharge(client, draw):
    a_payment(draw.purse, user=draw.tenancy.members.get().user, placed_at=timezone.now() - timedelta(days=9))
    sharer = makers.a_user()
    joined_at = timezone.now() - timedelta(days=1)
    Member.objects.create(tenancy=draw.tenancy, user=sharer, role="sharer", joined_at=joined_at)

    (told,) = get(client, draw, makers.a_login(sharer)).json()["movements"]

    assert (told["amount"]["fen"], told["recharge"]) == (5000, "")


def test_many_movements_ask_as_many_questions_as_few(client, draw, tenant, django_assert_num_queries):
    for _ in range(3):
        a_payment(draw.purse)
    with django_assert_num_queries(6):  # token, home, accounts, the page, its balance, numbers
        get(client, draw, tenant, limit=1)

    with django_assert_num_queries(6):
        assert len(get(client, draw, tenant).json()["movements"]) == 3


def test_the_next_tenant_begins_with_nothing(client, draw, tenant):
    recharge(draw.purse, "r1", 5000, at=NOW)
    Tenancy.objects.filter(pk=draw.tenancy_id).update(ends_at=START + 30 * HOUR)
    heir = makers.a_user()
    later = makers.a_tenancy(room=draw.room, holder=heir, starts_at=START + 30 * HOUR)

    told = client.get(f"/api/v1/homes/{later.pk}/movements", headers=makers.a_login(heir)).json()

    assert told == {"movements": [], "next": None}
    assert get(client, draw, tenant).status_code == 404


@pytest.mark.parametrize("query", [{"cursor": "x"}, {"cursor": "0"}, {"cursor": 2**63}, {"limit": 0}, {"limit": 101}])
def test_a_page_that_cannot_be_is_refused(client, draw, tenant, query):
    assert get(client, draw, tenant, **query).status_code == 400
