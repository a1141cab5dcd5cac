"""Callbacks about messages: bytes in, one call, a status out. What they mean is decided elsewhere.

SMS vendors sign nothing, so a secret stands in the address; WeChat signs its events. What nobody vouches for, or cannot
be read, is one line in the log and a 4xx. An unforeseen fault is a 500, and the vendor calls again: everything here
may be said twice. Nothing here asks anybody over the network, for vendors wait five seconds at most.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.request import UnreadablePostError
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST

from accounts import followers
from accounts.keys import UnreadableKeyError, read_key
from notifications import permits, receipts
from notifications.channels import sms_reports
from notifications.channels import wechat_events as events
from notifications.channels.base import BadReceiptError, Receipt
from notifications.models import Channel

log = logging.getLogger(__name__)
MINI, OFFICIAL = "mini", "official"
CHANNELS: Final = {MINI: Channel.WECHAT_SUBSCRIBE, OFFICIAL: Channel.WECHAT_TEMPLATE}
SHORTEST_SECRET: Final = 16  # what is easier to guess opens nothing
STATUSES: Final = {"too_large": 413, "no_such_address": 404, "malformed": 400, "keys_unusable": 503}


@csrf_exempt
@require_POST
def aliyun_reports(request: HttpRequest, secret: str) -> HttpResponse:
    """POST /notifications/sms/aliyun/<secret>/: `{"code": 0}` once the reports are noted."""
    refusal = _take_reports(request, secret, channel=Channel.SMS_ALIYUN, read=sms_reports.aliyun)
    if refusal:
        return JsonResponse({"code": 1, "msg": refusal}, status=STATUSES.get(refusal, 403))
    return JsonResponse({"code": 0, "msg": "OK"})


@csrf_exempt
@require_POST
def tencent_reports(request: HttpRequest, secret: str) -> HttpResponse:
    """POST /notifications/sms/tencent/<secret>/: `{"result": 0}` once the reports are noted."""
    refusal = _take_reports(request, secret, channel=Channel.SMS_TENCENT, read=sms_reports.tencent)
    if refusal:
        return JsonResponse({"result": 1, "errmsg": refusal}, status=STATUSES.get(refusal, 403))
    return JsonResponse({"result": 0, "errmsg": "OK"})


@csrf_exempt
@require_http_methods(["GET", "POST"])
def wechat_events(request: HttpRequest, app: str) -> HttpResponse:
    """/notifications/wechat/mini/ and …/official/: GET gives back `echostr`, POST takes an event (`success`)."""
    now = timezone.now()
    try:
        keys = _event_keys(app)
        if request.method == "GET":
            return _plain(events.echo(_query(request), keys, now=now))
        event = events.read(_query(request), _body(request), keys, now=now)
    except BadReceiptError as error:
        log.warning("event of WeChat for %s refused: %s", app[:32], error.code)
        return _plain("fail", status=STATUSES.get(error.code, 403))
    act_on(event, app=app, app_id=keys.app_id, now=now)
    return _plain("success")


def act_on(event: events.Event, *, app: str, app_id: str, now: datetime) -> None:
    """Notes what an event says of messages, permits and followers. What says nothing of these is passed over."""
    noted = events.receipts_of(event)
    if noted:
        receipts.note(channel=CHANNELS[app], receipts=noted, now=now)
    refused = events.templates_refused(event)
    if refused and app == MINI:
        permits.end(app_id=app_id, openid=event.openid, template_ids=refused, given_before=event.at, now=now)
    if app == OFFICIAL and event.openid:
        _follow(event, app_id)
    log.info("event of WeChat for %s: %s, %s receipts", app, event.name or "none", len(noted))


def _follow(event: events.Event, app_id: str) -> None:
    if event.name == "subscribe":
        followers.came(app_id=app_id, openid=event.openid, at=event.at)
    elif event.name == "unsubscribe":
        followers.left(app_id=app_id, openid=event.openid, at=event.at)


def _take_reports(request: HttpRequest, secret: str, *, channel: str, read: Callable[..., list[Receipt]]) -> str:
    """Why they were refused, or blank."""
    now = timezone.now()
    try:
        _admit(secret)
        found = read(_body(request), now=now)
    except BadReceiptError as error:
        log.warning("reports for %s refused: %s", channel, error.code)
        return error.code
    news = receipts.note(channel=channel, receipts=found, now=now)
    log.info("reports for %s: %s, %s of them news", channel, len(found), news)
    return ""


def _admit(secret: str) -> None:
    """Whether the address is ours: compared in constant time."""
    wanted = _key("RECEIPTS_SECRET_REF")
    is_ours = hmac.compare_digest(secret.encode("utf-8", "replace"), wanted.encode())
    if not is_ours or len(wanted) < SHORTEST_SECRET:
        raise BadReceiptError("no_such_address")


def _event_keys(app: str) -> events.Keys:
    names = {MINI: "WECHAT_MINI", OFFICIAL: "WECHAT_OFFICIAL"}
    if app not in names:
        raise BadReceiptError("no_such_address")
    name = names[app]
    token = _key(f"{name}_TOKEN_REF")
    aes_key = _key(f"{name}_AES_KEY_REF") if getattr(settings, f"{name}_AES_KEY_REF") else ""
    return events.Keys(getattr(settings, f"{name}_APP_ID"), token, aes_key)


def _key(setting: str) -> str:
    """Raises BadReceiptError: there is no such address while the setting is empty."""
    ref = getattr(settings, setting)
    if not ref:
        raise BadReceiptError("no_such_address")
    try:
        return read_key(ref)
    except UnreadableKeyError as error:
        raise BadReceiptError("keys_unusable") from error


def _body(request: HttpRequest) -> bytes:
    """The raw bytes, read up to the limit and never beyond."""
    try:
        body = request.read(settings.CALLBACK_BODY_LIMIT + 1)
    except UnreadablePostError as error:
        raise BadReceiptError("malformed") from error
    if len(body) > settings.CALLBACK_BODY_LIMIT:
        raise BadReceiptError("too_large")
    return bytes(body)


def _query(request: HttpRequest) -> Mapping[str, str]:
    return {name: str(request.GET[name]) for name in request.GET}


def _plain(text: str, *, status: int = 200) -> HttpResponse:
    return HttpResponse(text, status=status, content_type="text/plain")
