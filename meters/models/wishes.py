"""What we want of meters, and what is on its way to them.

Two ideas carry everything (docs/decisions.md):

* a **level** (relay, shown balance) is a wish that a newer wish replaces; the meter reports what it has, and the
  reconciler keeps issuing commands until both agree;
* a **top-up** of a meter that holds its own money is a queue: in order, one outstanding, each with the meter's own
  purchase number, and nothing is sent again before the meter's count has been read back.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import staff
from meters.models.devices import Meter, Relay


def _value_in_words(kind: str, value: str) -> str:
    """A relay's position, a switch, or an amount of fen in yuan."""
    if kind == "relay":
        return str(dict(Relay.choices).get(value, value))
    if value in ("on", "off"):
        return gettext("switched on") if value == "on" else gettext("switched off")
    return staff.yuan(int(value)) if value.lstrip("-").isdecimal() else value


class Level(models.Model):
    """A wish about one meter and what the meter has. Written by desired.py (wish) and intake.py (reported)."""

    class Kind(models.TextChoices):
        RELAY = "relay", _("relay")
        SHOW = "show", _("shown balance")
        # What a meter that holds its own money is told of the policy (MeterModel.parameters says which it knows).
        WARN_1 = "warn_1", _("first warning, fen")
        WARN_2 = "warn_2", _("second warning, fen")
        OVERDRAFT = "overdr", _("overdraft, fen")
        KEEP = "keep", _("keep supply")
        HOLIDAYS = "holidays", _("no cut on holidays")

    meter = models.ForeignKey(
        Meter, models.PROTECT, db_index=False, related_name="levels", verbose_name=_("meter")
    )  # a_meter_has_one_level_a_kind begins with it
    kind = models.CharField(_("kind"), max_length=8, choices=Kind.choices)
    wanted = models.CharField(_("wanted"), max_length=24)
    reason = models.CharField(_("reason"), max_length=32)
    wanted_at = models.DateTimeField(_("wanted since"))
    trace = models.CharField(_("trace"), max_length=36, blank=True, default="")
    generation = models.BigIntegerField(_("generation"), default=0)
    reported = models.CharField(_("reported"), max_length=24, blank=True, default="")
    reported_at = models.DateTimeField(_("reported at"), null=True, blank=True)
    agreed_at = models.DateTimeField(_("agreed"), null=True, blank=True)
    tries = models.PositiveIntegerField(_("tries"), default=0)
    next_try_at = models.DateTimeField(_("next try"))

    class Meta:
        verbose_name = _("level")
        verbose_name_plural = _("levels")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["meter", "kind"], name="a_meter_has_one_level_a_kind"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["next_try_at"], condition=~Q(wanted=F("reported")), name="levels_in_disagreement"),
        ]

    def __str__(self) -> str:
        return f"{self.meter} {self.get_kind_display()}: {self.in_words(self.wanted)}"

    def in_words(self, value: str) -> str:
        """A value of this level for people."""
        return _value_in_words(self.kind, value)


class TopUp(models.Model):
    """A recharge on its way into a meter that holds its money."""

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        SENT = "sent", _("sent")
        UNKNOWN = "unknown", _("unknown: reading back")
        LANDED = "landed", _("in the meter")
        STUCK = "stuck", _("needs a person")
        CANCELLED = "cancelled", _("cancelled")

    key = models.CharField(_("key"), max_length=96, unique=True)
    meter = models.ForeignKey(Meter, models.PROTECT, related_name="top_ups", verbose_name=_("meter"))
    tenancy = models.ForeignKey(
        "accounts.Tenancy", models.PROTECT, null=True, related_name="top_ups", verbose_name=_("tenancy")
    )
    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+", verbose_name=_("property"))
    amount_fen = models.BigIntegerField(_("amount, fen"))
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.WAITING)
    number = models.IntegerField(_("purchase number"), null=True, blank=True)
    trace = models.CharField(_("trace"), max_length=36, blank=True, default="")
    queued_at = models.DateTimeField(_("queued"))
    sent_at = models.DateTimeField(_("first sent"), null=True, blank=True)
    landed_at = models.DateTimeField(_("landed"), null=True, blank=True)
    tries = models.PositiveIntegerField(_("tries"), default=0)
    next_try_at = models.DateTimeField(_("next try"))
    note = models.CharField(_("note"), max_length=64, blank=True, default="")
    settled_at = models.DateTimeField(_("settled in the ledger"), null=True, blank=True)

    class Meta:
        verbose_name = _("top-up")
        verbose_name_plural = _("top-ups")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=Q(amount_fen__gt=0), name="a_top_up_adds_money"),
            models.UniqueConstraint(
                fields=["meter"], condition=Q(state__in=["sent", "unknown"]), name="one_outstanding_top_up_a_meter"
            ),
            models.UniqueConstraint(
                fields=["meter", "number"],
                condition=Q(number__isnull=False, state__in=["waiting", "sent", "unknown", "stuck"]),
                name="a_purchase_number_is_used_once",  # at a time: a meter that was set back counts from 0 again
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["sent", "unknown", "landed"]) | Q(number__isnull=False),
                name="a_sent_top_up_has_its_number",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                fields=["meter", "id"],
                condition=Q(state__in=["waiting", "sent", "unknown"]),
                name="top_ups_on_their_way",
            ),
            models.Index(
                fields=["id"],
                condition=Q(state__in=["landed", "cancelled"], settled_at__isnull=True),
                name="top_ups_to_settle",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.meter} {staff.yuan(self.amount_fen)} ({self.get_state_display()})"


