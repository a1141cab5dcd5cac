"""What meters that hold their own money took of it, day by day, and what went in or out of them past our top-ups."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from billing.models.usage import Draw


class MirroredDay(models.Model):
    """What the meter itself counted down on one civil day of a draw, as the ledger follows it.

    `used_fen` is all that the meter took since it was hung, up to the reading behind the day; `charged_fen` what is new
    of it, `ours_nano` the same day by our own tariff. Rows of an installation are written in order of time.
    """

    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+", verbose_name=_("property"))
    installation = models.ForeignKey(
        "meters.Installation",
        models.PROTECT,
        db_index=False,
        related_name="mirrored_days",
        verbose_name=_("installation"),
    )
    draw = models.ForeignKey(
        Draw, models.PROTECT, db_index=False, related_name="mirrored_days", verbose_name=_("usage")
    )
    usage_date = models.DateField(_("date"))
    read_at = models.DateTimeField(_("reading behind it"), null=True, blank=True)  # none: nothing was read so far
    purchase_count = models.IntegerField(_("purchase count"), null=True, blank=True)
    balance_fen = models.BigIntegerField(_("balance in the meter, fen"), null=True, blank=True)
    used_fen = models.BigIntegerField(_("used so far, fen"))
    charged_fen = models.BigIntegerField(_("taken by the meter, fen"))
    ours_nano = models.BigIntegerField(_("by our tariff, nano-fen"))
    mirrored_at = models.DateTimeField(_("mirrored"))

    class Meta:
        verbose_name = _("day of a meter with its own money")
        verbose_name_plural = _("days of meters with their own money")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["draw", "usage_date"], name="a_day_is_mirrored_once"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["installation", "-id"], name="mirrored_days_of_a_meter"),
        ]

    def __str__(self) -> str:
        return f"{self.draw} {self.usage_date}"


class MeterMoney(models.Model):
    """Money that went into a meter or out of it past our top-ups, as a person explains it. Append-only.

    `amount_fen` is above zero for what went in. `number` is the purchase number that it took, where it took one.
    """

    class Kind(models.TextChoices):
        ELSEWHERE = "elsewhere", _("bought elsewhere")
        TAKEN_OUT = "taken_out", _("taken out of the meter")
        ACCEPTED = "accepted", _("the meter is right")  # what it took back is given back

    key = models.CharField(_("key"), max_length=96, unique=True)
    kind = models.CharField(_("kind"), max_length=12, choices=Kind.choices)
    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+", verbose_name=_("property"))
    installation = models.ForeignKey(
        "meters.Installation", models.PROTECT, related_name="money", verbose_name=_("installation")
    )
    number = models.IntegerField(_("purchase number"), null=True, blank=True)
    amount_fen = models.BigIntegerField(_("amount, fen"))
    happened_at = models.DateTimeField(_("happened"))
    entered_at = models.DateTimeField(_("entered"))
    entered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("entered by")
    )
    reason = models.CharField(_("reason"), max_length=255)

    class Meta:
        verbose_name = _("money past our top-ups")
        verbose_name_plural = _("money past our top-ups")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=~Q(reason=""), name="meter_money_has_a_reason"),
            models.CheckConstraint(
                condition=Q(kind="elsewhere", amount_fen__gt=0)
                | Q(kind="taken_out", amount_fen__lt=0)
                | Q(kind="accepted", amount_fen=0),
                name="meter_money_goes_where_it_says",
            ),
            models.UniqueConstraint(
                fields=["installation", "number"],
                condition=Q(number__isnull=False),
                name="a_foreign_purchase_has_its_number",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.installation}: {self.get_kind_display()}"
