"""What a home used day by day, and one of its days to the last line: pages under its purse, from what was kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from django import forms
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.deeds import Text
from accounts.pages import Page, a_month
from accounts.panes import table
from billing.bills import following
from billing.models import Draw, Purse, TariffVersion, UsageDay, UsageRevision
from billing.rating import posting
from billing.tariff import units
from billing.tariff_words import PERIODS

DAYS_AT_MOST: Final = 400  # a home has a month of days a meter; a property's own purse has those of its empty rooms
REVISED: Final[dict[str, Text]] = {
    posting.CORRECTED: _("correction of a day's electricity"),
    posting.PRICE: _("a day's electricity at its final price"),
}


class MonthForm(forms.Form):
    month = a_month(label=_("Month"))


class DayForm(forms.Form):
    day = forms.DateField()
    draw = forms.IntegerField(min_value=1, max_value=2**62)


def month(request: HttpRequest, purse: Purse) -> dict[str, Any]:
    """The days of a month, or one of them where the address names it."""
    chosen = DayForm(request.GET)
    if chosen.is_valid():
        return _day(purse, chosen.cleaned_data["day"], chosen.cleaned_data["draw"])
    form = MonthForm(request.GET if "month" in request.GET else {"month": f"{timezone.localdate():%Y-%m}"})
    if not form.is_valid():
        return {"form": form}
    first = form.cleaned_data["month"]
    draws = Draw.objects.select_related("meter", "room__building").filter(purse=purse).in_bulk()
    # Plan: the key of the days, by the draws of one purse.
    kept = UsageDay.objects.filter(draw__in=draws, usage_date__gte=first, usage_date__lt=following(first))
    found = list(kept.order_by("usage_date", "draw_id")[: DAYS_AT_MOST + 1])
    days = found[:DAYS_AT_MOST]
    heads: list[Text] = [
        _("day"),
        _("room"),
        _("meter"),
        _("energy, kWh"),
        _("amount"),
        _("posted amount"),
        _("revision"),
        "",
    ]
    total = ("", "", gettext("total"), _kwh(days), _amount(days), staff.yuan(sum(day.posted_fen for day in days)))
    lines = [_line(day, draws[day.draw_id]) for day in days] + ([(*total, "", "")] if days else [])
    notes = [gettext("Days are shown when they are closed, which is after midnight, when the meter was read.")]
    if len(found) > DAYS_AT_MOST:
        notes.append(gettext("There are more days than the first %(most)d.") % {"most": DAYS_AT_MOST})
    return {"form": form, "heading": str(purse), "tables": [("", table(heads, lines))], "notes": notes}


def _kwh(days: Iterable[UsageDay]) -> str:
    return units.kwh(sum(day.energy_wh for day in days))


def _amount(days: Iterable[UsageDay]) -> str:
    return staff.yuan(units.to_fen(sum(day.cost_nano + day.fee_nano for day in days)))


def _line(day: UsageDay, draw: Draw) -> tuple[object, ...]:
    return (
        format_html('<a href="?day={}&amp;draw={}">{}</a>', day.usage_date, day.draw_id, day.usage_date),
        draw.room,
        draw.meter,
        _kwh([day]),
        _amount([day]),
        staff.yuan(day.posted_fen),
        day.revision,
        _standing(day, draw),
    )


def _standing(day: UsageDay, draw: Draw) -> str:
    if day.is_frozen:
        return gettext("disputed")
    return "" if day.usage_date < draw.closed_until else gettext("being charged anew")


def _day(purse: Purse, on: date, draw_id: int) -> dict[str, Any]:
    """A day from register to register, its lines with their prices, and what it was before."""
    day = UsageDay.objects.filter(draw=draw_id, draw__purse=purse, usage_date=on).first()
    if day is None:
        return {"notes": [gettext("This day is not closed yet, or nothing is known of it.")]}
    draw = Draw.objects.select_related("meter", "room__building").get(pk=draw_id)
    facts: Sequence[tuple[Text, object]] = [
        (_("home"), purse),
        (_("room"), draw.room),
        (_("meter"), draw.meter),
        (_("register at the beginning"), _read(day.opens_at, day.opens_wh)),
        (_("register at the end"), _read(day.closes_at, day.closes_wh)),
        (_("energy"), f"{units.kwh(day.energy_wh)} kWh"),
        (_("amount"), _amount([day])),
        (_("posted amount"), staff.yuan(day.posted_fen)),
        (_("revision"), day.revision),
        *([(_("state"), standing)] if (standing := _standing(day, draw)) else []),
    ]
    revisions = UsageRevision.objects.filter(draw=draw_id, usage_date=on).order_by("-revision")
    tables = [(gettext("How it was charged"), charged(day.lines))]
    if revisions:
        tables.append((gettext("What it was before"), _before(revisions)))
    back = (gettext("To the month"), f"?month={on:%Y-%m}")
    return {"heading": f"{on}", "facts": facts, "tables": tables, "ways": [back], "is_printed": True}


def _read(at: datetime, import_wh: int) -> str:
    return f"{units.kwh(import_wh)} kWh · {timezone.localtime(at):%Y-%m-%d %H:%M:%S}"


def charged(lines: Iterable[Mapping[str, Any]]) -> str:
    """Energy by tariff, period and tier, with the prices that it was charged at; amounts to a hundredth of a fen."""
    lines = list(lines)
    versions = TariffVersion.objects.select_related("tariff").in_bulk({line["version"] for line in lines})
    heads = [_("tariff version"), _("period"), _("tier"), _("energy, kWh"), _("price, yuan/kWh"), _("amount, yuan")]
    heads += [_("service fee, yuan/kWh"), _("service fee, yuan")]
    return table(
        heads,
        (
            (
                version_link(versions, line["version"]),
                PERIODS.get(line["period"], line["period"]),
                line["tier"],
                units.kwh(line["energy_wh"]),
                units.yuan(line["price"]),
                _finely(line["cost_nano"]),
                units.yuan(line["fee"]),
                _finely(line["fee_nano"]),
            )
            for line in lines
        ),
    )


def version_link(versions: Mapping[int, TariffVersion], pk: int) -> SafeString | str:
    if pk not in versions:
        return ""
    return format_html('<a href="{}">{}</a>', reverse("admin:billing_tariffversion_change", args=[pk]), versions[pk])


def _finely(nano: int) -> str:
    """Nano-fen in yuan with four decimals: a line of a day is a few fen."""
    hundredths = units.to_fen(nano * 100)
    return f"{'-' if hundredths < 0 else ''}{abs(hundredths) // 10_000}.{abs(hundredths) % 10_000:04d}"


def _before(revisions: Iterable[UsageRevision]) -> str:
    heads = [_("revision"), _("until"), _("why it was changed"), _("energy, kWh"), _("amount"), _("posted amount")]
    return table(
        heads,
        (
            (
                one.revision,
                f"{timezone.localtime(one.replaced_at):%Y-%m-%d %H:%M:%S}",
                REVISED.get(one.reason, one.reason),
                units.kwh(one.was["energy_wh"]),
                staff.yuan(units.to_fen(one.was["cost_nano"] + one.was["fee_nano"])),
                staff.yuan(one.was["posted_fen"]),
            )
            for one in revisions
        ),
    )


OF_A_HOME: Final = Page(name="usage", label=_("Usage by day"), shows=month)
