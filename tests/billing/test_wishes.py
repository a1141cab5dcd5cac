"""A home is warned below an amount of its own, which says nothing of a cut."""

from __future__ import annotations

from functools import partial

import pytest

from billing import review, supply_words, wishes
from billing.models import Alert, Notice, OwnLevel, Purse, Review
from billing.wishes import WishRefused
from notifications.models import Message
from tests import makers
from tests.billing.spent import NOON, a_home, accrue
from tests.billing.test_review import look, recharge
from tests.notifications.carried import carry
from tests.racing import race

pytestmark = pytest.mark.django_db


def wish(purse: Purse, fen: int | None) -> None:
    wishes.set_own_level(purse_id=purse.pk, fen=fen, by=makers.a_user(), now=NOON)
    review.work(now=NOON)


def standing() -> list[str]:
    return sorted(Alert.objects.filter(over_at=None).values_list("level", flat=True))


def messages(kind: str) -> list[Message]:
    return list(Message.objects.filter(kind=kind).order_by("pk"))


@pytest.fixture
def purse() -> Purse:
    """A hundred yuan are left, and the property warns of nothing before five."""
    purse = a_home(fen=10_000, warn_fens=[500], warn_percents=[])
    Notice.objects.filter(purse=purse).delete()
    return purse


def test_it_is_warned_when_the_balance_falls_below_it_and_no_notice_is_left(purse):
    wish(purse, 3000)
    assert standing() == []
    purse.refresh_from_db()
    assert purse.look_below_fen == 3001

    accrue(purse, fen=7000)
    look(purse)

    assert standing() == ["own:3000"]
    (message,) = messages("low_balance")
    assert message.context == {"level": "own:3000", "available_fen": 3000, "days_left": None}
    assert not Notice.objects.exists()
    accrue(purse, fen=2500)
    look(purse)
    assert (standing(), Notice.objects.get().state) == (["fen:500", "own:3000"], "left")


def test_a_notice_goes_when_the_balance_rises_above_all_but_the_homes_own_level(purse):
    wish(purse, 6000)
    accrue(purse, fen=9600)
    look(purse)
    assert Notice.objects.get().state == "left"

    recharge(purse, 2000)
    review.work(now=NOON)

    assert (Notice.objects.get().state, standing()) == ("void", ["own:6000"])


def test_what_is_lower_already_is_told_at_once(purse):
    wish(purse, 20_000)

    assert standing() == ["own:20000"]


def test_who_lowers_the_level_or_wants_none_is_not_told_that_all_is_well(purse):
    wish(purse, 20_000)
    carry()

    wish(purse, 9000)
    wish(purse, 20_000)
    wish(purse, None)

    assert (standing(), messages("balance_is_well")) == ([], [])
    assert wishes.own_level_fen(purse_id=purse.pk) is None


def test_after_a_recharge_it_is_armed_again(purse):
    wish(purse, 9000)
    for fen in (2000, 5000):
        accrue(purse, fen=fen)
        look(purse)
        recharge(purse, 5000)
        review.work(now=NOON)

    assert [one.context["level"] for one in messages("low_balance")] == ["own:9000", "own:9000"]


def test_the_same_again_asks_for_nothing(purse):
    wish(purse, 3000)

    wishes.set_own_level(purse_id=purse.pk, fen=3000, by=None, now=NOON)

    assert not Review.objects.exists()


@pytest.mark.parametrize("fen", [0, -1, OwnLevel.AT_MOST_FEN + 1])
def test_what_is_no_amount_is_refused(purse, fen):
    with pytest.raises(WishRefused, match=r"¥10,000\.00"):
        wishes.set_own_level(purse_id=purse.pk, fen=fen, by=None, now=NOON)

    assert not OwnLevel.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_whoever_wishes_while_others_look_is_told_once(purse):
    wished = [partial(wishes.set_own_level, purse_id=purse.pk, fen=20_000, by=None, now=NOON)] * 3

    outcomes = race([*wished, *[partial(review.one, purse_id=purse.pk, trace="", now=NOON)] * 3])
    review.work(now=NOON)

    assert not [one for one in outcomes if isinstance(one, Exception)]
    assert (standing(), len(messages("low_balance")), OwnLevel.objects.count()) == (["own:20000"], 1, 1)


def test_staff_read_whose_level_it_is():
    assert supply_words.level("own:3000") == "below ¥30.00, as the home has asked"
