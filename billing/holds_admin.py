"""Power held by hand, and holds of a cut: what staff see of them, and the forms that place and lift."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.deeds import Added, Adding, Answers, Deed, DeskForm, Facts, instant
from accounts.models import Room
from accounts.panes import PropertyFilter, StandingFilter
from accounts.window import AskingAdmin, ScopedAdmin
from billing import holds
from billing.models import CutHold, StaffHold
from notifications.words import words_column

REASON = words_column("reason", label=_("reason"))  # a person's own words, or a code of ours


@admin.register(CutHold)
class CutHoldAdmin(ScopedAdmin[CutHold]):
    property_path = "purse__property"
    related = ("purse__tenancy__room__building", "purse__property")
    fields = ("purse", REASON, "expires_at", "key")
    list_display = ("purse", REASON, "expires_at")
    list_filter = (PropertyFilter,)
    search_fields = ("key",)


class HoldForm(DeskForm):
    room = forms.ModelChoiceField(Room.objects.none(), label=_("Room"))
    position = forms.ChoiceField(label=_("Power"), choices=StaffHold.Position.choices, widget=forms.RadioSelect)
    reason = forms.CharField(
        label=_("Reason"),
        max_length=255,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=_("The tenant reads this."),
    )
    until = instant(
        label=_("Until"),
        required=False,
        help_text=_("Power held on: required. Power held off: blank, until it is lifted."),
    )

    def prepare(self) -> None:
        rooms = Room.objects.filter(property__in=staff.places_where(self.request, staff.DESK))
        self.offer("room", rooms.select_related("building"), like=StaffHold.room.field)

    def clean(self) -> dict[str, Any]:
        super().clean()
        is_on = self.cleaned_data.get("position") == StaffHold.Position.CLOSED
        if is_on and "until" not in self.errors and not self.cleaned_data.get("until"):
            self.add_error("until", _("Power that is held on needs an end: say until when."))
        return self.cleaned_data


def _hold(request: HttpRequest, answers: Answers) -> Added:
    hold = holds.hold_room(
        room=answers["room"],
        position=answers["position"],
        reason=answers["reason"],
        by=staff.who(request),
        until=answers["until"],
        now=timezone.now(),
        trace=request.META["TRACE_ID"],
    )
    told = (
        gettext("%(room)s is held off.")
        if hold.position == StaffHold.Position.OPEN
        else gettext("%(room)s is held on.")
    )
    return Added(hold, told % {"room": hold.room})


def _lift(request: HttpRequest, hold: StaffHold, answers: Answers) -> str:
    """A room has one standing hold; one that was lifted must not take its successor with it."""
    standing = StaffHold.objects.filter(pk=hold.pk, lifted_at__isnull=True)
    by, now, trace = staff.who(request), timezone.now(), request.META["TRACE_ID"]
    if not standing.exists() or not holds.lift_hold(room=hold.room, by=by, now=now, trace=trace):
        raise holds.HoldRefused(gettext("It was lifted before."))
    return gettext("Lifted. Money decides again.")


def _held(hold: StaffHold) -> Facts:
    return [(_("room"), hold.room), (_("power"), hold.get_position_display()), (_("reason"), hold.reason)]


class LiftedFilter(StandingFilter):
    field = "lifted_at"


@admin.register(StaffHold)
class StaffHoldAdmin(AskingAdmin[StaffHold]):
    may_add = staff.DESK
    related = ("room__building", "property", "placed_by", "lifted_by")
    fields = ("room", "position", "reason", "placed_at", "placed_by", "until_at", "lifted_at", "lifted_by")
    list_display = ("room", "position", "reason", "placed_at", "placed_by", "until_at", "lifted_at", "property")
    list_filter = (PropertyFilter, LiftedFilter, "position")
    search_fields = ("room__number", "reason")
    adding = Adding(
        title=_("Hold power on or off"),
        button=_("Hold"),
        does=_hold,
        form=HoldForm,
        refusals=(holds.HoldRefused,),
        explanation=_("Stronger than money: a recharge does not end it. The tenant is told the reason."),
    )
    deeds = (
        Deed(
            name="lift",
            label=_("Lift the hold"),
            roles=staff.DESK,
            does=_lift,
            refusals=(holds.HoldRefused,),
            facts=_held,
            fits=lambda hold: hold.lifted_at is None,
        ),
    )
