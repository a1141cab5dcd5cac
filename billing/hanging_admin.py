"""Meters hung and taken down by hand. On this floor, because who lives there is decided about again."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.panes import PropertyFilter, StandingFilter
from accounts.window import RuledForm, ScopedAdmin
from billing import moves_admin, not_on_meter, parameters
from billing.models import Purse
from billing.rules import laid_down
from meters.models import Installation


class InstallationForm(RuledForm):
    rules: ClassVar = {
        "a_meter_hangs_in_one_room": _("This meter hangs in a room. Take it down there first."),
        "a_meter_never_hung_in_two_rooms": _("This meter hung in another room then."),
    }

    def clean(self) -> None:
        super().clean()
        self.ends_after("starts_at", told=_("A meter is taken down after it was hung."))
        answers: dict[str, Any] = self.cleaned_data
        room, meter = answers.get("room"), answers.get("meter")
        if room and meter and room.property_id != meter.property_id:
            raise ValidationError(_("Room and meter belong to different properties."))
        ends_wh = answers.get("ends_wh")
        if ends_wh is not None and ends_wh < answers.get("starts_wh", self.instance.starts_wh):
            raise ValidationError({"ends_wh": _("The register cannot have run backwards.")})
        if bool(answers.get("ends_at")) != (ends_wh is not None):
            raise ValidationError(_("A meter that is taken down needs both the time and its register."))


@admin.display(description=_("what is laid down and the meter does not keep"))
def lacking(installation: Installation) -> str:
    stands = laid_down(room_id=installation.room_id, property_id=installation.property_id)
    untaken = not_on_meter.untaken([installation.meter_id]).get(installation.meter_id, ())
    codes = not_on_meter.not_on_meter(model=installation.meter.model, laid_down=stands, untaken=untaken)
    return not_on_meter.in_words(codes) or "–"


@admin.register(Installation)
class InstallationAdmin(ScopedAdmin[Installation]):
    form = InstallationForm
    deeds = moves_admin.OF_METERS
    may_add = may_change = staff.MANAGERS
    fixed = ("room", "meter", "starts_at", "starts_wh")
    related = ("room__building", "meter", "property")
    autocomplete_fields = ("room", "meter")
    list_display = ("room", "meter", "starts_at", "starts_wh", "ends_at", "ends_wh", "property")
    list_filter = (PropertyFilter, StandingFilter)
    search_fields = ("room__number", "meter__serial")
    readonly_fields = (lacking,)

    def get_fields(self, request: HttpRequest, obj: Installation | None = None) -> tuple[Any, ...]:
        return ("room", "meter", "starts_at", "starts_wh", *(("ends_at", "ends_wh", lacking) if obj else ()))

    def save_model(self, request: HttpRequest, obj: Installation, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        obj.property_id = obj.room.property_id
        super().save_model(request, obj, form, change)
        # Whenever it was hung, billing/changes.py decides again for who lives there, and sends money that was paid
        # before on into the meter.
        Purse.objects.filter(tenancy__room=obj.room_id).update(decided_at=None)
        parameters.push(now=timezone.now(), room_id=obj.room_id)
