"""The audit of usage: sound books pass, and whatever was changed behind their back is named."""

from __future__ import annotations

import pytest
from django.db import connection

from billing import usage_audit
from billing.models import Draw, UsageDay, UsageMonth
from tests.billing.rating import world
from tests.billing.rating.test_revisions import tell
from tests.billing.rating.world import HOUR, NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def draw() -> Draw:
    draw = world.a_draw()
    tell(draw, (12, 101_200), (36, 103_600), (48, 104_800))
    tell(draw, (24, 103_000), now=NOW + HOUR)
    return draw


def findings() -> list[str]:
    return [finding.rule for check in usage_audit.CHECKS for finding in check(NOW)]


def test_sound_books_pass_also_while_days_are_open_again(draw):
    assert findings() == []


@pytest.mark.parametrize(
    ("spoilt", "rules"),
    [
        ("update billing_usageday set energy_wh = energy_wh + 1", {"a day is the sum of its lines", "a month is"}),
        ("update billing_usageday set slot_wh[1] = slot_wh[1] + 1", {"a day is the sum of its lines"}),
        ("update billing_usageday set revision = revision + 1", {"what a day was is kept at each revision"}),
        ("update billing_usagemonth set fee_nano = fee_nano + 1", {"a month is the sum of its days"}),
        ("delete from billing_usagemonth", {"a month is the sum of its days"}),
        ("update billing_draw set closed_nano = closed_nano + 1", {"a draw has closed the sum of its days"}),
        ("update billing_usageday set posted_fen = posted_fen + 1", {"a draw has posted the sum of its days"}),
        (
            "update billing_draw set posted_fen = posted_fen + 1",
            {"a draw has posted the sum of its days", "what a draw has posted is in the ledger"},
        ),
    ],
)
def test_what_was_changed_behind_its_back_is_named(draw, spoilt, rules):
    assert UsageDay.objects.exists()
    assert UsageMonth.objects.exists()
    with connection.cursor() as cursor:
        cursor.execute(spoilt)

    named = set(findings())

    assert all(any(name.startswith(rule) for name in named) for rule in rules)
