"""The pages of a home, for those who live there: what is left, what was used and when, what it costs, what happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import wraps
from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts import invitations, scope
from accounts.guesses import TooManyGuessesError
from accounts.invitations import TenancyEndedError, UnknownCodeError
from accounts.models import Tenancy, User
from billing import emergency_credit, prepaid, timeline
from billing.emergency_credit import EmergencyRefused, Offer
from billing.tariff.civil import civil_date
from billing.timeline import Place
from notifications import inbox
from portal import compared, picture, restoring, suggestions, usage
from portal import homes as composed
from portal import movements as moved
from portal.homes import Home
from portal.pages import paying
from portal.pages.person import number
from portal.pages.visitor import for_tenants
from portal.prices import prices_of
from portal.usage import By, Sum

SPANS: Final[dict[By, timedelta]] = {
    "hour": timedelta(0),
    "day": timedelta(days=29),
    "month": timedelta(days=365),
    "year": timedelta(days=5 * 365),
}
AT_ONCE: Final = 30


@dataclass(frozen=True, slots=True)
class Link:
    """A page of the bar at the bottom."""

    label: str
    url: str
    is_current: bool = False
    count: int = 0


def at_home(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """For those who live in the home of the address; for everybody else it does not exist."""

    def shown(request: HttpRequest, user: User, /, *, home: int, **more: Any) -> HttpResponse:
        mine = scope.homes_of(user, timezone.now()).select_related("room__building__property", "property")
        tenancy = mine.filter(pk=home).first()
        if tenancy is None:
            raise Http404
        return view(request, user, tenancy, **more)

    return wraps(view)(for_tenants(shown))


@require_http_methods(["GET", "HEAD", "POST"])
@for_tenants
def homes(request: HttpRequest, user: User) -> HttpResponse:
    """All homes of a person; who has one alone is there at once. A code that staff or a sharer gave opens another."""
    refused = _joined(request, user) if request.method == "POST" else ""
    found = composed.homes(user=user, now=timezone.now())
    if len(found) == 1 and not refused and "all" not in request.GET:
        return redirect("home-page", found[0].tenancy.pk)
    return render(request, "tenant/homes.html", {"homes": found, "refused": refused}, status=400 if refused else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@for_tenants
def home(request: HttpRequest, user: User, home: int) -> HttpResponse:
    """What is left, whether there is power, and how it comes back. Three queries while all is well: it is what people
    open."""
    now, refused = timezone.now(), ""
    found = composed.home(user=user, home_id=home, now=now)
    if found is None:
        raise Http404
    if request.method == "POST":
        refused = _tapped(request, user, found.tenancy)
        if not refused:
            return redirect("home-page", home)
    more = {"home": found, "emergency": _emergency(found, now), "refused": refused}
    return _page(request, user, found.tenancy, "tenant/home.html", here="home-page", **more)


@require_http_methods(["GET", "HEAD", "POST"])
@at_home
def recharge(request: HttpRequest, user: User, tenancy: Tenancy) -> HttpResponse:
    """The form to pay, for one's own home."""
    pages = bar(user, tenancy, here="recharge-form")
    template = "tenant/home_recharge.html"
    found = suggestions.suggested(user=user, home_id=tenancy.pk, now=timezone.now())
    amounts = [(one.amount_fen, one.text) for one in found.suggestions] if found else []
    return paying.counter(request, tenancy, user=user, template=template, amounts=amounts, pages=pages)


@require_safe
@at_home
def used(request: HttpRequest, user: User, tenancy: Tenancy) -> HttpResponse:
    """What was used by hour, day, month or year, with a picture and the same as a table."""
    now = timezone.now()
    by: By = next((one for one in SPANS if one == request.GET.get("by")), "day")
    today = civil_date(now)
    span = {"from_date": today - SPANS[by], "to_date": today}
    found = usage.sums(tenancy=tenancy, by=by, **span, now=now)
    beside = compared.compared(found, tenancy=tenancy, by=by, **span, now=now)
    drawn = picture.of_use(found, label=lambda one: _label(one, by))
    rows = [(_label(one, by), one) for one in reversed(found)]
    tabs = [(one, label, one == by) for one, label in _tabs()]
    slots = [slot for prices in prices_of(tenancy=tenancy, now=now)[:1] for slot in prices.slots]
    return _page(
        request, user, tenancy, "tenant/usage.html", here="usage-page", rows=rows, tabs=tabs, drawn=drawn, by=by,
        beside=beside, cheap=_cheapest(slots), total_wh=sum(one.energy_wh for one in found),
    )  # fmt: skip


