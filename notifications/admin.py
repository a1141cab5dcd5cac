"""The work list, and what was told to tenants."""

from __future__ import annotations

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
from accounts.panes import PropertyFilter, laid_out
from accounts.window import ScopedAdmin
from notifications import worklist
from notifications.kinds import KINDS
from notifications.models import Message, WorkItem


@admin.register(Message)
class MessageAdmin(ScopedAdmin[Message]):
    related = ("tenancy__room__building", "property")
    fields = ("tenancy", "kind", "state", laid_out("context", label=_("context")), "left_at", "withdrawn_at", "key")
    list_display = ("left_at", "kind", "tenancy", "state", "property")
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
    """What tells one item from another, in one line; the rest stands on its page."""
    told = [str(item.detail[name]) for name in ("meter", "why", "reason") if item.detail.get(name)]
    fen = next((value for name, value in item.detail.items() if name.endswith("_fen")), None)
    return ", ".join([*told, staff.yuan(fen)] if isinstance(fen, int) else told)[:120]


class KindFilter(admin.SimpleListFilter):
    title = _("kind")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, Text]]:
        return list(KINDS.items())

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
        *(kind_in_words, "property", laid_out("detail", label=_("detail")), "times", "raised_at", "last_raised_at"),
        *("state", "resolved_at", "resolved_by", "resolution", "key", "trace"),
    )
    list_display = (kind_in_words, in_short, "state", "times", "last_raised_at", "property", "resolved_by")
    list_filter = (PropertyFilter, "state", KindFilter)
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
