"""A recharge's own page: pay, and then watch the light come back. Who has the number may look; nobody guesses it."""

from __future__ import annotations

import json
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import get_conditional_response, patch_cache_control, set_response_etag
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST, require_safe

from accounts import scope
from accounts.addresses import address_of
from payments import chase, checkout
from payments.models import Attempt, Order
from payments.providers.base import ProviderError, ProviderRefused
from portal import stages
from portal.pages import visitor
from portal.pages.browser import Browser, browser_of


@require_safe
def show(request: HttpRequest, number: str) -> HttpResponse:
    """How far it is; while it is unpaid, the way to pay it."""
    order = _found(number)
    way, refused = _on_the_page(request, order)
    return _whole(request, order, way=way, refused=refused)


@require_GET
def pay(request: HttpRequest, number: str) -> HttpResponse:
    """Leads on to the provider's page. Its address is made when somebody goes there: WeChat's is good for five minutes
    and for one phone, so that whoever merely looks at the recharge must not take it from whoever pays."""
    order = _found(number)
    way, refused = _way_to_pay(request, _newest(order))
    if way and "url" in way:
        return visitor.private(redirect(way["url"]))
    if not refused:
        chase.ask_now(order, now=timezone.now())
        return redirect("recharge-page", number)
    way, _none = _on_the_page(request, order)
    return _whole(request, order, way=way, refused=refused, status=503)


@require_safe
def progress(request: HttpRequest, number: str) -> HttpResponse:
    """The stages alone, for the page to ask again and again. Its provider is asked at most every other second."""
    order = _found(number)
    chase.ask_now(order, now=timezone.now())
    order.refresh_from_db(fields=["state", "paid_at"])
    return _unless_known(request, _progress(request, order))


@require_POST
def call_off(request: HttpRequest, number: str) -> HttpResponse:
    """Called off by whoever has the number; paid meanwhile, it is credited instead."""
    order = _found(number)
    if not chase.call_off(order, now=timezone.now()):
        refused = _("The payment provider does not answer. Try again.")
        return _whole(request, order, way=None, refused=refused, status=503)
    return redirect("recharge-page", number)


def _found(number: str) -> Order:
    order = Order.objects.select_related("tenancy__room__building", "tenancy__property").filter(number=number).first()
    if order is None:
        raise Http404
    return order


def _whole(
    request: HttpRequest, order: Order, *, way: dict[str, Any] | None, refused: str, status: int = 200
) -> HttpResponse:
    bridge = _bridge(way)
    is_elsewhere = bool(bridge) and browser_of(request) != Browser.WECHAT
    context = _progress(request, order) | {
        "pay": way,
        "bridge": "" if is_elsewhere else bridge,
        "is_elsewhere": is_elsewhere,
        "refused": refused,
    }
    return visitor.private(render(request, "tenant/recharge.html", context, status=status))


def _progress(request: HttpRequest, order: Order) -> dict[str, Any]:
    access, now = visitor.of(request), timezone.now()
    is_member = access is not None and scope.homes_of(access.user, now).filter(pk=order.tenancy_id).exists()
    found = stages.of(order, is_member=is_member, now=now)
    return {"order": order, "progress": found, "is_member": is_member, "is_unpaid": found.state == Order.State.PLACED}


def _unless_known(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    response = render(request, "tenant/stages.html", context)
    patch_cache_control(response, private=True, no_cache=True)
    set_response_etag(response)
    answer = get_conditional_response(request, etag=response.headers["ETag"], response=response)
    return answer if isinstance(answer, HttpResponse) else response


def _newest(order: Order) -> Attempt | None:
    """What can be paid of this recharge now."""
    attempt = order.attempts.select_related("merchant", "order").order_by("-id").first()
    is_open = attempt is not None and attempt.state in checkout.OPEN and order.state == Order.State.PLACED
    return attempt if is_open else None


def _on_the_page(request: HttpRequest, order: Order) -> tuple[dict[str, Any] | None, str]:
    """The way to pay as the page has it: a link that leads on, or what WeChat's bridge wants."""
    attempt = _newest(order)
    if attempt is not None and attempt.channel in checkout.BY_ANYBODY:
        return {"url": reverse("recharge-pay", args=[order.number])}, ""
    return _way_to_pay(request, attempt)


def _way_to_pay(request: HttpRequest, attempt: Attempt | None) -> tuple[dict[str, Any] | None, str]:
    """What the browser needs to pay, or in words why it cannot now."""
    if attempt is None:
        return None, ""
    try:
        return checkout.prepare(attempt, payer_ip=address_of(request)), ""
    except ProviderRefused:
        return None, _("The payment provider refused this recharge. Please place a new one.")
    except ProviderError:
        return None, _("The payment provider does not answer. Nothing was taken; try again in a moment.")


def _bridge(pay: dict[str, Any] | None) -> str:
    """For WeChat's bridge, as text in an attribute."""
    return json.dumps(pay) if pay and "paySign" in pay else ""
