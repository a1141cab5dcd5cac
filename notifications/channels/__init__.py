"""Ways to reach people. `set_up()` gives those whose settings are there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from django.conf import settings

from accounts import vendor_apps
from accounts.keys import UnreadableKeyError, read_key
from accounts.vendor_apps import NotSetUpError
from notifications.channels.alipay_template import AlipayMessages
from notifications.channels.base import Carries
from notifications.channels.console import Console
from notifications.channels.sms_aliyun import AliyunSms
from notifications.channels.sms_tencent import TencentSms
from notifications.channels.wechat_subscribe import SubscribeMessages
from notifications.channels.wechat_template import TemplateMessages
from notifications.models import Channel

log = logging.getLogger(__name__)


def set_up() -> dict[str, Carries]:
    """By the channel's name. One whose key cannot be read is left out and said once in the log: the others go on."""
    found: dict[str, Carries] = {}
    for name, (is_wanted, make) in _CHANNELS.items():
        try:
            if is_wanted():
                found[name] = make()
        except (UnreadableKeyError, NotSetUpError) as error:
            log.warning("%s is not used: %s", name, error)
    return found


def _aliyun_sms() -> Carries:
    return AliyunSms(
        url=settings.ALIYUN_SMS_URL,
        key_id=settings.ALIYUN_SMS_KEY_ID,
        secret=read_key(settings.ALIYUN_SMS_SECRET_REF),
        sign_name=settings.ALIYUN_SMS_SIGN_NAME,
        timeout_s=settings.VENDOR_TIMEOUT_S,
    )


def _tencent_sms() -> Carries:
    return TencentSms(
        url=settings.TENCENT_SMS_URL,
        region=settings.TENCENT_SMS_REGION,
        secret_id=settings.TENCENT_SMS_SECRET_ID,
        secret_key=read_key(settings.TENCENT_SMS_SECRET_KEY_REF),
        app_id=settings.TENCENT_SMS_APP_ID,
        sign_name=settings.TENCENT_SMS_SIGN_NAME,
        timeout_s=settings.VENDOR_TIMEOUT_S,
    )


_CHANNELS: Final[dict[str, tuple[Callable[[], bool], Callable[[], Carries]]]] = {
    Channel.WECHAT_SUBSCRIBE: (
        lambda: bool(settings.WECHAT_MINI_APP_ID),
        lambda: SubscribeMessages(vendor_apps.wechat_app()),
    ),
    Channel.WECHAT_TEMPLATE: (
        lambda: bool(settings.WECHAT_OFFICIAL_APP_ID),
        lambda: TemplateMessages(vendor_apps.official_account()),
    ),
    Channel.ALIPAY_TEMPLATE: (lambda: bool(settings.ALIPAY_APP_ID), lambda: AlipayMessages(vendor_apps.alipay_app())),
    Channel.SMS_ALIYUN: (lambda: bool(settings.ALIYUN_SMS_KEY_ID), _aliyun_sms),
    Channel.SMS_TENCENT: (lambda: bool(settings.TENCENT_SMS_SECRET_ID), _tencent_sms),
    Channel.CONSOLE: (lambda: not settings.PRODUCTION, Console),
}
