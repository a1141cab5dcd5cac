"""Who follows the official account is found among the people we know, and nobody else is kept."""

from __future__ import annotations

import pytest
from django.core.cache import cache

from accounts import followers
from accounts.models import Identity, User
from accounts.vendor_apps import official_account
from sandbox.keys import MINI_APPID, OFFICIAL_APPID
from sandbox.server import running
from sandbox.wechat import WeChat
from tests import makers
from tests.accounts.boxes import Vendor

pytestmark = pytest.mark.django_db


@pytest.fixture
def box(world, settings):
    """WeChat, of which a page of followers is three."""
    cache.clear()
    wechat = WeChat(world)
    wechat.messages.page = 3
    with running(wechat) as url:
        settings.WECHAT_API_URL, settings.WECHAT_OFFICIAL_APP_ID = url, OFFICIAL_APPID
        settings.WECHAT_OFFICIAL_SECRET_REF = f"file:{world.info['wechat']['apps'][OFFICIAL_APPID]['secret_file']}"
        yield Vendor(url)


def a_user_of_the_mini_program(union_id: str) -> User:
    identity = makers.an_identity(app_id=MINI_APPID)
    Identity.objects.filter(pk=identity.pk).update(union_id=union_id)
    return identity.user


def follows(box: Vendor, union_id: str) -> str:
    return str(box._post("follow", {"unionid": union_id})["openid"])


def test_a_look_through_all_pages_finds_those_we_know(box):
    users = [a_user_of_the_mini_program(f"union-{n}") for n in range(0, 7, 2)]
    openids = [follows(box, f"union-{n}") for n in range(7)]

    found = followers.look_through()

    official = Identity.objects.filter(app_id=OFFICIAL_APPID).order_by("pk")
    assert found == 4
    assert [(one.user, one.subject) for one in official] == list(zip(users, openids[::2], strict=True))
    assert followers.look_through() == 0


def test_strangers_leave_no_row(box):
    openid = follows(box, "union-of-a-stranger")

    assert followers.look_up(openid) == 0
    assert not User.objects.exists()


def test_who_has_no_union_id_is_a_stranger(box):
    a_user_of_the_mini_program("")
    openid = follows(box, "")

    assert followers.look_up(openid) == 0


def test_who_follows_again_while_nobody_listened_can_be_reached_again(box):
    user = a_user_of_the_mini_program("union-1")
    openid = follows(box, "union-1")
    followers.look_through()
    identity = Identity.objects.get(app_id=OFFICIAL_APPID)
    followers.left(app_id=OFFICIAL_APPID, openid=openid, at=identity.created_at)

    followers.look_through()

    identity.refresh_from_db()
    assert (identity.user, identity.left_at) == (user, None)


def test_without_followers_there_is_nothing_to_find(box):
    assert followers.look_through() == 0


def test_without_an_official_account_nobody_is_asked(settings):
    settings.WECHAT_OFFICIAL_APP_ID = ""

    assert followers.look_through() == 0


def test_a_fault_of_wechat_leaves_it_for_the_next_day(box):
    a_user_of_the_mini_program("union-1")
    openid = follows(box, "union-1")
    box.break_down("/cgi-bin/user/info", status=502)

    assert followers.look_up(openid) == 0
    assert not Identity.objects.filter(app_id=OFFICIAL_APPID).exists()


def test_a_refused_token_is_renewed_for_a_question_as_well(box):
    openid = follows(box, "union-1")
    cache.set(f"wechat-token:{OFFICIAL_APPID}", "a-token-of-yesterday", 60)

    openids, _after = official_account().followers()

    assert openids == [openid]


def test_a_burst_reads_the_shared_token_once(box, django_assert_max_num_queries):
    account = official_account()
    account.token()

    with django_assert_max_num_queries(0):
        for _ in range(9):
            account.token()
