"""Energy used, by whom, and what it costs: one hot row a meter and purse, one row a day, and what is not yet clear."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, RangeOperators
from django.db import models
from django.db.models import F, Q
from django.utils.timezone import localtime

from accounts.models import Span
from billing.models.purses import Purse
from billing.models.tariffs import TariffVersion


class Draw(models.Model):
    """An installation draws on a purse from one instant to another. Derived from tenancies and installations.

    The one row that rating in SQL writes for a reading, and nothing that it writes is indexed. `total_nano` is all that
    was used so far, in nano-fen; `posted_fen` what of it the ledger has taken from the purse. The purse's available
    balance is what is posted less `total_nano - posted_fen` of each of its draws that the server counts.
    """

    class Counter(models.TextChoices):
        SERVER = "server"
        METER = "meter"  # the meter counts its money down itself; our price is shown beside it

    property = models.ForeignKey("accounts.Property", models.PROTECT, db_index=False, related_name="+")
    room = models.ForeignKey("accounts.Room", models.PROTECT, related_name="draws")
    installation = models.ForeignKey("meters.Installation", models.PROTECT, db_index=False, related_name="draws")
    meter = models.ForeignKey("meters.Meter", models.PROTECT, db_index=False, related_name="draws")
    purse = models.ForeignKey(Purse, models.PROTECT, related_name="draws")
    tenancy = models.ForeignKey("accounts.Tenancy", models.PROTECT, null=True, blank=True, related_name="draws")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True)
    is_current = models.BooleanField(default=True)
    counted_by = models.CharField(max_length=6, choices=Counter.choices)

    # Where the chain of readings ends, and the sums up to there.
    last_at = models.DateTimeField()
    last_wh = models.BigIntegerField()
    cycle_wh = models.BigIntegerField(default=0)
    day_date = models.DateField()
    day_wh = models.BigIntegerField(default=0)
    day_nano = models.BigIntegerField(default=0)
    total_nano = models.BigIntegerField(default=0)

    # Written under the purse's lock: days before closed_until are closed.
    closed_until = models.DateField()
    closed_nano = models.BigIntegerField(default=0)
    posted_fen = models.BigIntegerField(default=0)
    revision = models.IntegerField(default=0)

    # What SQL needs of tariff, household and meter, so that it joins nothing for it.
    version = models.ForeignKey(TariffVersion, models.PROTECT, null=True, blank=True, db_index=False, related_name="+")
    ct_ratio = models.IntegerField(default=1)
    max_power_w = models.IntegerField()
    extra_wh = ArrayField(models.BigIntegerField(), default=list)
    cycle_date = models.DateField(null=True, blank=True)
    plain_until_at = models.DateTimeField()
    is_plain = models.BooleanField(default=False)
    why_not = models.CharField(max_length=16, blank=True, default="")

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["installation", "starts_at"], name="a_draw_begins_once"),
            models.UniqueConstraint(
                fields=["meter"], condition=Q(is_current=True), name="a_meter_has_one_current_draw"
            ),
            models.CheckConstraint(
                condition=Q(ends_at__isnull=True) | Q(ends_at__gt=F("starts_at")), name="a_draw_ends_after_it_began"
            ),
            ExclusionConstraint(
                name="energy_is_drawn_once",
                expressions=[
                    ("installation", RangeOperators.EQUAL),
                    (Span("starts_at", "ends_at"), RangeOperators.OVERLAPS),
                ],
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["closed_until"], condition=Q(is_current=True), name="draws_to_close"),
        ]

    def __str__(self) -> str:
        return f"{self.room} {self.starts_at:%Y-%m-%d}"


class UsageDay(models.Model):
    """What one draw used on one civil day, from register to register, line by line. Partitioned by month.

    `lines`: [{"version", "tier", "period", "energy_wh", "price", "fee", "cost_nano", "fee_nano"}]. `slot_wh`: energy by
    hour of the day. A corrected day counts its revision up; what stood there before is a `UsageRevision`.
    """

    pk = models.CompositePrimaryKey("draw_id", "usage_date")
    draw = models.ForeignKey(Draw, models.DO_NOTHING, db_constraint=False, related_name="days")
    usage_date = models.DateField()
    property = models.ForeignKey("accounts.Property", models.DO_NOTHING, db_constraint=False, related_name="+")
    purse = models.ForeignKey(Purse, models.DO_NOTHING, db_constraint=False, related_name="+")
    revision = models.IntegerField(default=1)
    opens_at = models.DateTimeField()
    opens_wh = models.BigIntegerField()
    closes_at = models.DateTimeField()
    closes_wh = models.BigIntegerField()
    cycle_before_wh = models.BigIntegerField()
    energy_wh = models.BigIntegerField()
    cost_nano = models.BigIntegerField()
    fee_nano = models.BigIntegerField()
    slot_wh = ArrayField(models.IntegerField())
    lines = models.JSONField()
    notes = models.JSONField(default=list)
    posted_fen = models.BigIntegerField(default=0)
    is_frozen = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.draw_id} {self.usage_date}"


class UsageRevision(models.Model):
    """What a day was before it was corrected, and why. Append-only."""

    draw = models.ForeignKey(Draw, models.PROTECT, db_index=False, related_name="revisions")
    usage_date = models.DateField()
    revision = models.IntegerField()
    replaced_at = models.DateTimeField()
    reason = models.CharField(max_length=64)
    entry_key = models.CharField(max_length=96, blank=True, default="")
    was = models.JSONField()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["draw", "usage_date", "revision"], name="a_revision_is_kept_once"),
        ]

    def __str__(self) -> str:
        return f"{self.draw_id} {self.usage_date} {self.revision}"


class UsageMonth(models.Model):
    """The closed days of a draw in a month, summed. A year is its twelve rows. Kept for ever.

    `line_wh`: Wh by "version:tier:period:price:fee", what a bill shows; its cost is Wh times price.
    """

    pk = models.CompositePrimaryKey("draw_id", "month_date")
    draw = models.ForeignKey(Draw, models.PROTECT, db_index=False, related_name="months")
    month_date = models.DateField()
    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+")
    purse = models.ForeignKey(Purse, models.PROTECT, related_name="+")
    days = models.PositiveSmallIntegerField()
    energy_wh = models.BigIntegerField()
    cost_nano = models.BigIntegerField()
    fee_nano = models.BigIntegerField()
    period_wh = models.JSONField(default=dict)
    line_wh = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.draw_id} {self.month_date:%Y-%m}"


class Doubt(models.Model):
    """A reading that cannot follow the ones before it. Nothing behind it is charged until it is decided or heals."""

    class Reason(models.TextChoices):
        DECREASE = "decrease"
        JUMP = "jump"
        PERIOD_DECREASE = "period_decrease"
        RULED_OUT = "ruled_out"  # it could follow, and a person found it wrong: a dispute, a correction

    class State(models.TextChoices):
        OPEN = "open"
        BELIEVED = "believed"  # it is right: what lies between is charged
        REBASED = "rebased"  # the register begins anew here: nothing is charged for what lies between
        REJECTED = "rejected"  # it is wrong: skipped
        CLEARED = "cleared"  # no longer in doubt, by readings that came later

    installation = models.ForeignKey("meters.Installation", models.PROTECT, db_index=False, related_name="doubts")
    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+")
    read_at = models.DateTimeField()
    import_wh = models.BigIntegerField()
    reason = models.CharField(max_length=16, choices=Reason.choices)
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    found_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    note = models.CharField(max_length=255, blank=True, default="")

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["installation", "read_at"], name="a_reading_is_doubted_once"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["installation"], condition=Q(state="open"), name="doubts_open"),
        ]

    def __str__(self) -> str:
        return f"{self.installation} · {localtime(self.read_at):%Y-%m-%d %H:%M}"


class Backlog(models.Model):
    """An installation whose readings the fast path leaves alone, from an instant on: the careful path works it off."""

    installation = models.OneToOneField("meters.Installation", models.CASCADE, primary_key=True, related_name="backlog")
    property = models.ForeignKey("accounts.Property", models.CASCADE, related_name="+")
    from_at = models.DateTimeField()
    reasons = ArrayField(models.CharField(max_length=24))
    bumps = models.IntegerField(default=1)
    tries = models.IntegerField(default=0)
    next_try_at = models.DateTimeField(db_index=True)
    error = models.CharField(max_length=200, blank=True, default="")

    def __str__(self) -> str:
        return f"{self.installation} · {localtime(self.from_at):%Y-%m-%d %H:%M}"


class Review(models.Model):
    """A purse whose supply is to be looked at: its accrual has passed a mark, or something about it has changed."""

    purse = models.OneToOneField(Purse, models.CASCADE, primary_key=True, related_name="review")
    bumps = models.IntegerField(default=1)
    why = models.CharField(max_length=16)
    asked_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.purse_id} {self.why}"
