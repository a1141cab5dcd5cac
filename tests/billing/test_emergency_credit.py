"""A tap brings the light back once a recharge, and the next recharge pays it back first."""

from __future__ import annotations

import pytest

from accounts.models import Member
from billing import emergency_credit, prepaid, supply
from billing.emergency_credit import EmergencyRefused
from billing.models import Emergency, Purse, StaffHold
from tests import makers
from tests.billing import spent
from tests.billing.spent import NOON
from tests.racing import race

pytestmark = pytest.mark.django_db


@pytest.fixture
def purse() -> Purse:
    """Cut for its debt of nothing left, at a property that allows 10 yuan."""
    purse = spent.a_home(emergency_fen=1000)
    supply.decide(purse_id=purse.pk, trace="", now=NOON)
    assert spent.relay(purse) == "open"
    return purse


def tap(purse: Purse):
    return emergency_credit.take(purse_id=purse.pk, user=makers.a_user(), trace="", now=NOON)


def recharge(purse: Purse, fen: int) -> None:
    prepaid.top_up(
        key=f"r{fen}", kind="recharge", purse_id=purse.pk, amount_fen=fen, source=prepaid.Source("cash", "desk"),
        happened_at=NOON, trace="", now=NOON,
    )  # fmt: skip
    supply.decide(purse_id=purse.pk, trace="", now=NOON)


def test_a_tap_brings_the_light_back_and_is_counted_below_zero(purse):
    assert emergency_credit.offer(purse=purse, now=NOON).amount_fen == 1000

    taken = tap(purse)

    assert (taken.amount_fen, spent.relay(purse)) == (1000, "closed")
    assert tap(purse) == taken
    spent.accrue(purse, fen=999)
    supply.decide(purse_id=purse.pk, trace="", now=NOON)
    assert spent.relay(purse) == "closed"


def test_the_next_recharge_pays_it_back_and_it_may_be_taken_again(purse):
    tap(purse)
    spent.accrue(purse, fen=500)
    with pytest.raises(EmergencyRefused) as again:
        emergency_credit._checked(Purse.objects.get(pk=purse.pk), NOON)
    assert again.value.code == "taken"

    recharge(purse, 400)
    assert Emergency.objects.get().repaid_at is None
    recharge(purse, 300)

    assert Emergency.objects.get().repaid_at is not None
    offered = emergency_credit.offer(purse=Purse.objects.get(pk=purse.pk), now=NOON)
    assert (offered.amount_fen, offered.taken_fen, offered.refused and offered.refused.code) == (0, 0, "not_needed")


def test_it_is_refused_in_words_where_it_does_not_help(purse):
    for spoil, code in (
        (lambda: purse.property.supply_policy.__class__.objects.update(emergency_fen=0), "not_offered"),
        (lambda: recharge(purse, 5000), "not_needed"),
    ):
        purse.property.supply_policy.__class__.objects.update(emergency_fen=1000)
        spoil()
        with pytest.raises(EmergencyRefused) as refused:
            tap(purse)
        assert (refused.value.code, bool(refused.value.message)) == (code, True)
    assert not Emergency.objects.exists()


def test_a_staff_hold_is_stronger(purse):
    assert purse.tenancy
    StaffHold.objects.create(
        room=purse.tenancy.room, property=purse.property, position="open", reason="works", placed_at=NOON,
        placed_by=makers.a_user(),
    )  # fmt: skip
    with pytest.raises(EmergencyRefused) as refused:
        tap(purse)
    assert refused.value.code == "held"


@pytest.mark.django_db(transaction=True)
def test_twenty_taps_at_once_are_one_credit():
    purse = spent.a_home(emergency_fen=1000)
    supply.decide(purse_id=purse.pk, trace="", now=NOON)
    user = makers.a_user()

    taken = race([lambda: emergency_credit.take(purse_id=purse.pk, user=user, trace="", now=NOON)] * 20)

    assert {one.pk for one in taken} == {Emergency.objects.get().pk}
    assert spent.relay(purse) == "closed"


def test_over_the_api_one_sees_it_takes_it_and_neighbours_do_not(client, purse, monkeypatch):
    monkeypatch.setattr("portal.emergency_api.timezone.now", lambda: NOON)
    assert purse.tenancy
    tenant = makers.a_user()
    Member.objects.create(tenancy=purse.tenancy, user=tenant, role="holder", joined_at=NOON)
    path = f"/api/v1/homes/{purse.tenancy_id}/emergency-credit"
    headers = {"Accept-Language": "en"} | makers.a_login(tenant)

    offered = client.get(path, headers=headers).json()
    taken = client.post(path, headers=headers).json()

    assert (offered["available"]["fen"], offered["taken"]["fen"], offered["refused"]) == (1000, 0, "")
    assert (taken["available"]["fen"], taken["taken"]["fen"]) == (0, 1000)
    assert spent.relay(purse) == "closed"
    assert client.post(path, headers=makers.a_login(makers.a_user())).status_code == 404
    purse.property.supply_policy.__class__.objects.update(emergency_fen=0)
    Emergency.objects.all().delete()
    refused = client.post(path, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "not_offered")


def test_what_was_not_paid_back_is_not_lent_again(purse):
    tap(purse)
    spent.accrue(purse, fen=1_000)
    recharge(purse, 100)
    assert Emergency.objects.get().repaid_at is None

    with pytest.raises(EmergencyRefused) as refused:
        tap(purse)

    assert (refused.value.code, Emergency.objects.count()) == ("not_repaid", 1)


def test_credit_that_would_not_bring_the_power_back_is_not_offered(purse):
    spent.accrue(purse, fen=1_000)

    offered = emergency_credit.offer(purse=purse, now=NOON)

    assert (offered.amount_fen, offered.refused and offered.refused.code) == (0, "too_little")
    with pytest.raises(EmergencyRefused):
        tap(purse)
    assert spent.relay(purse) == "open"
