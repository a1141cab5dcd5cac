"""When power may be cut and when it comes back: what a property has laid down, and what staff and payments hold."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from billing.models.purses import Purse


def twenty_and_ten() -> list[int]:
    """The levels, in percent of the last recharge, that tenants are warned at."""
    return [20, 10]


PERCENT = [MinValueValidator(1), MaxValueValidator(100)]
WEEKDAY = [MinValueValidator(0), MaxValueValidator(6)]


class ProofLevel(models.TextChoices):
    """What a channel has to say of a notice before it counts as proven; staff may serve it all the same."""

    HANDED = "handed", pgettext_lazy("delivery", "handed to the vendor")
    DELIVERED = "delivered", pgettext_lazy("delivery", "delivered")
    READ = "read", pgettext_lazy("delivery", "read")


class SupplyPolicy(models.Model):
    """On what legal basis and after which notice a property may cut, and what protects its tenants.

    Without a row nobody there is cut.

    `protected_hours`: [["22:00", "08:00"], ...], China's clock, the second not in it. Monday is 0.
    """

    property = models.OneToOneField(
        "accounts.Property", models.PROTECT, related_name="supply_policy", verbose_name=_("property")
    )
    legal_basis = models.TextField(_("legal basis for a cut"))
    notice = models.TextField(_("notice given before a cut"))
    recorded_at = models.DateTimeField(_("recorded"))
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+", verbose_name=_("recorded by")
    )
    warn_fens = ArrayField(models.IntegerField(), verbose_name=_("warn at, fen"), default=list, blank=True)
    warn_percents = ArrayField(
        models.PositiveSmallIntegerField(validators=PERCENT),
        verbose_name=_("warn at, percent of the last recharge"),
        default=twenty_and_ten,
        blank=True,
    )
    warn_days = models.PositiveSmallIntegerField(_("warn when it lasts for days"), null=True, blank=True)
    overdraft_fen = models.PositiveIntegerField(_("overdraft, fen"), default=0)
    restore_above_fen = models.PositiveIntegerField(_("power comes back above, fen"), default=0)
    notice_hours = models.PositiveSmallIntegerField(_("notice before a cut, hours"), default=24)
    protected_hours = models.JSONField(_("protected hours"), default=list, blank=True)
    protected_weekdays = ArrayField(
        models.PositiveSmallIntegerField(validators=WEEKDAY),
        verbose_name=_("protected weekdays"),
        default=list,
        blank=True,
    )
    protects_holidays = models.BooleanField(_("no cut on public holidays"), default=True)
    cuts_a_day = models.PositiveSmallIntegerField(_("cuts a day at most"), default=1)
    emergency_fen = models.PositiveIntegerField(_("emergency credit, fen"), default=0)
    fresh_for_s = models.PositiveIntegerField(_("a reading is fresh for, s"), default=7200)
    unreachable_debt_fen = models.PositiveIntegerField(
        _("debt at which staff look for who cannot be reached, fen"), default=5000
    )
    restore_limit_s = models.PositiveIntegerField(_("power is back within, s"), default=60)
    proof_level = models.CharField(
        _("a notice is proven when it is"), max_length=9, choices=ProofLevel.choices, default=ProofLevel.DELIVERED
    )
    price_notice_days = models.PositiveSmallIntegerField(_("other prices are announced, days before"), default=7)
    silent_hours = models.PositiveSmallIntegerField(
        _("staff look for meters that were not heard for, hours"), default=6, validators=[MinValueValidator(1)]
    )

    class Meta:
        verbose_name = _("supply policy")
        verbose_name_plural = _("supply policies")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=~Q(legal_basis=""), name="a_policy_names_its_legal_basis"),
            models.CheckConstraint(condition=Q(fresh_for_s__gt=0), name="a_reading_grows_stale"),
        ]

    def __str__(self) -> str:
        return str(self.property)


class RoomPolicy(models.Model):
    """What a room has otherwise than its property's policy (保电 with its reason); what is empty is the property's."""

    room = models.OneToOneField("accounts.Room", models.PROTECT, related_name="supply_policy", verbose_name=_("room"))
    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+", verbose_name=_("property"))
    is_protected = models.BooleanField(_("power is kept on"), default=False)
    protected_reason = models.CharField(_("why it is kept on"), max_length=255, blank=True, default="")
    warn_fens = ArrayField(models.IntegerField(), verbose_name=_("warn at, fen"), null=True, blank=True)
    warn_percents = ArrayField(
        models.PositiveSmallIntegerField(validators=PERCENT),
        verbose_name=_("warn at, percent of the last recharge"),
        null=True,
        blank=True,
    )
    warn_days = models.PositiveSmallIntegerField(_("warn when it lasts for days"), null=True, blank=True)
    overdraft_fen = models.PositiveIntegerField(_("overdraft, fen"), null=True, blank=True)
    restore_above_fen = models.PositiveIntegerField(_("power comes back above, fen"), null=True, blank=True)
    notice_hours = models.PositiveSmallIntegerField(_("notice before a cut, hours"), null=True, blank=True)
    protected_hours = models.JSONField(_("protected hours"), null=True, blank=True)
    protected_weekdays = ArrayField(
        models.PositiveSmallIntegerField(validators=WEEKDAY),
        verbose_name=_("protected weekdays"),
        null=True,
        blank=True,
    )
    protects_holidays = models.BooleanField(_("no cut on public holidays"), null=True, blank=True)
    cuts_a_day = models.PositiveSmallIntegerField(_("cuts a day at most"), null=True, blank=True)
    emergency_fen = models.PositiveIntegerField(_("emergency credit, fen"), null=True, blank=True)
    changed_at = models.DateTimeField(_("changed"))
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+", verbose_name=_("changed by")
    )

    class Meta:
        verbose_name = _("room's supply policy")
        verbose_name_plural = _("rooms' supply policies")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(is_protected=False) | ~Q(protected_reason=""), name="a_protected_room_has_its_reason"
            ),
        ]

    def __str__(self) -> str:
        return str(self.room)


class WeatherHold(models.Model):
    """Days of extreme weather: nobody of the property is cut while it stands."""

    property = models.ForeignKey(
        "accounts.Property", models.PROTECT, related_name="weather_holds", verbose_name=_("property")
    )
    reason = models.CharField(_("reason"), max_length=255)
    from_at = models.DateTimeField(_("from"))
    until_at = models.DateTimeField(_("until"), null=True, blank=True)
    placed_at = models.DateTimeField(_("placed"))
    placed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("placed by")
    )

    class Meta:
        verbose_name = _("extreme weather")
        verbose_name_plural = _("extreme weather")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=~Q(reason=""), name="extreme_weather_has_a_reason"),
            models.CheckConstraint(
                condition=Q(until_at__isnull=True) | Q(until_at__gt=F("from_at")), name="extreme_weather_ends_later"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.property}: {self.reason}"


class StaffHold(models.Model):
    """A relay held open or closed by hand, stronger than money, with the reason that the tenant is told."""

    class Position(models.TextChoices):
        OPEN = "open", _("held off")
        CLOSED = "closed", _("held on")

    room = models.ForeignKey("accounts.Room", models.PROTECT, related_name="holds", verbose_name=_("room"))
    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+", verbose_name=_("property"))
    position = models.CharField(_("position"), max_length=8, choices=Position.choices)
    reason = models.CharField(_("reason"), max_length=255)
    placed_at = models.DateTimeField(_("placed"))
    placed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("placed by")
    )
    until_at = models.DateTimeField(_("until"), null=True, blank=True)
    lifted_at = models.DateTimeField(_("lifted"), null=True, blank=True)
    lifted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("lifted by")
    )

    class Meta:
        verbose_name = _("staff hold")
        verbose_name_plural = _("staff holds")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["room"], condition=Q(lifted_at__isnull=True), name="a_room_has_one_standing_hold"
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="a_hold_has_a_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.room}: {self.get_position_display()}"


class CutHold(models.Model):
    """Nobody is cut while it stands: somebody above is finding out about money of this purse. It expires."""

    purse = models.ForeignKey(Purse, models.CASCADE, related_name="cut_holds", verbose_name=_("purse"))
    key = models.CharField(_("key"), max_length=96, unique=True)
    reason = models.CharField(_("reason"), max_length=64)
    expires_at = models.DateTimeField(_("expires"))

    class Meta:
        verbose_name = _("cut hold")
        verbose_name_plural = _("cut holds")

    def __str__(self) -> str:
        return self.key
