"""What homes wished to be told and were told, as staff see it: their own warnings, announced changes of prices."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from accounts.panes import PropertyFilter, StandingFilter, yuan_column
from accounts.window import ScopedAdmin
from billing.models import OwnLevel, PriceChange


@admin.register(OwnLevel)
class OwnLevelAdmin(ScopedAdmin[OwnLevel]):
    property_path = "purse__property"
    related = ("purse__tenancy__room__building", "purse__property", "set_by")
    fields = list_display = ("purse", yuan_column("below_fen", label=_("warn below")), "set_at", "set_by")
    list_filter = (PropertyFilter,)
    search_fields = ("purse__tenancy__room__number",)


class WithdrawnFilter(StandingFilter):
    field = "withdrawn_at"


@admin.register(PriceChange)
class PriceChangeAdmin(ScopedAdmin[PriceChange]):
    property_path = "purse__property"
    related = ("purse__tenancy__room__building", "purse__property", "version__tariff")
    fields = list_display = ("purse", "starts_date", "version", "told_at", "withdrawn_at")
    list_filter = (PropertyFilter, WithdrawnFilter)
    search_fields = ("purse__tenancy__room__number",)
