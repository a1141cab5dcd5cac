"""What was taken at the property's counter."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class Means(models.TextChoices):
    """How money came over the counter. All but cash lands in an account of the property's at some bank."""

    CASH = "cash", _("cash")
    BANK_TRANSFER = "bank_transfer", _("bank transfer")
    CARD = "card", _("bank card at a terminal")
    QR_CODE = "qr_code", _("the property's own QR code")
    CHEQUE = "cheque", _("cheque")
    OTHER = "other", pgettext_lazy("means of payment", "other")


class CounterReceipt(models.Model):
    """Money taken at the property's counter; corrected by another entry, never edited.

    `number` runs without gaps at each property ("garden-000017", see ReceiptNumbers). `form_digest` is of the form that
    was filled in: the same form again is the same receipt.
    """

    number = models.CharField(_("receipt number"), max_length=48, unique=True)
    form_digest = models.CharField(max_length=32, unique=True)
    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+", verbose_name=_("property"))
    purse = models.ForeignKey("billing.Purse", models.PROTECT, related_name="counter_receipts", verbose_name=_("purse"))
    meter = models.ForeignKey(
        "meters.Meter", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("meter")
    )
    amount_fen = models.PositiveIntegerField(_("amount, fen"))
    means = models.CharField(_("means of payment"), max_length=16, choices=Means.choices, default=Means.CASH)
    payer = models.CharField(_("received from"), max_length=64, blank=True, default="")
    note = models.CharField(_("note"), max_length=255, blank=True, default="")
    taken_at = models.DateTimeField(_("taken"))
    taken_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("taken by"))
    corrected_at = models.DateTimeField(_("corrected"), null=True, blank=True)
    corrected_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("corrected by"),
    )
    correction_reason = models.CharField(_("reason of the correction"), max_length=255, blank=True, default="")
    trace = models.CharField(_("trace"), max_length=36)

    class Meta:
        verbose_name = _("counter receipt")
        verbose_name_plural = _("counter receipts")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=Q(amount_fen__gt=0), name="a_counter_receipt_has_an_amount"),
            models.CheckConstraint(
                condition=Q(corrected_at__isnull=True, correction_reason="")
                | (Q(corrected_at__isnull=False) & ~Q(correction_reason="")),
                name="a_correction_has_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return self.number


class ReceiptNumbers(models.Model):
    """The last receipt number given out at a property. Its row is locked until the receipt is committed, so that a
    number is used once and none is left out: an auditor asks for the missing one."""

    property = models.OneToOneField("accounts.Property", models.PROTECT, primary_key=True, related_name="+")
    last = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name = _("receipt numbers")
        verbose_name_plural = _("receipt numbers")

    def __str__(self) -> str:
        return f"{self.property_id}: {self.last}"
