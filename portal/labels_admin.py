"""The sheet of QR labels of a building, for its staff to print: a page of the admin, made on this floor because the
labels lead to pages of this floor.
"""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from accounts.models import Building
from accounts.pages import Page
from portal import labels


class BeginForm(forms.Form):
    begin = forms.IntegerField(
        label=_("First label at place"),
        min_value=1,
        max_value=labels.A_SHEET,
        initial=1,
        help_text=_("From 1 at the top left: for a sheet that was used in part."),
    )


def _shows(request: HttpRequest, building: Building) -> dict[str, Any]:
    """How many labels, and the way to the sheet."""
    form = BeginForm(request.GET or {"begin": 1})
    begin = form.cleaned_data["begin"] if form.is_valid() else 1
    count = len(labels.of_building(building))
    address = f"{reverse('labels', args=[building.pk])}?begin={begin}"
    return {
        "form": form,
        "facts": [(_("meters"), count)],
        "ways": [(_("Open the sheet"), address)] if count else [],
        "notes": [_("Print it at its true size, without margins.") if count else _("No meter hangs in this building.")],
    }


PAGE: Final = Page(name="labels", label=_("Print QR labels"), shows=_shows)


@require_safe
def sheet(request: HttpRequest, pk: int) -> HttpResponse:
    """The PDF. Another property's building is answered like one that does not exist; `begin` is the first label's place
    on the sheet, 1 to 21."""
    building = admin.site.get_model_admin(Building).get_queryset(request).filter(pk=pk).first()
    found = labels.of_building(building) if building is not None else []
    if not found:
        raise Http404
    form = BeginForm(request.GET)
    begin = form.cleaned_data["begin"] if form.is_valid() else 1
    response = HttpResponse(labels.sheet(found, begin=begin), content_type="application/pdf")
    response.headers["Content-Disposition"] = f'inline; filename="labels-{pk}.pdf"'
    return response
