"""Pages of the admin that show more about one row than its own page does: to look at, never to write.

Whose row it is decides here as everywhere: another property's is answered like one that does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any, Final, TypeVar

from django import forms
from django.contrib import admin
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from accounts.deeds import Text, always

M = TypeVar("M", bound=Model)
# A date that is asked for has neighbours: what is reckoned from it stays a date.
SENSIBLE: Final = (MinValueValidator(date(2000, 1, 1)), MaxValueValidator(date(2099, 12, 31)))


def a_day(*, label: Text) -> forms.DateField:
    widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    return forms.DateField(label=label, widget=widget, validators=SENSIBLE)


def a_month(*, label: Text) -> forms.DateField:
    """Its first day. Browsers without a calendar of months show what is typed: 2026-11."""
    widget = forms.DateInput(attrs={"type": "month"}, format="%Y-%m")
    return forms.DateField(label=label, widget=widget, input_formats=["%Y-%m"], validators=SENSIBLE)


@dataclass(frozen=True, slots=True)
class Page:
    """Something to look at about a row, with a button on the row's page where it `fits`.

    `shows(request, row)` gives what the template knows besides (see templates/admin/look.html): `form`, `facts`,
    `tables`, `ways`, `notes`. Its address is `<row>/<name>/`, called `admin:<app>_<model>_<name>`.
    """

    name: str
    label: Text
    shows: Callable[[HttpRequest, Any], dict[str, Any]]
    fits: Callable[[Any], bool] = always


class PagedAdmin(admin.ModelAdmin[M]):
    pages: Sequence[Page] = ()

    def get_urls(self) -> list[URLPattern]:
        ours = [
            path(f"<int:pk>/{page.name}/", self.admin_site.admin_view(partial(self._look, page)), name=self._name(page))
            for page in self.pages
        ]
        return [*ours, *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row: M | None = context["original"]
        context["pages"] = [
            (page.label, reverse(f"admin:{self._name(page)}", args=[row.pk]))
            for page in self.pages
            if row and page.fits(row)
        ]
        return super().render_change_form(request, context, *args, **kwargs)

    def _look(self, page: Page, request: HttpRequest, pk: int) -> HttpResponse:
        row = self.get_queryset(request).filter(pk=pk).first()
        if row is None or not page.fits(row):
            raise Http404
        context = self.admin_site.each_context(request) | {"title": page.label, "opts": self.opts, "original": row}
        return TemplateResponse(request, "admin/look.html", context | page.shows(request, row))

    def _name(self, page: Page) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{page.name}"
