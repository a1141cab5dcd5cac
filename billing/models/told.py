"""What homes were told, and wished to be told, where nothing else remembers it."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from billing.models.purses import Purse
from billing.models.tariffs import TariffVersion


class OwnLevel(models.Model):
    """The balance below which a home wants to be warned, beside what its property laid down. No row: none."""

    AT_MOST_FEN = 1_000_000

    purse = models.OneToOneField(
        Purse, models.CASCADE, primary_key=True, related_name="own_level", verbose_name=_("purse")
    )
    below_fen = models.PositiveIntegerField(
        _("warn below, fen"), validators=[MinValueValidator(1), MaxValueValidator(AT_MOST_FEN)]
    )
    set_at = models.DateTimeField(_("changed"))
    set_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+", verbose_name=_("changed by")
    )

    class Meta:
        verbose_name = _("home's own warning")
        verbose_name_plural = _("homes' own warnings")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(below_fen__gte=1, below_fen__lte=1_000_000), name="an_own_level_is_an_amount"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.purse}: {self.below_fen}"


class Blackout(models.Model):
    """A home whose meters report that its power is off, and that was told so; over when all of them report it on.

    `cause`: the verdict that switched it off, or `meter` for one that goes by money of its own.
    """

    purse = models.ForeignKey(Purse, models.CASCADE, db_index=False, related_name="blackouts", verbose_name=_("purse"))
    cause = models.CharField(_("cause"), max_length=16)
    began_at = models.DateTimeField(_("off since"))
    ended_at = models.DateTimeField(_("back since"), null=True, blank=True)

    class Meta:
        verbose_name = _("blackout")
        verbose_name_plural = _("blackouts")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["purse"], condition=Q(ended_at__isnull=True), name="a_home_is_dark_once_at_a_time"
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("began_at")), name="light_follows_the_dark"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.purse} {self.began_at:%Y-%m-%d %H:%M}"


class PriceChange(models.Model):
    """Other prices that a home was told of before the day from which they hold."""

    purse = models.ForeignKey(
        Purse, models.CASCADE, db_index=False, related_name="price_changes", verbose_name=_("purse")
    )
    starts_date = models.DateField(_("first day"))
    version = models.ForeignKey(TariffVersion, models.PROTECT, related_name="+", verbose_name=_("version"))
    told_at = models.DateTimeField(_("told"))
    withdrawn_at = models.DateTimeField(_("withdrawn"), null=True, blank=True)

    class Meta:
        verbose_name = _("announced change of prices")
        verbose_name_plural = _("announced changes of prices")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["purse", "starts_date", "version"],
                condition=Q(withdrawn_at__isnull=True),
                name="a_change_of_prices_is_told_once",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                fields=["starts_date"], condition=Q(withdrawn_at__isnull=True), name="changes_of_prices_ahead"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.purse} {self.starts_date}"
