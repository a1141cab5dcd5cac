"""The work list: what needs a person."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from notifications.kinds import KINDS


class WorkItem(models.Model):
    """What needs a person. Raised again under the same key while open, it counts and does not multiply."""

    class State(models.TextChoices):
        OPEN = "open", pgettext_lazy("work item", "open")
        RESOLVED = "resolved", pgettext_lazy("state", "resolved")

    key = models.CharField(_("key"), max_length=96)
    kind = models.CharField(_("kind"), max_length=32)
    property = models.ForeignKey(
        "accounts.Property",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="work_items",
        verbose_name=_("property"),
    )
    detail = models.JSONField(_("detail"), default=dict)
    trace = models.CharField(_("trace"), max_length=36, blank=True, default="")
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.OPEN)
    times = models.PositiveIntegerField(_("times"), default=1)
    raised_at = models.DateTimeField(_("raised"))
    last_raised_at = models.DateTimeField(_("last raised"))
    resolved_at = models.DateTimeField(_("resolved"), null=True, blank=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("resolved by")
    )
    resolution = models.CharField(_("resolution"), max_length=255, blank=True, default="")

    class Meta:
        verbose_name = _("work item")
        verbose_name_plural = _("work list")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["key"], condition=Q(state="open"), name="one_open_work_item_a_key"),
            models.CheckConstraint(
                condition=Q(state="open", resolved_at__isnull=True) | Q(state="resolved", resolved_at__isnull=False),
                name="a_resolved_item_says_when",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["property", "state", "-last_raised_at"], name="work_items_of_a_property"),
        ]

    def __str__(self) -> str:
        return f"{self.kind_in_words()} #{self.pk}"

    def kind_in_words(self) -> str:
        return str(KINDS.get(self.kind, self.kind))
