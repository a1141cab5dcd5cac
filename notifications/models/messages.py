"""What we tell people, and each try to bring it to them."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from notifications.kinds import MESSAGES


class Message(models.Model):
    """Something we tell the people of a tenancy, or, where there is none, the staff of a property.

    Left as a row in the transaction that made it true; a carrier makes deliveries of it.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        CARRIED = "carried", pgettext_lazy("message", "carried")  # deliveries exist: what became of it stands there
        NOBODY = "nobody", _("nobody to tell")
        LAPSED = "lapsed", pgettext_lazy("message", "lapsed")  # it would have come too late
        WITHDRAWN = "withdrawn", pgettext_lazy("state", "withdrawn")

    key = models.CharField(_("key"), max_length=96)
    kind = models.CharField(_("kind"), max_length=32)
    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+", verbose_name=_("property"))
    tenancy = models.ForeignKey(
        "accounts.Tenancy",
        models.PROTECT,
        db_index=False,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("tenancy"),
    )  # messages_of_a_tenancy begins with it
    context = models.JSONField(_("context"), default=dict)
    state = models.CharField(_("state"), max_length=12, choices=State.choices, default=State.WAITING)
    left_at = models.DateTimeField(pgettext_lazy("message", "left"))
    routed_at = models.DateTimeField(pgettext_lazy("message", "routed"), null=True, blank=True)
    withdrawn_at = models.DateTimeField(_("withdrawn"), null=True, blank=True)

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["key"], name="a_message_is_left_once"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["left_at"], condition=Q(state="waiting"), name="messages_waiting"),
            models.Index(fields=["tenancy", "left_at"], name="messages_of_a_tenancy"),
        ]

    def __str__(self) -> str:
        return f"{self.kind_in_words()} · {self.tenancy or self.property}"

    def kind_in_words(self) -> str:
        return str(MESSAGES.get(self.kind, self.kind))


class Channel(models.TextChoices):
    """How a message reaches a person. Ours: the inbox in the API and pages, and the console for development."""

    INBOX = "inbox", _("inbox")
    WECHAT_SUBSCRIBE = "wechat_subscribe", _("WeChat mini-program message")
    WECHAT_TEMPLATE = "wechat_template", _("WeChat official account")
    ALIPAY_TEMPLATE = "alipay_template", _("Alipay message")
    SMS_ALIYUN = "sms_aliyun", _("SMS (Aliyun)")
    SMS_TENCENT = "sms_tencent", _("SMS (Tencent Cloud)")
    CONSOLE = "console", _("console")


