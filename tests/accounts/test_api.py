from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import AccessToken, User
from tests.makers import LONG_AGO, a_login, a_room, a_tenancy, a_user, an_identity

pytestmark = pytest.mark.django_db
IN_ENGLISH = {"Accept-Language": "en"}


def post(client, path, body=None, headers=None):
    headers = IN_ENGLISH | (headers or {})
    return client.post(f"/api/v1/{path}", body or {}, content_type="application/json", headers=headers)


def test_a_login_answers_with_token_user_and_homes(client, wechat):
    tapped = wechat.tap()
    post(client, "auth/wechat", {"code": tapped["code"]})
    user = User.objects.get()
    user.name, user.phone = "王小明", "13812345678"
    user.save()
    room = a_room()
    home = a_tenancy(room=room, holder=user)

    answer = post(client, "auth/wechat", {"code": wechat.tap(openid=tapped["openid"])["code"]})

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    told = answer.json()
    assert told["user"] == {"id": user.pk, "name": "王小明", "phone": "138****5678", "consent_needed": True}
    assert told["homes"] == [
        {
            "id": home.pk,
            "property": room.property.name,
            "building": "1",
            "room": room.number,
            "role": "holder",
            "starts_at": "2026-01-01T08:00:00+08:00",
        }
    ]
    assert told["expires_at"] > timezone.now().isoformat()


def test_the_token_of_a_login_opens_the_api(client, alipay):
    told = post(client, "auth/alipay", {"auth_code": alipay.tap()["auth_code"]}).json()

    answer = post(client, "auth/logout", headers={"Authorization": f"Bearer {told['token']}"})

    assert answer.status_code == 204


def test_a_login_asks_as_many_questions_for_three_homes_as_for_one(client, wechat, django_assert_num_queries):
    openid = wechat.tap()["openid"]
    post(client, "auth/wechat", {"code": wechat.tap(openid=openid)["code"]})
    for _ in range(3):
        a_tenancy(holder=User.objects.get())
    code = wechat.tap(openid=openid)["code"]

    # Two savepoints of the test's own transaction (4), the lock, the identity, who it is by now, the token, the homes.
    with django_assert_num_queries(9):
        answer = post(client, "auth/wechat", {"code": code})

    assert len(answer.json()["homes"]) == 3


@pytest.mark.parametrize(
    "body", [{}, {"code": ""}, {"code": 7 * [1]}, {"code": "x" * 257}, {"code": "a\x00b"}, [], "x"]
)
def test_a_malformed_login_is_a_400_with_the_field_named(client, body):
    answer = post(client, "auth/wechat", body)

    assert answer.status_code == 400
    assert answer.json()["code"] in {"invalid", "parse_error"}


def test_a_code_that_wechat_does_not_know_is_a_400_that_says_so(client, wechat):
    answer = post(client, "auth/wechat", {"code": "0notacode"})

    assert answer.status_code == 400
    error = answer.json()
    assert error["code"] == "code_refused"
    assert error["detail"].startswith("WeChat does not know this code")


def test_an_auth_code_that_alipay_does_not_know_is_a_400_that_says_so(client, alipay):
    answer = post(client, "auth/alipay", {"auth_code": "notacode"})

    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("Alipay does not know this code")


def test_a_vendor_that_is_away_is_a_503_that_says_so(client, wechat):
    wechat.break_down("jscode2session", drop=True)

    answer = post(client, "auth/wechat", {"code": wechat.tap()["code"]})

    assert answer.status_code == 503
    assert answer.json()["code"] == "vendor_away"


def test_our_own_wrong_secret_is_no_fault_of_the_tenants(client, wechat, settings, monkeypatch, caplog):
    monkeypatch.setenv("A_WRONG_SECRET", "wrong-secret")
    settings.WECHAT_MINI_SECRET_REF = "env:A_WRONG_SECRET"

    answer = post(client, "auth/wechat", {"code": wechat.tap()["code"]})

    assert answer.status_code == 503
    assert answer.json()["code"] == "vendor_not_set_up"
    assert "40125" in caplog.text
    assert "wrong-secret" not in caplog.text


def test_an_app_that_is_not_set_up_is_a_503(client, settings):
    settings.ALIPAY_APP_ID = settings.ALIPAY_PRIVATE_KEY_REF = ""

    answer = post(client, "auth/alipay", {"auth_code": "x"})

    assert answer.status_code == 503
    assert answer.json()["code"] == "vendor_not_set_up"


def test_a_closed_login_is_a_403(client, wechat):
    openid = wechat.tap()["openid"]
    post(client, "auth/wechat", {"code": wechat.tap(openid=openid)["code"]})
    User.objects.update(is_active=False)

    answer = post(client, "auth/wechat", {"code": wechat.tap(openid=openid)["code"]})

    assert answer.status_code == 403
    assert answer.json()["code"] == "login_closed"


def test_an_ended_token_does_not_keep_anybody_from_logging_in(client, wechat):
    answer = post(client, "auth/wechat", {"code": wechat.tap()["code"]}, {"Authorization": "Bearer long-gone"})

    assert answer.status_code == 200


def test_logging_out_ends_this_login_and_no_other(client):
    tenant = a_user()
    phone, tablet = a_login(tenant), a_login(tenant)

    assert post(client, "auth/logout", headers=phone).status_code == 204

    assert post(client, "auth/logout", headers=phone).status_code == 401
    assert post(client, "auth/logout", headers=tablet).status_code == 204


@pytest.mark.parametrize(
    "header", ["Bearer wrong", "Bearer ", "Bearer", "bearer  ", "Bearer \xff\xfe", "Basic dXNlcjpwYXNz", ""]
)
def test_without_a_good_token_it_is_a_401_that_says_how_to_log_in(client, header):
    answer = post(client, "auth/logout", headers={"Authorization": header})

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="meterpay"'
    assert answer.json()["code"] in {"login_ended", "not_authenticated"}


@pytest.mark.parametrize(
    "change",
    [
        {"expires_at": LONG_AGO + timedelta(days=1), "created_at": LONG_AGO},
        {"revoked_at": LONG_AGO},
    ],
)
def test_a_token_that_has_ended_is_a_401(client, change):
    header = a_login(a_user())
    AccessToken.objects.update(**change)

    assert post(client, "auth/logout", headers=header).status_code == 401


def test_whose_login_was_closed_is_out_at_once(client):
    tenant = a_user()
    header = a_login(tenant)
    User.objects.filter(pk=tenant.pk).update(is_active=False)

    assert post(client, "auth/logout", headers=header).status_code == 401


def test_a_token_costs_one_question(client, django_assert_num_queries):
    identity = an_identity()
    header = a_login(identity.user, identity=identity)

    with django_assert_num_queries(2):  # who is it, and the logging out itself
        post(client, "auth/logout", headers=header)


def test_errors_are_told_in_chinese_by_default(client, wechat):
    answer = client.post("/api/v1/auth/wechat", {}, content_type="application/json")

    assert answer.headers["Content-Language"] == "zh-hans"
    assert answer.json()["fields"] == {"code": "该字段是必填项。"}
