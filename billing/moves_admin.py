"""Moving in and out, replacing meters and putting readings right, as staff do it: deeds on homes and meters, and the
list of what was done."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.timezone import localtime
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.deeds import Added, Adding, Answers, Deed, DeskForm, Facts, instant
from accounts.models import Room
from accounts.panes import PropertyFilter
from accounts.window import AskingAdmin
from billing import money
from billing.models import Operation, Purse
from billing.moves import devices, homes, registers
from billing.moves.asked import Asked, MoveRefused
from billing.moves.devices import Hung, TakenDown
from billing.tariff import units
from meters.models import Installation, Meter

WHEN: Final = "happened"


def kwh_field(*, label: Any, required: bool = False, **kwargs: Any) -> forms.CharField:
    return forms.CharField(label=label, required=required, max_length=16, **kwargs)


def read_kwh(text: str) -> int:
    try:
        return units.energy_wh(text.strip())
    except ValueError as error:
        raise forms.ValidationError(_("Write the register as on the meter: 1234.56.")) from error


class MoveForm(DeskForm):
    """When, why, and once."""

    form_key = forms.CharField(widget=forms.HiddenInput, max_length=64)
    happened = instant(label=_("When"), help_text=_("The instant that the registers were read at."))
    reason = forms.CharField(label=_("Reason"), max_length=255, widget=forms.TextInput(attrs={"class": "vTextField"}))

    def prepare(self) -> None:
        self.fields["form_key"].initial = uuid.uuid4().hex
        self.fields[WHEN].initial = localtime().strftime("%Y-%m-%dT%H:%M")


class LeavingForm(MoveForm):
    """Asks for the register of each meter of the room that is left."""

    def prepare(self) -> None:
        super().prepare()
        for one in self.hanging():
            label = gettext("Register of %(serial)s, kWh") % {"serial": one.meter.serial}
            told = _("Blank: nobody read it; the day is cut by time then.")
            self.fields[f"wh_{one.meter_id}"] = kwh_field(label=label, help_text=told)

    def hanging(self) -> Iterable[Installation]:
        rooms = [purse.tenancy.room_id for purse in self.rows if purse.tenancy]
        return [one for room in rooms for one in registers.hanging(room, timezone.now())]

    def clean(self) -> dict[str, Any]:
        super().clean()
        self.cleaned_data["told"] = told = {}
        for name in [name for name in self.fields if name.startswith("wh_")]:
            if text := self.cleaned_data.get(name):
                try:
                    told[int(name.removeprefix("wh_"))] = read_kwh(text)
                except forms.ValidationError as error:
                    self.add_error(name, error)
        return self.cleaned_data


class ChangeRoomForm(LeavingForm):
    to_room = forms.ModelChoiceField(Room.objects.none(), label=_("To room"))

    def prepare(self) -> None:
        super().prepare()
        rooms = Room.objects.filter(property__in=staff.places_where(self.request, staff.DESK))
        self.offer("to_room", rooms.select_related("building"), like=Operation.room.field)


class MoveInForm(MoveForm):
    room = forms.ModelChoiceField(Room.objects.none(), label=_("Room"))
    register = kwh_field(label=_("Register, kWh"), help_text=_("Where one meter hangs there. Blank: nobody read it."))

    def prepare(self) -> None:
        super().prepare()
        rooms = Room.objects.filter(property__in=staff.places_where(self.request, staff.DESK))
        self.offer("room", rooms.select_related("building"), like=Operation.room.field)

    def clean(self) -> dict[str, Any]:
        super().clean()
        self.cleaned_data["told"] = {}
        text, room = self.cleaned_data.get("register"), self.cleaned_data.get("room")
        if text and room:
            hanging = registers.hanging(room.pk, self.cleaned_data.get(WHEN) or timezone.now())
            if len(hanging) != 1:
                raise forms.ValidationError(_("Not one meter hangs in this room then. Leave the register blank."))
            self.cleaned_data["told"] = {hanging[0].meter_id: read_kwh(text)}
        return self.cleaned_data


class ReplaceForm(MoveForm):
    old_kwh = kwh_field(label=_("Last register of the old meter, kWh"), required=True)
    old_balance = forms.CharField(
        label=_("Balance in the old meter, yuan"),
        required=False,
        max_length=12,
        help_text=_("Only of a meter that holds its own money: it goes on into the new one."),
    )
    meter = forms.ModelChoiceField(Meter.objects.none(), label=_("New meter"))
    new_kwh = kwh_field(label=_("First register of the new meter, kWh"), required=True)
    ct_ratio = forms.IntegerField(label=_("Ratio of the current transformer"), min_value=1, max_value=10_000, initial=1)

    def prepare(self) -> None:
        super().prepare()
        meters = Meter.objects.filter(property__in=staff.places_where(self.request, staff.MANAGERS))
        self.offer("meter", meters, like=Installation.meter.field)

    def clean_old_kwh(self) -> int:
        return read_kwh(self.cleaned_data["old_kwh"])

    def clean_new_kwh(self) -> int:
        return read_kwh(self.cleaned_data["new_kwh"])

    def clean_old_balance(self) -> int:
        text = self.cleaned_data["old_balance"].strip()
        if not text:
            return 0
        try:
            return money.from_yuan(text)
        except money.NotAnAmount as error:
            raise forms.ValidationError(str(error)) from error


class CorrectForm(DeskForm):
    form_key = forms.CharField(widget=forms.HiddenInput, max_length=64)
    happened = forms.CharField(
        label=_("Instant of the wrong reading"), max_length=40, help_text=_("As the list of readings shows it.")
    )
    right_kwh = kwh_field(
        label=_("What the register showed in truth, kWh"),
        help_text=_("Blank: nobody knows; the reading counts no more."),
    )
    reason = forms.CharField(label=_("Reason"), max_length=255, widget=forms.TextInput(attrs={"class": "vTextField"}))

    def prepare(self) -> None:
        self.fields["form_key"].initial = uuid.uuid4().hex

    def clean_happened(self) -> datetime:
        try:
            at = datetime.fromisoformat(self.cleaned_data["happened"].strip())
        except ValueError as error:
            raise forms.ValidationError(_("Write the instant as 2026-11-23 14:15:00.")) from error
        return at if at.tzinfo else timezone.make_aware(at)

    def clean_right_kwh(self) -> int | None:
        text = self.cleaned_data["right_kwh"]
        return read_kwh(text) if text else None


def _asked(request: HttpRequest, answers: Answers) -> Asked:
    by = staff.who(request)
    return Asked(
        key=f"{by.pk}:{answers['form_key']}",
        by=by,
        reason=answers["reason"],
        at=answers[WHEN],
        trace=request.META["TRACE_ID"],
    )


def _move_out(request: HttpRequest, purse: Purse, answers: Answers) -> str:
    done = homes.move_out(
        _asked(request, answers), tenancy_id=_tenancy_id(purse), told=answers["told"], now=timezone.now()
    )
    return _bill(done)


def _change_room(request: HttpRequest, purse: Purse, answers: Answers) -> str:
    done = homes.change_room(
        _asked(request, answers),
        tenancy_id=_tenancy_id(purse),
        to_room_id=answers["to_room"].pk,
        told=answers["told"],
        told_there={},
        now=timezone.now(),
    )
    moved_fen = done.outcome["moved_paid_fen"] + done.outcome["moved_subsidy_fen"]
    return gettext("Moved to %(room)s with %(amount)s.") % {"room": done.to_room, "amount": money.shown(moved_fen)}


def _tenancy_id(purse: Purse) -> int:
    if purse.tenancy_id is None:
        raise MoveRefused(gettext("Nobody lives in a property's own purse."))
    return purse.tenancy_id


def _bill(done: Operation) -> str:
    if not done.outcome["is_billed"]:
        return gettext("Moved out. The last bill waits for the meter's next reading.")
    left_fen = done.outcome["paid_fen"] + done.outcome["subsidy_fen"]
    text = gettext("Moved out. %(amount)s are left.") if left_fen >= 0 else gettext("Moved out. %(amount)s are owed.")
    return text % {"amount": money.shown(abs(left_fen))}


def _move_in(request: HttpRequest, answers: Answers) -> Added:
    now = timezone.now()
    done = homes.move_in(_asked(request, answers), room_id=answers["room"].pk, told=answers["told"], now=now)
    told = gettext("%(room)s is let. Print an invitation, so that they come in.") % {"room": done.room}
    return Added(done, told if done.done_at == now else "")


def _replace(request: HttpRequest, installation: Installation, answers: Answers) -> str:
    done = devices.replace_meter(
        _asked(request, answers),
        installation_id=installation.pk,
        old=TakenDown(import_wh=answers["old_kwh"], balance_fen=answers["old_balance"]),
        new=Hung(meter_id=answers["meter"].pk, import_wh=answers["new_kwh"], ct_ratio=answers["ct_ratio"]),
        now=timezone.now(),
    )
    return gettext("%(serial)s hangs there now.") % {"serial": done.registers[-1]["meter"]}


def _correct(request: HttpRequest, installation: Installation, answers: Answers) -> str:
    devices.correct_reading(
        _asked(request, answers),
        installation_id=installation.pk,
        right_wh=answers["right_kwh"],
        now=timezone.now(),
    )
    return gettext("The reading counts no more. What it charged is charged anew within a minute.")


def _home(purse: Purse) -> Facts:
    living = purse.tenancy
    accrued_fen = units.to_fen(int(purse.accrued_nano()))
    return [
        (_("home"), living or purse.property),
        (_("paid money"), money.shown(purse.paid_fen)),
        (_("subsidy"), money.shown(purse.subsidy_fen)),
        (_("used and not billed yet"), money.shown(accrued_fen)),
        (_("money left"), money.shown(purse.available_fen())),
        (_("on its way to a meter"), money.shown(purse.in_transit_fen)),
    ]


def _is_let(purse: Purse) -> bool:
    return purse.tenancy is not None and purse.tenancy.is_open(timezone.now())


def _hangs(installation: Installation) -> bool:
    return installation.ends_at is None


OF_HOMES: Final = (
    Deed(
        name="move_out",
        label=_("Move out"),
        roles=staff.DESK,
        does=_move_out,
        form=LeavingForm,
        refusals=(MoveRefused,),
        explanation=_("The last bill is made up to the register; what is left can be refunded afterwards."),
        facts=_home,
        fits=_is_let,
        at_most=1,
    ),
    Deed(
        name="change_room",
        label=_("Change the room"),
        roles=staff.DESK,
        does=_change_room,
        form=ChangeRoomForm,
        refusals=(MoveRefused,),
        explanation=_("The people and what is left of their money move along; the old room is billed to the register."),
        facts=_home,
        fits=_is_let,
        at_most=1,
    ),
)
OF_METERS: Final = (
    Deed(
        name="replace_meter",
        label=_("Replace the meter"),
        roles=staff.MANAGERS,
        does=_replace,
        form=ReplaceForm,
        refusals=(MoveRefused,),
        explanation=_("The old meter is billed to its last register, and the new one goes on from its first."),
        fits=_hangs,
        at_most=1,
    ),
    Deed(
        name="correct_reading",
        label=_("Correct a reading"),
        roles=staff.MANAGERS,
        does=_correct,
        form=CorrectForm,
        refusals=(MoveRefused,),
        explanation=_("Both readings are kept, and days that were closed by the wrong one are charged anew."),
        at_most=1,
    ),
)


@admin.display(description=_("registers"))
def read(operation: Operation) -> str:
    return "; ".join(f"{one['meter']}: {units.kwh(one['import_wh'])} kWh" for one in operation.registers)


@admin.display(description=_("outcome"))
def outcome(operation: Operation) -> str:
    return _bill(operation) if operation.kind == Operation.Kind.MOVE_OUT else ""


@admin.register(Operation)
class OperationAdmin(AskingAdmin[Operation]):
    may_add = staff.DESK
    related = ("room__building", "to_room__building", "tenancy__room__building", "property", "done_by")
    fields = (
        *("kind", "property", "room", "to_room", "tenancy", "happened_at", read, outcome),
        *("reason", "done_at", "done_by", "trace"),
    )
    list_display = ("happened_at", "kind", "room", read, outcome, "reason", "done_by", "property")
    list_filter = (PropertyFilter, "kind")
    search_fields = ("room__number", "reason", "trace")
    adding = Adding(
        title=_("Move in"),
        button=_("Move in"),
        does=_move_in,
        form=MoveInForm,
        refusals=(MoveRefused,),
        explanation=_("Lets a room from an instant on. Until then its energy is the property's."),
    )
