"""Bills as staff see them: one home's month to print, and all bills of a property's month, also as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from itertools import chain
from typing import Any, Final

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.deeds import Text
from accounts.models import Member, Property, Tenancy
from accounts.pages import Page, a_month
from accounts.panes import table
from billing import money
from billing.bills import Bill, BillLine, MeterBill, bill_of, bills, following
from billing.models import Purse, TariffVersion
from billing.tariff import units
from billing.tariff_words import PERIODS
from billing.usage_admin import MonthForm, version_link
from meters.models import Meter

SHOWN_AT_ONCE: Final = 200  # the file has all of them
# What a spreadsheet would take for a formula; a room may be called anything.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def last_month() -> date:
    return (timezone.localdate().replace(day=1) - timedelta(days=1)).replace(day=1)


# ---- one home's ----


def bill(request: HttpRequest, purse: Purse) -> dict[str, Any]:
    """The bill of a month; of the month before this one, where none is asked for."""
    form = MonthForm(request.GET if "month" in request.GET else {"month": f"{last_month():%Y-%m}"})
    if not form.is_valid():
        return {"form": form}
    first = form.cleaned_data["month"]
    found = bill_of(purse, month_date=first)
    if found is None:
        return {"form": form, "notes": [gettext("No day of this month is closed yet.")]}
    meters = Meter.objects.in_bulk([one.meter_id for one in found.meters])
    parts = [_registers(one) for one in found.meters]
    heads = [
        _("meter"),
        _("register at the beginning, kWh"),
        _("register at the end, kWh"),
        _("energy, kWh"),
        _("days"),
    ]
    registers = table(heads, ((meters[one.meter_id], *part) for one, part in zip(found.meters, parts, strict=True)))
    return {
        "form": form,
        "heading": gettext("Electricity bill %(month)s") % {"month": f"{first:%Y-%m}"},
        "facts": _facts(purse, found, first),
        "tables": [(gettext("Registers"), registers), (gettext("Energy by price"), _priced(found))],
        "notes": _notes(found, first),
        "is_printed": True,
    }


def _facts(purse: Purse, found: Bill, first: date) -> list[tuple[Text, object]]:
    energy_fen, fee_fen = found.shown_fen()
    rows: list[tuple[Text, object]] = [(_("property"), purse.property), (_("home"), purse), *_holder(purse)]
    rows += [
        (_("energy"), f"{units.kwh(found.energy_wh)} kWh"),
        (_("amount for the energy"), staff.yuan(energy_fen)),
        *([(_("service fee"), staff.yuan(fee_fen))] if fee_fen else []),
        (_("amount of the month"), staff.yuan(energy_fen + fee_fen)),
        (_("posted amount"), staff.yuan(found.posted_fen)),
    ]
    if found.put_right_fen:
        rows.append((_("put right of months before"), staff.yuan(found.put_right_fen)))
    return rows


def _holder(purse: Purse) -> Iterator[tuple[Text, object]]:
    """Who held the tenancy last; a home that ended has nobody left in it."""
    held = Member.objects.filter(tenancy=purse.tenancy_id, role=Member.Role.HOLDER) if purse.tenancy_id else None
    if held and (member := held.select_related("user", "tenancy__room__building").order_by("-joined_at").first()):
        yield _("holder"), member.called()


def _registers(one: MeterBill) -> tuple[object, ...]:
    return units.kwh(one.opens_wh), units.kwh(one.closes_wh), units.kwh(one.energy_wh), one.days


def _priced(found: Bill) -> str:
    """Lines by tariff, tier and period; their amounts add up to the amount for the energy."""
    lines = sorted(
        (line for one in found.meters for line in one.lines),
        key=lambda line: (line.version_id, line.tier, list(PERIODS).index(line.period), line.price),  # type: ignore[arg-type]  # the engine wrote it
    )
    versions = TariffVersion.objects.select_related("tariff").in_bulk({line.version_id for line in lines})
    heads = [_("tariff version"), _("tier"), _("period"), _("energy, kWh"), _("price, yuan/kWh"), _("amount")]
    heads.append(_("service fee, yuan/kWh"))
    return table(
        heads,
        (
            (
                version_link(versions, line.version_id),
                line.tier,
                PERIODS.get(line.period, line.period),  # type: ignore[call-overload]  # as above
                units.kwh(line.energy_wh),
                units.yuan(line.price),
                staff.yuan(fen),
                units.yuan(line.fee),
            )
            for line, fen in zip(lines, in_fen(lines, total_fen=found.shown_fen()[0]), strict=True)
        ),
    )


def in_fen(lines: Iterable[BillLine], *, total_fen: int) -> list[int]:
    """Whole fen by line, as differences of the rounded running total; the last line takes what is left of the total."""
    nano, given, parts = 0, 0, []
    for line in lines:
        nano += line.cost_nano
        parts.append(units.to_fen(nano) - given)
        given += parts[-1]
    if parts:
        parts[-1] += total_fen - given
    return parts


def _notes(found: Bill, first: date) -> Iterator[str]:
    if any(one.days < (following(first) - first).days for one in found.meters):
        yield gettext("Some days of this month are not in it: not closed yet, or of another tenancy or meter.")
    if sum(found.shown_fen()) != found.posted_fen:
        yield gettext("Each day is posted in whole fen, so that the posted amount may differ by a fen.")


OF_A_HOME: Final = Page(name="bill", label=_("Monthly bill"), shows=bill)

# ---- a property's ----


class BillsForm(forms.Form):
    property = forms.ModelChoiceField(Property.objects.none(), label=_("Property"), empty_label=None)
    month = a_month(label=_("Month"))

    def __init__(self, *args: Any, places: QuerySet[Property], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["property"]
        field.queryset = places  # type: ignore[attr-defined]  # a choice among rows


def of_a_property(request: HttpRequest, window: admin.ModelAdmin[Purse]) -> HttpResponseBase:
    """The bills of one of the reader's own properties; `csv` in the address makes it a file."""
    places = staff.places_where(request, staff.EVERYBODY).order_by("name")
    asked = {"property": places.first(), "month": f"{last_month():%Y-%m}"}
    form = BillsForm(request.GET if "month" in request.GET else asked, places=places)
    context: dict[str, Any] = {"form": form}
    if form.is_valid():
        place, first = form.cleaned_data["property"], form.cleaned_data["month"]
        found = bills(property_ids=[place.pk], month_date=first)
        if "csv" in request.GET:
            return _file(found, name=f"bills-{place.pk}-{first:%Y-%m}.csv")
        context |= _listed(found, place, first)
    context |= window.admin_site.each_context(request) | {"title": gettext("Bills of a month"), "opts": window.opts}
    return TemplateResponse(request, "admin/look.html", context)


