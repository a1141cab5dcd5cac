"""How much to recharge, from what was used: sensible amounts within the limits that bring the power back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from billing import prepaid, supply
from billing.models import Purse
from meters.models import Level, Meter
from payments.models import RechargeLimits
from portal import suggestions
from portal.homes import Balance, Home, Power
from tests import makers
from tests.billing import spent
from tests.billing.rating import world
from tests.billing.spent import NOON

pytestmark = pytest.mark.django_db


def a_home(*, a_day_fen: int = 0, left_fen: int = 0, **limits) -> suggestions.Suggested:
    balance = Balance(left_fen, 0, None, None, left_fen=left_fen, a_day_nano=a_day_fen * 10**9)
    power = Power(relay="closed", since=None, wanted="closed", why="", how_to_restore="")
    home = Home(tenancy=makers.a_tenancy(), role="holder", balance=balance, power=power, meters=(), hold=None)
    return suggestions._suggested(home, RechargeLimits(**limits))


def amounts(found: suggestions.Suggested) -> list[int]:
    return [one.amount_fen for one in found.suggestions]


@pytest.mark.parametrize(
    ("a_day_fen", "expected"),
    [
        (0, [2000, 5000, 10000, 20000]),
        (310, [3000, 5000, 10000]),  # 21.70, 43.40 and 93.00
        (57, [500, 1000, 2000]),
        (2300, [20000, 35000, 70000]),
        (1, [500, 2000, 5000]),
        (10**6, [200000, 2000, 5000]),
    ],
)
def test_a_week_two_weeks_and_a_month_in_amounts_that_people_pay(a_day_fen, expected):
    assert amounts(a_home(a_day_fen=a_day_fen)) == sorted(expected)


def test_each_says_how_long_it_lasts_with_what_is_there():
    found = a_home(a_day_fen=310, left_fen=620)

    assert [one.lasts_days for one in found.suggestions] == [11, 18, 34]
    assert [one.lasts_days for one in a_home().suggestions] == [None] * 4


def test_what_is_owed_comes_on_top():
    found = a_home(a_day_fen=310, left_fen=-6_000)

    assert amounts(found) == [9000, 15000, 20000]
    assert [one.lasts_days for one in found.suggestions] == [9, 29, 45]


@pytest.mark.parametrize("limits", [{"at_least_fen": 100, "at_most_fen": 4000}, {"at_least_fen": 3000}])
@pytest.mark.parametrize("a_day_fen", [0, 10, 310, 5000])
@pytest.mark.parametrize("left_fen", [0, -2500, -100_000, 5000])
def test_none_is_outside_of_the_limits_or_given_twice(a_day_fen, left_fen, limits):
    found = a_home(a_day_fen=a_day_fen, left_fen=left_fen, **limits)

    told = amounts(found)
    assert told == sorted(set(told))
    assert 1 <= len(told) <= 4
    assert all(found.at_least_fen <= fen <= found.at_most_fen for fen in told)


class TestAHomeThatWasCut:
    @pytest.fixture
    def purse(self) -> Purse:
        purse = spent.a_home(restore_above_fen=2000)
        spent.accrue(purse, fen=700)
        supply.decide(purse_id=purse.pk, trace="", now=NOON)
        Meter.objects.update(relay="open", is_online=True)
        assert spent.relay(purse) == "open"
        return purse

    def test_is_never_asked_for_less_than_brings_the_power_back(self, client, purse):
        headers = headers_of(purse)

        told = client.get(f"/api/v1/homes/{purse.tenancy_id}/recharge-suggestions", headers=headers).json()

        missing_fen = 2000 - Purse.objects.get().available_fen() + 1
        assert told["needed"]["fen"] == missing_fen
        assert min(one["amount"]["fen"] for one in told["suggestions"]) >= missing_fen
        assert (told["at_least"]["fen"], told["at_most"]["fen"]) == (100, 200_000)

    def test_and_power_comes_back_with_the_smallest(self, client, purse):
        told = client.get(f"/api/v1/homes/{purse.tenancy_id}/recharge-suggestions", headers=headers_of(purse)).json()

        prepaid.top_up(
            key="r1", kind="recharge", purse_id=purse.pk, amount_fen=told["suggestions"][0]["amount"]["fen"],
            source=prepaid.Source("cash", "desk"), happened_at=NOON, trace="", now=NOON,
        )  # fmt: skip

        assert Level.objects.get(kind="relay").wanted == "closed"


def headers_of(purse: Purse) -> dict[str, str]:
    user = makers.a_user()
    assert purse.tenancy
    purse.tenancy.members.create(user=user, role="holder", joined_at=makers.LONG_AGO)
    return makers.a_login(user) | {"Accept-Language": "en"}


def test_recent_use_is_what_the_home_says(client):
    draw = world.a_draw()
    headers = headers_of(draw.purse)

    told = client.get(f"/api/v1/homes/{draw.tenancy_id}/recharge-suggestions", headers=headers).json()

    assert [one["text"] for one in told["suggestions"]] == [""] * 4
    assert told["needed"]["fen"] == 0


def test_a_day_of_use_is_told_in_words():
    one = suggestions.Suggestion(500, 1)

    assert one.text
    assert replace(one, lasts_days=2).text != one.text


def test_strangers_see_none(client):
    path = f"/api/v1/homes/{makers.a_tenancy().pk}/recharge-suggestions"

    assert client.get(path, headers=makers.a_login(makers.a_user())).status_code == 404
    assert client.get(path).status_code == 401
