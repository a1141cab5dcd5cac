"""Who takes money for us, what somebody wants to pay, and what a provider says was paid."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

SLUG = RegexValidator(r"^[a-z0-9-]{1,32}$", _("Use lower-case letters, digits and hyphens, at most 32."))
KEY_REF = RegexValidator(r"^(env:[A-Z][A-Z0-9_]*|file:.+)$", _("Name a key as env:NAME or file:/path."))


class Provider(models.TextChoices):
    WECHAT = "wechat", _("WeChat Pay")
    ALIPAY = "alipay", _("Alipay")


class Merchant(models.Model):
    """An account at a provider that takes money for properties. Keys are named here, never held here.

    `slug` is part of the callback address. A retired merchant keeps its row and its keys: refunds need them.
    """

    class Mode(models.TextChoices):
        DIRECT = "direct", _("direct")
        PARTNER = "partner", _("service provider with sub-merchant")

    class KeyMode(models.TextChoices):
        PUBLIC_KEY = "public_key", _("public key")
        CERTIFICATE = "certificate", _("certificate")

    slug = models.CharField(_("slug"), max_length=32, unique=True, validators=[SLUG])
    name = models.CharField(_("name"), max_length=64)
    provider = models.CharField(_("provider"), max_length=8, choices=Provider.choices)
    mode = models.CharField(_("mode"), max_length=8, choices=Mode.choices, default=Mode.DIRECT)
    key_mode = models.CharField(_("keys"), max_length=12, choices=KeyMode.choices, default=KeyMode.PUBLIC_KEY)
    # WeChat: mchid (of the service provider in partner mode); Alipay: seller id (2088…).
    account = models.CharField(_("merchant number"), max_length=32)
    sub_account = models.CharField(_("sub-merchant number"), max_length=32, blank=True, default="")
    app_id = models.CharField(_("app id"), max_length=32)
    sub_app_id = models.CharField(_("sub-merchant's app id"), max_length=32, blank=True, default="")
    mini_app_id = models.CharField(
        _("mini-program app id"),
        max_length=32,
        blank=True,
        default="",
        help_text=_("Alipay: the mini-program in which trades are created, when it is not the app itself."),
    )
    private_key_ref = models.CharField(_("private key"), max_length=255, validators=[KEY_REF])
    certificate_ref = models.CharField(
        _("own certificate"), max_length=255, blank=True, default="", validators=[KEY_REF]
    )
    root_certificate_ref = models.CharField(
        _("Alipay root certificate"), max_length=255, blank=True, default="", validators=[KEY_REF]
    )
    api_key_ref = models.CharField(_("APIv3 key"), max_length=255, blank=True, default="", validators=[KEY_REF])
    certificate_serial = models.CharField(_("serial of own certificate"), max_length=64, blank=True, default="")
    is_sandbox = models.BooleanField(_("sandbox"), default=False)
    retired_at = models.DateTimeField(_("retired"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    properties: models.ManyToManyField[models.Model, models.Model] = models.ManyToManyField(
        "accounts.Property", through="MerchantProperty", related_name="merchants", verbose_name=_("properties")
    )

    class Meta:
        verbose_name = _("merchant")
        verbose_name_plural = _("merchants")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(mode="direct", sub_account="") | (Q(mode="partner") & ~Q(sub_account="")),
                name="a_partner_names_its_sub_merchant",
            ),
            models.CheckConstraint(
                condition=~Q(provider="wechat") | ~Q(api_key_ref=""), name="wechat_needs_an_apiv3_key"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class MerchantProperty(models.Model):
    """Which merchant takes money for which property, from when to when."""

    merchant = models.ForeignKey(Merchant, models.PROTECT, related_name="assignments", verbose_name=_("merchant"))
    property = models.ForeignKey(
        "accounts.Property", models.PROTECT, related_name="merchant_assignments", verbose_name=_("property")
    )
    starts_at = models.DateTimeField(_("from"))
    ends_at = models.DateTimeField(_("until"), null=True, blank=True)

    class Meta:
        verbose_name = _("merchant of a property")
        verbose_name_plural = _("merchants of properties")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["merchant", "property"],
                condition=Q(ends_at__isnull=True),
                name="a_merchant_serves_a_property_once",
            ),
            models.CheckConstraint(
                condition=Q(ends_at__isnull=True) | Q(ends_at__gt=F("starts_at")),
                name="an_assignment_ends_after_it_began",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.merchant} · {self.property}"


class ProviderKey(models.Model):
    """A provider's public key or certificate, by serial: several are good at once while a provider switches."""

    class Kind(models.TextChoices):
        PUBLIC_KEY = "public_key", _("public key")
        CERTIFICATE = "certificate", _("certificate")

    merchant = models.ForeignKey(Merchant, models.PROTECT, related_name="provider_keys", verbose_name=_("merchant"))
    kind = models.CharField(_("kind"), max_length=12, choices=Kind.choices)
    serial = models.CharField(_("serial"), max_length=64)
    pem = models.TextField(_("PEM"))
    starts_at = models.DateTimeField(_("good from"), null=True, blank=True)
    ends_at = models.DateTimeField(_("good until"), null=True, blank=True)
    fetched_at = models.DateTimeField(_("fetched"), null=True, blank=True)

    class Meta:
        verbose_name = _("provider key")
        verbose_name_plural = _("provider keys")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["merchant", "serial"], name="a_serial_names_one_key"),
        ]

    def __str__(self) -> str:
        return self.serial


