"""What is a person's own, whichever home: messages, wishes, and where help is."""

from __future__ import annotations

from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts.masks import masked
from accounts.models import Property, User
from notifications import inbox, preferences
from portal import help as helping
from portal.pages import visitor
from portal.pages.visitor import for_tenants

AT_ONCE: Final = 20
BIGGEST: Final = 2**63 - 1


@require_http_methods(["GET", "HEAD", "POST"])
@for_tenants
def messages(request: HttpRequest, user: User) -> HttpResponse:
    """What they were told, newest first. Reading is a tap of its own: it proves that they know, and stops reminders."""
    if request.method == "POST":
        inbox.read(user=user, up_to=number(request.POST.get("up_to", "")), only=False, now=timezone.now())
        return redirect("messages-page")
    rows = inbox.of(user)
    if "before" in request.GET:
        rows = rows.filter(pk__lt=number(request.GET["before"]))
    found = list(rows[: AT_ONCE + 1])
    context = {
        "messages": found[:AT_ONCE],
        "unread": inbox.unread(user),
        "following": found[AT_ONCE - 1].pk if len(found) > AT_ONCE else "",
    }
    return render(request, "tenant/messages.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@for_tenants
def settings(request: HttpRequest, user: User) -> HttpResponse:
    """What they want to be told, when not, and in which language."""
    refused = _wished(request, user) if request.method == "POST" else ""
    if request.method == "POST" and not refused:
        return redirect("settings-page")
    wanted = preferences.of(user)
    kinds = [
        (code, kind.label, kind.is_compulsory, code not in wanted.off_kinds)
        for code, kind in preferences.offered().items()
    ]
    context = {
        "kinds": kinds,
        "wanted": wanted,
        "quiet_from": _clock(wanted.quiet_from),
        "quiet_until": _clock(wanted.quiet_until),
        "phone": masked(user.phone),
        "refused": refused,
    }
    return render(request, "tenant/settings.html", context, status=400 if refused else 200)


@require_safe
def help_index(request: HttpRequest) -> HttpResponse:
    """All articles, and where to call."""
    return render(request, "tenant/help.html", {"articles": helping.ARTICLES.items(), "places": _places(request)})


@require_safe
def help_article(request: HttpRequest, slug: str) -> HttpResponse:
    """One article."""
    places = _places(request)
    found = helping.article(slug, places=places)
    if found is None:
        raise Http404
    context = {"title": found.title, "text": mark_safe(found.html), "places": places}  # noqa: S308 (a template of ours)
    return render(request, "tenant/help_article.html", context)


def _places(request: HttpRequest) -> list[Property]:
    """The properties where who looks lives, for their phone numbers."""
    access = visitor.of(request)
    return helping.places_of(access.user, now=timezone.now()) if access else []


def _wished(request: HttpRequest, user: User) -> str:
    """Why it cannot be wished for; blank when it was."""
    on = set(request.POST.getlist("kinds"))
    off = [code for code, kind in preferences.offered().items() if not kind.is_compulsory and code not in on]
    minutes = [_minutes(request.POST.get(name, "")) for name in ("quiet_from", "quiet_until")]
    if None in minutes:
        return str(_("Write a time as 22:00."))
    language = "en" if request.POST.get("language") == "en" else "zh-hans"
    wish: dict[str, Any] = {"off_kinds": off, "quiet_from": minutes[0], "quiet_until": minutes[1]}
    preferences.wish(user=user, **wish, language=language, now=timezone.now())
    return ""


def _minutes(text: str) -> int | None:
    hours, _colon, minutes = text.partition(":")
    if not (len(hours) == len(minutes) == 2 and (hours + minutes).isascii() and (hours + minutes).isdigit()):
        return None
    return int(hours) * 60 + int(minutes) if int(hours) < 24 and int(minutes) < 60 else None


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def number(text: str) -> int:
    """Of a row, as a form sends it. Raises Http404 for what no row can have."""
    if not (text.isascii() and text.isdecimal() and len(text) < 20) or int(text) > BIGGEST:
        raise Http404
    return int(text)
