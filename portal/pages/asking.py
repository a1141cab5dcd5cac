"""Asking somebody else to pay: a link, and its QR code for who sits beside one."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts.models import Tenancy, User
from billing import money
from payments.checkout import CheckoutRefused
from portal import pay_links
from portal.pages.home import at_home, bar
from portal.pages.paying import qr
from portal.pay_links import LONGEST_NOTE, Made


@require_http_methods(["GET", "HEAD", "POST"])
@at_home
def ask_to_pay(request: HttpRequest, user: User, tenancy: Tenancy) -> HttpResponse:
    """A link is nothing that is kept: asked for again it is another, and each is good for a week."""
    made, refused = _made(request, tenancy) if request.method == "POST" else (None, "")
    context = {
        "tenancy": tenancy,
        "pages": bar(user, tenancy),
        "made": made,
        "qr": qr(made.url) if made else "",
        "yuan": request.POST.get("yuan", ""),
        "note": request.POST.get("note", ""),
        "longest_note": LONGEST_NOTE,
        "refused": refused,
    }
    return render(request, "tenant/ask_to_pay.html", context, status=400 if refused else 200)


def _made(request: HttpRequest, tenancy: Tenancy) -> tuple[Made | None, str]:
    """The link, or in words why there is none."""
    yuan, note = request.POST.get("yuan", "").strip(), request.POST.get("note", "").strip()
    if len(note) > LONGEST_NOTE:
        return None, _("Write at most %(most)d letters.") % {"most": LONGEST_NOTE}
    try:
        amount_fen = money.from_yuan(yuan) if yuan else None
        return pay_links.make(tenancy=tenancy, amount_fen=amount_fen, note=note, now=timezone.now()), ""
    except money.NotAnAmount as error:
        return None, str(error)
    except CheckoutRefused as error:
        return None, error.message
