"""In the dark with a phone: what is missing is told in order, and a second look brings the light where it may be."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from billing import emergency_credit, holds, prepaid, supply
from billing.models import Purse, SupplyDecision
from meters.models import Command, Level, Meter
from portal import restoring
from tests import makers
from tests.billing import spent
from tests.billing.spent import NOON
from tests.portal.test_suggestions import headers_of
from tests.racing import race


@pytest.fixture
def purse() -> Purse:
    """Cut for seven yuan of debt; its meter says so."""
    purse = spent.a_home(emergency_fen=1000)
    spent.accrue(purse, fen=700)
    supply.decide(purse_id=purse.pk, trace="", now=NOON)
    Meter.objects.update(relay="open", is_online=True)
    Level.objects.filter(kind="relay").update(reported="open")
    return purse


def get(client, purse, headers, *, language="en"):
    headers = headers | {"Accept-Language": language}
    return client.get(f"/api/v1/homes/{purse.tenancy_id}/restore", headers=headers).json()


def codes(told) -> list[str]:
    return [step["code"] for step in told["steps"]]


def recharge(purse, fen: int) -> None:
    prepaid.top_up(
        key=f"r{fen}", kind="recharge", purse_id=purse.pk, amount_fen=fen, source=prepaid.Source("cash", "desk"),
        happened_at=NOON, trace="", now=NOON,
    )  # fmt: skip


@pytest.mark.django_db
class TestWhatIsMissing:
    def test_is_money_and_how_much_or_the_emergency_credit(self, client, purse):
        told = get(client, purse, headers_of(purse))

        assert (told["is_on"], codes(told)) == (False, ["money", "emergency_credit"])
        money, credit = told["steps"]
        assert (money["amount"]["fen"], credit["amount"]["fen"]) == (701, 1000)
        assert money["text"] == "The balance is used up. Recharge at least ¥7.01."
        assert credit["text"] == "Or take the emergency credit of ¥10.00 by a tap."

    def test_is_at_least_what_may_be_recharged(self, client, purse):
        spent.accrue(purse, fen=-690)

        assert get(client, purse, headers_of(purse))["steps"][0]["amount"]["fen"] == 100

    def test_is_a_few_seconds_after_the_recharge(self, client, purse):
        recharge(purse, 701)

        told = get(client, purse, headers_of(purse))

        assert codes(told) == ["switching_on"]
        assert told["steps"][0]["amount"] is None

    def test_is_the_button_where_the_meter_waits_for_it(self, client, purse):
        recharge(purse, 701)
        Meter.objects.update(relay="permitted")

        assert codes(get(client, purse, headers_of(purse))) == ["button"]

    def test_is_the_meter_that_cannot_be_reached(self, client, purse):
        recharge(purse, 701)
        Meter.objects.update(is_online=False)

        assert codes(get(client, purse, headers_of(purse))) == ["meter_offline"]

    def test_is_what_staff_hold_and_money_beside_it_is_not_asked_for(self, client, purse):
        holds.hold_room(
            room=purse.tenancy.room, position="open", reason="cable works", by=makers.a_user(), until=None, now=NOON
        )

        told = get(client, purse, headers_of(purse))

        assert codes(told) == ["staff_hold"]
        assert "cable works" in told["steps"][0]["text"]

    def test_is_the_payment_that_is_being_confirmed(self, client, purse):
        supply.place_cut_hold(purse_id=purse.pk, key="o", reason="r", expires_at=timezone.now() + timedelta(minutes=5))

        assert codes(get(client, purse, headers_of(purse)))[0] == "payment_being_confirmed"

    def test_is_nothing_where_the_power_is_on(self, client, purse):
        recharge(purse, 701)
        Meter.objects.update(relay="closed")

        assert get(client, purse, headers_of(purse)) == {"is_on": True, "steps": []}

    def test_is_told_in_the_readers_language_and_stays_the_same_answer(self, client, purse):
        headers = headers_of(purse)

        english, chinese = get(client, purse, headers), get(client, purse, headers, language="zh-CN")

        assert codes(english) == codes(chinese)


@pytest.mark.django_db
class TestAMeterThatHoldsItsMoney:
    @pytest.fixture
    def purse(self) -> Purse:
        room = makers.a_room()
        makers.a_meter(room=room, held_by="meter", relay="open", is_online=True, balance_fen=-20)
        return makers.a_purse(tenancy=makers.a_tenancy(room=room))

    def test_wants_what_is_missing_in_it(self, client, purse):
        Meter.objects.update(balance_fen=-320)

        told = get(client, purse, headers_of(purse))

        assert (codes(told), told["steps"][0]["amount"]["fen"]) == (["money"], 321)

    def test_says_that_the_recharge_is_on_its_way(self, client, purse):
        recharge(purse, 5000)

        told = get(client, purse, headers_of(purse))

        assert (codes(told), told["steps"][0]["amount"]["fen"]) == (["recharge_on_its_way"], 5000)

    def test_is_looked_at_by_a_person_when_it_is_off_with_money_in_it(self, client, purse):
        Meter.objects.update(balance_fen=3000)

        assert codes(get(client, purse, headers_of(purse))) == ["meter_decided"]

    def test_that_never_reported_says_so(self, client, purse):
        Meter.objects.update(relay="", balance_fen=None)

        assert codes(get(client, purse, headers_of(purse))) == ["meter_silent"]

    def test_that_does_not_hang_there_says_so(self, client, purse):
        purse.tenancy.room.installations.update(ends_at=NOON)

        assert codes(get(client, purse, headers_of(purse))) == ["no_meter"]


@pytest.mark.django_db
class TestASecondLook:
    def post(self, client, purse, headers):
        headers = headers | {"Accept-Language": "en"}
        return client.post(f"/api/v1/homes/{purse.tenancy_id}/restore", headers=headers)

    def test_brings_the_power_back_where_nobody_had_looked(self, client, purse):
        spent.accrue(purse, fen=-2000)  # a reading was ruled out, and its review waits
        assert spent.relay(purse) == "open"

        told = self.post(client, purse, headers_of(purse))

        assert (told.status_code, codes(told.json())) == (200, ["switching_on"])
        assert spent.relay(purse) == "closed"

    def test_leaves_it_off_where_money_is_missing_and_says_the_same_as_a_look(self, client, purse):
        headers = headers_of(purse)

        told = self.post(client, purse, headers).json()

        assert told == get(client, purse, headers)
        assert spent.relay(purse) == "open"

    def test_never_cuts_who_has_power(self, client, purse):
        recharge(purse, 701)
        Meter.objects.update(relay="closed")
        spent.accrue(purse, fen=5000)

        told = self.post(client, purse, headers_of(purse)).json()

        assert (told, spent.relay(purse)) == ({"is_on": True, "steps": []}, "closed")

    def test_again_and_again_changes_nothing(self, client, purse):
        spent.accrue(purse, fen=-2000)
        headers = headers_of(purse)
        first = self.post(client, purse, headers).json()
        rows = SupplyDecision.objects.count(), Command.objects.count(), Level.objects.get(kind="relay").generation

        for _ in range(3):
            assert self.post(client, purse, headers).json() == first
        after = SupplyDecision.objects.count(), Command.objects.count(), Level.objects.get(kind="relay").generation
        assert after == rows

    def test_of_somebody_elses_home_is_not_there(self, client, purse):
        spent.accrue(purse, fen=-2000)

        assert self.post(client, purse, makers.a_login(makers.a_user())).status_code == 404
        assert self.post(client, purse, {}).status_code == 401
        assert spent.relay(purse) == "open"

    def test_of_a_home_without_a_purse_finds_what_is_missing(self, client):
        tenant = makers.a_user()
        tenancy = makers.a_tenancy(holder=tenant)

        told = client.post(f"/api/v1/homes/{tenancy.pk}/restore", headers=makers.a_login(tenant)).json()

        assert codes(told) == ["no_meter"]


@pytest.mark.django_db(transaction=True)
def test_eight_taps_at_once_close_the_relay_once(purse):
    spent.accrue(purse, fen=-2000)
    headers_of(purse)
    user = purse.tenancy.members.get().user
    generation = Level.objects.get(kind="relay").generation

    def tap():
        return restoring.look_again(user=user, home_id=purse.tenancy_id, trace="t", now=NOON)

    answers = race([tap] * 8)

    assert {answer.steps[0].code for answer in answers} == {"switching_on"}
    assert Level.objects.get(kind="relay").generation == generation + 1
    assert SupplyDecision.objects.filter(verdict="paid").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_tap_and_the_emergency_credit_at_once_end_with_light(purse):
    headers_of(purse)
    user = purse.tenancy.members.get().user

    race(
        [
            lambda: restoring.look_again(user=user, home_id=purse.tenancy_id, trace="", now=NOON),
            lambda: emergency_credit.take(purse_id=purse.pk, user=user, trace="", now=NOON),
        ]
    )

    assert spent.relay(purse) == "closed"
