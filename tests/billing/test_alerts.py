"""Tenants are warned once a level and recharge, and no longer when it is not true any more."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from billing import review
from billing.models import Alert, Purse
from notifications.models import Message
from tests import makers
from tests.billing.spent import NOON, a_home, accrue
from tests.billing.test_review import look, recharge
from tests.notifications.carried import carry
from tests.racing import race

pytestmark = pytest.mark.django_db


def standing() -> list[str]:
    return sorted(Alert.objects.filter(over_at=None).values_list("level", flat=True))


def waiting(**of: object) -> list[str]:
    messages = Message.objects.filter(state="waiting", **of).exclude(kind__in=["cut_notice", "recharge_received"])
    return sorted(messages.values_list("context__level", flat=True))


def test_each_level_is_told_when_it_is_reached_and_not_again():
    purse = a_home(fen=0, warn_fens=[1500])
    recharge(purse, 10_000)

    seen = []
    for left in (2001, 2000, 1999, 1500, 1000, 1, 0):
        purse.refresh_from_db()
        accrue(purse, fen=look_at_fen(purse) - left)
        look(purse)
        seen.append(len(waiting()))

    assert seen == [0, 1, 1, 2, 3, 3, 4]
    assert standing() == ["fen:1500", "percent:10", "percent:20", "used_up"]
    assert list(Message.objects.filter(kind="balance_used_up").values_list("context__available_fen", flat=True)) == [0]


def look_at_fen(purse: Purse) -> int:
    return Purse.objects.get(pk=purse.pk).available_fen()


def test_rating_asks_for_a_review_exactly_when_the_next_level_is_near():
    purse = a_home(fen=0)
    recharge(purse, 10_000)
    look(purse)

    purse.refresh_from_db()
    assert purse.look_below_fen == 2001  # 20 % of the recharge, a fen early at most


def test_a_recharge_ends_what_is_no_longer_true_and_takes_back_what_nobody_has_carried():
    purse = a_home(fen=400, warn_fens=[500])
    look(purse)
    assert waiting() == ["fen:500"]

    recharge(purse, 5000)
    review.work(now=NOON)

    assert standing() == waiting() == []
    assert Alert.objects.get().over_at == NOON
    assert Message.objects.get(kind="low_balance").state == "withdrawn"


def test_who_was_told_is_told_that_it_is_over():
    purse = a_home(fen=400, warn_fens=[500])
    look(purse)
    carry(kind="low_balance")

    recharge(purse, 5000)
    review.work(now=NOON)

    assert waiting(kind="balance_is_well") == [""]


def test_what_rose_by_a_correction_and_fell_again_was_told_before():
    purse = a_home(fen=400, warn_fens=[500])
    for fen in (0, -200, 200):
        accrue(purse, fen=fen)
        look(purse)

    assert Alert.objects.count() == 1
    assert Message.objects.filter(kind="low_balance").count() == 1


def test_after_a_recharge_that_does_not_lift_it_above_the_level_the_tenant_is_told_again():
    purse = a_home(fen=100, warn_fens=[500])
    look(purse)

    recharge(purse, 50)
    review.work(now=NOON)

    assert list(Alert.objects.filter(over_at=None).values_list("level", "recharge")) == [("fen:500", 1)]
    assert Alert.objects.count() == Message.objects.filter(kind="low_balance").count() == 2


def test_days_that_are_left_follow_from_what_was_used_lately():
    purse = a_home(fen=299, warn_days=3)
    purse.draws.update(day_nano=100 * 10**9)

    look(purse)

    assert standing() == ["days:3"]


def test_without_a_policy_tenants_are_warned_all_the_same():
    room = makers.a_room()
    meter = makers.a_meter(room=room)
    purse = makers.a_purse(tenancy=makers.a_tenancy(room=room))
    recharge(purse, 1000)
    Purse.objects.filter(pk=purse.pk).update(last_recharge_fen=10_000)

    look(purse)

    assert standing() == ["percent:10", "percent:20"]
    assert meter.levels.get(kind="relay").wanted == "closed"


@pytest.mark.django_db(transaction=True)
def test_many_who_look_at_once_tell_once():
    purse = a_home(fen=400, warn_fens=[500, 1000])

    race([partial(look, purse, now=NOON + timedelta(seconds=n)) for n in range(8)])

    assert Alert.objects.count() == Message.objects.filter(kind="low_balance").count() == 2
