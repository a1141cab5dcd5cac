"""What a property has laid down, with a room's own exceptions, becomes the rule that decides."""

from __future__ import annotations

from datetime import timedelta

import pytest

from billing import rules
from billing.models import RoomPolicy
from billing.rules import HoursRefused
from tests import makers

pytestmark = pytest.mark.django_db


def test_a_property_that_laid_down_nothing_warns_and_may_cut_nobody():
    room = makers.a_room()

    rule = rules.rule_for(room_id=room.pk, property_id=room.property_id)

    assert not rule.has_legal_basis
    assert rule.warn_percents == (20, 10)


def test_each_column_of_a_propertys_policy_counts():
    room = makers.a_room()
    makers.a_policy(
        room.property,
        warn_fens=[500],
        warn_percents=[30],
        warn_days=2,
        overdraft_fen=100,
        restore_above_fen=200,
        notice_hours=48,
        protected_hours=[["22:00", "08:00"]],
        protected_weekdays=[5, 6],
        protects_holidays=False,
        cuts_a_day=2,
        fresh_for_s=60,
    )

    assert rules.rule_for(room_id=room.pk, property_id=room.property_id) == rules.Rule(
        has_legal_basis=True,
        warn_fens=(500,),
        warn_percents=(30,),
        warn_days=2,
        overdraft_fen=100,
        restore_above_fen=200,
        notice_for=timedelta(hours=48),
        protected_hours=((22 * 60, 8 * 60),),
        protected_weekdays=frozenset({5, 6}),
        protects_holidays=False,
        cuts_a_day=2,
        fresh_for=timedelta(seconds=60),
    )


def test_a_room_overrules_what_it_names_also_with_nothing():
    room = makers.a_room()
    makers.a_policy(room.property, overdraft_fen=100, warn_fens=[500], restore_above_fen=7)
    RoomPolicy.objects.create(
        room=room, property=room.property, overdraft_fen=0, warn_fens=[], is_protected=True, protected_reason="r",
        changed_at=makers.LONG_AGO,
    )  # fmt: skip

    rule = rules.rule_for(room_id=room.pk, property_id=room.property_id)

    assert (rule.overdraft_fen, rule.warn_fens, rule.restore_above_fen, rule.is_protected) == (0, (), 7, True)


@pytest.mark.parametrize(
    "written",
    [
        "22:00",
        7,
        None,
        [["22:00"]],
        [["22:00", "24:00"]],
        [["8:00", "09:00"]],
        [["08:00", "09:60"]],
        ["2200"],
        [["08:00", 9]],
        [["08:00", "09:00"]] * 13,
    ],
)
def test_what_are_no_hours_is_refused(written):
    with pytest.raises(HoursRefused):
        rules.hours(written)


def test_hours_across_midnight_are_hours():
    assert rules.hours([["22:00", "08:00"], ["12:00", "14:30"]]) == ((1320, 480), (720, 870))
