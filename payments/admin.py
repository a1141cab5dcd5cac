"""Orders, payments and evidence as staff see them, and money in suspense moved to where it belongs."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.deeds import Answers, Deed, Facts, ReasonForm
from accounts.masks import shortened
from accounts.models import Property, Tenancy
from accounts.panes import PropertyFilter, RowsInline, laid_out, yuan_column
from accounts.window import RuledForm, ScopedAdmin
from billing import money, prepaid
from billing.models import Purse
from notifications.words import words_column
from payments import suspense
from payments.counter_admin import CounterReceiptAdmin
from payments.merchant_admin import MerchantAdmin, ProviderKeyAdmin
from payments.models import (
    Attempt,
    MerchantProperty,
    Order,
    Payment,
    ProviderEvent,
    RechargeLimits,
    Refund,
    ShippingNotice,
)

__all__ = ["CounterReceiptAdmin", "MerchantAdmin", "ProviderKeyAdmin"]
AMOUNT = yuan_column("amount_fen", label=_("amount"))
ERROR, REASON = words_column("last_error", label=_("last error")), words_column("reason", label=_("reason"))


def of_merchants_wholly_in(places: QuerySet[Property]) -> Q:
    """Rows whose merchant serves these properties and no other: only then is what is nobody's surely theirs."""
    serving = MerchantProperty.objects.filter(merchant=OuterRef("merchant"))
    return Q(Exists(serving.filter(property__in=places))) & ~Q(Exists(serving.exclude(property__in=places)))


@admin.display(description=_("openid"))
def payer(row: Attempt | Payment) -> str:
    return shortened(row.payer)


class YuanField(forms.CharField):
    """An amount in yuan that arrives as fen."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        try:
            return money.from_yuan(text) if text else None
        except money.NotAnAmount as error:
            raise forms.ValidationError(str(error)) from error

    def prepare_value(self, value: Any) -> Any:
        return money.to_yuan(value) if isinstance(value, int) else value


class LimitsForm(RuledForm):
    rules: ClassVar = {"limits_leave_room": _("The least must be above zero, and not above the most.")}
    at_least_fen = YuanField(label=_("at least, yuan"))
    at_most_fen = YuanField(label=_("at most, yuan"))


@admin.register(RechargeLimits)
class RechargeLimitsAdmin(ScopedAdmin[RechargeLimits]):
    form = LimitsForm
    may_add = may_change = staff.MANAGERS
    fixed = ("property",)
    related = ("property",)
    fields = ("property", "at_least_fen", "at_most_fen")
    autocomplete_fields = ("property",)
    list_display = (
        "property",
        yuan_column("at_least_fen", label=_("at least")),
        yuan_column("at_most_fen", label=_("at most")),
    )
    search_fields = ("property__name",)


class AttemptsInline(RowsInline):
    model = Attempt
    fields = readonly_fields = ("number", "channel", "merchant", AMOUNT, "state", "made_at", "ended_at", ERROR)
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attempt]:
        return super().get_queryset(request).select_related("merchant")


@admin.register(Order)
class OrderAdmin(ScopedAdmin[Order]):
    related = ("tenancy__room__building", "purse__tenancy__room__building", "meter", "user", "property")
    fields = (
        *("number", "tenancy", "purse", "meter", "user", AMOUNT, "state"),
        *("placed_at", "paid_at", "closed_at", "trace"),
    )
    list_display = ("number", "tenancy", AMOUNT, "state", "placed_at", "paid_at", "property")
    list_filter = (PropertyFilter, "state")
    search_fields = ("number", "trace", "tenancy__room__number", "attempts__number")
    search_help_text = _("Number of the order or of an attempt, room, or trace")
    inlines = (AttemptsInline,)


@admin.register(Attempt)
class AttemptAdmin(ScopedAdmin[Attempt]):
    related = ("order", "merchant", "property")
    fields = (
        *("number", "order", "merchant", "channel", payer, "app_id", AMOUNT, "state"),
        *("made_at", "expires_at", "ended_at", "asks", "asked_at", "next_ask_at", ERROR),
    )
    list_display = ("number", "order", "channel", AMOUNT, "state", "made_at", "asks", ERROR, "property")
    list_filter = (PropertyFilter, "channel", "state")
    search_fields = ("number", "order__number")


class MoveForm(ReasonForm):
    tenancy = forms.ModelChoiceField(Tenancy.objects.none(), label=_("Tenancy"))
    field_order = ("tenancy", "reason")

    def prepare(self) -> None:
        """Homes for which this merchant takes money: what one company was paid does not become another's debt."""
        served = MerchantProperty.objects.filter(merchant__in=[payment.merchant_id for payment in self.rows])
        homes = Tenancy.objects.filter(property__in=staff.places_where(self.request, staff.BOOKS))
        homes = homes.filter(property__in=served.values("property")).select_related("room__building")
        self.offer("tenancy", homes, like=Purse.tenancy.field)
        self.fields["tenancy"].initial = next(
            (payment.order.tenancy_id for payment in self.rows if payment.order), None
        )


