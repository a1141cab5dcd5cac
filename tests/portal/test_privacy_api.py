from __future__ import annotations

import pytest

from accounts import consents
from accounts.models import Consent, User
from tests import makers, racing

pytestmark = pytest.mark.django_db
CONSENT = "/api/v1/privacy/consent"


def consent(client, login, version=consents.CURRENT):
    return client.post(CONSENT, {"version": version}, content_type="application/json", headers=login)


def test_nothing_is_shown_before_a_person_consented_and_it_is_asked_once(client):
    user = makers.a_user(notice_version="")
    login = makers.a_login(user)

    before = client.get("/api/v1/homes", headers=login)
    notice = client.get("/api/v1/privacy", headers=login).json()
    given = consent(client, login, notice["version"])

    assert (before.status_code, before.json()["code"]) == (403, "consent_needed")
    assert notice["consented_at"] is None
    assert "<script" not in notice["html"]
    assert given.status_code == 200
    assert client.get("/api/v1/homes", headers=login).status_code == 200
    assert client.get("/api/v1/privacy", headers=login).json()["consented_at"]


def test_a_notice_that_changed_is_read_again(client):
    user = makers.a_user(notice_version="2020-01")
    login = makers.a_login(user)

    assert client.get("/api/v1/homes", headers=login).status_code == 403
    other = consent(client, login, "2020-01")
    assert (other.status_code, other.json()["code"]) == (409, "other_version")
    assert not Consent.objects.exists()


def test_who_has_not_consented_can_still_log_out(client):
    login = makers.a_login(makers.a_user(notice_version=""))

    assert client.post("/api/v1/auth/logout", headers=login).status_code == 204


@pytest.mark.django_db(transaction=True)
def test_two_taps_at_once_are_one_consent():
    user = makers.a_user(notice_version="")

    def tap():
        return consents.give(user=user, version=consents.CURRENT, came_through="api", now=makers.LONG_AGO)

    racing.race([tap] * 4)

    assert Consent.objects.filter(user=user).count() == 1
    assert User.objects.get(pk=user.pk).notice_version == consents.CURRENT
