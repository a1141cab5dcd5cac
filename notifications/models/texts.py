"""Texts that staff may edit, in the shape that a channel needs."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from notifications.kinds import MESSAGES
from notifications.models.messages import Channel


class Template(models.Model):
    """What a kind of message says by a channel in a language; of one property, or of all that have none of their own.

    `text` holds {names} that notifications/kinds.py lists for the kind. `fields` are the parameters that the vendor's
    template has, by its names (numbers at Tencent Cloud, which goes by position), with what we put in:
    `{"thing1": "{room}", "amount2": "{balance}"}`. Without `template_id` a vendor's channel does not carry this kind.
    """

    property = models.ForeignKey(
        "accounts.Property",
        models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("property"),
        help_text=_("Blank: for all properties that have none of their own."),
    )
    kind = models.CharField(_("kind"), max_length=32)
    channel = models.CharField(pgettext_lazy("message", "channel"), max_length=16, choices=Channel.choices)
    language = models.CharField(_("language"), max_length=8, choices=settings.LANGUAGES, default="zh-hans")
    template_id = models.CharField(_("template of the vendor"), max_length=64, blank=True, default="")
    text = models.TextField(_("text"), blank=True, default="")
    fields = models.JSONField(_("fields"), default=dict, blank=True)
    changed_at = models.DateTimeField(_("changed"))
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("changed by")
    )

    class Meta:
        verbose_name = _("text of a message")
        verbose_name_plural = _("texts of messages")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["property", "kind", "channel", "language"], nulls_distinct=False, name="one_text_of_its_kind"
            ),
        ]

    def __str__(self) -> str:
        kind = MESSAGES.get(self.kind, self.kind)
        return f"{kind} · {self.get_channel_display()} · {self.get_language_display()}"