def _move(request: HttpRequest, payment: Payment, answers: Answers) -> str:
    home: Tenancy = answers["tenancy"]
    moved = suspense.move_to_purse(
        payment_id=payment.pk,
        purse=prepaid.purse_of(home),
        by=staff.who(request),
        reason=answers["reason"],
        now=timezone.now(),
    )
    amount = money.shown(moved.amount_fen - moved.refunded_fen)
    return gettext("%(amount)s moved to %(home)s.") % {"amount": amount, "home": home}


def _suspended(payment: Payment) -> Facts:
    return [
        (_("merchant"), payment.merchant),
        (_("provider's transaction"), payment.provider_transaction),
        (_("our number"), payment.number),
        (_("amount"), money.shown(payment.amount_fen - payment.refunded_fen)),
        (_("paid"), f"{timezone.localtime(payment.paid_at):%Y-%m-%d %H:%M:%S}"),
        (_("why in suspense"), payment.get_suspicion_display()),
    ]


@admin.register(Payment)
class PaymentAdmin(ScopedAdmin[Payment]):
    related = ("merchant", "property", "order", "attempt", "purse__tenancy__room__building", "purse__property")
    fields = (
        *("provider_transaction", "merchant", "property", "number", "order", "attempt", "purse", AMOUNT, payer),
        *("paid_at", "found_at", "found_by", "state", "suspicion"),
        *(yuan_column("refunded_fen", label=_("refunded")), "trace"),
    )
    list_display = ("provider_transaction", "merchant", AMOUNT, "purse", "state", "suspicion", "paid_at", "property")
    list_filter = (PropertyFilter, "state", "suspicion", "found_by")
    search_fields = ("provider_transaction", "number", "trace", "order__number")
    search_help_text = _("The provider's transaction, our number, or trace")
    deeds = (
        Deed(
            name="move_to_purse",
            label=_("Move to a home"),
            roles=staff.BOOKS,
            does=_move,
            form=MoveForm,
            refusals=(suspense.NotInSuspense, ValueError),
            facts=_suspended,
            fits=lambda payment: payment.state == Payment.State.SUSPENDED,
            at_most=1,
        ),
    )

    def in_places(self, rows: QuerySet[Payment], places: QuerySet[Property]) -> QuerySet[Payment]:
        """A payment for no order of ours belongs to the properties of its merchant, where those are all the asker's."""
        return rows.filter(Q(property__in=places) | Q(property__isnull=True) & of_merchants_wholly_in(places))


@admin.register(Refund)
class RefundAdmin(ScopedAdmin[Refund]):
    related = ("payment", "property")
    fields = ("number", "payment", "property", AMOUNT, "origin", "refunded_at", "found_at", "trace")
    list_display = ("number", "payment", AMOUNT, "origin", "refunded_at", "property")
    list_filter = (PropertyFilter,)
    search_fields = ("number", "payment__provider_transaction", "trace")


@admin.register(ProviderEvent)
class ProviderEventAdmin(ScopedAdmin[ProviderEvent]):
    """Evidence: what it said stays hidden, its hash, excerpt and reading are shown."""

    related = ("merchant",)
    fields = (
        *("merchant", "provider", "event_id", "is_verified", "state", REASON, "times", "received_at", "done_at"),
        *(laid_out("receipt", label=_("receipt")), laid_out("headers", label=_("headers"))),
        *("excerpt", "body_sha256", "trace"),
    )
    list_display = ("received_at", "merchant", "provider", "is_verified", "state", REASON, "times")
    list_filter = (PropertyFilter, "provider", "is_verified", "state")
    search_fields = ("event_id", "trace", "body_sha256")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProviderEvent]:
        return super().get_queryset(request).defer("body")

    def in_places(self, rows: QuerySet[ProviderEvent], places: QuerySet[Property]) -> QuerySet[ProviderEvent]:
        return rows.filter(of_merchants_wholly_in(places))


@admin.register(ShippingNotice)
class ShippingNoticeAdmin(ScopedAdmin[ShippingNotice]):
    property_path = "payment__property"
    related = ("payment",)
    fields = ("payment", "state", "tries", "next_try_at", ERROR, "done_at")
    list_display = ("payment", "state", "tries", ERROR, "done_at")
    list_filter = (PropertyFilter, "state")
    search_fields = ("payment__provider_transaction", "payment__number")
