"""The admin is a window: staff see all of their properties through it and nothing of others', and change little.

Every admin of ours derives from ScopedAdmin. It is read-only until it says otherwise; what it shows comes from
scope.py by way of staff.py; what it lets do are deeds. "Not yours" and "does not exist" are the same answer: in lists,
by address, in searches, in choices, in filters, and in actions with forged ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied, ValidationError
from django.db import IntegrityError, transaction
from django.db.models import ForeignKey, Model, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext, ngettext

from accounts import staff
from accounts.deeds import Adding, Deed, DeskForm, Facts, Text, kept
from accounts.models import Property
from accounts.pages import PagedAdmin
from accounts.staff import EVERYBODY, NOBODY, Roles

M = TypeVar("M", bound=Model)


class RuledForm(forms.ModelForm[Any]):
    """A form that keeps all constraints of its table, also those about fields that it does not show.

    `rules` tells in a person's words what a constraint's name says in ours.
    """

    rules: ClassVar[dict[str, Text]] = {}

    def ends_after(self, start: str, *, told: Text) -> None:
        """For `clean`: the table could not even compare a span that ends before it began."""
        begins = self.cleaned_data.get(start, getattr(self.instance, start))
        ends = self.cleaned_data.get("ends_at")
        if begins and ends and ends <= begins:
            self.add_error("ends_at", ValidationError(told))

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # the stubs leave it out
        if self.errors.keys() - {NON_FIELD_ERRORS}:
            return  # the row is not whole yet
        for table, constraints in self.instance.get_constraints():
            for constraint in constraints:
                try:
                    constraint.validate(table, self.instance)
                except ValidationError as error:
                    self._say(self.rules.get(constraint.name), error)

    def _say(self, rule: Text | None, error: ValidationError) -> None:
        """In place of Django's own words for the same, where it knew."""
        general = [each for each in self.non_field_errors().as_data() if each.messages != error.messages]
        self.errors.pop(NON_FIELD_ERRORS, None)
        for said in [*general, ValidationError(rule) if rule else error]:
            self.add_error(None, said)


