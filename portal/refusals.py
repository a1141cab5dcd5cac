"""Why something about a home's people was refused, in the words of the API and of the pages alike."""

from __future__ import annotations

from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.invitations import TenancyEndedError
from accounts.joining import EndedLoginError, StaffsLoginError
from accounts.members import HolderStaysError, NoSuchMemberError, NotTheHolderError, TooManyInvitationsError
from portal.people import AnotherLoginError

WORDS: Final[dict[type[Exception], Promise]] = {
    NoSuchMemberError: _("Nobody who lives here is meant by this; they may have left."),
    NotTheHolderError: _("This is the holder's to say."),
    HolderStaysError: _("Hand the home over first, or move out at the property."),
    TooManyInvitationsError: _("Too many invitations are open. Take one back first."),
    TenancyEndedError: _("This tenancy has ended. Please ask the front desk."),
    AnotherLoginError: _("Somebody logs in by this already. If that is you, the two can be joined."),
    StaffsLoginError: _("The login of a member of staff is not joined with another."),
    EndedLoginError: _("This login has been closed. Please ask the front desk."),
}


def words(error: Exception) -> str:
    """In the reader's language. KeyError for what is none of these."""
    return str(WORDS[type(error)])
