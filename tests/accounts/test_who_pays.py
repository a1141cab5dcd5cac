"""Who opens a page in WeChat's browser: the official account asks with a code that is good once."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from accounts.vendors import ProviderBadAnswer, ProviderRefused, ProviderUnsure
from accounts.wechat import OfficialAccount
from tests.vendors import Shelf, Vendor, vendor

SECRET = "a-secret-of-the-app"
WECHAT = "https://open.weixin.qq.com"


@pytest.fixture
def desk():
    with vendor() as it:
        yield it


def account(desk: Vendor, timeout_s: float = 5) -> OfficialAccount:
    return OfficialAccount("wx1", SECRET, tokens=Shelf(), base_url=desk.url, timeout_s=timeout_s)


def test_the_browser_is_sent_to_wechat_with_parameters_in_the_order_it_compares(desk):
    sent_to = account(desk).authorize_url(oauth_url=WECHAT, redirect_uri="https://a.test/b/?to=x:y", state="s1")

    assert sent_to == (
        "https://open.weixin.qq.com/connect/oauth2/authorize?appid=wx1&redirect_uri=https%3A%2F%2Fa.test%2Fb%2F%3Fto%3Dx%3Ay"
        "&response_type=code&scope=snsapi_base&state=s1#wechat_redirect"
    )
    assert SECRET not in sent_to
    assert desk.asked == []


def test_a_code_tells_who_came_and_needs_no_token_of_the_account(desk):
    desk.says({"access_token": "t", "expires_in": 7200, "refresh_token": "r", "openid": "o-1", "scope": "snsapi_base"})

    who = account(desk).who_came("code/with+signs")

    assert who.openid == "o-1"
    (asked,) = desk.asked
    assert (asked.method, urlsplit(asked.path).path) == ("GET", "/sns/oauth2/access_token")
    assert dict(parse_qsl(urlsplit(asked.path).query)) == {
        "appid": "wx1",
        "secret": SECRET,
        "code": "code/with+signs",
        "grant_type": "authorization_code",
    }


@pytest.mark.parametrize("errcode", [40029, 40163])
def test_a_code_that_is_no_good_any_more_is_asked_about_once(desk, errcode):
    desk.says({"errcode": errcode, "errmsg": "code been used, rid: 1"})

    with pytest.raises(ProviderRefused) as refused:
        account(desk).who_came("c")

    assert refused.value.code == str(errcode)
    assert SECRET not in str(refused.value)
    assert len(desk.asked) == 1


@pytest.mark.parametrize("content", [{}, {"openid": ""}, {"openid": 7}, {"openid": None, "access_token": "t"}])
def test_an_answer_that_names_nobody_is_not_believed(desk, content):
    desk.says(content)

    with pytest.raises(ProviderBadAnswer):
        account(desk).who_came("c")


def test_a_wechat_that_is_down_is_not_asked_again_with_the_same_code(desk):
    desk.answer = lambda _asked: (502, {}, b"<html>Bad Gateway</html>")

    with pytest.raises(ProviderUnsure):
        account(desk).who_came("c")

    assert len(desk.asked) == 1
