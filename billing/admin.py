"""Money as staff see it (to look at, never to write), and what decides whether power may flow."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.models import Property
from accounts.panes import PropertyFilter, RowsInline, table, yuan_column
from accounts.window import ScopedAdmin
from billing import bills_admin, ledger_words, moves_admin, usage_admin
from billing.disputes_admin import DisputeAdmin
from billing.doubts_admin import BacklogAdmin, DoubtAdmin
from billing.hanging_admin import InstallationAdmin
from billing.holds_admin import CutHoldAdmin, StaffHoldAdmin
from billing.mirror_admin import MeterMoneyAdmin, MirroredDayAdmin
from billing.models import JournalEntry, LedgerAccount, Purse, Transfer
from billing.moves_admin import OperationAdmin
from billing.power_admin import BlackoutAdmin, EmergencyAdmin, InterruptionAdmin, OutageAdmin
from billing.prices_admin import HouseholdAdmin, SpecialDayAdmin, SupplyPriceAdmin, TariffAssignmentAdmin
from billing.supply_admin import (
    AlertAdmin,
    NoticeAdmin,
    RoomPolicyAdmin,
    SupplyDecisionAdmin,
    SupplyPolicyAdmin,
    WeatherHoldAdmin,
)
from billing.tariffs_admin import TariffAdmin, TariffVersionAdmin
from billing.told_admin import OwnLevelAdmin, PriceChangeAdmin
from notifications.words import in_words, words_column

__all__ = [
    "AlertAdmin",
    "BacklogAdmin",
    "BlackoutAdmin",
    "CutHoldAdmin",
    "DisputeAdmin",
    "DoubtAdmin",
    "EmergencyAdmin",
    "HouseholdAdmin",
    "InstallationAdmin",
    "InterruptionAdmin",
    "MeterMoneyAdmin",
    "MirroredDayAdmin",
    "NoticeAdmin",
    "OperationAdmin",
    "OutageAdmin",
    "OwnLevelAdmin",
    "PriceChangeAdmin",
    "RoomPolicyAdmin",
    "SpecialDayAdmin",
    "StaffHoldAdmin",
    "SupplyDecisionAdmin",
    "SupplyPolicyAdmin",
    "SupplyPriceAdmin",
    "TariffAdmin",
    "TariffAssignmentAdmin",
    "TariffVersionAdmin",
    "WeatherHoldAdmin",
]
REASON = words_column("reason", label=_("reason"))  # a person's own words, or a code of ours
SHOWN_AT_ONCE = 100  # movements on a purse's page; all of them are in the journal


@admin.display(description=_("kind"), ordering="kind")
def kind_in_words(entry: JournalEntry) -> str:
    return ledger_words.kind(entry.kind)


@admin.display(description=_("available"))
def available(purse: Purse) -> str:
    return staff.yuan(purse.available_fen())


@admin.display(description=_("movements"))
def movements(purse: Purse) -> str:
    """The newest movements of a purse's accounts, and the way to all of them."""
    moved = Transfer.objects.filter(Q(debit__purse=purse) | Q(credit__purse=purse))
    newest = moved.select_related("entry__actor", "debit", "credit").order_by("-entry_id", "-line")[:SHOWN_AT_ONCE]
    heads = [_("when"), _("what"), _("from account"), _("to account"), _("amount"), _("by"), _("reason")]
    link = f"{reverse('admin:billing_journalentry_changelist')}?purse={purse.pk}"
    return format_html('{}<p><a href="{}">{}</a></p>', table(heads, map(_line, newest)), link, gettext("Whole journal"))


def _line(transfer: Transfer) -> tuple[object, ...]:
    entry = transfer.entry
    return (
        timezone.localtime(entry.happened_at).strftime("%Y-%m-%d %H:%M"),
        kind_in_words(entry),
        transfer.debit.get_kind_display(),
        transfer.credit.get_kind_display(),
        staff.yuan(transfer.amount_fen),
        entry.actor or "",
        in_words(entry.reason),
    )


@admin.register(Purse)
class PurseAdmin(ScopedAdmin[Purse]):
    deeds = moves_admin.OF_HOMES
    pages = (usage_admin.OF_A_HOME, bills_admin.OF_A_HOME)
    change_list_template = "admin/purses.html"
    related = ("tenancy__room__building", "property")
    columns = (
        *(available, yuan_column("paid_fen", label=_("paid money")), yuan_column("subsidy_fen", label=_("subsidy"))),
        yuan_column("in_transit_fen", label=_("on its way to a meter")),
        yuan_column("in_meter_fen", label=_("bought into meters")),
    )
    fields = ("tenancy", "property", *columns, movements)
    list_display = ("__str__", *columns, "property")
    list_filter = (PropertyFilter,)
    search_fields = ("tenancy__room__number", "tenancy__members__user__name", "tenancy__members__user__phone")
    search_help_text = _("Room, name or phone number")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Purse]:
        return super().get_queryset(request).prefetch_related("draws")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.bills_view)
        return [path("bills/", view, name="billing_purse_bills"), *super().get_urls()]

    def bills_view(self, request: HttpRequest) -> HttpResponseBase:
        if not self.has_module_permission(request):
            raise PermissionDenied
        return bills_admin.of_a_property(request, self)


@admin.register(LedgerAccount)
class LedgerAccountAdmin(ScopedAdmin[LedgerAccount]):
    """Purses' accounts, and a property's own; those that several properties share are the operator's to see."""

    related = ("purse__tenancy__room__building", "purse__property")
    fields = ("kind", "ref", "purse")
    list_display = ("__str__", "kind", "ref", "purse")
    list_filter = (PropertyFilter, "kind")
    search_fields = ("ref", "purse__tenancy__room__number")

    def in_places(self, rows: QuerySet[LedgerAccount], places: QuerySet[Property]) -> QuerySet[LedgerAccount]:
        own = "|".join(str(pk) for pk in places.values_list("pk", flat=True)) or "none"
        return rows.filter(Q(purse__property__in=places) | Q(purse__isnull=True, ref__regex=f"^property:({own})(:|$)"))


class PurseFilter(admin.SimpleListFilter):
    """Reached from a purse's page, and not offered by itself."""

    title = _("purse")
    parameter_name = "purse"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        chosen = request.GET.get("purse", "")
        return [(chosen, gettext("this one"))] if chosen else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[JournalEntry]) -> QuerySet[JournalEntry]:
        chosen = self.value()
        if not chosen or not chosen.isdecimal() or len(chosen) > 18:
            return queryset
        purse = Q(debit__purse=int(chosen)) | Q(credit__purse=int(chosen))
        return queryset.filter(Exists(Transfer.objects.filter(purse, entry=OuterRef("pk"))))


@admin.display(description=_("amount"))
def amount_of_transfer(transfer: Transfer) -> str:
    return staff.yuan(transfer.amount_fen)


class TransfersInline(RowsInline):
    model = Transfer
    ordering = ("line",)
    fields = readonly_fields = ("line", "debit", "credit", amount_of_transfer)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Transfer]:
        return super().get_queryset(request).select_related("debit", "credit")


@admin.register(JournalEntry)
class JournalEntryAdmin(ScopedAdmin[JournalEntry]):
    related = ("property", "actor")
    fields = (kind_in_words, "property", "happened_at", "posted_at", "actor", REASON, "key", "digest", "trace")
    list_display = ("happened_at", kind_in_words, "key", "actor", REASON, "property")
    list_filter = (PropertyFilter, PurseFilter)
    search_fields = ("key", "trace", "reason")
    inlines = (TransfersInline,)
