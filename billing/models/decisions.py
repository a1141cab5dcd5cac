"""What was decided about power, what the tenant was told beforehand, and how long they waited for the light."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar, Final

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from billing.models.purses import Purse

REMEMBERED: Final = timedelta(days=30)  # after its period a notice is remembered for so long; then another is owed


class Outage(models.Model):
    """Something that a fair cut needs is known to be down: a provider, the broker, a property's telemetry."""

    class Kind(models.TextChoices):
        PROVIDER = "provider", _("payment provider")
        BROKER = "broker", _("broker")
        TELEMETRY = "telemetry", _("telemetry")

    kind = models.CharField(_("kind"), max_length=12, choices=Kind.choices)
    ref = models.CharField(_("of"), max_length=64)
    property = models.ForeignKey(
        "accounts.Property", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("property")
    )  # empty: it concerns everybody
    began_at = models.DateTimeField(_("began"))
    seen_at = models.DateTimeField(_("last seen"))
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    detail = models.CharField(_("detail"), max_length=200, blank=True, default="")

    class Meta:
        verbose_name = _("outage")
        verbose_name_plural = _("outages")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["kind", "ref"], condition=Q(ended_at__isnull=True), name="an_outage_stands_once"
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["-ended_at"], name="outages_by_their_end")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.ref}"


class SupplyDecision(models.Model):
    """What was decided for a home and why, written when it differs from the one before. Append-only.

    `because`: the codes of billing/policy.py, `[[code, {params}], ...]`; they are also on the home's timeline.
    """

    purse = models.ForeignKey(
        Purse, models.PROTECT, db_index=False, related_name="supply_decisions", verbose_name=_("purse")
    )
    room = models.ForeignKey("accounts.Room", models.PROTECT, related_name="+", verbose_name=_("room"))
    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+", verbose_name=_("property"))
    decided_at = models.DateTimeField(_("decided"))
    verdict = models.CharField(_("verdict"), max_length=16)
    wants = models.CharField(_("power"), max_length=8)
    because = models.JSONField(_("because"), default=list)
    available_fen = models.BigIntegerField(_("available, fen"))
    read_at = models.DateTimeField(_("reading behind it"), null=True, blank=True)
    trace = models.CharField(_("trace"), max_length=36, blank=True, default="")

    class Meta:
        verbose_name = _("supply decision")
        verbose_name_plural = _("supply decisions")
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["purse", "-decided_at", "-id"], name="decisions_of_a_purse"),
        ]

    def __str__(self) -> str:
        return f"{self.room} {self.decided_at:%Y-%m-%d %H:%M} {self.verdict}"


class Alert(models.Model):
    """A level of the balance that was reached, once a recharge; over when that is no longer true."""

    purse = models.ForeignKey(Purse, models.CASCADE, db_index=False, related_name="alerts", verbose_name=_("purse"))
    level = models.CharField(_("level"), max_length=24)  # fen:500, percent:20, days:3, used_up
    recharge = models.IntegerField(_("of which recharge"))  # Purse.recharges when it was raised
    raised_at = models.DateTimeField(_("raised"))
    available_fen = models.BigIntegerField(_("available, fen"))
    over_at = models.DateTimeField(_("over"), null=True, blank=True)

    class Meta:
        verbose_name = _("alert")
        verbose_name_plural = _("alerts")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["purse", "level", "recharge"], name="an_alert_is_raised_once_a_recharge"),
        ]

    def __str__(self) -> str:
        return f"{self.purse}: {self.level}"