def _listed(found: list[Bill], place: Property, first: date) -> dict[str, Any]:
    shown, month = found[:SHOWN_AT_ONCE], f"{first:%Y-%m}"
    homes = _homes(shown)
    lines = [(_to_bill(one, homes, place, month), *_in_words(one)) for one in shown]
    notes = []
    if len(found) > len(shown):
        told = gettext("These are the first %(shown)d of %(all)d bills; the file has all of them.")
        notes.append(told % {"shown": len(shown), "all": len(found)})
    way = (gettext("Download as CSV"), f"?{urlencode({'property': str(place.pk), 'month': month, 'csv': '1'})}")
    facts = [(_("bills"), len(found)), (_("energy"), f"{units.kwh(sum(one.energy_wh for one in found))} kWh")]
    facts += [(_("amount of the month"), staff.yuan(sum(sum(one.shown_fen()) for one in found)))]
    facts += [(_("posted amount"), staff.yuan(sum(one.posted_fen for one in found)))]
    return {
        "heading": f"{place} · {month}",
        "facts": facts,
        "tables": [("", table([_("home"), *_COLUMNS], lines))],
        "notes": notes,
        "ways": [way] if found else [],
    }


_COLUMNS: Final = (
    *(_("energy, kWh"), _("amount for the energy"), _("service fee"), _("amount of the month"), _("posted amount")),
    _("put right of months before"),
)


def _in_words(one: Bill) -> tuple[str, ...]:
    return (units.kwh(one.energy_wh), *(staff.yuan(fen) for fen in _sums(one)))


def _sums(one: Bill) -> tuple[int, ...]:
    energy_fen, fee_fen = one.shown_fen()
    return energy_fen, fee_fen, energy_fen + fee_fen, one.posted_fen, one.put_right_fen


def _homes(found: Iterable[Bill]) -> dict[int, Tenancy]:
    return Tenancy.objects.select_related("room__building").in_bulk([one.tenancy_id for one in found if one.tenancy_id])


def _home(one: Bill, homes: dict[int, Tenancy], place: str) -> str:
    return str(homes[one.tenancy_id]) if one.tenancy_id else place


def _to_bill(one: Bill, homes: dict[int, Tenancy], place: Property, month: str) -> str:
    address = reverse("admin:billing_purse_bill", args=[one.purse_id], query={"month": month})
    return format_html('<a href="{}">{}</a>', address, _home(one, homes, str(place)))


class _Echo:
    """What a csv.writer writes to, where each line is handed on at once."""

    def write(self, line: str) -> str:
        return line


def _file(found: list[Bill], *, name: str) -> StreamingHttpResponse:
    """For a spreadsheet: UTF-8 with a mark, yuan without a sign, nothing that would be taken for a formula."""
    heads = [_("home"), _("meter"), _("register at the beginning, kWh"), _("register at the end, kWh"), *_COLUMNS]
    homes, own = _homes(found), gettext("the property's own")
    named = Meter.objects.filter(pk__in=[part.meter_id for one in found for part in one.meters])
    serials = dict(named.values_list("pk", "serial"))
    rows = chain([[str(head) for head in heads]], (_cells(one, homes, serials, own) for one in found))
    writer = csv.writer(_Echo())
    content = chain(["\ufeff"], (writer.writerow(row) for row in rows))
    answer = StreamingHttpResponse(content, content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _cells(one: Bill, homes: dict[int, Tenancy], meters: dict[int, str], own: str) -> list[str]:
    registers = [[meters[m.meter_id], units.kwh(m.opens_wh), units.kwh(m.closes_wh)] for m in one.meters]
    home = harmless(_home(one, homes, own))
    joined = [harmless("; ".join(column)) for column in zip(*registers, strict=True)]
    return [home, *joined, units.kwh(one.energy_wh), *(money.to_yuan(fen) for fen in _sums(one))]


def harmless(text: str) -> str:
    """As it is, or behind an apostrophe where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
