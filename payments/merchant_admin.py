"""Merchants and the providers' public keys. The operator keeps them; staff see who takes money for them, and no key."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.models import Property
from accounts.panes import PropertyFilter
from accounts.window import RuledForm, ScopedAdmin
from payments.models import Merchant, MerchantProperty, ProviderKey


class MerchantForm(RuledForm):
    rules: ClassVar = {
        "a_partner_names_its_sub_merchant": _("A service provider names its sub-merchant; a direct merchant has none."),
        "wechat_needs_an_apiv3_key": _("WeChat Pay needs the APIv3 key."),
    }


@admin.register(Merchant)
class MerchantAdmin(ScopedAdmin[Merchant]):
    form = MerchantForm
    may_add = may_change = staff.OPERATOR
    fixed = ("slug", "provider")
    shown = ("slug", "name", "provider", "mode", "account", "sub_account", "is_sandbox", "retired_at")
    wiring = ("key_mode", "app_id", "sub_app_id", "mini_app_id", "certificate_serial")
    keys = ("private_key_ref", "certificate_ref", "root_certificate_ref", "api_key_ref")
    list_display = ("name", "slug", "provider", "account", "mode", "is_sandbox", "retired_at")
    list_filter = (PropertyFilter, "provider")
    search_fields = ("name", "slug", "account")

    def in_places(self, rows: QuerySet[Merchant], places: QuerySet[Property]) -> QuerySet[Merchant]:
        serving = MerchantProperty.objects.filter(property__in=places).values("merchant")
        return rows.filter(pk__in=serving)

    def get_fieldsets(self, request: HttpRequest, obj: Merchant | None = None) -> Any:
        seen: list[Any] = [(None, {"fields": self.shown}), (_("At the provider"), {"fields": self.wiring})]
        if staff.who(request).is_superuser:
            named = _("Names of keys (env:NAME or file:/path), never the keys themselves.")
            seen.append((_("Keys"), {"fields": self.keys, "description": named}))
        return seen


class AssignmentForm(RuledForm):
    rules: ClassVar = {
        "a_merchant_serves_a_property_once": _("This merchant takes money for this property already."),
        "an_assignment_ends_after_it_began": _("The end lies before the beginning."),
    }


@admin.register(MerchantProperty)
class MerchantPropertyAdmin(ScopedAdmin[MerchantProperty]):
    form = AssignmentForm
    may_add = may_change = staff.OPERATOR
    fixed = ("merchant", "property", "starts_at")
    related = ("merchant", "property")
    fields = ("merchant", "property", "starts_at", "ends_at")
    autocomplete_fields = ("merchant", "property")
    list_display = ("merchant", "property", "starts_at", "ends_at")
    list_filter = (PropertyFilter,)
    search_fields = ("merchant__name", "property__name")


class ProviderKeyForm(RuledForm):
    rules: ClassVar = {"a_serial_names_one_key": _("The merchant has a key of this serial.")}


@admin.register(ProviderKey)
class ProviderKeyAdmin(ScopedAdmin[ProviderKey]):
    """Public material: a provider's own key or certificate."""

    form = ProviderKeyForm
    may_add = may_change = staff.OPERATOR
    fixed = ("merchant", "kind", "serial")
    related = ("merchant",)
    fields = ("merchant", "kind", "serial", "pem", "starts_at", "ends_at")
    autocomplete_fields = ("merchant",)
    list_display = ("merchant", "kind", "serial", "starts_at", "ends_at", "fetched_at")
    list_filter = (PropertyFilter, "kind")
    search_fields = ("serial", "merchant__name")

    def in_places(self, rows: QuerySet[ProviderKey], places: QuerySet[Property]) -> QuerySet[ProviderKey]:
        serving = MerchantProperty.objects.filter(property__in=places).values("merchant")
        return rows.filter(merchant__in=serving)
