"""Readings whose clock cannot be right, as staff decide about them; and readings that are stored and not rated yet."""

from __future__ import annotations

from typing import ClassVar, Final

from django import forms
from django.contrib import admin
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.deeds import Answers, Deed, Facts, ReasonForm, Text
from accounts.models import Property
from accounts.panes import CodeFilter, PropertyFilter, called, coded_column, plain_column, yuan_column
from accounts.window import ScopedAdmin
from meters import strays
from meters.models import Batch, Meter, StrayReading
from meters.readings_admin import at_its_instant, kwh

called(StrayReading, one=_("reading with a wrong clock"), many=_("readings with a wrong clock"))
called(Batch, one=_("readings not rated yet"), many=_("readings not rated yet"))

State = StrayReading.State
STATES: Final[dict[str, Text]] = {
    State.OPEN: pgettext_lazy("work item", "open"),
    State.USED: _("used as a reading"),
    State.DROPPED: _("dropped"),
}
REASONS: Final[dict[str, Text]] = {
    StrayReading.Reason.AHEAD: _("its clock is ahead"),
    StrayReading.Reason.LONG_PAST: _("its clock is long past"),
}
_TO_THE_SECOND: Final = "%Y-%m-%dT%H:%M:%S"


class UseForm(ReasonForm):
    field_order = ("at", "reason")

    at = forms.DateTimeField(
        label=_("When it was read in truth"),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"}, format=_TO_THE_SECOND),
        help_text=_("When it arrived stands there already."),
    )

    def prepare(self) -> None:
        for stray in self.rows:
            self.fields["at"].initial = timezone.localtime(stray.received_at)


def _use(request: HttpRequest, stray: StrayReading, answers: Answers) -> str:
    by, note = staff.who(request), answers["reason"]
    reading = strays.use(stray_id=stray.pk, at=answers["at"], by=by, note=note, now=timezone.now())
    return gettext("It counts as the reading of %(instant)s.") % {"instant": at_its_instant(reading.read_at)}


def _drop(request: HttpRequest, stray: StrayReading, answers: Answers) -> str:
    strays.drop(stray_id=stray.pk, by=staff.who(request), note=answers["reason"], now=timezone.now())
    return gettext("It stays written down, and counts for nothing.")


@admin.display(description=_("register"), ordering="import_wh")
def register(stray: StrayReading) -> str:
    return f"{kwh(stray.import_wh)} kWh"


@admin.display(description=_("meter"), ordering="meter__serial")
def meter(stray: StrayReading) -> str:
    return stray.meter.serial


def _facts(stray: StrayReading) -> Facts:
    return [
        (_("meter"), stray.meter),
        (_("its clock said"), at_its_instant(stray.read_at)),
        (_("received"), at_its_instant(stray.received_at)),
        (_("register"), register(stray)),
        (_("register of the meter now"), "" if (now := stray.meter.import_wh) is None else f"{kwh(now)} kWh"),
    ]


class StateFilter(CodeFilter):
    title, parameter_name, words = _("state"), "state", STATES


def _is_open(stray: StrayReading) -> bool:
    return stray.state == State.OPEN


@admin.register(StrayReading)
class StrayReadingAdmin(ScopedAdmin[StrayReading]):
    related = ("meter", "property", "decided_by")
    columns = (
        *(meter, plain_column("read_at", label=_("its clock said")), plain_column("received_at", label=_("received"))),
        *(register, yuan_column("balance_fen", label=_("balance in the meter"))),
        coded_column("reason", label=_("reason"), words=REASONS),
        coded_column("state", label=_("state"), words=STATES),
        *(plain_column("decided_by", label=_("decided by")), plain_column("note", label=_("note"))),
    )
    fields = (*columns, plain_column("decided_at", label=_("decided")))
    list_display = (*columns, "property")
    list_filter = (PropertyFilter, StateFilter)
    search_fields = ("meter__serial", "meter__installations__room__number")
    search_help_text = _("Meter number or room")
    deeds = (
        Deed(
            name="use",
            label=_("Use it at an instant"),
            roles=staff.MANAGERS,
            does=_use,
            form=UseForm,
            refusals=(strays.StrayRefusedError,),
            facts=_facts,
            fits=_is_open,
            explanation=_("It becomes a reading like any other, and is charged. The next good one covers it too."),
            at_most=1,
        ),
        Deed(
            name="drop",
            label=_("Drop it"),
            roles=staff.MANAGERS,
            does=_drop,
            refusals=(strays.StrayRefusedError,),
            fits=_is_open,
            explanation=_("No energy is lost: registers add up, and the next good reading covers it."),
        ),
    )


@admin.display(description=_("number of meters"))
def meters(batch: Batch) -> str:
    return str(len(batch.meter_ids))


@admin.register(Batch)
class BatchAdmin(ScopedAdmin[Batch]):
    """To look at: each line goes away by itself, mostly within a second. Those that have a meter of one's own."""

    ordering: ClassVar = ("stored_at", "pk")
    columns = (
        *(
            plain_column("stored_at", label=_("when stored")),
            plain_column("readings", label=_("number of readings")),
            meters,
        ),
        *(plain_column("first_at", label=_("readings from")), plain_column("last_at", label=_("readings until"))),
    )
    fields = list_display = columns
    list_filter = (PropertyFilter,)

    def in_places(self, rows: QuerySet[Batch], places: QuerySet[Property]) -> QuerySet[Batch]:
        return rows.filter(meter_ids__overlap=ArraySubquery(Meter.objects.filter(property__in=places).values("pk")))