class Delivery(models.Model):
    """One message on its way to one person by one channel: claimed before it is sent, kept as proof afterwards.

    `reference` is ours and unique: the vendor is asked by it what became of a call that nobody answered. `next_at` is
    when it is due (waiting), or when the vendor is asked next (unknown); `follow_at` when the next channel is to be
    tried, should it not have arrived by then. `turn` counts what staff sent again.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        CLAIMED = "claimed", pgettext_lazy("delivery", "being sent")
        UNKNOWN = "unknown", pgettext_lazy("delivery", "perhaps sent")
        HANDED = "handed", pgettext_lazy("delivery", "handed to the vendor")
        DELIVERED = "delivered", pgettext_lazy("delivery", "delivered")
        READ = "read", pgettext_lazy("delivery", "read")
        REFUSED = "refused", pgettext_lazy("delivery", "refused")  # by the vendor, when it was handed over
        UNDELIVERED = "undelivered", pgettext_lazy("delivery", "not delivered")  # the vendor's receipt says so
        LOST = "lost", pgettext_lazy("delivery", "nobody knows")  # perhaps sent, and nobody can say
        GIVEN_UP = "given_up", pgettext_lazy("delivery", "given up")  # tried for too long, or too late by now
        WITHDRAWN = "withdrawn", pgettext_lazy("state", "withdrawn")

    message = models.ForeignKey(Message, models.PROTECT, related_name="deliveries", verbose_name=_("message"))
    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+", verbose_name=_("property"))
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="deliveries", verbose_name=pgettext_lazy("message", "to")
    )
    channel = models.CharField(pgettext_lazy("message", "channel"), max_length=16, choices=Channel.choices)
    turn = models.PositiveSmallIntegerField(_("turn"), default=0)
    reference = models.CharField(_("reference"), max_length=32)
    address = models.CharField(_("address"), max_length=128, blank=True, default="")
    language = models.CharField(_("language"), max_length=8, default="zh-hans")
    template_id = models.CharField(_("template of the vendor"), max_length=64, blank=True, default="")
    text = models.TextField(_("text"), blank=True, default="")
    parts = models.PositiveSmallIntegerField(_("parts"), default=0)
    cost_milli_fen = models.PositiveIntegerField(_("cost"), default=0)
    permit = models.OneToOneField(
        "notifications.Permit",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="delivery",
        verbose_name=_("permit"),
    )
    state = models.CharField(_("state"), max_length=12, choices=State.choices, default=State.WAITING)
    tries = models.PositiveSmallIntegerField(_("tries"), default=0)
    next_at = models.DateTimeField(_("next"), null=True, blank=True)
    follow_at = models.DateTimeField(_("another way from"), null=True, blank=True)
    made_at = models.DateTimeField(_("made"))
    claimed_at = models.DateTimeField(pgettext_lazy("delivery", "claimed"), null=True, blank=True)
    handed_at = models.DateTimeField(pgettext_lazy("delivery", "handed over"), null=True, blank=True)
    delivered_at = models.DateTimeField(pgettext_lazy("delivery", "delivered at"), null=True, blank=True)
    read_at = models.DateTimeField(pgettext_lazy("delivery", "read at"), null=True, blank=True)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    vendor_id = models.CharField(_("number at the vendor"), max_length=64, blank=True, default="")
    code = models.CharField(_("code of the vendor"), max_length=64, blank=True, default="")
    detail = models.CharField(_("detail"), max_length=200, blank=True, default="")
    sent_again_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("sent again by"),
    )
    reason = models.CharField(_("reason"), max_length=255, blank=True, default="")

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["message", "user", "channel", "turn"], name="a_message_goes_once_a_channel"
            ),
            models.UniqueConstraint(fields=["reference"], name="a_delivery_has_its_own_reference"),
            models.CheckConstraint(
                condition=~Q(state__in=["waiting", "unknown"]) | Q(next_at__isnull=False),
                name="what_waits_says_until_when",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "withdrawn", "given_up"]) | Q(claimed_at__isnull=False),
                name="nothing_is_sent_unclaimed",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                fields=["channel", "next_at"],
                condition=Q(state__in=["waiting", "unknown"]),
                name="deliveries_that_are_due",
            ),
            models.Index(fields=["claimed_at"], condition=Q(state="claimed"), name="deliveries_being_sent"),
            models.Index(fields=["follow_at"], condition=Q(follow_at__isnull=False), name="deliveries_to_follow"),
            models.Index(fields=["channel", "vendor_id"], condition=~Q(vendor_id=""), name="deliveries_by_vendor_id"),
            models.Index(fields=["channel", "address", "handed_at"], name="deliveries_to_an_address"),
            models.Index(fields=["user", "made_at"], name="deliveries_to_a_person"),
            models.Index(fields=["property", "made_at"], name="deliveries_of_a_property"),
        ]

    def __str__(self) -> str:
        return f"{self.get_channel_display()} · {self.state_in_words()}"

    def state_in_words(self) -> str:
        """What lies in the inbox was handed to nobody else."""
        if self.channel == Channel.INBOX and self.state == Delivery.State.HANDED:
            return gettext("not opened yet")
        return self.get_state_display()


class EarlyReceipt(models.Model):
    """A vendor's receipt that came before we had noted the number it names: kept for a day, used when we have."""

    channel = models.CharField(max_length=16, choices=Channel.choices)
    vendor_id = models.CharField(max_length=64)
    fate = models.CharField(max_length=12)
    code = models.CharField(max_length=64, blank=True, default="")
    parts = models.PositiveSmallIntegerField(default=0)
    at = models.DateTimeField(null=True)
    received_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["channel", "vendor_id", "fate"], name="an_early_receipt_is_kept_once"),
        ]
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["received_at"], name="early_receipts_by_age")]

    def __str__(self) -> str:
        return f"{self.channel} {self.vendor_id} {self.fate}"