class ScopedAdmin(PagedAdmin[M]):
    """A window onto one table.

    `property_path` leads from a row to its property ("" where a table belongs to no property: all staff see it);
    `may_*` are roles, `fixed` fields are written once, `related` is loaded with every row.
    """

    property_path = "property"
    may_add: Roles = NOBODY
    may_change: Roles = NOBODY
    may_delete: Roles = NOBODY
    deeds: Sequence[Deed] = ()
    fixed: Sequence[str] = ()
    related: Sequence[str] = ()

    form: type[forms.ModelForm[Any]] = RuledForm
    change_form_template = "admin/window.html"
    list_per_page = 100
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each would count the table once more
    view_on_site = False
    fields: ClassVar[Any] = None
    readonly_fields: ClassVar[Any] = ()
    ordering: ClassVar[Any] = ("-pk",)

    def get_search_results(self, request: HttpRequest, rows: QuerySet[M], term: str) -> tuple[QuerySet[M], bool]:
        """Homes are shown as 1号楼-102, so that is what people type; building and number are two words to us."""
        return super().get_search_results(request, rows, term.replace("-", " "))

    # ---- whose is it ----

    def in_places(self, rows: QuerySet[M], places: QuerySet[Property]) -> QuerySet[M]:
        """Those rows that belong to one of these properties."""
        return rows.filter(**{f"{self.property_path}__in": places}) if self.property_path else rows

    def within(self, request: HttpRequest, rows: QuerySet[M], roles: Roles) -> QuerySet[M]:
        """Those rows with which the asker may do what these roles may."""
        if staff.who(request).is_superuser and roles:
            return rows
        if not self.property_path:
            return rows if roles == EVERYBODY and staff.may_somewhere(request, roles) else rows.none()
        return self.in_places(rows, staff.places_where(request, roles))

    def get_queryset(self, request: HttpRequest) -> QuerySet[M]:
        rows = super().get_queryset(request)
        return self.within(request, rows.select_related(*self.related) if self.related else rows, EVERYBODY)

    def may(self, request: HttpRequest, roles: Roles, row: M | None) -> bool:
        """Whether the asker has one of these roles where the row lies (no row: anywhere)."""
        if row is None or row.pk is None or not roles:
            return staff.may_somewhere(request, roles)
        return self.within(request, super().get_queryset(request).filter(pk=row.pk), roles).exists()

    def has_module_permission(self, request: HttpRequest) -> bool:
        return staff.may_somewhere(request, EVERYBODY)

    def has_view_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return self.may(request, EVERYBODY, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return staff.may_somewhere(request, self.may_add)

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return self.may(request, self.may_change, obj)

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return self.may(request, self.may_delete, obj)

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Without the property, where there is but one: it would say the same in every row."""
        columns = list(super().get_list_display(request))
        is_one = "property" in columns and len(staff.places_where(request, EVERYBODY)[:2]) < 2
        return [column for column in columns if column != "property"] if is_one else columns

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Only what the list offers as a filter: a hidden column must not be guessed letter by letter."""
        offered = {"pk", "id"} | {str(getattr(entry, "parameter_name", entry)) for entry in self.list_filter}
        name = lookup.split(LOOKUP_SEP, maxsplit=1)[0]
        return name in offered and super().lookup_allowed(lookup, value, request)

    # ---- forms ----

    def get_readonly_fields(self, request: HttpRequest, obj: M | None = None) -> list[Any]:
        return [*super().get_readonly_fields(request, obj), *(self.fixed if obj else ())]

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> forms.ModelChoiceField[Any] | None:
        """Offers rows of those properties alone at which the asker may write."""
        window = self.admin_site.get_model_admin(db_field.related_model)
        if isinstance(window, ScopedAdmin):
            roles = (self.may_add | self.may_change) if window.property_path else EVERYBODY
            kwargs["queryset"] = window.within(request, window.get_queryset(request), roles)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> forms.Field | None:
        """No signs to add, change and delete beside a choice: those pages are reached from the menu."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        for sign in ("can_add_related", "can_change_related", "can_delete_related", "can_view_related"):
            if field is not None and hasattr(field.widget, sign):
                setattr(field.widget, sign, False)
        return field

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Two who save at the same moment: the second is told, and nothing of theirs was written."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except IntegrityError:
            told = gettext("Somebody else changed this at the same moment. Look again.")
            self.message_user(request, told, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    # ---- deeds ----

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request) if self.may_delete else {}
        for deed in self.deeds:
            if staff.may_somewhere(request, deed.roles):
                done: Any = partial(_from_list, deed)  # the stubs take no function that answers with a page
                actions[deed.name] = (done, deed.name, str(deed.label))
        return actions

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        obj: M | None = context["original"]
        context["deeds"] = [
            deed for deed in self.deeds if obj and deed.fits(obj) and self.may(request, deed.roles, obj)
        ]
        context["action_checkbox_name"] = ACTION_CHECKBOX_NAME
        return super().render_change_form(request, context, *args, **kwargs)

    def do(self, deed: Deed, request: HttpRequest, rows: QuerySet[M]) -> HttpResponse | None:
        """Asks for what the deed wants to know, then does it to each row and says how it went."""
        chosen = list(self.within(request, rows, deed.roles)[: deed.at_most + 1])
        if complaint := _complaint(deed, len(chosen)):
            self.message_user(request, complaint, messages.ERROR)
            return None
        answered = request.POST if "_answered" in request.POST else None
        form = deed.form(answered, request=request, site=self.admin_site, rows=chosen)
        if not form.is_valid():
            facts = [fact for row in chosen for fact in deed.facts(row)]
            context = {"explanation": deed.explanation, "button": deed.label, "rows": chosen, "deed": deed}
            return self.ask(request, form, title=deed.label, facts=facts, **context)
        for row in chosen:
            self._do_one(deed, request, row, form.cleaned_data)
        return HttpResponseRedirect(self.page_of(chosen[0])) if len(chosen) == 1 else None

    def _do_one(self, deed: Deed, request: HttpRequest, row: M, answers: dict[str, Any]) -> None:
        try:
            with transaction.atomic():
                told = deed.does(request, row, answers)
                self.log_change(request, row, kept(told, answers))
        except deed.refusals as refusal:
            self.message_user(request, f"{row}: {refusal}", messages.ERROR)
        else:
            self.message_user(request, f"{row}: {told}", messages.SUCCESS)

    def page_of(self, row: Model) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[row.pk])

    def ask(self, request: HttpRequest, form: DeskForm, *, title: Text, facts: Facts, **context: Any) -> HttpResponse:
        """The page between a button and a deed."""
        values = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            "form": form,
            "facts": facts,
            "media": self.media + form.media,
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
            **context,
        }
        return TemplateResponse(request, "admin/ask.html", values)


def _from_list(deed: Deed, window: ScopedAdmin[Any], request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
    return window.do(deed, request, rows)


def _complaint(deed: Deed, count: int) -> str:
    if count == 0:
        return gettext("Your role does not reach to what you chose.")
    if count > deed.at_most:
        text = ngettext("Choose one at a time.", "Choose at most %(most)d at a time.", deed.at_most)
        return text % {"most": deed.at_most}
    return ""


class AskingAdmin(ScopedAdmin[M]):
    """A table to which rows are added by a call: its "add" page is that call's form."""

    adding: Adding
    fields: ClassVar[Any] = None

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        adding = self.adding
        answered = request.POST if request.method == "POST" else None
        form = adding.form(answered, initial=self._named_in(request), request=request, site=self.admin_site)
        facts: Facts = ()
        if form.is_valid() and "_change" not in request.POST:
            facts = adding.facts(form.cleaned_data) if adding.facts else ()
            if (not facts or "_right" in request.POST) and (response := self._added(request, form)):
                return response
        checking = facts if not form.errors else ()
        button = gettext("Continue") if adding.facts and not checking else adding.button
        context = {"button": button, "explanation": adding.explanation, "is_check": bool(checking)}
        return self.ask(request, form, title=adding.title, facts=checking, **context)

    def _named_in(self, request: HttpRequest) -> dict[str, str]:
        return {name: str(value) for name, value in request.GET.items() if name in self.adding.form.base_fields}

    def _added(self, request: HttpRequest, form: DeskForm) -> HttpResponse | None:
        try:
            with transaction.atomic():
                added = self.adding.does(request, form.cleaned_data)
                if added.told:
                    self.log_addition(request, cast("M", added.row), kept(added.told, form.cleaned_data))
        except self.adding.refusals as refusal:
            form.add_error(None, str(refusal))
            return None
        if added.told:
            self.message_user(request, added.told, messages.SUCCESS)
        return added.page or HttpResponseRedirect(self.page_of(added.row))
