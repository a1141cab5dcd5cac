"""The SMS vendors in a box, and a carrier for them."""

from __future__ import annotations

import pytest
from django.conf import LazySettings
from django.core.cache import cache

from notifications import channels
from sandbox.alipay import Alipay
from sandbox.keys import MINI_APPID, OFFICIAL_APPID
from sandbox.server import running
from sandbox.sms import SmsBox
from sandbox.wechat import WeChat
from sandbox.world import World, load_world
from tests.notifications.post import Box, Post, sms_settings


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    return load_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def sms(world: World, settings: LazySettings):
    with running(SmsBox(world, speed=300)) as url:
        for name, value in sms_settings(world, url).items():
            setattr(settings, name, value)
        settings.VENDOR_TIMEOUT_S = 1
        yield Box(url)


@pytest.fixture
def post(sms: Box) -> Post:
    return Post({name: one for name, one in channels.set_up().items() if name.startswith("sms_")})


@pytest.fixture
def wechat(world: World, settings: LazySettings):
    """The mini-program and the official account."""
    cache.clear()
    apps = world.info["wechat"]["apps"]
    with running(WeChat(world, speed=300)) as url:
        settings.WECHAT_API_URL, settings.VENDOR_TIMEOUT_S = url, 1
        settings.WECHAT_MINI_APP_ID = MINI_APPID
        settings.WECHAT_MINI_SECRET_REF = f"file:{apps[MINI_APPID]['secret_file']}"
        settings.WECHAT_OFFICIAL_APP_ID = OFFICIAL_APPID
        settings.WECHAT_OFFICIAL_SECRET_REF = f"file:{apps[OFFICIAL_APPID]['secret_file']}"
        yield Box(url)


@pytest.fixture
def alipay(world: World, settings: LazySettings):
    app = world.info["alipay"]["key"]
    with running(Alipay(world, speed=300)) as url:
        settings.ALIPAY_GATEWAY_URL, settings.VENDOR_TIMEOUT_S = f"{url}/gateway.do", 1
        settings.ALIPAY_APP_ID = app["app_id"]
        settings.ALIPAY_PRIVATE_KEY_REF = f"file:{app['app_private_key_file']}"
        settings.ALIPAY_PUBLIC_KEY_REF = f"file:{app['alipay_public_key_file']}"
        yield Box(url)


@pytest.fixture
def whole_post(sms: Box, wechat: Box, alipay: Box) -> Post:
    """All channels but the console."""
    return Post({name: one for name, one in channels.set_up().items() if name != "console"})
