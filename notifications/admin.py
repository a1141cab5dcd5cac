"""The work list, and what was told to tenants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.deeds import Answers, Deed, DeskForm, Facts, Refused, Text
from accounts.panes import PropertyFilter, laid_out, table
from accounts.window import ScopedAdmin
from notifications import details, worklist
from notifications.deliveries_admin import way_of
from notifications.kinds import KINDS
from notifications.models import Message, WorkItem
from notifications.texts_admin import TemplateAdmin

__all__ = ["MessageAdmin", "TemplateAdmin", "WorkItemAdmin"]


@admin.display(description=_("kind"), ordering="kind")
def message_in_words(message: Message) -> str:
    return message.kind_in_words()


@admin.display(description=_("way"))
def way(message: Message) -> str:
    return way_of(message)


@admin.register(Message)
class MessageAdmin(ScopedAdmin[Message]):
    related = ("tenancy__room__building", "property")
    fields = (
        "tenancy",
        message_in_words,
        "state",
        laid_out("context", label=_("context")),
        "left_at",
        "routed_at",
        "withdrawn_at",
        way,
        "key",
    )
    list_display = ("left_at", message_in_words, "tenancy", "state", "property")
    list_filter = (PropertyFilter, "state")
    search_fields = ("tenancy__room__number", "kind", "key")


class ResolutionForm(DeskForm):
    reason = forms.CharField(
        label=_("What was done"), max_length=255, widget=forms.TextInput(attrs={"class": "vTextField"})
    )


def _resolve(request: HttpRequest, item: WorkItem, answers: Answers) -> str:
    by, now = staff.who(request), timezone.now()
    standing = WorkItem.objects.select_for_update().filter(pk=item.pk, state=WorkItem.State.OPEN)
    if not standing.exists() or not worklist.resolve(key=item.key, by=by, resolution=answers["reason"], now=now):
        raise Refused(gettext("It was resolved before."))
    return gettext("Resolved.")


@admin.display(description=_("kind"), ordering="kind")
def kind_in_words(item: WorkItem) -> str:
    return item.kind_in_words()


@admin.display(description=_("about"))
def in_short(item: WorkItem) -> str:
    return details.in_short(item)


@admin.display(description=_("detail"))
def in_full(item: WorkItem) -> str:
    return table((), details.laid_out(item))


class OpenFilter(admin.SimpleListFilter):
    """What is open is what the list is for; what was resolved is asked for."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, Text]]:
        return [(WorkItem.State.RESOLVED, WorkItem.State.RESOLVED.label), ("all", _("All"))]

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Django's own "All" comes first and is taken when nothing is asked for: here that is "open"."""
        first, *others = super().choices(changelist)
        yield first | {"display": WorkItem.State.OPEN.label}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "all" or request.method == "POST":
            return queryset  # a deed is done, or refused, to what was chosen on whichever page
        is_resolved = self.value() == WorkItem.State.RESOLVED
        return queryset.filter(state=WorkItem.State.RESOLVED if is_resolved else WorkItem.State.OPEN)


class KindFilter(admin.SimpleListFilter):
    title = _("kind")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, Text]]:
        """The kinds that are open now, and the chosen one: all of them would fill the page."""
        rows = model_admin.get_queryset(request).filter(state=WorkItem.State.OPEN).order_by()
        offered = {*rows.values_list("kind", flat=True).distinct(), request.GET.get(self.parameter_name)}
        return [(kind, label) for kind, label in KINDS.items() if kind in offered]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(kind=self.value()) if self.value() in KINDS else queryset


def _item(item: WorkItem) -> Facts:
    return [(kind_in_words(item), in_short(item))]


@admin.register(WorkItem)
class WorkItemAdmin(ScopedAdmin[WorkItem]):
    """What belongs to no property is the operator's to see."""

    related = ("property", "resolved_by")
    ordering = ("state", "-last_raised_at")  # "open" comes before "resolved"
    fields = (
        *(kind_in_words, "property", in_full, "times", "raised_at", "last_raised_at"),
        *("state", "resolved_at", "resolved_by", "resolution", "key", "trace"),
    )
    list_display = (kind_in_words, in_short, "state", "times", "last_raised_at", "property", "resolved_by")
    list_filter = (PropertyFilter, OpenFilter, KindFilter)
    search_fields = ("key", "kind", "trace")
    deeds = (
        Deed(
            name="resolve",
            label=_("Resolve"),
            roles=staff.EVERYBODY,
            does=_resolve,
            form=ResolutionForm,
            refusals=(Refused,),
            facts=_item,
            fits=lambda item: item.state == WorkItem.State.OPEN,
        ),
    )
