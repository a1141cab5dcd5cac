"""What hangs where, and the newest of what it reported."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, RangeOperators
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Cast, Substr
from django.utils.translation import gettext_lazy as _

from accounts.models import Span

# 48 random bits, made by the database for whoever writes a meter: the QR label carries them, and they tell nothing.
_A_CODE = Substr(
    Func(
        Cast(Func(function="gen_random_uuid", output_field=models.UUIDField()), models.TextField()),
        Value("-"),
        Value(""),
        function="REPLACE",
        output_field=models.TextField(),
    ),
    1,
    12,
)
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
    # Which levels of the policy it can be told (Level.Kind): only meters that hold their own money decide by them.
    parameters = ArrayField(models.CharField(max_length=8), verbose_name=_("can be told"), default=list, blank=True)

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


class Meter(models.Model):
    """One meter and the newest of what it reported. The reported part is written by intake.py alone."""

    # The number's constraint is the index: of two, the planner takes the wrong one while it knows too little, and then
    # reads a whole property for each meter.
    property = models.ForeignKey(
        "accounts.Property", models.PROTECT, related_name="meters", db_index=False, verbose_name=_("property")
    )
    model = models.ForeignKey(MeterModel, models.PROTECT, related_name="meters", verbose_name=_("model"))
    serial = models.CharField(_("meter number"), max_length=32, validators=[SERIAL])
    code = models.CharField(_("code on the label"), max_length=12, unique=True, editable=False, db_default=_A_CODE)
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
    # What was in a meter with money of its own when it was hung; unknown until it is entered or first reported.
    starts_balance_fen = models.BigIntegerField(_("balance when hung, fen"), null=True, blank=True)

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
