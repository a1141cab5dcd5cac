"""What somebody wants to pay, and each try to pay it."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from payments.models.merchant import Merchant


class Order(models.Model):
    """A recharge that somebody wants to pay."""

    class State(models.TextChoices):
        PLACED = "placed", _("waiting for payment")
        PAID = "paid", pgettext_lazy("state", "paid")
        CLOSED = "closed", pgettext_lazy("order", "closed")

    number = models.CharField(_("number"), max_length=32, unique=True)
    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="orders", verbose_name=_("property"))
    tenancy = models.ForeignKey("accounts.Tenancy", models.PROTECT, related_name="orders", verbose_name=_("tenancy"))
    purse = models.ForeignKey("billing.Purse", models.PROTECT, related_name="orders", verbose_name=_("purse"))
    meter = models.ForeignKey(
        "meters.Meter",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="orders",
        verbose_name=_("meter"),
        help_text=_("Where the money goes when a meter holds it."),
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="orders",
        verbose_name=_("payer"),
        help_text=_("Nobody: placed without a login, from the label on the meter or by a link."),
    )
    amount_fen = models.PositiveIntegerField(_("amount, fen"))
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.PLACED)
    idempotency_key = models.CharField(max_length=64)
    request_digest = models.CharField(max_length=64)
    trace = models.CharField(_("trace"), max_length=36)
    placed_at = models.DateTimeField(_("placed"))
    paid_at = models.DateTimeField(_("paid"), null=True, blank=True)
    closed_at = models.DateTimeField(pgettext_lazy("date", "closed"), null=True, blank=True)

    class Meta:
        verbose_name = _("order")
        verbose_name_plural = _("orders")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["user", "idempotency_key"], name="an_idempotency_key_makes_one_order"),
            models.UniqueConstraint(
                fields=["tenancy", "idempotency_key"],
                condition=Q(user__isnull=True),
                name="a_key_without_a_login_makes_one_order",
            ),
            models.CheckConstraint(condition=Q(amount_fen__gt=0), name="an_order_has_an_amount"),
            models.CheckConstraint(
                condition=~Q(state="paid") | Q(paid_at__isnull=False), name="a_paid_order_says_when"
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["tenancy", "-placed_at"], name="orders_of_a_tenancy"),
        ]

    def __str__(self) -> str:
        return self.number


class Attempt(models.Model):
    """One try to pay an order: one provider, merchant, app and number. Committed before the provider hears of it."""

    class Channel(models.TextChoices):
        WECHAT_MINI = "wechat_mini", _("WeChat mini-program")
        WECHAT_JSAPI = "wechat_jsapi", _("web page in WeChat")
        WECHAT_H5 = "wechat_h5", _("WeChat from another browser")
        ALIPAY_MINI = "alipay_mini", _("Alipay mini-program")
        ALIPAY_WAP = "alipay_wap", _("Alipay web page")

    class State(models.TextChoices):
        MADE = "made", pgettext_lazy("state", "made")
        READY = "ready", _("ready to pay")
        PAID = "paid", pgettext_lazy("state", "paid")
        CLOSED = "closed", _("closed at the provider")

    order = models.ForeignKey(Order, models.PROTECT, related_name="attempts", verbose_name=_("order"))
    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+", verbose_name=_("property"))
    merchant = models.ForeignKey(Merchant, models.PROTECT, related_name="attempts", verbose_name=_("merchant"))
    channel = models.CharField(_("channel"), max_length=12, choices=Channel.choices)
    number = models.CharField(_("number"), max_length=32)
    payer = models.CharField(_("openid"), max_length=128, blank=True, default="")
    app_id = models.CharField(_("app id"), max_length=32)
    amount_fen = models.PositiveIntegerField(_("amount, fen"))
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.MADE)
    handle = models.CharField(_("prepay id"), max_length=128, blank=True, default="")
    made_at = models.DateTimeField(_("made"))
    expires_at = models.DateTimeField(_("can be paid until"))
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    asks = models.PositiveIntegerField(_("times asked"), default=0)
    asked_at = models.DateTimeField(_("last asked"), null=True, blank=True)
    next_ask_at = models.DateTimeField(_("asked again"), null=True, blank=True)
    last_error = models.CharField(_("last error"), max_length=64, blank=True, default="")

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["merchant", "number"], name="a_merchant_uses_a_number_once"),
            models.UniqueConstraint(
                fields=["order", "channel"], condition=Q(state__in=["made", "ready"]), name="one_open_attempt_a_channel"
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                fields=["next_ask_at"], condition=Q(state__in=["made", "ready"]), name="attempts_to_ask_about"
            ),
        ]

    def __str__(self) -> str:
        return self.number
