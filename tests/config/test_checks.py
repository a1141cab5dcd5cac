"""Production refuses merchants of the sandbox before it runs."""

from __future__ import annotations

import pytest

from config.checks import no_sandbox_in_settings, no_sandbox_merchant
from payments.models import Merchant
from tests.makers import LONG_AGO, a_merchant

pytestmark = pytest.mark.django_db
GENUINE = {"account": "1600000001", "app_id": "wx0123456789abcdef", "is_sandbox": False}


def complaints() -> list[str]:
    return [error.msg for error in no_sandbox_merchant(databases=["default"])]


@pytest.mark.parametrize(
    "mark", [{"is_sandbox": True}, {"account": "1900000109"}, {"app_id": "wxsandbox000000001"}], ids=str
)
def test_a_merchant_of_the_sandbox_is_refused_in_production(settings, mark):
    settings.PRODUCTION = True
    a_merchant(slug="main", **GENUINE | mark)

    assert complaints() == ["Merchant main is a sandbox's, which production refuses."]


def test_genuine_and_retired_merchants_are_not(settings):
    settings.PRODUCTION = True
    a_merchant(**GENUINE)
    a_merchant(retired_at=LONG_AGO)

    assert complaints() == []


def test_in_development_nobody_is_refused(settings):
    a_merchant()
    settings.WECHAT_MINI_SECRET_REF = "env:NOBODY_SET_THIS"

    assert complaints() == []
    assert no_sandbox_in_settings() == []


def test_a_reference_that_cannot_be_read_is_not_taken_for_a_sandboxs(settings):
    settings.PRODUCTION = True
    settings.WECHAT_MINI_SECRET_REF = "env:NOBODY_SET_THIS"

    assert no_sandbox_in_settings() == []


def test_before_the_first_migration_there_is_nothing_to_refuse(settings, monkeypatch):
    settings.PRODUCTION = True
    monkeypatch.setattr("django.db.connection.introspection.table_names", lambda *_: [])
    monkeypatch.setattr(Merchant, "objects", None)

    assert complaints() == []
