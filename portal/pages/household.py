"""Who shares a home, who is let in, and below what it is warned: the holder's to say, everybody's to see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts import members
from accounts.invitations import TenancyEndedError
from accounts.members import HolderStaysError, NoSuchMemberError, NotTheHolderError, TooManyInvitationsError
from accounts.models import Tenancy, User
from billing import money, prepaid, wishes
from billing.wishes import WishRefused
from portal.pages.home import at_home, bar
from portal.pages.person import number
from portal.refusals import words

REFUSED: Final = (
    HolderStaysError, NoSuchMemberError, NotTheHolderError, TenancyEndedError, TooManyInvitationsError,
)  # fmt: skip
Deed = Callable[[HttpRequest, User, Tenancy], str]  # the code of an invitation where it made one, else blank


@require_http_methods(["GET", "HEAD", "POST"])
@at_home
def household(request: HttpRequest, user: User, tenancy: Tenancy) -> HttpResponse:
    """A code for a newcomer is told on the page that its tap brings, and never again."""
    code, refused = _done(request, user, tenancy) if request.method == "POST" else ("", "")
    if request.method == "POST" and not code and not refused:
        stays = members.of(tenancy).filter(user=user).exists()
        return redirect("household-page", tenancy.pk) if stays else redirect("homes-page")
    level_fen = wishes.own_level_fen(purse_id=prepaid.purse_of(tenancy).pk)
    context = {
        "tenancy": tenancy,
        "pages": bar(user, tenancy),
        "me": user,
        "members": members.of(tenancy),
        "is_holder": members.is_holder(tenancy, user),
        "invitations": members.open_invitations(tenancy, now=timezone.now()),
        "level": request.POST.get("yuan") or ("" if level_fen is None else money.to_yuan(level_fen)),
        "code": code,
        "refused": refused,
    }
    return render(request, "tenant/household.html", context, status=400 if refused else 200)


def _done(request: HttpRequest, user: User, tenancy: Tenancy) -> tuple[str, str]:
    """The code of an invitation if that was made, and why nothing was done; both blank when all is said."""
    try:
        return DEEDS.get(request.POST.get("do", ""), _nothing)(request, user, tenancy), ""
    except REFUSED as error:
        return "", words(error)
    except (money.NotAnAmount, WishRefused) as error:
        return "", str(error)


def _invite(_request: HttpRequest, user: User, tenancy: Tenancy) -> str:
    return members.invite(tenancy_id=tenancy.pk, by=user, now=timezone.now()).code


def _take_back(request: HttpRequest, user: User, tenancy: Tenancy) -> str:
    """What has been used, or has ended, needs no taking back: the page shows it no more."""
    invitation = number(request.POST.get("of", ""))
    members.take_back(tenancy_id=tenancy.pk, invitation_id=invitation, by=user, now=timezone.now())
    return ""


def _send_out(request: HttpRequest, user: User, tenancy: Tenancy) -> str:
    member, trace = number(request.POST.get("of", "")), request.META["TRACE_ID"]
    members.send_out(tenancy_id=tenancy.pk, member_id=member, by=user, trace=trace, now=timezone.now())
    return ""


def _hand_over(request: HttpRequest, user: User, tenancy: Tenancy) -> str:
    member, trace = number(request.POST.get("of", "")), request.META["TRACE_ID"]
    members.hand_over(tenancy_id=tenancy.pk, member_id=member, by=user, trace=trace)
    return ""


def _warn_below(request: HttpRequest, user: User, tenancy: Tenancy) -> str:
    """Without an amount: no level of their own any more."""
    if not members.is_holder(tenancy, user):
        raise NotTheHolderError
    yuan = request.POST.get("yuan", "").strip()
    fen = money.from_yuan(yuan) if yuan else None
    wishes.set_own_level(purse_id=prepaid.purse_of(tenancy).pk, fen=fen, by=user, now=timezone.now())
    return ""


def _nothing(_request: HttpRequest, _user: User, _tenancy: Tenancy) -> str:
    raise WishRefused(_("This page does not know what you want. Please try again."))


DEEDS: Final[dict[str, Deed]] = {
    "invite": _invite,
    "take_back": _take_back,
    "send_out": _send_out,
    "hand_over": _hand_over,
    "warn_below": _warn_below,
}