class RechargeLimits(models.Model):
    """How little and how much may be recharged at once at a property."""

    property = models.OneToOneField(
        "accounts.Property", models.PROTECT, related_name="recharge_limits", verbose_name=_("property")
    )
    at_least_fen = models.PositiveIntegerField(_("at least, fen"), default=100, validators=[MinValueValidator(1)])
    at_most_fen = models.PositiveIntegerField(_("at most, fen"), default=200_000)

    class Meta:
        verbose_name = _("recharge limits")
        verbose_name_plural = _("recharge limits")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(at_least_fen__gte=1, at_most_fen__gte=F("at_least_fen")), name="limits_leave_room"
            ),
        ]

    def __str__(self) -> str:
        return str(self.property)


class Order(models.Model):
    """A recharge that somebody wants to pay."""

    class State(models.TextChoices):
        PLACED = "placed", _("waiting for payment")
        PAID = "paid", _("paid")
        CLOSED = "closed", _("closed")

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
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="orders", verbose_name=_("payer"))
    amount_fen = models.PositiveIntegerField(_("amount, fen"))
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.PLACED)
    idempotency_key = models.CharField(max_length=64)
    request_digest = models.CharField(max_length=64)
    trace = models.CharField(_("trace"), max_length=36)
    placed_at = models.DateTimeField(_("placed"))
    paid_at = models.DateTimeField(_("paid"), null=True, blank=True)
    closed_at = models.DateTimeField(_("closed"), null=True, blank=True)

    class Meta:
        verbose_name = _("order")
        verbose_name_plural = _("orders")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["user", "idempotency_key"], name="an_idempotency_key_makes_one_order"),
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
        ALIPAY_MINI = "alipay_mini", _("Alipay mini-program")
        ALIPAY_WAP = "alipay_wap", _("Alipay web page")

    class State(models.TextChoices):
        MADE = "made", _("made")
        READY = "ready", _("ready to pay")
        PAID = "paid", _("paid")
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


