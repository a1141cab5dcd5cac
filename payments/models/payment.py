"""What a provider says was paid or given back, and what it must be told."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from payments.models.merchant import Merchant, Provider
from payments.models.order import Attempt, Order


class ProviderEvent(models.Model):
    """The inbox of callbacks: evidence, stored before anything is done with it.

    A verified one is kept whole for ever; an unverified one leaves a hash, an excerpt and a reason for 30 days.
    """

    class State(models.TextChoices):
        STORED = "stored", _("stored")
        DONE = "done", _("done")
        REFUSED = "refused", _("refused")

    merchant = models.ForeignKey(Merchant, models.PROTECT, null=True, related_name="events", verbose_name=_("merchant"))
    provider = models.CharField(_("provider"), max_length=8, choices=Provider.choices)
    event_id = models.CharField(_("event id"), max_length=128)
    is_verified = models.BooleanField(_("verified"))
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.STORED)
    body = models.BinaryField(_("body"), null=True)
    body_sha256 = models.CharField(_("SHA-256"), max_length=64)
    excerpt = models.CharField(_("excerpt"), max_length=255, blank=True, default="")
    headers = models.JSONField(_("headers"), default=dict)
    receipt = models.JSONField(_("receipt"), null=True)
    reason = models.CharField(_("reason"), max_length=64, blank=True, default="")
    times = models.PositiveIntegerField(_("times received"), default=1)
    trace = models.CharField(_("trace"), max_length=36)
    received_at = models.DateTimeField(_("received"))
    done_at = models.DateTimeField(pgettext_lazy("date", "done"), null=True)

    class Meta:
        verbose_name = _("provider event")
        verbose_name_plural = _("provider events")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["merchant", "event_id"], condition=Q(is_verified=True), name="an_event_is_stored_once"
            ),
            models.CheckConstraint(
                condition=Q(is_verified=False) | Q(body__isnull=False), name="verified_evidence_is_whole"
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["received_at"], condition=Q(state="stored"), name="events_not_done"),
            models.Index(fields=["received_at"], condition=Q(is_verified=False), name="unverified_events"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.event_id}"


class Payment(models.Model):
    """Money a provider says it took, verified: credited to a purse, or in suspense with the reason."""

    class State(models.TextChoices):
        CREDITED = "credited", _("credited")
        SUSPENDED = "suspended", _("in suspense")

    class FoundBy(models.TextChoices):
        CALLBACK = "callback", _("callback")
        QUERY = "query", _("query")
        STATEMENT = "statement", _("statement")

    class Suspicion(models.TextChoices):
        NONE = "", _("none")
        UNKNOWN_ORDER = "unknown_order", _("no such order")
        WRONG_AMOUNT = "wrong_amount", _("other amount than ordered")
        SURPLUS = "surplus", _("order was already paid")
        TENANCY_ENDED = "tenancy_ended", _("tenancy has ended")

    merchant = models.ForeignKey(Merchant, models.PROTECT, related_name="payments", verbose_name=_("merchant"))
    property = models.ForeignKey(
        "accounts.Property", models.PROTECT, null=True, related_name="payments", verbose_name=_("property")
    )
    provider_transaction = models.CharField(_("provider's transaction"), max_length=64)
    number = models.CharField(_("our number"), max_length=64)
    attempt = models.ForeignKey(Attempt, models.PROTECT, null=True, related_name="payments", verbose_name=_("attempt"))
    order = models.ForeignKey(Order, models.PROTECT, null=True, related_name="payments", verbose_name=_("order"))
    purse = models.ForeignKey(
        "billing.Purse", models.PROTECT, null=True, blank=True, related_name="payments", verbose_name=_("purse")
    )
    amount_fen = models.PositiveIntegerField(_("amount, fen"))
    payer = models.CharField(_("openid"), max_length=128, blank=True, default="")
    paid_at = models.DateTimeField(_("paid"))
    found_at = models.DateTimeField(_("found"))
    found_by = models.CharField(_("found by"), max_length=10, choices=FoundBy.choices)
    state = models.CharField(_("state"), max_length=10, choices=State.choices)
    suspicion = models.CharField(_("why in suspense"), max_length=16, choices=Suspicion.choices, blank=True, default="")
    refunded_fen = models.PositiveIntegerField(_("refunded, fen"), default=0)
    trace = models.CharField(_("trace"), max_length=36)

    class Meta:
        verbose_name = _("payment")
        verbose_name_plural = _("payments")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["merchant", "provider_transaction"], name="a_payment_is_recorded_once"),
            models.UniqueConstraint(
                fields=["order"], condition=Q(suspicion="", order__isnull=False), name="an_order_is_credited_once"
            ),
            models.CheckConstraint(condition=Q(amount_fen__gt=0), name="a_payment_has_an_amount"),
            models.CheckConstraint(condition=Q(refunded_fen__lte=F("amount_fen")), name="no_more_refunded_than_paid"),
            models.CheckConstraint(
                condition=Q(state="credited", purse__isnull=False) | (Q(state="suspended") & ~Q(suspicion="")),
                name="a_payment_is_credited_or_says_why_not",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["found_at"], condition=Q(state="suspended"), name="payments_in_suspense"),
        ]

    def __str__(self) -> str:
        return self.provider_transaction

    @classmethod
    def held(cls, payment_id: int) -> Payment:
        """This payment, locked until the caller's transaction ends, with merchant, order and attempt loaded.

        Its order is locked before it: the one lock order. Raises Payment.DoesNotExist.
        """
        order_id = cls.objects.values_list("order_id", flat=True).get(pk=payment_id)
        if order_id is not None:
            Order.objects.select_for_update().get(pk=order_id)
        loaded = cls.objects.select_related("merchant", "order", "attempt")
        return loaded.select_for_update(of=("self",)).get(pk=payment_id)


class Refund(models.Model):
    """Money a provider gave back. For now only those made behind our back, in the provider's own console."""

    class Origin(models.TextChoices):
        CONSOLE = "console", _("provider's console")

    payment = models.ForeignKey(Payment, models.PROTECT, related_name="refunds", verbose_name=_("payment"))
    property = models.ForeignKey(
        "accounts.Property", models.PROTECT, null=True, related_name="+", verbose_name=_("property")
    )
    number = models.CharField(_("number"), max_length=64)
    amount_fen = models.PositiveIntegerField(_("amount, fen"))
    origin = models.CharField(_("origin"), max_length=8, choices=Origin.choices)
    refunded_at = models.DateTimeField(pgettext_lazy("date", "refunded"))
    found_at = models.DateTimeField(_("found"))
    trace = models.CharField(_("trace"), max_length=36)

    class Meta:
        verbose_name = _("refund")
        verbose_name_plural = _("refunds")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["payment", "number"], name="a_refund_is_recorded_once"),
            models.CheckConstraint(condition=Q(amount_fen__gt=0), name="a_refund_has_an_amount"),
        ]

    def __str__(self) -> str:
        return self.number


class ShippingNotice(models.Model):
    """发货信息: what WeChat must be told after a credit, or it freezes the money. Once per payment."""

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        DONE = "done", _("done")
        GIVEN_UP = "given_up", _("given up")

    payment = models.OneToOneField(Payment, models.PROTECT, related_name="shipping", verbose_name=_("payment"))
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.WAITING)
    tries = models.PositiveIntegerField(_("tries"), default=0)
    next_try_at = models.DateTimeField(_("next try"))
    last_error = models.CharField(_("last error"), max_length=64, blank=True, default="")
    done_at = models.DateTimeField(pgettext_lazy("date", "done"), null=True, blank=True)

    class Meta:
        verbose_name = _("shipping notice")
        verbose_name_plural = _("shipping notices")
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["next_try_at"], condition=Q(state="waiting"), name="shipping_notices_waiting"),
        ]

    def __str__(self) -> str:
        return str(self.payment)
