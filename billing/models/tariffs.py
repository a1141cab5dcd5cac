"""What a kilowatt-hour costs: tariffs with dated versions, where they hold, and what the property itself pays.

A version's `definition` is what `billing.tariff.parse` reads (docs/tariffs.md). It begins at midnight (Asia/Shanghai).
"""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, DateRangeField, RangeBoundary, RangeOperators
from django.db import models
from django.db.models import F, Func, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class Dates(Func):
    """daterange(starts, ends), open where the end is null."""

    function = "daterange"
    output_field = DateRangeField()

    def __init__(self, starts: str, ends: str) -> None:
        super().__init__(F(starts), F(ends), RangeBoundary(inclusive_lower=True, inclusive_upper=False))


class Tariff(models.Model):
    """A price that has a name. It belongs to one property, whose calendar it follows."""

    property = models.ForeignKey(
        "accounts.Property", models.PROTECT, related_name="tariffs", verbose_name=_("property")
    )
    name = models.CharField(_("name"), max_length=64)
    created_at = models.DateTimeField(_("created"))

    class Meta:
        verbose_name = _("tariff")
        verbose_name_plural = _("tariffs")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["property", "name"], name="a_tariff_has_its_own_name"),
            models.CheckConstraint(condition=~Q(name=""), name="a_tariff_has_a_name"),
        ]

    def __str__(self) -> str:
        return self.name


class TariffVersion(models.Model):
    """The prices of a tariff from a date on, until the next version begins. A trigger keeps what is published as it is.

    A provisional version is replaced by a final one that begins on the same date; what was charged is adjusted.
    `slots_until_date`: the day before which its price slots are laid out for SQL.
    """

    class State(models.TextChoices):
        DRAFT = "draft", _("draft")
        PUBLISHED = "published", _("published")
        REPLACED = "replaced", _("replaced")
        WITHDRAWN = "withdrawn", _("withdrawn")

    tariff = models.ForeignKey(
        Tariff, models.PROTECT, db_index=False, related_name="versions", verbose_name=_("tariff")
    )
    number = models.PositiveSmallIntegerField(pgettext_lazy("version", "number"))
    starts_date = models.DateField(_("first day"))
    definition = models.JSONField(_("definition"))
    is_provisional = models.BooleanField(_("provisional"), default=False)
    state = models.CharField(_("state"), max_length=9, choices=State.choices, default=State.DRAFT)
    replaces = models.OneToOneField(
        "self", models.PROTECT, null=True, blank=True, related_name="replaced_by", verbose_name=_("replaces")
    )
    reason = models.CharField(_("reason"), max_length=255, blank=True, default="")
    published_at = models.DateTimeField(_("when published"), null=True, blank=True)
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("published by"),
    )
    slots_until_date = models.DateField(_("laid out until"), null=True, blank=True)

    class Meta:
        verbose_name = _("tariff version")
        verbose_name_plural = _("tariff versions")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["tariff", "number"], name="a_version_has_its_own_number"),
            models.UniqueConstraint(
                fields=["tariff", "starts_date"], condition=Q(state="published"), name="a_day_has_one_version"
            ),
            models.CheckConstraint(
                condition=Q(state="draft") | Q(published_at__isnull=False), name="a_published_version_says_when"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tariff} {self.number}"


class TariffAssignment(models.Model):
    """Where a tariff holds, from a date to another, that one not in it. Meter wins over room, building, property."""

    property = models.ForeignKey(
        "accounts.Property", models.PROTECT, related_name="tariff_assignments", verbose_name=_("property")
    )
    tariff = models.ForeignKey(Tariff, models.PROTECT, related_name="assignments", verbose_name=_("tariff"))
    building = models.ForeignKey(
        "accounts.Building", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("building")
    )
    room = models.ForeignKey(
        "accounts.Room", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("room")
    )
    meter = models.ForeignKey(
        "meters.Meter", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("meter")
    )
    starts_date = models.DateField(_("first day"))
    ends_date = models.DateField(_("until (that day not included)"), null=True, blank=True)
    reason = models.CharField(_("reason"), max_length=255, blank=True, default="")
    assigned_at = models.DateTimeField(_("assigned"))
    assigned_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("assigned by")
    )

    class Meta:
        verbose_name = _("tariff assignment")
        verbose_name_plural = _("tariff assignments")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(building__isnull=True, room__isnull=True)
                | Q(building__isnull=True, meter__isnull=True)
                | Q(room__isnull=True, meter__isnull=True),
                name="a_tariff_is_assigned_to_one_place",
            ),
            models.CheckConstraint(
                condition=Q(ends_date__isnull=True) | Q(ends_date__gt=F("starts_date")),
                name="a_tariff_is_assigned_for_a_while",
            ),
            ExclusionConstraint(
                name="a_property_has_one_tariff_a_day",
                expressions=[
                    ("property", RangeOperators.EQUAL),
                    (Dates("starts_date", "ends_date"), RangeOperators.OVERLAPS),
                ],
                condition=Q(building__isnull=True, room__isnull=True, meter__isnull=True),
            ),
            *(
                ExclusionConstraint(
                    name=f"a_{place}_has_one_tariff_a_day",
                    expressions=[
                        (place, RangeOperators.EQUAL),
                        (Dates("starts_date", "ends_date"), RangeOperators.OVERLAPS),
                    ],
                    condition=Q(**{f"{place}__isnull": False}),
                )
                for place in ("building", "room", "meter")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tariff} · {self.meter or self.room or self.building or self.property}"


