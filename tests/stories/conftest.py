"""The town that stories are told in, on each broker that this machine has."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.conf import LazySettings
from django.utils import timezone
from playwright.sync_api import Browser, sync_playwright

from billing import prepaid
from meters.gateway import Hooks
from payments import merchants
from sandbox.world import World, load_world
from tests.gateways import KINDS, a_gateway, lease
from tests.stories.town import Town, a_town


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    return load_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session", params=KINDS)
def broker_url(request, tmp_path_factory) -> str:
    return lease(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def one_broker_url(tmp_path_factory) -> str:
    """For stories in which the broker has no part."""
    return lease(KINDS[0], tmp_path_factory.mktemp("broker"))


@pytest.fixture
def town(world, broker_url, tmp_path, transactional_db):
    """Nothing of ours runs yet."""
    with a_town(world=world, broker_url=broker_url, folder=tmp_path) as town:
        yield town


@pytest.fixture
def quiet_town(world, one_broker_url, tmp_path, transactional_db):
    with a_town(world=world, broker_url=one_broker_url, folder=tmp_path) as town:
        yield town


@pytest.fixture
def village(town: Town, live_server, settings: LazySettings):
    """A town without processes of its own: web and gateway are threads of the test."""
    with in_this_process(town, live_server.url, settings):
        yield town


@pytest.fixture
def quiet_village(quiet_town: Town, live_server, settings: LazySettings):
    with in_this_process(quiet_town, live_server.url, settings):
        yield quiet_town


@contextmanager
def in_this_process(town: Town, web_url: str, settings: LazySettings):
    merchants.forget()  # tests share slugs and not keys: nothing may be kept from the test before
    town.web_url = web_url
    for name, value in town.settings().items():
        setattr(settings, name, value)
    with a_gateway(town.broker_url, hooks=Hooks(after_intake=lambda _taken: prepaid.settle(now=timezone.now()))):
        yield


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        missing = "chromium is not installed here (Debian: apt install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    # Playwright runs a loop in this thread, in which Django would refuse its tables; nothing here awaits them.
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()
