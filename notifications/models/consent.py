"""What people allow, and want: subscriptions of WeChat that may be used once, kinds, quiet hours, the language."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

QUIET_FROM, QUIET_UNTIL = 22 * 60, 8 * 60  # minutes of the day in Shanghai
A_DAY = 24 * 60


class Permit(models.Model):
    """A subscription of a mini-program's user (订阅消息, 一次性订阅): it allows one message of one template.

    The mini-program reports each; `reported_as` is its own key, so that a report told twice is one permit. A delivery
    uses it up; 43101 of WeChat ends the others.
    """

    identity = models.ForeignKey(
        "accounts.Identity", models.CASCADE, related_name="permits", verbose_name=_("identity")
    )
    template_id = models.CharField(_("template of the vendor"), max_length=64)
    reported_as = models.CharField(_("reported as"), max_length=64)
    given_at = models.DateTimeField(pgettext_lazy("permit", "given"))
    used_at = models.DateTimeField(_("used"), null=True, blank=True)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)

    class Meta:
        verbose_name = _("permit")
        verbose_name_plural = _("permits")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["identity", "template_id", "reported_as"], name="a_permit_is_reported_once"
            ),
            models.CheckConstraint(
                condition=Q(used_at__isnull=True) | Q(ended_at__isnull=False), name="a_used_permit_has_ended"
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["identity", "template_id"], condition=Q(ended_at__isnull=True), name="permits_left"),
        ]

    def __str__(self) -> str:
        return f"{self.identity} {self.template_id}"


class Preference(models.Model):
    """What a person wants to be told, and when not. No row: everything, by the usual quiet hours, in Chinese.

    Minutes are of the civil day in Shanghai, the second not in it; a quiet time that ends at or before its start runs
    across midnight, and one of equal ends is none.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="preference", verbose_name=_("user")
    )
    off_kinds = ArrayField(
        models.CharField(max_length=32), verbose_name=_("kinds switched off"), default=list, blank=True
    )
    quiet_from = models.PositiveSmallIntegerField(_("quiet from"), default=QUIET_FROM)
    quiet_until = models.PositiveSmallIntegerField(_("quiet until"), default=QUIET_UNTIL)
    language = models.CharField(_("language"), max_length=8, choices=settings.LANGUAGES, default="zh-hans")
    changed_at = models.DateTimeField(_("changed"))

    class Meta:
        verbose_name = _("preference")
        verbose_name_plural = _("preferences")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(quiet_from__lt=A_DAY, quiet_until__lt=A_DAY), name="quiet_hours_lie_within_a_day"
            ),
        ]

    def __str__(self) -> str:
        return str(self.user)
