"""The API against its own description: whatever is sent, no fault of ours, and no answer that it does not tell of."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CHECKS, load_all_checks

from accounts.models import Member
from billing.rating import disputing
from config.wsgi import application
from payments.models import Attempt
from tests import makers
from tests.billing.rating import world
from tests.notifications.post import leave
from tests.portal.test_usage_api import tell

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]
WANTED = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")
load_all_checks()
CHOSEN = CHECKS.get_by_names(list(WANTED))


@pytest.fixture
def a_life() -> dict[str, Any]:
    """Somebody who lives somewhere: with a meter that was read and priced, money, a recharge, a bill, a message, a
    dispute, a sharer, and a login."""
    draw = world.a_draw(world.a_version(world.PERIODS_AND_TIERS), cycle_wh=2_875_000)
    tenancy, purse = draw.tenancy, draw.purse
    assert tenancy
    user = makers.a_user(phone="13812345678")
    Member.objects.create(tenancy=tenancy, user=user, role="holder", joined_at=world.START)
    sharer = Member.objects.create(tenancy=tenancy, user=makers.a_user(), role="sharer", joined_at=world.START)
    tell(draw, *((h, 100_000 + 500 * h) for h in (0.25, 6, 12, 18, 24, 30, 36)))
    claim = disputing.Claim(
        tenancy=tenancy, by=user, key="a key", read_at=world.START + 30 * world.HOUR, reason="too much"
    )
    dispute = disputing.open_dispute(claim, now=world.NOW)
    attempt: Attempt = makers.an_attempt(order=makers.an_order(purse=purse, user=user))
    leave(tenancy, key="one")
    login = makers.a_login(user, identity=makers.an_identity(user=user))
    known = {"home": tenancy.pk, "number": attempt.order.number, "on": "2026-11-10", "month": "2026-11"}
    return {"headers": login, "known": known | {"dispute": dispute.pk, "member": sharer.pk, "slug": "recharge"}}


api = schemathesis.openapi.from_wsgi("/api/schema/?format=json", application)


@api.parametrize()
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_it_answers_as_it_says(case: Any, a_life: dict[str, Any]) -> None:
    ask(case, a_life["headers"])

    for name in case.path_parameters.keys() & a_life["known"].keys():
        case.path_parameters[name] = a_life["known"][name]

    ask(case, a_life["headers"])


def ask(case: Any, headers: dict[str, str]) -> None:
    """503 is said where a vendor is not set up, as here; 500 never."""
    answer = case.call_and_validate(headers=headers, checks=CHOSEN)
    assert answer.status_code != 500
