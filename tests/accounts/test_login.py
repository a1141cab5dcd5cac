from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest

from accounts import login
from accounts.login import LoginClosedError, Person, recognise, sign_in, sign_in_alipay, sign_in_wechat
from accounts.models import AccessToken, Identity, User
from accounts.vendor_apps import NotSetUpError
from accounts.vendors import ProviderRefused, ProviderUnsure
from sandbox.keys import ALIPAY_APP_IDS, MINI_APPID
from tests.accounts.racing import at_once

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def someone(subject="openid-1", *, app_id="wxapp1", union_id="", provider="wechat"):
    return Person(provider=provider, app_id=app_id, subject=subject, union_id=union_id)


@pytest.mark.django_db
def test_who_comes_for_the_first_time_becomes_a_user_without_a_password(wechat):
    tapped = wechat.tap(unionid="union-1")

    signed_in = sign_in_wechat(code=tapped["code"], now=NOON)

    assert not signed_in.user.has_usable_password()
    assert not signed_in.user.is_staff
    identity = Identity.objects.get()
    assert (identity.provider, identity.app_id) == ("wechat", MINI_APPID)
    assert (identity.subject, identity.union_id, identity.user) == (tapped["openid"], "union-1", signed_in.user)


@pytest.mark.django_db
def test_who_comes_again_is_the_same_user_with_another_token(wechat):
    first = sign_in_wechat(code=wechat.tap(openid="openid-1")["code"], now=NOON)

    second = sign_in_wechat(code=wechat.tap(openid="openid-1")["code"], now=NOON)

    assert second.user == first.user
    assert second.token != first.token


@pytest.mark.django_db
def test_alipay_vouches_for_people_too(alipay):
    tapped = alipay.tap()

    signed_in = sign_in_alipay(auth_code=tapped["auth_code"], now=NOON)

    identity = signed_in.identity
    assert (identity.provider, identity.app_id, identity.subject) == (
        "alipay",
        ALIPAY_APP_IDS["key"],
        tapped["open_id"],
    )


@pytest.mark.django_db
def test_an_alipay_user_id_never_meets_a_wechat_openid():
    assert recognise(someone("x")).user != recognise(someone("x", provider="alipay")).user


@pytest.mark.django_db
@pytest.mark.parametrize("which", ["unknown", "used"])
def test_a_code_that_wechat_refuses_signs_nobody_in(wechat, which):
    code = wechat.tap()["code"]
    sign_in_wechat(code=code, now=NOON)

    with pytest.raises(ProviderRefused) as refused:
        sign_in_wechat(code=code if which == "used" else "0notacode", now=NOON)

    assert refused.value.code == {"used": "40163", "unknown": "40029"}[which]
    assert User.objects.count() == 1


@pytest.mark.django_db
def test_nobody_is_signed_in_while_wechat_is_away(wechat):
    code = wechat.tap()["code"]
    wechat.break_down("jscode2session", drop=True)

    with pytest.raises(ProviderUnsure):
        sign_in_wechat(code=code, now=NOON)

    assert not User.objects.exists()


@pytest.mark.django_db
def test_an_answer_with_a_foreign_signature_signs_nobody_in(alipay):
    auth_code = alipay.tap()["auth_code"]
    alipay.break_down("alipay.system.oauth.token", signature="foreign")

    with pytest.raises(ProviderUnsure, match="signature"):
        sign_in_alipay(auth_code=auth_code, now=NOON)

    assert not User.objects.exists()


@pytest.mark.django_db
def test_an_app_that_is_not_set_up_is_named(settings):
    settings.WECHAT_MINI_APP_ID = settings.ALIPAY_APP_ID = ""

    with pytest.raises(NotSetUpError, match="the setting WECHAT_MINI_APP_ID is empty"):
        sign_in_wechat(code="x", now=NOON)


@pytest.mark.django_db
def test_a_key_that_is_missing_is_named(wechat, settings):
    settings.WECHAT_MINI_SECRET_REF = "env:NOT_SET_HERE"

    with pytest.raises(NotSetUpError, match="WECHAT_MINI_SECRET_REF: env:NOT_SET_HERE is unset or empty"):
        sign_in_wechat(code="x", now=NOON)