class ProviderEvent(models.Model):
    """The inbox of callbacks: evidence, stored before anything is done with it.

    A verified one is kept whole for ever; an unverified one leaves a hash, an excerpt and a reason for 30 days.
    """

    class State(models.TextChoices):
        STORED = "stored", _("stored")
        DONE = "done", _("done")
        REFUSED = "refused", _("refused")

    merchant = models.ForeignKey(Merchant, models.PROTECT, null=True, related_name="events", verbose_name=_("merchant"))
    provider = models.CharField(_("provider"), max_length=8, choices=Provider.choices)
    event_id = models.CharField(_("event id"), max_length=64)
    is_verified = models.BooleanField(_("verified"))
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.STORED)
    body = models.BinaryField(_("body"), null=True)
    body_sha256 = models.CharField(_("SHA-256"), max_length=64)
    excerpt = models.CharField(_("excerpt"), max_length=255, blank=True, default="")
    headers = models.JSONField(_("headers"), default=dict)
    receipt = models.JSONField(_("receipt"), null=True)
    reason = models.CharField(_("reason"), max_length=64, blank=True, default="")
    times = models.PositiveIntegerField(_("times received"), default=1)
    trace = models.CharField(_("trace"), max_length=36)
    received_at = models.DateTimeField(_("received"))
    done_at = models.DateTimeField(_("done"), null=True)

    class Meta:
        verbose_name = _("provider event")
        verbose_name_plural = _("provider events")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["merchant", "event_id"], condition=Q(is_verified=True), name="an_event_is_stored_once"
            ),
            models.CheckConstraint(
                condition=Q(is_verified=False) | Q(body__isnull=False), name="verified_evidence_is_whole"
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["received_at"], condition=Q(state="stored"), name="events_not_done"),
            models.Index(fields=["received_at"], condition=Q(is_verified=False), name="unverified_events"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.event_id}"


class Payment(models.Model):
    """Money a provider says it took, verified: credited to a purse, or in suspense with the reason."""

    class State(models.TextChoices):
        CREDITED = "credited", _("credited")
        SUSPENDED = "suspended", _("in suspense")

    class FoundBy(models.TextChoices):
        CALLBACK = "callback", _("callback")
        QUERY = "query", _("query")
        STATEMENT = "statement", _("statement")

    class Suspicion(models.TextChoices):
        NONE = "", _("none")
        UNKNOWN_ORDER = "unknown_order", _("no such order")
        WRONG_AMOUNT = "wrong_amount", _("other amount than ordered")
        SURPLUS = "surplus", _("order was already paid")
        TENANCY_ENDED = "tenancy_ended", _("tenancy has ended")

    merchant = models.ForeignKey(Merchant, models.PROTECT, related_name="payments", verbose_name=_("merchant"))
    property = models.ForeignKey(
        "accounts.Property", models.PROTECT, null=True, related_name="payments", verbose_name=_("property")
    )
    provider_transaction = models.CharField(_("provider's transaction"), max_length=64)
    number = models.CharField(_("our number"), max_length=64)
    attempt = models.ForeignKey(Attempt, models.PROTECT, null=True, related_name="payments", verbose_name=_("attempt"))
    order = models.ForeignKey(Order, models.PROTECT, null=True, related_name="payments", verbose_name=_("order"))
    purse = models.ForeignKey(
        "billing.Purse", models.PROTECT, null=True, blank=True, related_name="payments", verbose_name=_("purse")
    )
    amount_fen = models.PositiveIntegerField(_("amount, fen"))
    payer = models.CharField(_("openid"), max_length=128, blank=True, default="")
    paid_at = models.DateTimeField(_("paid"))
    found_at = models.DateTimeField(_("found"))
    found_by = models.CharField(_("found by"), max_length=10, choices=FoundBy.choices)
    state = models.CharField(_("state"), max_length=10, choices=State.choices)
    suspicion = models.CharField(_("why in suspense"), max_length=16, choices=Suspicion.choices, blank=True, default="")
    refunded_fen = models.PositiveIntegerField(_("refunded, fen"), default=0)
    trace = models.CharField(_("trace"), max_length=36)

    class Meta:
        verbose_name = _("payment")
        verbose_name_plural = _("payments")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["merchant", "provider_transaction"], name="a_payment_is_recorded_once"),
            models.UniqueConstraint(
                fields=["order"], condition=Q(suspicion="", order__isnull=False), name="an_order_is_credited_once"
            ),
            models.CheckConstraint(condition=Q(amount_fen__gt=0), name="a_payment_has_an_amount"),
            models.CheckConstraint(condition=Q(refunded_fen__lte=F("amount_fen")), name="no_more_refunded_than_paid"),
            models.CheckConstraint(
                condition=Q(state="credited", purse__isnull=False) | (Q(state="suspended") & ~Q(suspicion="")),
                name="a_payment_is_credited_or_says_why_not",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["found_at"], condition=Q(state="suspended"), name="payments_in_suspense"),
        ]

    def __str__(self) -> str:
        return self.provider_transaction


