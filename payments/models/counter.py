"""What was taken at the property's counter."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class CounterReceipt(models.Model):
    """Cash taken at the property's counter, with its receipt number; corrected by another entry, never edited."""

    number = models.CharField(_("receipt number"), max_length=32, unique=True)
    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+", verbose_name=_("property"))
    purse = models.ForeignKey("billing.Purse", models.PROTECT, related_name="counter_receipts", verbose_name=_("purse"))
    meter = models.ForeignKey(
        "meters.Meter", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("meter")
    )
    amount_fen = models.PositiveIntegerField(_("amount, fen"))
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
