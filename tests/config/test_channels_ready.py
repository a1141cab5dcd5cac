"""The doctor says which ways of messages are open, and why others are not."""

from __future__ import annotations

import pytest
from django.utils import timezone

from config.channels_ready import AES_KEYS, HEARS_BY, NEEDED, message_channels
from config.doctor import EXAMINATIONS
from notifications.models import Channel
from tests.notifications.post import a_template

pytestmark = pytest.mark.django_db
ALIYUN = NEEDED[Channel.SMS_ALIYUN]


@pytest.fixture(autouse=True)
def _nothing_set(settings):
    for names in (*NEEDED.values(), HEARS_BY.values(), AES_KEYS):
        for name in names:
            setattr(settings, name, "")


@pytest.fixture
def key(tmp_path):
    (tmp_path / "key").write_text("k" * 43)
    return f"file:{tmp_path / 'key'}"


@pytest.fixture
def aliyun(settings, key):
    """Set up, with a template, and heard of."""
    settings.ALIYUN_SMS_KEY_ID, settings.ALIYUN_SMS_SIGN_NAME = "LTAI", "meterpay"
    settings.ALIYUN_SMS_SECRET_REF = settings.RECEIPTS_SECRET_REF = key
    a_template()


def told() -> dict[str, str]:
    """What is said of Aliyun, by where; wrong things with an exclamation mark."""
    others = set(NEEDED) - {Channel.SMS_ALIYUN}
    found = [ailment for ailment in message_channels(timezone.now()) if ailment.where not in others]
    return {one.where: one.what if one.is_warning else f"{one.what}!" for one in found}


def test_it_is_part_of_the_examination():
    assert message_channels in EXAMINATIONS


def test_what_is_not_set_up_is_a_warning():
    found = list(message_channels(timezone.now()))

    assert {one.where for one in found} == set(NEEDED)
    assert all(one.is_warning for one in found)


@pytest.mark.usefixtures("aliyun")
def test_what_is_set_up_is_no_ailment():
    assert told() == {}


@pytest.mark.usefixtures("aliyun")
@pytest.mark.parametrize("name", ALIYUN)
def test_half_a_channel_is_wrong(settings, name):
    setattr(settings, name, "")

    assert told() == {name: "is not set, and sms_aliyun needs it!"}


@pytest.mark.usefixtures("aliyun")
def test_a_key_that_cannot_be_read_is_wrong(settings):
    settings.ALIYUN_SMS_SECRET_REF = "file:/nowhere"

    assert told()["ALIYUN_SMS_SECRET_REF"].endswith("cannot be read: No such file or directory!")


@pytest.mark.usefixtures("aliyun")
def test_nobody_hears_what_became_of_messages_without_an_address(settings):
    settings.RECEIPTS_SECRET_REF = ""

    assert told() == {"RECEIPTS_SECRET_REF": "is not set: nobody hears what became of messages by sms_aliyun"}


@pytest.mark.usefixtures("aliyun")
@pytest.mark.parametrize(
    "secret", ["short", "with/a/slash/in/it/0123", "blanks are no part of it", "密码密码密码密码密码密码密码密码"]
)
def test_a_secret_that_is_no_address_is_wrong(settings, tmp_path, secret):
    (tmp_path / "secret").write_text(secret)
    settings.RECEIPTS_SECRET_REF = f"file:{tmp_path / 'secret'}"

    assert told() == {"RECEIPTS_SECRET_REF": "is no part of an address, or shorter than 16 characters!"}


def test_a_channel_without_texts_carries_nothing(settings, key):
    settings.WECHAT_MINI_APP_ID, settings.WECHAT_MINI_TOKEN_REF = "wx1", key

    found = {one.where: one.what for one in message_channels(timezone.now())}

    assert found["wechat_subscribe"] == "no text has a template of the vendor, so nothing goes by it"


@pytest.mark.parametrize("name", AES_KEYS)
def test_a_key_of_the_safe_mode_has_its_length(settings, tmp_path, name, key):
    setattr(settings, name, key)
    right = told()
    (tmp_path / "short").write_text("k" * 32)
    setattr(settings, name, f"file:{tmp_path / 'short'}")

    assert name not in right
    assert told()[name] == "has not 43 characters!"
