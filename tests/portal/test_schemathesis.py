"""The API against its own description: whatever is sent, no fault of ours, and no answer that it does not tell of."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CHECKS, load_all_checks

from billing import prepaid
from config.wsgi import application
from payments.models import Attempt
from tests import makers
from tests.notifications.post import leave

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]
WANTED = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")
load_all_checks()
CHOSEN = CHECKS.get_by_names(list(WANTED))


@pytest.fixture
def a_life() -> dict[str, Any]:
    """Somebody who lives somewhere: with a meter, money, a recharge, a message, and a login."""
    user = makers.a_user(phone="13812345678")
    room = makers.a_room()
    meter = makers.a_meter(room=room, is_online=True, import_wh=12_345, relay="closed", reported_at=timezone.now())
    tenancy = makers.a_tenancy(room=room, holder=user)
    purse = prepaid.purse_of(tenancy)
    makers.a_cut_ready_home(room, purse=purse)
    attempt: Attempt = makers.an_attempt(order=makers.an_order(purse=purse, user=user))
    leave(tenancy, key="one")
    login = makers.a_login(user, identity=makers.an_identity(user=user))
    known = {"home": tenancy.pk, "number": attempt.order.number, "code": meter.code, "on": "2026-11-10"}
    return {"headers": login, "known": known | {"month": "2026-10"}}


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