@pytest.mark.django_db
def test_a_key_that_is_none_is_told_without_showing_it(alipay, settings, monkeypatch):
    monkeypatch.setenv("NO_KEY", "hunter2hunter2")
    settings.ALIPAY_PRIVATE_KEY_REF = "env:NO_KEY"

    with pytest.raises(NotSetUpError, match="ALIPAY_PRIVATE_KEY_REF") as refused:
        sign_in_alipay(auth_code="x", now=NOON)

    assert "hunter2" not in str(refused.value)


@pytest.mark.django_db(transaction=True)
def test_two_phones_with_one_openid_at_once_make_one_user():
    outcomes = at_once([lambda: recognise(someone(union_id="union-1"))] * 6)

    assert len({identity.pk for identity in outcomes}) == 1
    assert User.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_person_in_six_of_our_apps_at_once_is_one_user():
    calls = [lambda n=n: recognise(someone(f"o{n}", app_id=f"wxapp{n}", union_id="union-1")) for n in range(6)]

    outcomes = at_once(calls)

    assert len({identity.user_id for identity in outcomes}) == 1
    assert Identity.objects.count() == 6


@pytest.mark.django_db
def test_people_without_a_union_id_are_not_taken_for_one():
    assert recognise(someone("a")).user != recognise(someone("b")).user


@pytest.mark.django_db
def test_a_union_id_that_comes_later_is_kept_and_joins_the_next_app():
    earlier = recognise(someone())

    recognise(someone(union_id="union-1"))

    assert Identity.objects.get().union_id == "union-1"
    assert recognise(someone("o2", app_id="wxapp2", union_id="union-1")).user == earlier.user


@pytest.mark.django_db
def test_a_missing_union_id_does_not_wipe_out_a_known_one():
    recognise(someone(union_id="union-1"))

    recognise(someone(union_id=""))

    assert Identity.objects.get().union_id == "union-1"


@pytest.mark.django_db
def test_a_token_ends_and_is_kept_as_a_digest_alone(settings):
    settings.TOKEN_LIFETIME_DAYS = 7

    signed_in = sign_in(someone(), now=NOON)

    row = AccessToken.objects.get()
    assert signed_in.expires_at == row.expires_at == NOON + timedelta(days=7)
    assert len(signed_in.token) == 43
    assert signed_in.token not in str(AccessToken.objects.values().get())
    assert (row.user, row.identity) == (signed_in.user, signed_in.identity)


@pytest.mark.django_db
def test_whose_login_was_closed_gets_no_token():
    User.objects.filter(pk=sign_in(someone(), now=NOON).user.pk).update(is_active=False)

    with pytest.raises(LoginClosedError):
        sign_in(someone(), now=NOON)

    assert AccessToken.objects.count() == 1


@pytest.mark.django_db
def test_one_logs_out_once():
    sign_in(someone(), now=NOON)
    token = AccessToken.objects.get()

    assert login.log_out(token=token, now=NOON)
    assert not login.log_out(token=token, now=NOON + timedelta(hours=1))

    assert AccessToken.objects.get().revoked_at == NOON


@pytest.mark.django_db
def test_tokens_are_forgotten_a_month_after_their_end(settings):
    settings.TOKEN_LIFETIME_DAYS = 1
    sign_in(someone(), now=NOON)

    assert login.forget_ended_tokens(now=NOON + timedelta(days=31)) == 0
    assert login.forget_ended_tokens(now=NOON + timedelta(days=31, seconds=1)) == 1
    assert Identity.objects.exists()


@pytest.mark.django_db
def test_no_log_line_of_a_login_carries_a_token_or_a_code(wechat, caplog):
    caplog.set_level(logging.DEBUG)
    code = wechat.tap()["code"]

    signed_in = sign_in_wechat(code=code, now=NOON)

    ours = "\n".join(r.getMessage() for r in caplog.records if not r.name.startswith(("werkzeug", "django.db")))
    assert signed_in.token not in ours
    assert code not in ours.replace("/sandbox/login_code", "")
