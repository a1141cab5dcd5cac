"""What the admin's pages are put together from: columns, filters, lists within a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.deeds import Text
from accounts.masks import masked
from accounts.models import Property
from accounts.window import ScopedAdmin


def yuan_column(field: str, *, label: Text) -> Callable[[Any], str]:
    """Shows a field of fen in yuan, sorted by the field."""

    @admin.display(description=label, ordering=field)
    def shown(row: Any) -> str:
        return staff.yuan(getattr(row, field))

    shown.__name__ = f"{field}_in_yuan"
    return shown


def plain_column(field: str, *, label: Text) -> Callable[[Any], str]:
    """Shows a field under a label of its own, sorted by the field: for tables that have no words for people.

    Instants are the place's; Django itself would write them on a row's page as the database has them.
    """

    @admin.display(description=label, ordering=field)
    def shown(row: Any) -> str:
        value = getattr(row, field)
        if isinstance(value, datetime):
            return f"{timezone.localtime(value):%Y-%m-%d %H:%M:%S}"
        return "" if value is None else str(value)

    shown.__name__ = f"{field}_plain"
    return shown


def coded_column(field: str, *, label: Text, words: Mapping[str, Text]) -> Callable[[Any], str]:
    """Shows a field of codes in words; a code that has none is shown as it is."""

    @admin.display(description=label, ordering=field)
    def shown(row: Any) -> str:
        code = getattr(row, field)
        return str(words.get(code, code))

    shown.__name__ = f"{field}_coded"
    return shown


def called(model: type[Model], *, one: Text, many: Text) -> None:
    """Names a table for the menu and the pages of the admin, where its model has no words for people."""
    words = model._meta  # noqa: SLF001 - Django's own way to a model's names, which its documentation describes
    words.verbose_name, words.verbose_name_plural = one, many


def masked_column(field: str, *, label: Text) -> Callable[[Any], str]:
    """Shows a phone number as 138****5678."""

    @admin.display(description=label)
    def shown(row: Any) -> str:
        return masked(getattr(row, field))

    shown.__name__ = f"{field}_masked"
    return shown


def laid_out(field: str, *, label: Text) -> Callable[[Any], str]:
    """Shows a JSON field for people, Chinese as Chinese."""

    @admin.display(description=label)
    def shown(row: Any) -> str:
        text = json.dumps(getattr(row, field), ensure_ascii=False, indent=2)
        return format_html('<pre class="laid-out">{}</pre>', text)

    shown.__name__ = f"{field}_laid_out"
    return shown


def table(heads: Sequence[Text], rows: Iterable[Sequence[object]]) -> str:
    """A small table within a page; every cell is escaped unless it is markup already. Without heads: no head line."""
    lines = [(format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows]
    if not lines:
        return gettext("None so far.")
    cells = format_html_join("", '<th scope="col">{}</th>', ((text,) for text in heads))
    head = format_html("<tr>{}</tr>", cells) if heads else ""
    return format_html('<table class="within">{}{}</table>', head, format_html_join("", "<tr>{}</tr>", lines))


class PropertyFilter(admin.SimpleListFilter):
    """Which property: offers the reader's own, and hides when there is but one."""

    title = _("property")
    parameter_name = "property"

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: type[Model], window: Any) -> None:
        super().__init__(request, params, model, window)
        self.window = window

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        places = staff.places_where(request, staff.EVERYBODY).order_by("name").values_list("pk", "name")
        return [(str(pk), name) for pk, name in places]

    def has_output(self) -> bool:
        return len(self.lookup_choices) > 1

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        if not isinstance(self.window, ScopedAdmin) or not chosen or not chosen.isdecimal() or len(chosen) > 18:
            return queryset
        return self.window.in_places(queryset, Property.objects.filter(pk=int(chosen)))


class CodeFilter(admin.SimpleListFilter):
    """Offers the codes of a field in words: `words` in the order in which they are offered."""

    field = "state"
    words: ClassVar[Mapping[str, Text]] = {}

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, Text]]:
        return list(self.words.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{self.field: self.value()}) if self.value() in self.words else queryset


class StandingFilter(admin.SimpleListFilter):
    """Whether a thing that ends (`field` is the instant it did) still stands."""

    title = _("standing")
    parameter_name = "standing"
    field = "ends_at"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, Text]]:
        return [("yes", _("still standing")), ("no", _("over"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in {"yes", "no"}:
            return queryset
        return queryset.filter(**{f"{self.field}__isnull": self.value() == "yes"})


class RowsInline(admin.TabularInline[Any, Any]):
    """Rows that belong to the one that is shown; to look at."""

    extra = 0
    can_delete = False
    fields: ClassVar[Any] = None
    readonly_fields: ClassVar[Any] = ()
    ordering: ClassVar[Any] = ("-pk",)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True  # who sees the row sees its parts

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
