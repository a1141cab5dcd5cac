"""The ledger, and the purses whose balances it keeps.

Sign rule: `Purse` columns are what we owe the tenant; a credit raises them, a debit lowers them. Nothing here
knows of orders, merchants or providers: a clearing account is named by whoever owns it.
"""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from billing import money
from billing.tariff import units


class Purse(models.Model):
    """A tenancy's own money, or (without a tenancy) a property's own, on which its empty rooms draw.

    The four columns are running balances in fen, kept by `billing_post` and recomputed by `manage.py audit`.
    `paid_fen` may fall below zero (a refund made behind our back, an overdraft); a subsidy cannot.
    """

    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="purses", verbose_name=_("property"))
    tenancy = models.OneToOneField(
        "accounts.Tenancy", models.PROTECT, null=True, blank=True, related_name="purse", verbose_name=_("tenancy")
    )
    paid_fen = models.BigIntegerField(_("paid, fen"), default=0)
    subsidy_fen = models.BigIntegerField(_("subsidy, fen"), default=0)
    in_transit_fen = models.BigIntegerField(_("on its way to a meter, fen"), default=0)
    in_meter_fen = models.BigIntegerField(_("bought into meters, fen"), default=0)
    decided_at = models.DateTimeField(_("supply decided"), null=True, blank=True)

    # What rating and payments need of the policy as it stands now; written where supply is reviewed.
    limit_fen = models.BigIntegerField(default=0)  # below zero by so much may be used: overdraft, emergency credit
    restore_above_fen = models.BigIntegerField(default=0)  # what was cut comes back above it
    look_below_fen = models.BigIntegerField(default=0)  # falling below it asks for a review
    look_at = models.DateTimeField(null=True, blank=True)  # and so does reaching this instant
    needs_review = models.BooleanField(default=False)  # a recharge asks for one too: alerts or a notice stand
    recharges = models.IntegerField(default=0)
    last_recharge_fen = models.BigIntegerField(null=True, blank=True)
    last_recharge_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("purse")
        verbose_name_plural = _("purses")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["property"], condition=Q(tenancy__isnull=True), name="a_property_has_one_purse_of_its_own"
            ),
            models.CheckConstraint(condition=Q(subsidy_fen__gte=0), name="a_subsidy_cannot_be_overdrawn"),
            models.CheckConstraint(condition=Q(in_transit_fen__gte=0), name="nothing_negative_is_in_transit"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["look_at"], condition=Q(look_at__isnull=False), name="purses_to_look_at"),
        ]

    def __str__(self) -> str:
        return str(self.tenancy or self.property)

    def available_fen(self) -> int:
        """What power may be drawn on at the server: what is posted less what was used since, whole fen down.

        Money in meters is the meters' to count, and so is the energy that they count down.
        """
        return self.paid_fen + self.subsidy_fen + -self.accrued_nano() // units.NANO_FEN_PER_FEN

    def accrued_nano(self) -> int:
        """Used and not yet posted, in nano-fen; below zero by up to half a fen, where a day was rounded up.

        Lists prefetch `draws`.
        """
        if self._state.adding:
            return 0
        counted_here = (draw for draw in self.draws.all() if draw.counted_by == "server")
        return sum(draw.total_nano - draw.posted_fen * units.NANO_FEN_PER_FEN for draw in counted_here)


class LedgerAccount(models.Model):
    """One side of transfers. `ref` is the owner's own name for it: `purse:7`, `merchant:wx-main`, `property:3`."""

    class Kind(models.TextChoices):
        PAID = "paid", _("purse: paid")
        SUBSIDY = "subsidy", _("purse: subsidy")
        IN_TRANSIT = "in_transit", _("purse: on its way to a meter")
        IN_METER = "in_meter", _("purse: in meters")
        CLEARING = "clearing", _("money at a provider")
        CASH = "cash", _("cash at the counter")
        SUSPENSE = "suspense", _("suspense")
        REVENUE = "revenue", _("electricity sold")
        FEES = "fees", _("provider fees")
        REFUNDING = "refunding", _("refunds in progress")
        SUBSIDIES = "subsidies", _("subsidies given")

    kind = models.CharField(_("kind"), max_length=12, choices=Kind.choices)
    ref = models.CharField(_("of"), max_length=64)
    purse = models.ForeignKey(
        Purse, models.PROTECT, null=True, blank=True, related_name="accounts", verbose_name=_("purse")
    )

    class Meta:
        verbose_name = _("ledger account")
        verbose_name_plural = _("ledger accounts")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["kind", "ref"], name="an_account_is_named_once"),
            models.CheckConstraint(
                condition=Q(kind__in=["paid", "subsidy", "in_transit", "in_meter"], purse__isnull=False)
                | (~Q(kind__in=["paid", "subsidy", "in_transit", "in_meter"]) & Q(purse__isnull=True)),
                name="purse_accounts_belong_to_a_purse",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.ref}"


class JournalEntry(models.Model):
    """A business event in the ledger. Append-only: a trigger refuses UPDATE and DELETE."""

    key = models.CharField(_("key"), max_length=96)
    kind = models.CharField(_("kind"), max_length=24)
    property = models.ForeignKey(
        "accounts.Property", models.PROTECT, null=True, related_name="+", verbose_name=_("property")
    )
    digest = models.CharField(_("digest of the lines"), max_length=32)
    happened_at = models.DateTimeField(_("happened"))
    posted_at = models.DateTimeField(_("posted"))
    trace = models.CharField(_("trace"), max_length=36, blank=True, default="")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("by")
    )
    reason = models.CharField(_("reason"), max_length=255, blank=True, default="")

    class Meta:
        verbose_name = _("journal entry")
        verbose_name_plural = _("journal entries")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["key"], name="an_entry_is_written_once"),
        ]

    def __str__(self) -> str:
        return self.key


class Transfer(models.Model):
    """One movement of money between two ledger accounts: balanced because it cannot be otherwise. Append-only."""

    entry = models.ForeignKey(
        JournalEntry, models.PROTECT, db_index=False, related_name="transfers", verbose_name=_("entry")
    )  # a_line_is_written_once begins with it
    line = models.PositiveSmallIntegerField(_("line"))
    debit = models.ForeignKey(LedgerAccount, models.PROTECT, related_name="debits", verbose_name=_("debit"))
    credit = models.ForeignKey(LedgerAccount, models.PROTECT, related_name="credits", verbose_name=_("credit"))
    amount_fen = models.BigIntegerField(_("amount, fen"))

    class Meta:
        verbose_name = _("transfer")
        verbose_name_plural = _("transfers")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["entry", "line"], name="a_line_is_written_once"),
            models.CheckConstraint(condition=Q(amount_fen__gt=0), name="a_transfer_moves_money"),
            models.CheckConstraint(condition=~Q(debit=F("credit")), name="a_transfer_has_two_sides"),
        ]

    def __str__(self) -> str:
        return f"{self.debit} → {self.credit} {money.shown(self.amount_fen)}"
