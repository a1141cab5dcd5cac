"""WeChat and Alipay in their boxes, answering over HTTP, with our settings pointing at them."""

from __future__ import annotations

import pytest
import requests

from accounts import vendors
from sandbox.alipay import Alipay
from sandbox.keys import ALIPAY_APP_IDS, MINI_APPID
from sandbox.server import running
from sandbox.wechat import WeChat
from sandbox.world import load_world


class Vendor:
    """People at one vendor, over the box's control API."""

    def __init__(self, url):
        self.url = url

    def tap(self, **who):
        """Somebody taps "log in"; their openid, code and (with a phone) phone_code."""
        return self._post("login_code", who)

    def break_down(self, match, **how):
        self._post("faults", {"answers": [{"match": match, "times": 9, **how}]})

    def _post(self, path, body):
        answer = requests.post(f"{self.url}/sandbox/{path}", json=body, timeout=5)
        answer.raise_for_status()
        return answer.json()


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return load_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def _hang_up():
    """A connection to a vendor is kept for the next call; the vendor of the next test is another."""
    yield
    vendors._session().close()


@pytest.fixture
def wechat(world, settings):
    with running(WeChat(world)) as url:
        settings.WECHAT_API_URL = url
        settings.WECHAT_MINI_APP_ID = MINI_APPID
        settings.WECHAT_MINI_SECRET_REF = f"file:{world.info['wechat']['apps'][MINI_APPID]['secret_file']}"
        yield Vendor(url)


@pytest.fixture
def alipay(world, settings):
    with running(Alipay(world)) as url:
        app = world.info["alipay"]["key"]
        settings.ALIPAY_GATEWAY_URL = f"{url}/gateway.do"
        settings.ALIPAY_APP_ID = ALIPAY_APP_IDS["key"]
        settings.ALIPAY_PRIVATE_KEY_REF = f"file:{app['app_private_key_file']}"
        settings.ALIPAY_PUBLIC_KEY_REF = f"file:{app['alipay_public_key_file']}"
        yield Vendor(url)
