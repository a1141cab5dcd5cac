"""Readings in doubt as staff see them and decide about them, and the meters whose readings wait for a careful look."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import ClassVar, Final, cast

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.deeds import Answers, Deed, Facts, ReasonForm, Refused, Text
from accounts.panes import CodeFilter, PropertyFilter, called, coded_column, plain_column
from accounts.window import ScopedAdmin
from billing import supply_words
from billing.models import Backlog, Doubt
from billing.rating import doubts
from billing.rating.chain import Ruling
from billing.rating.room import rule_of
from billing.tariff import units
from meters.models import Reading
from notifications.words import WORDS

called(Doubt, one=_("reading in doubt"), many=_("readings in doubt"))
called(Backlog, one=_("meter rated with care"), many=_("meters rated with care"))

State = Doubt.State
REASONS: Final[dict[str, Text]] = {reason: WORDS[reason] for reason in Doubt.Reason}
STATES: Final[dict[str, Text]] = {
    State.OPEN: pgettext_lazy("work item", "open"),
    State.BELIEVED: _("believed"),
    State.REBASED: _("begun anew"),
    State.REJECTED: _("rejected"),
    State.CLEARED: _("cleared by later readings"),
}
WAITING_FOR: Final[dict[str, Text]] = {
    "assigned": _("another tariff was assigned"),
    "changed": _("its tariff changes"),
    "decided": _("a reading was decided about"),
    "household": _("the number of persons changed"),
    "late": _("a reading came late"),
    "not_rated": _("it could not be rated before"),
    "repriced": _("a price was changed"),
    "special_day": _("a special day was entered"),
    "tenancy": _("a tenancy or a meter changed"),
    "unusual": _("not a plain reading"),
}


class RulingForm(ReasonForm):
    field_order = ("ruling", "reason")

    ruling = forms.ChoiceField(
        label=_("Decision"),
        choices=[
            (State.BELIEVED, _("Believe it: it is right, and everything in between is charged")),
            (State.REBASED, _("Begin anew: the register starts over here, and nothing in between is charged")),
            (State.REJECTED, _("Reject it: it is wrong, and is passed over")),
        ],
        widget=forms.RadioSelect(attrs={"class": "radiolist"}),
    )


def _decide(request: HttpRequest, doubt: Doubt, answers: Answers) -> str:
    ruling: Ruling = cast("Ruling", answers["ruling"])
    _quick_enough(doubts.decide, request, doubt, answers, as_=ruling)
    return gettext("Decided: %(state)s. What follows is charged within a minute.") % {"state": STATES[ruling]}


def _undo(request: HttpRequest, doubt: Doubt, answers: Answers) -> str:
    _quick_enough(doubts.undo, request, doubt, answers)
    return gettext("The reading is in doubt again, and what followed from the decision is charged back.")


def _quick_enough(
    door: Callable[..., None], request: HttpRequest, doubt: Doubt, answers: Answers, **more: Ruling
) -> None:
    try:
        door(doubt_id=doubt.pk, by=staff.who(request), note=answers["reason"], now=timezone.now(), **more)
    except doubts.CannotDecideError as error:
        raise Refused(gettext("Somebody has decided about this reading already.")) from error


@admin.display(description=_("meter"))
def meter(row: Doubt | Backlog) -> str:
    return row.installation.meter.serial


@admin.display(description=_("room"))
def room(row: Doubt | Backlog) -> str:
    return str(row.installation.room)


@admin.display(description=_("register"), ordering="import_wh")
def register(doubt: Doubt) -> str:
    return f"{units.kwh(doubt.import_wh)} kWh"


READ_AT, FOUND_AT = plain_column("read_at", label=_("read at")), plain_column("found_at", label=_("found"))
REASON = coded_column("reason", label=_("reason"), words=REASONS)
STATE = coded_column("state", label=_("state"), words=STATES)
DECIDED_AT, DECIDED_BY = (
    plain_column("decided_at", label=_("decided")),
    plain_column("decided_by", label=_("decided by")),
)
NOTE = plain_column("note", label=_("note"))


def _facts(doubt: Doubt) -> Facts:
    """The reading with those around it, from which a person sees what is wrong."""
    readings = Reading.objects.filter(meter=doubt.installation.meter_id)
    before = readings.filter(read_at__lt=doubt.read_at).order_by("-read_at").first()
    after = readings.filter(read_at__gt=doubt.read_at).order_by("read_at").first()
    return [
        (_("room"), room(doubt)),
        (_("meter"), meter(doubt)),
        (_("reading before"), _read(before.read_at, before.import_wh) if before else ""),
        (_("reading in doubt"), _read(doubt.read_at, doubt.import_wh)),
        (_("reading after"), _read(after.read_at, after.import_wh) if after else ""),
        (_("if it is believed, this is charged"), _at_stake(doubt)),
        (_("reason"), REASON(doubt)),
        (_("note"), doubt.note),
    ]


def _at_stake(doubt: Doubt) -> str:
    """What lies between the last reading that counts and this one: nearly a round, where the register went back."""
    passed_over = doubt.installation.doubts.exclude(state__in=(State.BELIEVED, State.REBASED)).values("read_at")
    readings = Reading.objects.filter(meter=doubt.installation.meter_id, read_at__lt=doubt.read_at)
    counted = readings.filter(read_at__gt=doubt.installation.starts_at).exclude(read_at__in=passed_over)
    before_wh = counted.order_by("-read_at").values_list("import_wh", flat=True).first()
    rule = rule_of(doubt.installation)
    from_wh = doubt.installation.starts_wh if before_wh is None else before_wh
    return f"{units.kwh((doubt.import_wh - from_wh) % rule.wraps_wh * rule.ct)} kWh"


def _read(at: datetime, import_wh: int) -> str:
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S} · {units.kwh(import_wh)} kWh"


class StateFilter(CodeFilter):
    title, parameter_name, words = _("state"), "state", STATES


class ReasonFilter(CodeFilter):
    title, parameter_name, field, words = _("reason"), "reason", "reason", REASONS


@admin.register(Doubt)
class DoubtAdmin(ScopedAdmin[Doubt]):
    related = ("installation__meter", "installation__room__building", "property", "decided_by")
    fields = (room, meter, READ_AT, register, REASON, STATE, FOUND_AT, DECIDED_AT, DECIDED_BY, NOTE)
    list_display = (READ_AT, room, meter, register, REASON, STATE, DECIDED_BY, NOTE, "property")
    list_filter = (PropertyFilter, StateFilter, ReasonFilter)
    search_fields = ("installation__meter__serial", "installation__room__number")
    search_help_text = _("Meter number or room")
    deeds = (
        Deed(
            name="decide",
            label=_("Decide about the reading"),
            roles=staff.MANAGERS,
            does=_decide,
            form=RulingForm,
            refusals=(Refused,),
            facts=_facts,
            fits=lambda doubt: doubt.state == State.OPEN,
            explanation=_("Nothing behind this reading is charged until it is decided, or later readings clear it."),
            at_most=1,
        ),
        Deed(
            name="undo",
            label=_("Take the decision back"),
            roles=staff.MANAGERS,
            does=_undo,
            refusals=(Refused,),
            facts=_facts,
            fits=lambda doubt: doubt.state in doubts.DECIDED,
            at_most=1,
        ),
    )


@admin.display(description=_("because"))
def waiting_for(backlog: Backlog) -> str:
    return supply_words.listed([str(WAITING_FOR.get(reason, reason)) for reason in backlog.reasons])


@admin.register(Backlog)
class BacklogAdmin(ScopedAdmin[Backlog]):
    """To look at: each line goes away by itself when the meter's readings have been rated."""

    related = ("installation__meter", "installation__room__building", "property")
    ordering: ClassVar = ("next_try_at", "pk")
    columns = (
        *(room, meter, plain_column("from_at", label=_("readings from")), waiting_for),
        *(plain_column("tries", label=_("tries")), plain_column("next_try_at", label=_("next try"))),
        plain_column("error", label=_("error")),
    )
    fields = columns
    list_display = (*columns, "property")
    list_filter = (PropertyFilter,)
    search_fields = ("installation__meter__serial", "installation__room__number")
    search_help_text = _("Meter number or room")