class Command(models.Model):
    """Something we asked of a meter. Written by commands.py alone (and the SQL functions it documents)."""

    class Kind(models.TextChoices):
        RELAY = "relay", _("relay")
        SHOW = "show", _("show balance")
        TOP_UP = "top_up", _("top-up")
        READ = "read", _("read back")
        WARN_1 = "warn_1", _("first warning, fen")
        WARN_2 = "warn_2", _("second warning, fen")
        OVERDRAFT = "overdr", _("overdraft, fen")
        KEEP = "keep", _("keep supply")
        HOLIDAYS = "holidays", _("no cut on holidays")

    class State(models.TextChoices):
        QUEUED = "queued", _("queued")
        SENT = "sent", _("sent")
        DONE = "done", _("done")
        REFUSED = "refused", _("refused")
        EXPIRED = "expired", _("no answer")
        SUPERSEDED = "superseded", _("superseded")

    id = models.UUIDField(primary_key=True)
    meter = models.ForeignKey(
        Meter, models.PROTECT, db_index=False, related_name="commands", verbose_name=_("meter")
    )  # commands_of_a_meter begins with it
    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+", verbose_name=_("property"))
    kind = models.CharField(_("kind"), max_length=8, choices=Kind.choices)
    value = models.CharField(_("value"), max_length=24, blank=True, default="")
    generation = models.BigIntegerField(_("generation"), default=0)
    top_up = models.ForeignKey(
        TopUp,
        models.PROTECT,
        null=True,
        blank=True,
        db_index=False,
        related_name="commands",
        verbose_name=_("top-up"),
    )
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.QUEUED)
    trace = models.CharField(_("trace"), max_length=36, blank=True, default="")
    queued_at = models.DateTimeField(_("queued"))
    sent_at = models.DateTimeField(_("sent"), null=True, blank=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    answered_at = models.DateTimeField(_("answered"), null=True, blank=True)
    error = models.CharField(_("error"), max_length=16, blank=True, default="")

    class Meta:
        verbose_name = _("command")
        verbose_name_plural = _("commands")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["meter", "kind"], condition=Q(state="queued"), name="one_queued_command_a_kind"
            ),
            models.CheckConstraint(
                condition=~Q(state="sent") | Q(sent_at__isnull=False, expires_at__isnull=False),
                name="a_sent_command_expires",
            ),
            models.CheckConstraint(
                condition=Q(kind="top_up", top_up__isnull=False) | ~Q(kind="top_up"), name="a_top_up_command_names_it"
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["queued_at"], condition=Q(state="queued"), name="commands_queued"),
            models.Index(fields=["expires_at"], condition=Q(state="sent"), name="commands_unanswered"),
            models.Index(fields=["meter", "-queued_at"], name="commands_of_a_meter"),
            models.Index(fields=["top_up"], condition=Q(top_up__isnull=False), name="commands_of_a_top_up"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.value_in_words()}".strip() + f" ({self.get_state_display()})"

    def value_in_words(self) -> str:
        return _value_in_words(self.kind, self.value)
