"""Pages for people, outside of the admin."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
def front(request: HttpRequest) -> HttpResponse:
    """The bare address: a word for tenants and the way to the desk for staff.

    No redirect to the admin: Alipay sends tenants here after they paid on its web page (checkout's return address), and
    a login for staff would tell them that something went wrong.
    """
    return render(request, "front.html")