@require_safe
@at_home
def day(request: HttpRequest, user: User, tenancy: Tenancy, on: date) -> HttpResponse:
    """A day explained line by line: registers, energy by period and tier, price, amount."""
    found = usage.day(tenancy=tenancy, on=on, now=timezone.now())
    return _page(request, user, tenancy, "tenant/day.html", here="usage-page", day=found)


@require_safe
@at_home
def movements(request: HttpRequest, user: User, tenancy: Tenancy) -> HttpResponse:
    """What happened to money and power, newest first; or money alone, with the balance after each."""
    if request.GET.get("show") == "money":
        before_id = number(request.GET["before"]) if "before" in request.GET else None
        page = moved.page_of(tenancy=tenancy, user=user, before=before_id, at_most=AT_ONCE, now=timezone.now())
        return _page(request, user, tenancy, "tenant/balances.html", here="movements-page", page=page)
    try:
        before = Place.parse(request.GET["before"]) if "before" in request.GET else None
    except ValueError:
        raise Http404 from None
    found = timeline.events(tenancy=tenancy, before=before, limit=AT_ONCE)
    following = str(found[-1].place) if len(found) == AT_ONCE else ""
    return _page(
        request, user, tenancy, "tenant/movements.html", here="movements-page", events=found, following=following
    )


@require_safe
@at_home
def prices(request: HttpRequest, user: User, tenancy: Tenancy) -> HttpResponse:
    """What a kilowatt-hour costs today and why, and what comes next."""
    now = timezone.now()
    found = [(one, picture.of_a_day(one.slots, now=now)) for one in prices_of(tenancy=tenancy, now=now)]
    return _page(request, user, tenancy, "tenant/prices.html", here="prices-page", prices=found)


def _page(request: HttpRequest, user: User, tenancy: Tenancy, template: str, *, here: str, **more: Any) -> HttpResponse:
    return render(request, template, {"tenancy": tenancy, "pages": bar(user, tenancy, here=here)} | more)


def bar(user: User, tenancy: Tenancy, *, here: str = "") -> list[Link]:
    """The pages that stand at the bottom of each page of a home."""
    names = (
        ("home-page", _("Home")),
        ("recharge-form", _("Recharge")),
        ("usage-page", _("Usage")),
        ("movements-page", _("Movements")),
    )
    links = [Link(label, reverse(name, args=[tenancy.pk]), is_current=name == here) for name, label in names]
    return [*links, Link(_("Messages"), reverse("messages-page"), count=inbox.unread(user))]


def _tapped(request: HttpRequest, user: User, tenancy: Tenancy) -> str:
    """Has the power looked at again, or takes emergency credit; why that was refused, blank when it was not."""
    now, trace = timezone.now(), request.META["TRACE_ID"]
    if request.POST.get("do") == "look_again":
        restoring.look_again(user=user, home_id=tenancy.pk, trace=trace, now=now)
        return ""
    try:
        emergency_credit.take(purse_id=prepaid.purse_of(tenancy).pk, user=user, trace=trace, now=now)
    except EmergencyRefused as error:
        return error.message
    return ""


def _emergency(found: Home, now: datetime) -> Offer | None:
    """What a tap gives now; nothing is offered to who has power and money."""
    if not found.power.why:
        return None
    offer = emergency_credit.offer(purse=prepaid.purse_of(found.tenancy), now=now)
    return None if offer.refused else offer


def _joined(request: HttpRequest, user: User) -> str:
    """Why the code opened nothing; blank when it did."""
    try:
        invitations.join_by_code(user=user, code=request.POST.get("code", ""), now=timezone.now())
    except TooManyGuessesError:
        return _("Too many tries.")
    except UnknownCodeError:
        return _("This code is not known, was used before, or has run out. The front desk can give you another.")
    except TenancyEndedError:
        return _("This tenancy has ended. Please ask the front desk.")
    return ""


def _tabs() -> list[tuple[By, str]]:
    return [("hour", _("Today by hour")), ("day", _("By day")), ("month", _("By month")), ("year", _("By year"))]


def _label(one: Sum, by: By) -> str:
    at = localtime(one.from_at)
    return at.strftime({"hour": "%H:00", "day": "%m-%d", "month": "%Y-%m", "year": "%Y"}[by])


def _cheapest(slots: list[Any]) -> str:
    """The cheapest hours of today in words; blank where all cost the same."""
    if len({slot.prices[0] + slot.fee for slot in slots}) < 2:
        return ""
    lowest = min(slot.prices[0] + slot.fee for slot in slots)
    hours = [slot for slot in slots if slot.prices[0] + slot.fee == lowest]
    return ", ".join(f"{localtime(one.from_at):%H:%M}–{localtime(one.to_at):%H:%M}" for one in hours)
