from __future__ import annotations

import pytest
from django.core.cache import caches

from tests import makers

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _eight_a_minute(settings):
    settings.API_REQUESTS_A_MINUTE = 8
    caches["local"].clear()
    yield
    caches["local"].clear()


def test_a_login_that_asks_too_often_is_told_when_to_ask_again(client):
    login = makers.a_login(makers.a_user())

    answers = [client.get("/api/v1/homes", headers=login) for _each in range(9)]

    assert [one.status_code for one in answers] == [200] * 8 + [429]
    assert answers[-1].json()["code"] == "throttled"
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60


def test_one_login_does_not_use_up_what_another_may_ask(client):
    for _each in range(9):
        client.get("/api/v1/homes", headers=makers.a_login(makers.a_user()))

    assert client.get("/api/v1/homes", headers=makers.a_login(makers.a_user())).status_code == 200


def test_an_address_without_a_login_may_ask_a_quarter(client):
    answers = [client.get("/api/v1/homes").status_code for _each in range(3)]

    assert answers == [401, 401, 401]  # told who they are not, before anything is counted
    tries = [client.post("/api/v1/auth/wechat", {}, content_type="application/json").status_code for _each in range(3)]
    assert tries == [400, 400, 429]
