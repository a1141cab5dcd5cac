"""The codes that floors write down, in the words of the property's staff: why something is on the work list, why a
callback was refused, what a meter answered. The rows keep the codes: programs compare them, and logs have them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from accounts.deeds import Text

# One code means the same wherever it stands. What is not here is shown as it is: a vendor's own code, say, which its
# documentation knows.
WORDS = {
    # ---- a top-up, and what a meter answered ----
    "number_taken": _("somebody else used this purchase number"),
    "number_used": _("this purchase number is in use"),
    "count_jumped": _("the meter's purchase count jumped"),
    "count_moved": _("the meter's purchase count moved meanwhile"),
    "no_count": _("the meter does not tell its purchase count"),
    "not_applied": _("the meter has not booked it"),
    "contradiction": _("the meter contradicts itself"),
    "landed_after_all": _("it was cancelled, and is in the meter after all"),
    "cancelled": _("cancelled"),
    "expired": _("it reached the meter too late"),
    "stale": _("a newer command came before it"),
    "duplicate": _("the meter has this purchase number already"),
    "count": _("the meter counts otherwise"),
    "unsupported": _("the meter cannot do that"),
    "failed": _("the meter tried, and could not"),
    "keep_supply": _("the meter is set to keep the supply on"),
    "not_answered": _("no answer"),
    "meter_taken_down": _("the meter hangs there no more"),
    # ---- the balance of a meter with money of its own ----
    "opening_unknown": _("it had money in it when it was first read"),
    "balance_rose": _("its balance rose without a purchase"),
    "purchase_unknown": _("it had a purchase that is not ours"),
    "count_went_back": _("its purchase count went back"),
    # ---- a reading that cannot follow the ones before it ----
    "decrease": _("lower than the reading before"),
    "jump": _("more than the meter can have counted meanwhile"),
    "period_decrease": _("the register of a period is lower than before"),
    "ruled_out": _("found wrong by staff"),
    # ---- a payment in suspense ----
    "unknown_order": _("no such order"),
    "wrong_amount": _("other amount than ordered"),
    "surplus": _("order was already paid"),
    "tenancy_ended": _("tenancy has ended"),
    "payment_being_confirmed": _("a payment is being confirmed"),
    # ---- a callback for somebody else ----
    "wrong_account": _("other merchant number"),
    "wrong_sub_account": _("other sub-merchant number"),
    "wrong_app_id": _("other app id"),
    "wrong_sub_app_id": _("other app id of the sub-merchant"),
    "wrong_currency": _("other currency than yuan"),
    # ---- a callback that nobody vouches for, or that cannot be read ----
    "no_such_merchant": _("no such merchant"),
    "keys_unusable": _("our keys cannot be used"),
    "bad_signature": _("wrong signature"),
    "signature": _("wrong signature"),
    "signtest": _("the provider's test whether we verify"),
    "signature_type": _("unknown kind of signature"),
    "sign_type": _("unknown kind of signature"),
    "unknown_serial": _("signed with an unknown key"),
    "missing_header": _("a header is missing"),
    "malformed_header": _("a header is malformed"),
    "clock": _("its time is too far from ours"),
    "missing_field": _("a field is missing"),
    "malformed": _("malformed"),
    "charset": _("its characters cannot be read"),
    "amount": _("its amount is no amount"),
    "instant": _("its time is no time"),
    "event_type": _("unknown kind of notice"),
    "trade_status": _("unknown state of the trade"),
    "trade_state": _("unknown state of the trade"),
    "refund_status": _("unknown state of the refund"),
    "algorithm": _("unknown cipher"),
    "nonce_length": _("nonce of a wrong length"),
    "decrypt": _("it cannot be decrypted: is the APIv3 key right?"),
    # ---- a call to a vendor ----
    "ConnectTimeout": _("no answer"),
    "ReadTimeout": _("no answer"),
    "ConnectionError": _("cannot be reached"),
    "SSLError": _("no secure connection"),
    "SYSTEM_ERROR": _("a fault at the provider"),
    "SYSTEMERROR": _("a fault at the provider"),
    "FREQUENCY_LIMITED": _("asked too often"),
    "too_large": _("the answer is too large"),
    "other_number": _("an answer about another order"),
    "other_serial": _("signed with another key"),
    "token": _("the vendor does not take our token"),
    "refunded": _("refunded"),
    # ---- a message ----
    "too_late": _("it would have come too late"),
    "never_taken": _("the vendor never took it"),
    "withdrawn": _("it was no longer true"),
    "not_sent": _("not sent yet"),
    "fault": _("a fault here"),
    "43101": _("no permit is left"),
    "43004": _("does not follow the account any more"),
    "47003": _("a field of the template does not fit"),
    "40037": _("no such template"),
    "40003": _("no such person"),
    "45009": _("asked too often today"),
    "isv.BUSINESS_LIMIT_CONTROL": _("too many to this number"),
    "isv.MOBILE_NUMBER_ILLEGAL": _("no such number"),
    "isv.SMS_TEMPLATE_ILLEGAL": _("no such template"),
    "isv.SMS_SIGNATURE_ILLEGAL": _("the sign name is not approved"),
    "isv.AMOUNT_NOT_ENOUGH": _("the account at the vendor is empty"),
    "isv.OUT_OF_SERVICE": _("the account at the vendor is suspended"),
    # ---- the reason of a journal entry that no person gave ----
    "made in the provider's console": _("made in the provider's console"),
}


def in_words(code: str) -> str:
    """A code in the reader's language; what follows a colon (a vendor's own message) is kept as it is."""
    name, colon, rest = code.partition(":")
    known = WORDS.get(name)
    return f"{known}{colon}{rest}" if known else code


def words_column(field: str, *, label: Text) -> Callable[[Any], str]:
    """Shows a field of codes in words, sorted by the code."""

    @admin.display(description=label, ordering=field)
    def shown(row: Any) -> str:
        return in_words(str(getattr(row, field)))

    shown.__name__ = f"{field}_in_words"
    return shown
