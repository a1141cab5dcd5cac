"""The SMS vendors in a box, and a carrier for them."""

from __future__ import annotations

import pytest
from django.conf import LazySettings

from notifications import channels
from sandbox.server import running
from sandbox.sms import SmsBox
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
