"""Saying that a reading is wrong: which one and why, and what staff decided."""

from __future__ import annotations

import uuid
from datetime import date, datetime

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts.models import Tenancy, User
from billing.rating import disputing
from billing.rating.disputing import REASON_AT_MOST, Claim, DisputeRefused
from portal import readings
from portal.disputes_api import IDEMPOTENCY_KEY
from portal.pages.home import at_home, bar
from portal.pages.person import number


@require_http_methods(["GET", "HEAD", "POST"])
@at_home
def disputes(request: HttpRequest, user: User, tenancy: Tenancy) -> HttpResponse:
    """All of them since they moved in, newest first; what is still open can be taken back."""
    refused = ""
    if request.method == "POST":
        dispute = tenancy.disputes.filter(pk=number(request.POST.get("of", ""))).first()
        if dispute is None:
            raise Http404
        try:
            disputing.withdraw(dispute_id=dispute.pk, by=user, now=timezone.now())
            return redirect("disputes-page", tenancy.pk)
        except DisputeRefused as error:
            refused = error.message
    found = tenancy.disputes.select_related("draw__meter").order_by("-pk")
    context = {"tenancy": tenancy, "pages": bar(user, tenancy), "disputes": found, "refused": refused}
    return render(request, "tenant/disputes.html", context, status=400 if refused else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@at_home
def dispute(request: HttpRequest, user: User, tenancy: Tenancy, on: date) -> HttpResponse:
    """A reading of a day is chosen, and what is wrong with it is said. The same form sent twice is one dispute."""
    refused = _opened(request, user, tenancy) if request.method == "POST" else ""
    if request.method == "POST" and not refused:
        return redirect("disputes-page", tenancy.pk)
    context = {
        "tenancy": tenancy,
        "pages": bar(user, tenancy),
        "on": on,
        "readings": readings.of_day(tenancy=tenancy, on=on),
        "chosen": request.POST.get("reading", ""),
        "reason": request.POST.get("reason", ""),
        "reason_at_most": REASON_AT_MOST,
        "key": request.POST.get("key") or str(uuid.uuid4()),
        "refused": refused,
    }
    return render(request, "tenant/dispute.html", context, status=400 if refused else 200)


def _opened(request: HttpRequest, user: User, tenancy: Tenancy) -> str:
    """Why it could not be opened; blank when it was."""
    sent = request.POST
    told, _space, meter = sent.get("reading", "").partition(" ")
    try:
        read_at = datetime.fromisoformat(told)
    except ValueError:
        read_at = None
    if read_at is None or read_at.tzinfo is None or not IDEMPOTENCY_KEY.match(sent.get("key", "")):
        return _("Choose the reading that is wrong.")
    reason, key = sent.get("reason", "").replace("\r\n", "\n"), f"{user.pk}:{sent['key']}"
    claim = Claim(tenancy=tenancy, by=user, read_at=read_at, reason=reason, key=key, meter=meter)
    try:
        disputing.open_dispute(claim, now=timezone.now())
    except DisputeRefused as error:
        return error.message
    return ""
