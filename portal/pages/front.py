"""The bare address, and the pages that need no login."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from portal.pages import visitor


@require_safe
def front(request: HttpRequest) -> HttpResponse:
    """A word for tenants and the way to the desk for staff; who is logged in is at home."""
    if visitor.of(request) is not None:
        return redirect("homes-page")
    return render(request, "front.html")
