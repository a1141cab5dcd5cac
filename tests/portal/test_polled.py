from __future__ import annotations

import pytest

from accounts.models import Member
from tests import makers

pytestmark = pytest.mark.django_db


@pytest.fixture
def home():
    user = makers.a_user()
    tenancy = makers.a_tenancy(holder=user)
    return f"/api/v1/homes/{tenancy.pk}", makers.a_login(user), tenancy


def test_what_has_not_changed_is_answered_without_a_body(client, home):
    path, login, _tenancy = home
    first = client.get(path, headers=login)

    again = client.get(path, headers=login | {"If-None-Match": first.headers["ETag"]})

    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert "private" in first.headers["Cache-Control"]


def test_what_changed_is_answered_whole(client, home):
    path, login, tenancy = home
    first = client.get(path, headers=login)
    Member.objects.filter(tenancy=tenancy).update(role=Member.Role.SHARER)

    again = client.get(path, headers=login | {"If-None-Match": first.headers["ETag"]})

    assert again.status_code == 200
    assert again.json()["role"] == "sharer"


def test_another_language_is_another_answer(client, home):
    path, login, _tenancy = home

    chinese, english = (client.get(path, headers=login | {"Accept-Language": one}) for one in ("zh-CN", "en"))

    assert "Accept-Language" in chinese.headers["Vary"]
    assert chinese.headers["Content-Language"] != english.headers["Content-Language"]


def test_who_may_not_see_it_is_not_told_that_it_is_unchanged(client, home):
    path, login, _tenancy = home
    known = client.get(path, headers=login).headers["ETag"]

    stranger = client.get(path, headers=makers.a_login(makers.a_user()) | {"If-None-Match": known})

    assert stranger.status_code == 404
