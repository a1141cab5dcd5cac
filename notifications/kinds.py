"""What the work list holds and what tenants are told, in the words of the property's staff."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.utils.translation import gettext_lazy as _

from accounts.deeds import Text

# What floors raise (a kind that is not here is shown as it is).
KINDS = {
    "meter_does_not_answer": _("Meter does not answer"),
    "parameters_not_taken": _("Meter does not go by what is laid down"),
    "unknown_meter": _("Unknown meter reports"),
    "clock_is_off": _("Clock of a meter is off"),
    "bad_frame": _("Unreadable report of a meter"),
    "top_up_stuck": _("Top-up is stuck"),
    "top_up_waits_for_nobody": _("Top-up for a home that has ended"),
    "top_up_contradicted": _("Meter contradicts a booked top-up"),
    "top_up_not_settled": _("Top-up cannot be settled"),
    "debt_without_basis": _("Debt, and no legal basis for a cut"),
    "debt_of_who_left": _("Debt of a tenant who has moved out"),
    "correction_left_debt": _("Correction left a debt"),
    "payment_in_suspense": _("Payment in suspense"),
    "refund_made_outside": _("Refund made at the provider"),
    "event_for_somebody_else": _("Callback for another merchant"),
    "event_unreadable": _("Unreadable callback"),
    "event_not_done": _("Callback could not be carried out"),
    "shipping_not_accepted": _("Shipping information was not accepted"),
    "holidays_missing": _("Public holidays of a year are missing"),
    "tariff_unreadable": _("Tariff cannot be read"),
    "mark_up": _("Tenants pay more than the property does"),
    "certificates_not_fetched": _("Platform certificates cannot be fetched"),
    "reading_in_doubt": _("Reading in doubt: nothing behind it is charged"),
    "registers_differ": _("A meter's period registers do not belong to its total"),
    "rating_failed": _("Readings cannot be rated"),
    "rating_differs": _("Rating and accounting differ"),
    "days_too_old": _("Days too old to be charged anew stay as they were"),
    "draw_of_closed_days": _("Days of two payers are closed"),
    "dispute_opened": _("A tenant disputes a reading"),
    "dispute_overdue": _("A dispute waits for a decision, for more than two weeks"),
    "meter_balance_unexplained": _("Money in a meter that nobody here put in or took out"),
    "meter_price_differs": _("A meter charges other prices than our tariff"),
    "outage": _("Outage: nobody is cut meanwhile"),
    "meters_silent": _("Meters that are not heard"),
    "meters_unread": _("Meters that are heard and not read: look at their clocks"),
    "slow_restore": _("Power takes long to come back"),
    "unreachable": _("Debt, and nobody knows that the notice arrived"),
    "messages_wait": _("Messages are not sent: is the carrier running?"),
    "review_failed": _("Supply of a home cannot be decided"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of message: who is told, how hard we try, and what its texts may name.

    `is_urgent`: quiet hours and limits of a person do not hold it up. `is_serious`: an SMS, which costs, where nothing
    cheaper reaches them; `falls_back_after`: also where no receipt came by then. `is_compulsory`: cannot be switched
    off. `good_for`: what could not be sent by then lapses. `names` are what {…} in a text may say (letters.py).
    """

    label: Text
    names: tuple[str, ...]
    good_for: timedelta
    is_for_staff: bool = False
    to_holder_alone: bool = False
    is_urgent: bool = False
    is_serious: bool = False
    is_compulsory: bool = False
    falls_back_after: timedelta | None = None


_DAY, _HOUR, _TEN_MINUTES = timedelta(days=1), timedelta(hours=1), timedelta(minutes=10)
PLACE = ("property", "room", "phone", "contact")  # every text may say where, and whom to ask

# What tenants and staff are told.
TOLD: dict[str, Kind] = {
    "recharge_received": Kind(label=_("Recharge received"), names=("amount",), good_for=3 * _DAY),
    "refund_done": Kind(label=_("Refund done"), names=("amount",), good_for=7 * _DAY, is_compulsory=True),
    "dispute_decided": Kind(
        label=_("Dispute decided"), names=("decision", "note", "read_at"), good_for=7 * _DAY, is_compulsory=True
    ),
    "low_balance": Kind(label=_("Balance is low"), names=("balance", "level"), good_for=2 * _DAY, is_serious=True),
    "balance_used_up": Kind(
        label=_("Balance is used up"),
        names=("balance", "level"),
        good_for=2 * _DAY,
        is_serious=True,
        is_compulsory=True,
    ),
    "balance_is_well": Kind(label=_("Balance is no longer low"), names=("balance", "level"), good_for=_DAY),
    "cut_notice": Kind(
        label=_("Notice of a power cut"),
        names=("balance", "hours", "not_before", "why"),
        good_for=3 * _DAY,
        is_urgent=True,
        is_serious=True,
        is_compulsory=True,
        falls_back_after=_TEN_MINUTES,
    ),
    "power_off": Kind(
        label=_("Power is off"),
        names=("why", "how", "at"),
        good_for=_DAY,
        is_urgent=True,
        is_serious=True,
        is_compulsory=True,
        falls_back_after=_TEN_MINUTES,
    ),
    "power_back": Kind(label=_("Power is back"), names=("at",), good_for=6 * _HOUR, is_urgent=True),
    "meter_alarm": Kind(
        label=_("Alarm at your meter"),
        names=("alarm", "at"),
        good_for=_DAY,
        is_urgent=True,
        is_compulsory=True,
    ),
    "price_change": Kind(
        label=_("Prices change"),
        names=("starts_on", "since", "tariff", "prices"),
        good_for=30 * _DAY,
        is_compulsory=True,
    ),
    "monthly_bill": Kind(
        label=_("Monthly bill"), names=("month", "energy", "amount"), good_for=10 * _DAY, to_holder_alone=True
    ),
    "trial": Kind(label=_("Test message"), names=("at",), good_for=_HOUR, is_urgent=True, is_compulsory=True),
    # Sent at once and by SMS alone (login_codes.py): it is a secret, so it is never a row, and in nobody's inbox.
    "login_code": Kind(
        label=_("Code for logging in"),
        names=("code", "minutes"),
        good_for=_TEN_MINUTES,
        is_urgent=True,
        is_serious=True,
        is_compulsory=True,
    ),
    # ---- staff ----
    "meters_silent": Kind(label=_("Meters are silent"), names=("count", "meters"), good_for=_DAY, is_for_staff=True),
    "differences_found": Kind(
        label=_("Differences found"), names=("count", "what"), good_for=3 * _DAY, is_for_staff=True
    ),
    "commands_given_up": Kind(
        label=_("Meters do not answer"), names=("count", "meters"), good_for=_DAY, is_for_staff=True
    ),
    "outage": Kind(
        label=_("Outage"),
        names=("what",),
        good_for=6 * _HOUR,
        is_for_staff=True,
        is_urgent=True,
        is_serious=True,
        is_compulsory=True,
    ),
    "daily_summary": Kind(label=_("Daily summary"), names=("day", "summary"), good_for=_DAY, is_for_staff=True),
}
MESSAGES = {code: kind.label for code, kind in TOLD.items()}
