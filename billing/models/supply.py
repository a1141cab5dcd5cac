"""When power may be cut and when it comes back: what a property has laid down, what staff hold, what was decided."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from billing.models.purses import Purse


class SupplyPolicy(models.Model):
    """On what legal basis and after which notice a property may cut. Without a row nobody there is cut."""

    property = models.OneToOneField(
        "accounts.Property", models.PROTECT, related_name="supply_policy", verbose_name=_("property")
    )
    legal_basis = models.TextField(_("legal basis for a cut"))
    notice = models.TextField(_("notice given before a cut"))
    recorded_at = models.DateTimeField(_("recorded"))
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+", verbose_name=_("recorded by")
    )

    class Meta:
        verbose_name = _("supply policy")
        verbose_name_plural = _("supply policies")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=~Q(legal_basis=""), name="a_policy_names_its_legal_basis"),
        ]

    def __str__(self) -> str:
        return str(self.property)


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