class PriceSlot(models.Model):
    """A version laid out over time, cut at every hour and every change of period: what SQL rates with.

    Derived: made anew from the definition at will. `limits_wh` are the upper limits of the tiers but the last, of a
    household without anything special, in the cycle that begins on `cycle_date` (null: nothing is counted).
    `prices` holds micro-fen per kWh by tier, the service fee not in it.
    """

    pk = models.CompositePrimaryKey("version_id", "starts_at")
    version = models.ForeignKey(TariffVersion, models.CASCADE, db_index=False, related_name="slots")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    usage_date = models.DateField()
    period = models.CharField(max_length=11)
    cycle_date = models.DateField(null=True)
    limits_wh = ArrayField(models.BigIntegerField())
    prices = ArrayField(models.BigIntegerField())
    fee = models.BigIntegerField()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="a_slot_takes_time"),
        ]

    def __str__(self) -> str:
        return f"{self.version_id} {self.starts_at:%Y-%m-%d %H:%M} {self.period}"


class SpecialDay(models.Model):
    """A day that is not what its weekday says: a public holiday, or a workday that makes up for one.

    Without a property it holds for the whole country; a property's own row overrules it.
    """

    class Kind(models.TextChoices):
        HOLIDAY = "holiday", _("holiday")
        MAKE_UP_WORKDAY = "make_up_workday", _("make-up workday")
        ORDINARY = "ordinary", _("ordinary day")  # a property's own: here it is an ordinary day after all

    property = models.ForeignKey(
        "accounts.Property",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="special_days",
        verbose_name=_("property"),
    )
    on_date = models.DateField(_("date"))
    kind = models.CharField(_("kind"), max_length=16, choices=Kind.choices)
    name = models.CharField(_("name"), max_length=64, blank=True, default="")
    source = models.CharField(_("source"), max_length=255, blank=True, default="")
    entered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("entered by")
    )

    class Meta:
        verbose_name = _("special day")
        verbose_name_plural = _("special days")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["property", "on_date"], nulls_distinct=False, name="a_day_is_special_in_one_way"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.on_date} {self.name}"


class SupplyPrice(models.Model):
    """What the property itself pays per kWh from a date on: what its tenants may pay at most, without a reason given.

    `prices` holds micro-fen per kWh by price period, or by the one word `all`.
    """

    property = models.ForeignKey(
        "accounts.Property", models.PROTECT, db_index=False, related_name="supply_prices", verbose_name=_("property")
    )
    starts_date = models.DateField(_("first day"))
    prices = models.JSONField(_("prices"))
    source = models.CharField(_("source"), max_length=255)
    entered_at = models.DateTimeField(_("entered"))
    entered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("entered by")
    )

    class Meta:
        verbose_name = _("supply price")
        verbose_name_plural = _("supply prices")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["property", "starts_date"], name="a_supply_price_begins_once"),
            models.CheckConstraint(condition=~Q(source=""), name="a_supply_price_names_its_source"),
        ]

    def __str__(self) -> str:
        return f"{self.property} {self.starts_date}"


class MarkUp(models.Model):
    """A version that charges more than the property pays, and who allowed it why. Append-only."""

    version = models.ForeignKey(TariffVersion, models.PROTECT, related_name="mark_ups", verbose_name=_("version"))
    excess = models.JSONField(_("what exceeds"))
    reason = models.CharField(_("reason"), max_length=255)
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("approved by")
    )
    approved_at = models.DateTimeField(_("approved"))

    class Meta:
        verbose_name = _("mark-up")
        verbose_name_plural = _("mark-ups")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=~Q(reason=""), name="a_mark_up_has_a_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.version}: {self.reason}"


class Household(models.Model):
    """How many people a tenancy counts from a date on, for tiers that grow with the household."""

    tenancy = models.ForeignKey(
        "accounts.Tenancy", models.PROTECT, db_index=False, related_name="households", verbose_name=_("tenancy")
    )
    starts_date = models.DateField(_("first day"))
    persons = models.PositiveSmallIntegerField(_("people"))
    proof = models.CharField(_("proof"), max_length=255, blank=True, default="")
    entered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("entered by")
    )

    class Meta:
        verbose_name = _("household")
        verbose_name_plural = _("households")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["tenancy", "starts_date"], name="a_household_changes_once_a_day"),
            models.CheckConstraint(condition=Q(persons__gte=1), name="somebody_lives_there"),
        ]

    def __str__(self) -> str:
        return f"{self.tenancy}: {self.persons}"
