"""What the work list holds and what tenants are told, in the words of the property's staff."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

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
    "rating_failed": _("Readings cannot be rated"),
    "rating_differs": _("Rating and accounting differ"),
    "draw_of_closed_days": _("Days of two payers are closed"),
    "dispute_opened": _("A tenant disputes a reading"),
    "dispute_overdue": _("A dispute waits for a decision, for more than two weeks"),
    "meter_balance_unexplained": _("Money in a meter that nobody here put in or took out"),
    "meter_price_differs": _("A meter charges other prices than our tariff"),
    "outage": _("Outage: nobody is cut meanwhile"),
    "slow_restore": _("Power takes long to come back"),
    "unreachable": _("Debt, and nobody knows that the notice arrived"),
    "review_failed": _("Supply of a home cannot be decided"),
}

# What tenants are told.
MESSAGES = {
    "recharge_received": _("Recharge received"),
    "refund_done": _("Refund done"),
    "dispute_decided": _("Dispute decided"),
    "low_balance": _("Balance is low"),
    "balance_used_up": _("Balance is used up"),
    "balance_is_well": _("Balance is no longer low"),
    "cut_notice": _("Notice of a power cut"),
}
