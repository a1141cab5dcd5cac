"""Who takes money for us, with which keys, and within which limits."""

from __future__ import annotations

from typing import ClassVar

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
            models.UniqueConstraint(
                fields=["provider", "account", "sub_account", "app_id"], name="a_providers_account_is_one_merchant"
            ),
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
