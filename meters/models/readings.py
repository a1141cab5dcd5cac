"""What meters told: readings by the month, what is not rated yet, what cannot be right, and what happened to them."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.timezone import localtime
from django.utils.translation import gettext_lazy as _

from meters import words
from meters.models.devices import Meter


class Reading(models.Model):
    """What a meter's registers showed at an instant. Partitioned by month; never in the admin (composite key)."""

    class Source(models.IntegerChoices):
        METER = 0
        STAFF = 1  # read off by a person
        STRAY = 2  # told by a meter whose clock was off, put at its instant by a person

    pk = models.CompositePrimaryKey("meter_id", "read_at")
    meter = models.ForeignKey(Meter, models.DO_NOTHING, related_name="readings", db_constraint=False)
    read_at = models.DateTimeField()
    property = models.ForeignKey("accounts.Property", models.DO_NOTHING, related_name="+", db_constraint=False)
    received_at = models.DateTimeField()
    import_wh = models.BigIntegerField()
    power_w = models.IntegerField(null=True)
    balance_fen = models.BigIntegerField(null=True)
    relay = models.CharField(max_length=10)
    period_wh = ArrayField(models.BigIntegerField(), null=True)  # sharp, peak, flat, valley, deep valley: its own count
    purchase_count = models.IntegerField(null=True)
    source = models.SmallIntegerField(choices=Source.choices, db_default=0)

    class Meta:
        verbose_name = _("reading")
        verbose_name_plural = _("readings")

    def __str__(self) -> str:
        return f"{self.meter_id} {self.read_at:%Y-%m-%d %H:%M:%S} {self.import_wh} Wh"


class Batch(models.Model):
    """Readings that were stored and are not rated yet: written with them, deleted by the transaction that rates them.

    `meter_ids` and `from_at` run side by side: the meters with new readings and the earliest of each.
    """

    stored_at = models.DateTimeField()
    meter_ids = ArrayField(models.BigIntegerField())
    from_at = ArrayField(models.DateTimeField())
    readings = models.IntegerField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.readings} · {localtime(self.stored_at):%Y-%m-%d %H:%M:%S}"


class StrayReading(models.Model):
    """A reading whose clock cannot be right: kept apart, never charged, until a person gives it an instant."""

    class Reason(models.TextChoices):
        AHEAD = "ahead"
        LONG_PAST = "long_past"

    class State(models.TextChoices):
        OPEN = "open"
        USED = "used"
        DROPPED = "dropped"

    meter = models.ForeignKey(Meter, models.PROTECT, db_index=False, related_name="strays")
    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+")
    read_at = models.DateTimeField()
    received_at = models.DateTimeField()
    import_wh = models.BigIntegerField()
    period_wh = ArrayField(models.BigIntegerField(), null=True)
    balance_fen = models.BigIntegerField(null=True)
    reason = models.CharField(max_length=9, choices=Reason.choices)
    state = models.CharField(max_length=7, choices=State.choices, default=State.OPEN)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    note = models.CharField(max_length=255, blank=True, default="")

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["meter", "read_at", "import_wh"], name="a_stray_reading_is_kept_once"),
        ]

    def __str__(self) -> str:
        return f"{self.meter} · {localtime(self.read_at):%Y-%m-%d %H:%M}"


class MeterEvent(models.Model):
    """Something a meter said happened to it."""

    meter = models.ForeignKey(Meter, models.PROTECT, related_name="events", verbose_name=_("meter"))
    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+", verbose_name=_("property"))
    message_id = models.CharField(max_length=36)
    kind = models.CharField(_("kind"), max_length=32)
    happened_at = models.DateTimeField(_("happened"))
    received_at = models.DateTimeField(_("received"))
    detail = models.CharField(_("detail"), max_length=200, blank=True, default="")

    class Meta:
        verbose_name = _("meter event")
        verbose_name_plural = _("meter events")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["meter", "message_id"], name="a_meter_says_a_thing_once"),
        ]

    def __str__(self) -> str:
        return f"{self.meter} {words.event(self.kind)}"
