"""In which app a page is open, as far as that decides how one can pay there."""

from __future__ import annotations

from enum import StrEnum

from django.http import HttpRequest


class Browser(StrEnum):
    WECHAT = "wechat"  # the browser within WeChat, which pays by its bridge
    ALIPAY = "alipay"  # the one within Alipay
    PHONE = "phone"
    DESK = "desk"  # WeChat's page for payments wants a phone: shown a QR code to go on with


def browser_of(request: HttpRequest) -> Browser:
    """By what the browser calls itself. A browser that lies gets a page that works less well, nothing else."""
    name = request.headers.get("User-Agent", "")
    if "MicroMessenger" in name:
        return Browser.WECHAT
    if "AlipayClient" in name:
        return Browser.ALIPAY
    return Browser.PHONE if "Mobile" in name or "Android" in name else Browser.DESK
