"""What one meter told, by time: readings have two keys, so the admin has no list of them, and a meter has a page."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any, Final

from django import forms
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.http import urlencode
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.deeds import Text
from accounts.pages import Page, a_day
from accounts.panes import table
from meters.models import Meter, Reading, Relay

DAYS_AT_MOST: Final = 31  # a month of quarter hours is 15 pages, and two partitions
ROWS: Final = 200
DAY: Final = timedelta(days=1)
SOURCES: Final[dict[int, Text]] = {
    Reading.Source.METER: _("told by the meter"),
    Reading.Source.STAFF: _("read by staff"),
    Reading.Source.STRAY: _("wrong clock, put right by staff"),
}


class SpanForm(forms.Form):
    """Days of China, both of them in it."""

    from_date = a_day(label=_("From"))
    to_date = a_day(label=_("To"))

    def clean(self) -> dict[str, Any]:
        super().clean()
        first, last = self.cleaned_data.get("from_date"), self.cleaned_data.get("to_date")
        if first and last and not timedelta() <= last - first < DAYS_AT_MOST * DAY:
            told = gettext("Choose at most %(most)d days, the first of them first.")
            raise forms.ValidationError(told % {"most": DAYS_AT_MOST})
        return self.cleaned_data


def readings(request: HttpRequest, meter: Meter) -> dict[str, Any]:
    """A page of them, newest first; `before` in the address is the oldest of the page before."""
    today = timezone.localdate()
    asked = {"from_date": today - (DAYS_AT_MOST - 1) * DAY, "to_date": today}
    form = SpanForm(request.GET if "from_date" in request.GET else asked)
    if not form.is_valid():
        return {"form": form}
    first, last = form.cleaned_data["from_date"], form.cleaned_data["to_date"]
    end_at = _midnight(last + DAY)
    until_at = min(_before(request) or end_at, end_at)
    # Plan: the key of one month's partition, or of two, backwards; it stops at the page's end.
    told = Reading.objects.filter(meter=meter, read_at__gte=_midnight(first), read_at__lt=until_at)
    found = list(told.order_by("-read_at")[: ROWS + 1])
    shown = found[:ROWS]
    heads = [_("read at"), _("received"), _("register, kWh"), _("balance in the meter"), _("relay"), _("source")]
    page = {"form": form, "tables": [("", table(heads, map(_line, shown)))]}
    if len(found) > ROWS:
        query = urlencode({"from_date": first, "to_date": last, "before": shown[-1].read_at.isoformat()})
        page["ways"] = [(gettext("Older"), f"?{query}")]
    return page


def _before(request: HttpRequest) -> datetime | None:
    try:
        at = parse_datetime(request.GET.get("before", ""))
    except ValueError:  # well written, and no date
        return None
    return at if at and at.tzinfo else None


def _midnight(on: date) -> datetime:
    return timezone.make_aware(datetime.combine(on, time()))


def _line(reading: Reading) -> tuple[object, ...]:
    return (
        at_its_instant(reading.read_at),
        f"{timezone.localtime(reading.received_at):%Y-%m-%d %H:%M:%S}",
        kwh(reading.import_wh),
        staff.yuan(reading.balance_fen),
        Relay(reading.relay).label if reading.relay in Relay.values else reading.relay,
        SOURCES.get(reading.source, reading.source),
    )


def kwh(energy_wh: int) -> str:
    """With three decimals, so that registers stand below one another."""
    return f"{energy_wh // 1000}.{energy_wh % 1000:03d}"


def at_its_instant(at: datetime) -> str:
    """As forms that ask for a reading's instant take it: to the millisecond, where it has any."""
    local = timezone.localtime(at)
    milliseconds = f".{local.microsecond // 1000:03d}" if local.microsecond else ""
    return f"{local:%Y-%m-%d %H:%M:%S}{milliseconds}"


OF_A_METER: Final = Page(name="readings", label=_("Readings"), shows=readings)
