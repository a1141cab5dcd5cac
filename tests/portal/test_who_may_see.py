"""Each tenant sees their own homes and their own time there: every operation of the API is tried by everybody else.

An operation that is new fails here until it stands in one of the lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator

from accounts import login
from accounts.models import AccessToken, Member, Tenancy
from billing import prepaid
from notifications import routes
from notifications.models import Delivery
from tests import makers
from tests.notifications.post import leave

pytestmark = pytest.mark.django_db
# Without a login, or before it: they tell nothing of anybody.
FOR_ALL = {
    "/api/v1/auth/alipay",
    "/api/v1/auth/phone",
    "/api/v1/auth/phone-codes",
    "/api/v1/auth/wechat",
    "/api/v1/help",
    "/api/v1/help/{slug}",
}
# About who asks, and nobody else. What is told of homes in them is looked at below.
ABOUT_ONESELF = {
    "/api/v1/auth/logout",
    "/api/v1/homes",
    "/api/v1/me",
    "/api/v1/me/apps",
    "/api/v1/me/phone",
    "/api/v1/me/phone-codes",
    "/api/v1/message-permits",
    "/api/v1/message-preferences",
    "/api/v1/messages",
    "/api/v1/messages/read",
    "/api/v1/privacy",
    "/api/v1/privacy/consent",
    "/api/v1/recharges",
}


def operations() -> Iterator[tuple[str, str]]:
    schema = SchemaGenerator().get_schema(request=None, public=True)
    for path, methods in schema["paths"].items():
        for method in methods:
            yield method, path


OPERATIONS = sorted(operations())
OF_A_HOME = [(method, path) for method, path in OPERATIONS if path not in FOR_ALL | ABOUT_ONESELF]


@dataclass(frozen=True)
class Life:
    """A's home, and what the addresses of the API name of it."""

    home: Tenancy
    names: dict[str, Any]
    strangers: dict[str, dict[str, str]]
    mine: dict[str, str]


@pytest.fixture
def life() -> Life:
    now = timezone.now()
    room = makers.a_room()
    makers.a_meter(room=room, is_online=True)
    former, holder, removed = makers.a_user(), makers.a_user(), makers.a_user()
    moved = now - timedelta(days=30)
    makers.a_tenancy(room=room, holder=former, ends_at=moved)
    home = makers.a_tenancy(room=room, holder=holder, starts_at=moved)
    Member.objects.create(tenancy=home, user=removed, role="sharer", joined_at=moved, left_at=now)
    neighbour = makers.a_user()
    makers.a_tenancy(room=makers.a_room(place=room.property), holder=neighbour)
    order = makers.an_order(purse=prepaid.purse_of(home), user=holder)
    leave(home, key="one")
    while routes.route(channels=(), now=now):
        pass
    names = {
        "home": home.pk,
        "number": order.number,
        "on": "2026-11-10",
        "month": "2026-10",
        "dispute": 1,
        "message": Delivery.objects.filter(user=holder).latest("pk").pk,
        "member": home.members.get(user=holder).pk,
        "invitation": 1,
        "slug": "recharge",
    }
    strangers = {
        "a neighbour": makers.a_login(neighbour),
        "who lived there before": makers.a_login(former),
        "a member who was removed": makers.a_login(removed),
    }
    return Life(home, names, strangers, makers.a_login(holder))


def ask(method: str, path: str, life: Life, headers: dict[str, str]) -> Any:
    wanted = {"content_type": "application/json", "headers": headers | {"Idempotency-Key": "k" * 16}}
    return getattr(Client(), method)(path.format(**life.names), **wanted)


@pytest.mark.parametrize(("method", "path"), OF_A_HOME)
def test_what_is_of_a_home_does_not_exist_for_anybody_else(method, path, life):
    for who, headers in life.strangers.items():
        answer = ask(method, path, life, headers)

        assert answer.status_code == 404, (who, answer.content)
        assert answer.json()["code"] == "not_found", who


@pytest.mark.parametrize(("method", "path"), [one for one in OPERATIONS if one[1] not in FOR_ALL])
def test_nothing_is_told_without_a_login_that_is_good(method, path, life):
    holder = life.home.members.get(left_at=None).user
    ended, closed = "ended-token", makers.a_user(is_active=False)
    now = timezone.now()
    AccessToken.objects.create(
        user=holder, digest=login.digest_of(ended), created_at=now - timedelta(days=9), expires_at=now
    )
    for headers in ({}, {"Authorization": f"Bearer {ended}"}, {"Authorization": "Bearer x"}, makers.a_login(closed)):
        assert ask(method, path, life, headers).status_code == 401


@pytest.mark.parametrize("path", sorted(ABOUT_ONESELF))
def test_what_is_about_oneself_tells_nothing_of_others(path, life):
    secrets = (str(life.home.room), life.names["number"])
    for who, headers in life.strangers.items():
        answer = Client().get(path, headers=headers)

        if answer.status_code == 200:
            told = answer.content.decode()
            assert not [one for one in secrets if f'"{one}"' in told], who
            assert f'"id":{life.home.pk},' not in told, who


def test_who_lives_there_is_answered(life):
    """So that the tests above prove something."""
    for method, path in OF_A_HOME:
        if method == "get" and "{dispute}" not in path and "/bills/" not in path:
            assert ask(method, path, life, life.mine).status_code == 200, path


def test_other_origins_are_told_nothing_and_the_api_sets_no_cookie(life):
    for origin in ("https://evil.test", "null"):
        answer = Client().get("/api/v1/homes", headers=life.mine | {"Origin": origin})

        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
        assert not answer.cookies


def test_every_operation_is_versioned():
    assert all(path.startswith("/api/v1/") for _method, path in OPERATIONS)