class Notice(models.Model):
    """That the tenant was told that a cut is near. It counts from the instant at which that is proven."""

    class State(models.TextChoices):
        LEFT = "left", _("on its way")
        PROVEN = "proven", _("proven")
        VOID = "void", _("void")  # paid before it led to anything

    purse = models.ForeignKey(Purse, models.CASCADE, db_index=False, related_name="notices", verbose_name=_("purse"))
    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+", verbose_name=_("property"))
    recharge = models.IntegerField(_("of which recharge"))
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.LEFT)
    left_at = models.DateTimeField(_("left"))
    message_key = models.CharField(_("message"), max_length=96)
    proven_at = models.DateTimeField(_("proven at"), null=True, blank=True)
    proven_by_channel = models.CharField(_("delivered by"), max_length=16, blank=True, default="")
    proven_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("served by")
    )
    proof = models.CharField(_("proof"), max_length=255, blank=True, default="")
    runs_until = models.DateTimeField(_("period ends"), null=True, blank=True)
    void_at = models.DateTimeField(_("void since"), null=True, blank=True)
    stranded_at = models.DateTimeField(_("known to reach nobody since"), null=True, blank=True)

    class Meta:
        verbose_name = _("notice of a cut")
        verbose_name_plural = _("notices of cuts")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["purse"], condition=~Q(state="void"), name="a_purse_has_one_notice"),
            models.CheckConstraint(
                condition=~Q(state="proven")
                | Q(proven_at__isnull=False, runs_until__isnull=False) & (~Q(proof="") | ~Q(proven_by_channel="")),
                name="a_proven_notice_has_its_proof",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.purse}: {self.get_state_display()}"

    def holds(self, now: datetime) -> bool:
        """Whether a cut may rest on it: it is proven, and its period has not ended so long ago that it is forgotten."""
        return self.state == self.State.PROVEN and not self.is_forgotten(now)

    def is_forgotten(self, now: datetime) -> bool:
        return self.runs_until is not None and self.runs_until < now - REMEMBERED


class Emergency(models.Model):
    """Emergency credit that a tenant took by a tap: once a recharge, paid back first by the next."""

    purse = models.ForeignKey(
        Purse, models.PROTECT, db_index=False, related_name="emergencies", verbose_name=_("purse")
    )
    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+", verbose_name=_("property"))
    recharge = models.IntegerField(_("of which recharge"))
    amount_fen = models.PositiveIntegerField(_("amount, fen"))
    taken_at = models.DateTimeField(_("taken"))
    taken_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("taken by"))
    repaid_at = models.DateTimeField(_("paid back"), null=True, blank=True)

    class Meta:
        verbose_name = _("emergency credit")
        verbose_name_plural = _("emergency credits")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["purse", "recharge"], name="emergency_credit_is_taken_once_a_recharge"),
            models.CheckConstraint(condition=Q(amount_fen__gt=0), name="emergency_credit_helps"),
        ]

    def __str__(self) -> str:
        return f"{self.purse} {self.taken_at:%Y-%m-%d}"


class Interruption(models.Model):
    """Power that we switched off: from the order to the light. `seconds` counts from the wish to restore to the relay
    that reported itself closed."""

    class State(models.TextChoices):
        ORDERED = "ordered", _("ordered off")
        OFF = "off", _("off")
        RESTORING = "restoring", _("coming back")
        OVER = "over", _("back")
        VOID = "void", _("never went off")

    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+", verbose_name=_("property"))
    room = models.ForeignKey("accounts.Room", models.PROTECT, related_name="interruptions", verbose_name=_("room"))
    meter = models.ForeignKey(
        "meters.Meter", models.PROTECT, db_index=False, related_name="interruptions", verbose_name=_("meter")
    )
    purse = models.ForeignKey(
        Purse, models.PROTECT, null=True, blank=True, related_name="interruptions", verbose_name=_("purse")
    )
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.ORDERED)
    cause = models.CharField(_("cause"), max_length=16)  # the verdict that switched it off
    ordered_at = models.DateTimeField(_("ordered"))
    off_at = models.DateTimeField(_("off since"), null=True, blank=True)
    restore_ordered_at = models.DateTimeField(_("ordered back"), null=True, blank=True)
    on_at = models.DateTimeField(_("back since"), null=True, blank=True)
    seconds = models.FloatField(_("seconds to the light"), null=True, blank=True)

    class Meta:
        verbose_name = _("interruption")
        verbose_name_plural = _("interruptions")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["meter"], condition=~Q(state__in=["over", "void"]), name="a_meter_is_off_once_at_a_time"
            ),
            models.CheckConstraint(
                condition=Q(on_at__isnull=True)
                | Q(restore_ordered_at__isnull=True)
                | Q(on_at__gte=F("restore_ordered_at")),
                name="light_follows_the_order",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["meter", "-ordered_at"], name="interruptions_of_a_meter"),
            models.Index(fields=["state"], condition=~Q(state__in=["over", "void"]), name="interruptions_that_last"),
        ]

    def __str__(self) -> str:
        return f"{self.meter} {self.ordered_at:%Y-%m-%d %H:%M}"