class Refund(models.Model):
    """Money a provider gave back. For now only those made behind our back, in the provider's own console."""

    class Origin(models.TextChoices):
        CONSOLE = "console", _("provider's console")

    payment = models.ForeignKey(Payment, models.PROTECT, related_name="refunds", verbose_name=_("payment"))
    property = models.ForeignKey(
        "accounts.Property", models.PROTECT, null=True, related_name="+", verbose_name=_("property")
    )
    number = models.CharField(_("number"), max_length=64)
    amount_fen = models.PositiveIntegerField(_("amount, fen"))
    origin = models.CharField(_("origin"), max_length=8, choices=Origin.choices)
    refunded_at = models.DateTimeField(_("refunded"))
    found_at = models.DateTimeField(_("found"))
    trace = models.CharField(_("trace"), max_length=36)

    class Meta:
        verbose_name = _("refund")
        verbose_name_plural = _("refunds")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["payment", "number"], name="a_refund_is_recorded_once"),
            models.CheckConstraint(condition=Q(amount_fen__gt=0), name="a_refund_has_an_amount"),
        ]

    def __str__(self) -> str:
        return self.number


class ShippingNotice(models.Model):
    """发货信息: what WeChat must be told after a credit, or it freezes the money. Once per payment."""

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        DONE = "done", _("done")
        GIVEN_UP = "given_up", _("given up")

    payment = models.OneToOneField(Payment, models.PROTECT, related_name="shipping", verbose_name=_("payment"))
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.WAITING)
    tries = models.PositiveIntegerField(_("tries"), default=0)
    next_try_at = models.DateTimeField(_("next try"))
    last_error = models.CharField(_("last error"), max_length=64, blank=True, default="")
    done_at = models.DateTimeField(_("done"), null=True, blank=True)

    class Meta:
        verbose_name = _("shipping notice")
        verbose_name_plural = _("shipping notices")
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["next_try_at"], condition=Q(state="waiting"), name="shipping_notices_waiting"),
        ]

    def __str__(self) -> str:
        return str(self.payment)


class CounterReceipt(models.Model):
    """Cash taken at the property's counter, with its receipt number; corrected by another entry, never edited."""

    number = models.CharField(_("receipt number"), max_length=32, unique=True)
    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+", verbose_name=_("property"))
    purse = models.ForeignKey("billing.Purse", models.PROTECT, related_name="counter_receipts", verbose_name=_("purse"))
    meter = models.ForeignKey(
        "meters.Meter", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("meter")
    )
    amount_fen = models.PositiveIntegerField(_("amount, fen"))
    note = models.CharField(_("note"), max_length=255, blank=True, default="")
    taken_at = models.DateTimeField(_("taken"))
    taken_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("taken by"))
    corrected_at = models.DateTimeField(_("corrected"), null=True, blank=True)
    corrected_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("corrected by"),
    )
    correction_reason = models.CharField(_("reason of the correction"), max_length=255, blank=True, default="")
    trace = models.CharField(_("trace"), max_length=36)

    class Meta:
        verbose_name = _("counter receipt")
        verbose_name_plural = _("counter receipts")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=Q(amount_fen__gt=0), name="a_counter_receipt_has_an_amount"),
            models.CheckConstraint(
                condition=Q(corrected_at__isnull=True, correction_reason="")
                | (Q(corrected_at__isnull=False) & ~Q(correction_reason="")),
                name="a_correction_has_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return self.number
