"""Callbacks: bytes in, one call, a status out. What they mean is decided elsewhere.

WeChat Pay reads the status (2xx is success, the body is ignored); Alipay reads the body (`success`, seven letters).
An unforeseen fault is a 500 and the provider calls again; the evidence is stored by then and a sweep takes it up.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from payments import evidence, inbox, merchants
from payments.providers import alipay, wechat
from payments.providers.base import BadCallback, Receipt, WrongReceiver

log = logging.getLogger(__name__)


class TooLarge(BadCallback):
    """Nobody's callback is that large."""

    def __init__(self) -> None:
        super().__init__("too_large")


@csrf_exempt
@require_POST
def notify_wechat(request: HttpRequest, slug: str) -> HttpResponse:
    """POST /payments/notify/wechat/<merchant>/: 204 once the payment is credited or in suspense; else 4xx with FAIL."""
    try:
        take_in(request, slug, provider="wechat", now=timezone.now())
    except merchants.NoSuchMerchant:
        return _wechat_failed("no such merchant", 404)
    except merchants.KeysUnusable as error:
        return _wechat_failed(error.reason, 503)
    except TooLarge:
        return _wechat_failed("too large", 413)
    except (BadCallback, WrongReceiver) as error:
        return _wechat_failed(error.reason, 401)
    return HttpResponse(status=204)


@csrf_exempt
@require_POST
def notify_alipay(request: HttpRequest, slug: str) -> HttpResponse:
    """POST /payments/notify/alipay/<merchant>/: `success` once credited or in suspense, else `fail` and a 4xx."""
    try:
        take_in(request, slug, provider="alipay", now=timezone.now())
    except merchants.NoSuchMerchant:
        return HttpResponse("fail", status=404, content_type="text/plain")
    except merchants.KeysUnusable:
        return HttpResponse("fail", status=503, content_type="text/plain")
    except TooLarge:
        return HttpResponse("fail", status=413, content_type="text/plain")
    except (BadCallback, WrongReceiver):
        return HttpResponse("fail", status=400, content_type="text/plain")
    return HttpResponse("success", content_type="text/plain")


def take_in(request: HttpRequest, slug: str, *, provider: str, now: datetime) -> None:
    """Verifies a callback, stores it, and acts on it; or leaves what nobody vouches for as such, and raises."""
    trace = request.META["TRACE_ID"]
    headers = {name.lower(): value for name, value in request.headers.items()}
    body = b""
    merchant_id = None
    try:
        body = read_body(request)
        merchant = merchants.named(slug, provider=provider)
        merchant_id = merchant.id
        receipt = verified(headers, body, merchant, now=now)
    except (BadCallback, merchants.NoSuchMerchant, merchants.KeysUnusable) as error:
        evidence.leave_unverified(
            merchant_id=merchant_id, provider=provider, reason=error.reason, body=body, headers=headers,
            trace=trace, now=now,
        )  # fmt: skip
        log.warning("callback of %s for %s refused: %s", provider, slug[:32], error.reason)
        if isinstance(error, merchants.KeysUnusable) or getattr(error, "is_signed", False):
            inbox.tell_unreadable(slug, reason=error.reason, trace=trace, now=now)
        raise
    inbox.take_in(
        evidence.Arrival(merchant_id=merchant.id, receipt=receipt, body=body, headers=headers, trace=trace, at=now),
        merchant=merchant,
    )


def read_body(request: HttpRequest) -> bytes:
    """The raw bytes, read up to the limit and never beyond."""
    body = request.read(settings.CALLBACK_BODY_LIMIT + 1)
    if len(body) > settings.CALLBACK_BODY_LIMIT:
        raise TooLarge
    return body


def verified(headers: Mapping[str, str], body: bytes, merchant: merchants.Snapshot, *, now: datetime) -> Receipt:
    """What the provider says, once it is sure that the provider says it. `headers` by their names in lower case."""
    if merchant.provider == "wechat":
        return wechat.read_callback(headers, body, keys=merchant.keys, now=now)
    return alipay.read_notify(body, headers.get("content-type", ""), keys=merchant.keys, now=now)


def _wechat_failed(reason: str, status: int) -> JsonResponse:
    return JsonResponse({"code": "FAIL", "message": reason}, status=status)
