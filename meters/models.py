"""Devices: what hangs where, what they reported, what we want of them, and what is on its way to them.

Two ideas carry everything (docs/decisions.md):

* a **level** (relay, shown balance) is a wish that a newer wish replaces; the meter reports what it has, and the
  reconciler keeps issuing commands until both agree;
* a **top-up** of a meter that holds its own money is a queue: in order, one outstanding, each with the meter's own
  purchase number, and nothing is sent again before the meter's count has been read back.
"""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, RangeOperators
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.models import Span
from meters import words

SERIAL = RegexValidator(r"^[0-9A-Za-z-]{1,32}$", _("Use letters, digits and hyphens, at most 32."))


class MeterModel(models.Model):
    """A make of meter and what it can do."""

    class BalanceHolder(models.TextChoices):
        SERVER = "server", _("server (remote fee control)")  # 远程费控: the server rates and orders the relay
        METER = "meter", _("meter (local fee control)")  # 本地费控: the meter counts down and cuts by itself

    name = models.CharField(_("name"), max_length=64, unique=True)
    balance_held_by = models.CharField(_("money held by"), max_length=8, choices=BalanceHolder.choices)
    codec = models.CharField(_("codec"), max_length=16, default="json_v1")
    has_display = models.BooleanField(_("shows the balance"), default=True)
    command_ttl_s = models.PositiveIntegerField(
        _("command lifetime, s"),
        default=30,
        help_text=_("A command that reached the meter later than this is refused."),
    )

    register_wraps_wh = models.BigIntegerField(
        default=1_000_000_000, help_text="One more than the register can show: 999999.99 kWh is followed by 0."
    )
    max_power_w = models.PositiveIntegerField(default=13_200)  # 60 A at 220 V: more between two readings is in doubt
    has_period_registers = models.BooleanField(default=False)

    class Meta:
        verbose_name = _("meter model")
        verbose_name_plural = _("meter models")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(command_ttl_s__gte=1, command_ttl_s__lte=86400), name="a_command_lives_up_to_a_day"
            ),
            models.CheckConstraint(condition=Q(register_wraps_wh__gt=0), name="a_register_has_an_end"),
            models.CheckConstraint(
                condition=Q(max_power_w__gt=0, max_power_w__lte=1_000_000), name="a_meter_carries_up_to_a_megawatt"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Relay(models.TextChoices):
    """Position of a relay; `auto` is an order only: the meter decides by its own money."""

    OPEN = "open", _("open")
    PERMITTED = "permitted", _("close permitted")
    CLOSED = "closed", _("closed")
    AUTO = "auto", _("automatic")


def _value_in_words(kind: str, value: str) -> str:
    """A relay's position, or an amount of fen in yuan."""
    if kind == "relay":
        return str(dict(Relay.choices).get(value, value))
    return staff.yuan(int(value)) if value.lstrip("-").isdecimal() else value


class Meter(models.Model):
    """One meter and the newest of what it reported. The reported part is written by intake.py alone."""

    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="meters", verbose_name=_("property"))
    model = models.ForeignKey(MeterModel, models.PROTECT, related_name="meters", verbose_name=_("model"))
    serial = models.CharField(_("meter number"), max_length=32, validators=[SERIAL])
    verified_until_date = models.DateField(_("verified until"), null=True, blank=True)  # JJG 596: 8 years

    is_online = models.BooleanField(_("online"), default=False)
    last_seen_at = models.DateTimeField(_("last seen"), null=True, blank=True)
    reported_at = models.DateTimeField(_("reported"), null=True, blank=True)
    relay = models.CharField(_("relay"), max_length=10, choices=Relay.choices, blank=True, default="")
    relay_order = models.CharField(
        _("relay order obeyed"), max_length=10, choices=Relay.choices, blank=True, default=""
    )
    relay_generation = models.BigIntegerField(_("relay generation"), default=0)
    import_wh = models.BigIntegerField(_("register, Wh"), null=True, blank=True)
    power_w = models.IntegerField(_("power, W"), null=True, blank=True)
    shown_fen = models.BigIntegerField(_("shown balance, fen"), null=True, blank=True)
    balance_fen = models.BigIntegerField(_("balance in the meter, fen"), null=True, blank=True)
    purchase_count = models.IntegerField(_("purchase count"), null=True, blank=True)

    class Meta:
        verbose_name = _("meter")
        verbose_name_plural = _("meters")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["property", "serial"], name="a_meter_has_its_own_number"),
        ]

    def __str__(self) -> str:
        return self.serial

    def holds_money(self) -> bool:
        return self.model.balance_held_by == MeterModel.BalanceHolder.METER


class Installation(models.Model):
    """Which meter hung in which room from when to when, with its register at both ends."""

    property = models.ForeignKey(
        "accounts.Property", models.PROTECT, related_name="installations", verbose_name=_("property")
    )
    room = models.ForeignKey("accounts.Room", models.PROTECT, related_name="installations", verbose_name=_("room"))
    meter = models.ForeignKey(Meter, models.PROTECT, related_name="installations", verbose_name=_("meter"))
    starts_at = models.DateTimeField(_("hung"))
    ends_at = models.DateTimeField(_("taken down"), null=True, blank=True)
    starts_wh = models.BigIntegerField(_("register when hung, Wh"), default=0)
    ends_wh = models.BigIntegerField(_("register when taken down, Wh"), null=True, blank=True)
    ct_ratio = models.PositiveIntegerField(default=1)  # what passes the current transformer for one that the meter sees
    max_power_w = models.PositiveIntegerField(null=True, blank=True)  # the breaker's, where it is not the model's

    class Meta:
        verbose_name = _("installation")
        verbose_name_plural = _("installations")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["meter"], condition=Q(ends_at__isnull=True), name="a_meter_hangs_in_one_room"
            ),
            models.CheckConstraint(
                condition=Q(ends_at__isnull=True) | Q(ends_at__gt=F("starts_at")),
                name="an_installation_ends_after_it_began",
            ),
            models.CheckConstraint(condition=Q(ct_ratio__gte=1, ct_ratio__lte=10_000), name="a_ct_ratio_is_plausible"),
            ExclusionConstraint(
                name="a_meter_never_hung_in_two_rooms",
                expressions=[("meter", RangeOperators.EQUAL), (Span("starts_at", "ends_at"), RangeOperators.OVERLAPS)],
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["room"], condition=Q(ends_at__isnull=True), name="meters_hanging_in_a_room"),
        ]

    def __str__(self) -> str:
        return f"{self.meter} · {self.room}"


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
        return f"{self.readings} readings of {self.stored_at:%Y-%m-%d %H:%M:%S}"


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
        return f"{self.meter} {self.read_at:%Y-%m-%d %H:%M} {self.reason}"


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


class Level(models.Model):
    """A wish about one meter and what the meter has. Written by desired.py (wish) and intake.py (reported)."""

    class Kind(models.TextChoices):
        RELAY = "relay", _("relay")
        SHOW = "show", _("shown balance")

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
