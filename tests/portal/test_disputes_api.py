"""Tenants dispute readings of their own home, and of nobody else's."""

from __future__ import annotations

import pytest

from accounts.models import Member
from billing.models import Dispute, Draw
from billing.rating import accrue, disputing
from tests import makers
from tests.billing.rating import world
from tests.billing.rating.world import HOUR, NOW, START

pytestmark = pytest.mark.django_db


@pytest.fixture
def draw() -> Draw:
    draw = world.a_draw()
    assert draw.tenancy
    Member.objects.create(tenancy=draw.tenancy, user=makers.a_user(), role="holder", joined_at=START)
    world.tell([(draw.meter, START + hours * HOUR, 100_000 + 1_000 * hours) for hours in (6, 9, 12)])
    accrue.accrue(now=NOW)
    return draw


@pytest.fixture
def tenant(draw):
    return makers.a_login(draw.tenancy.members.get().user)


def post(client, path, headers, body=None, *, key="key-0001"):
    headers = {"Accept-Language": "en", "Idempotency-Key": key} | headers
    return client.post(f"/api/v1/{path}", body or {}, content_type="application/json", headers=headers)


def get(client, path, headers):
    return client.get(f"/api/v1/{path}", headers={"Accept-Language": "en"} | headers)


def claim(**more):
    return {"read_at": (START + 9 * HOUR).isoformat(), "reason": "I was away"} | more


def test_a_tenant_disputes_a_reading_sees_it_beside_the_balance_and_takes_it_back(client, draw, tenant):
    path = f"homes/{draw.tenancy_id}/disputes"

    opened = post(client, path, tenant, claim())

    assert opened.status_code == 201
    told = opened.json()
    assert (told["state"], told["import_kwh"], told["frozen"]) == ("open", "109.000", {"fen": 300, "yuan": "3.00"})
    assert (told["meter"], told["read_at"]) == (draw.meter.serial, "2026-11-10T09:00:00+08:00")
    balance = get(client, f"homes/{draw.tenancy_id}", tenant).json()["balance"]
    assert balance["disputed"] == {"fen": 300, "yuan": "3.00"}
    assert post(client, path, tenant, claim()).json() == told
    assert get(client, path, tenant).json() == {"disputes": [told]}

    taken_back = post(client, f"{path}/{told['id']}/withdraw", tenant)

    assert (taken_back.status_code, taken_back.json()["state"]) == (200, "withdrawn")
    assert post(client, f"{path}/{told['id']}/withdraw", tenant).status_code == 200
    assert get(client, f"homes/{draw.tenancy_id}", tenant).json()["balance"]["disputed"]["fen"] == 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (claim(read_at=(START + 8 * HOUR).isoformat()), "no_such_reading"),
        (claim(reason=" "), "invalid"),
        (claim(read_at="yesterday"), "invalid"),
        ({}, "invalid"),
    ],
)
def test_what_cannot_be_disputed_is_said(client, draw, tenant, body, code):
    answer = post(client, f"homes/{draw.tenancy_id}/disputes", tenant, body)

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert not Dispute.objects.exists()


def test_a_request_needs_a_key_of_its_own(client, draw, tenant):
    path = f"homes/{draw.tenancy_id}/disputes"

    assert post(client, path, tenant, claim(), key="short").json()["code"] == "idempotency_key"
    assert post(client, path, tenant, claim()).status_code == 201
    other = post(client, path, tenant, claim(read_at=(START + 12 * HOUR).isoformat()))
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
    second = post(client, path, tenant, claim(read_at=(START + 12 * HOUR).isoformat()), key="key-0002")
    assert (second.status_code, second.json()["code"]) == (409, "dispute_open")


def test_what_staff_decided_is_not_taken_back(client, draw, tenant):
    path = f"homes/{draw.tenancy_id}/disputes"
    pk = post(client, path, tenant, claim()).json()["id"]
    disputing.decide(dispute_id=pk, as_="dismissed", by=makers.a_user(), note="seen", now=NOW)

    answer = post(client, f"{path}/{pk}/withdraw", tenant)

    assert (answer.status_code, answer.json()["code"]) == (409, "decided")
    assert get(client, path, tenant).json()["disputes"][0]["note"] == "seen"


def test_neighbours_and_strangers_see_nothing(client, draw, tenant):
    path = f"homes/{draw.tenancy_id}/disputes"
    pk = post(client, path, tenant, claim()).json()["id"]
    other = makers.a_user()
    own = makers.a_tenancy(holder=other)
    neighbour = makers.a_login(other)

    assert get(client, path, neighbour).status_code == 404
    assert post(client, path, neighbour, claim(), key="key-0009").status_code == 404
    assert post(client, f"{path}/{pk}/withdraw", neighbour).status_code == 404
    assert post(client, f"homes/{own.pk}/disputes/{pk}/withdraw", neighbour).status_code == 404
    assert get(client, path, {}).status_code == 401
    assert Dispute.objects.get().state == "open"
