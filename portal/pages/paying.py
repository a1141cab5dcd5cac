"""Paying for a meter that was scanned: no login, nothing personal."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import segno
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_http_methods

from accounts.addresses import address_of
from accounts.models import Tenancy, User
from billing import money
from meters.models import Meter
from payments.checkout import CheckoutRefused
from portal import pay_links, paying, scanned
from portal.pages import visitor, wechat_back
from portal.pages.browser import Browser, browser_of
from portal.pay_links import BadPayLink


@require_http_methods(["GET", "HEAD", "POST"])
def meter(request: HttpRequest, code: str) -> HttpResponse:
    """The page behind the QR code on a meter."""
    found = scanned.by_code(code, now=timezone.now())
    if found is None:
        raise Http404
    if found.tenancy is None:
        return render(request, "tenant/nobody_home.html", {"room": found.room}, status=404)
    held = found.meter if found.meter.holds_money() else None
    access = visitor.of(request)
    return counter(request, found.tenancy, user=access.user if access else None, meter=held)


@require_http_methods(["GET", "HEAD", "POST"])
def by_link(request: HttpRequest, token: str) -> HttpResponse:
    """The page behind a link by which somebody else pays."""
    try:
        link = pay_links.read(token, now=timezone.now())
    except BadPayLink:
        return visitor.private(render(request, "tenant/link_ended.html", status=404))
    access = visitor.of(request)
    user = access.user if access else None
    asked = [(link.amount_fen, "")] if link.amount_fen else []
    return counter(request, link.tenancy, user=user, amounts=asked, note=link.note)


def counter(
    request: HttpRequest,
    tenancy: Tenancy,
    *,
    user: User | None,
    meter: Meter | None = None,
    amounts: Sequence[tuple[int, str]] = (),
    template: str = "tenant/pay.html",
    **more: Any,
) -> HttpResponse:
    """The form to pay for a home, and what it does: a recharge is placed, and its own page goes on from there.

    `amounts` are those to choose from, in fen and with a word about each; the usual ones where none are given.
    """
    browser = browser_of(request)
    openid = wechat_back.openid_of(request) if browser == Browser.WECHAT else ""
    if browser == Browser.WECHAT and not openid and (led := wechat_back.ask(request)):
        return led
    refused = ""
    if request.method == "POST":
        sent = request.POST
        amount = sent.get("other", "").strip() or sent.get("amount", "")
        ask = paying.Ask(
            amount=amount,
            channel=sent.get("channel", ""),
            key=sent.get("key", ""),
            address=address_of(request),
            openid=openid,
            meter=meter,
        )
        try:
            order = paying.place(tenancy, ask, user=user, trace=request.META["TRACE_ID"], now=timezone.now())
            return redirect("recharge-page", order.number)
        except CheckoutRefused as error:
            refused = error.message
    context = _form(request, tenancy, browser, amounts=amounts) | {"refused": refused} | more
    return visitor.private(render(request, template, context, status=400 if refused else 200))


def _form(
    request: HttpRequest, tenancy: Tenancy, browser: Browser, *, amounts: Sequence[tuple[int, str]]
) -> dict[str, Any]:
    offer = paying.offer(tenancy, browser=browser, now=timezone.now())
    wanted = amounts or [(fen, "") for fen in offer.amounts_fen]
    shown = [(money.to_yuan(fen).removesuffix(".00"), word) for fen, word in wanted]
    return {
        "room": tenancy.room,
        "place": tenancy.property,
        "offer": offer,
        "amounts": shown,
        "other": request.POST.get("other", ""),
        "chosen": request.POST.get("amount") or shown[min(1, len(shown) - 1)][0],
        "key": str(uuid.uuid4()),  # also after a refusal, which has placed nothing
        "carry_on": qr(settings.PUBLIC_URL + request.path) if browser == Browser.DESK else "",
    }


def qr(address: str) -> str:
    """A QR code as SVG: black on white also where the page is dark, with the quiet zone that scanners want."""
    code = segno.make(address, error="m", micro=False)
    drawn = code.svg_inline(scale=4, border=4, dark="#000", light="#fff", omitsize=True, svgclass="qr", lineclass=None)
    return mark_safe(drawn)  # noqa: S308 (drawn by the library out of modules; the address is not in it as text)
