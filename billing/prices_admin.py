"""What prices hang on besides tariffs: where they are assigned, special days, what the property pays, households."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.deeds import Added, Adding, Answers, Deed, DeskForm, ReasonForm
from accounts.models import Building, Property, Room
from accounts.panes import PropertyFilter
from accounts.staff import EVERYBODY, Roles
from accounts.window import AskingAdmin, RuledForm, ScopedAdmin
from billing import assignments, calendars, households, supply_prices
from billing.assignments import AssignmentRefused, Place
from billing.markups import ALL
from billing.models import Household, SpecialDay, SupplyPrice, Tariff, TariffAssignment
from billing.tariff import units
from billing.tariff.periods import PERIODS
from billing.tariff_words import PERIODS as NAMES
from meters.models import Meter


def _day(*, label: Any, **kwargs: Any) -> forms.DateField:
    """A field for a date that the browser's own calendar fills in."""
    return forms.DateField(label=label, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"), **kwargs)


class AssignForm(DeskForm):
    tariff = forms.ModelChoiceField(Tariff.objects.none(), label=_("Tariff"))
    building = forms.ModelChoiceField(
        Building.objects.none(),
        label=_("Building"),
        required=False,
        help_text=_("Leave building, room and meter blank for the whole property."),
    )
    room = forms.ModelChoiceField(Room.objects.none(), label=_("Room"), required=False)
    meter = forms.ModelChoiceField(Meter.objects.none(), label=_("Meter"), required=False)
    starts_date = _day(label=_("First day"), help_text=_("What held there until then ends on this day."))
    reason = forms.CharField(label=_("Reason"), max_length=255, widget=forms.TextInput(attrs={"class": "vTextField"}))

    def prepare(self) -> None:
        places = staff.places_where(self.request, staff.MANAGERS)
        at = TariffAssignment
        self.offer("tariff", Tariff.objects.filter(property__in=places), like=at.tariff.field)
        buildings = Building.objects.filter(property__in=places).select_related("property")
        self.offer("building", buildings, like=at.building.field)
        rooms = Room.objects.filter(property__in=places).select_related("building")
        self.offer("room", rooms, like=at.room.field)
        self.offer("meter", Meter.objects.filter(property__in=places), like=at.meter.field)


def _assign(request: HttpRequest, answers: Answers) -> Added:
    tariff: Tariff = answers["tariff"]
    place = Place(tariff.property, answers["building"], answers["room"], answers["meter"])
    assignment = assignments.assign(
        tariff=tariff,
        place=place,
        starts_date=answers["starts_date"],
        by=staff.who(request),
        reason=answers["reason"],
        now=timezone.now(),
    )
    told = gettext("%(tariff)s holds there from %(date)s on.")
    return Added(assignment, told % {"tariff": tariff, "date": assignment.starts_date})


class EndForm(ReasonForm):
    ends_date = _day(label=_("Until"), help_text=_("From this day on the next wider assignment holds."))


def _end(request: HttpRequest, assignment: TariffAssignment, answers: Answers) -> str:
    assignments.end(assignment_id=assignment.pk, ends_date=answers["ends_date"], now=timezone.now())
    return gettext("Ends on %(date)s.") % {"date": answers["ends_date"]}


@admin.register(TariffAssignment)
class TariffAssignmentAdmin(AskingAdmin[TariffAssignment]):
    may_add = staff.MANAGERS
    related = ("property", "tariff", "building__property", "room__building", "meter", "assigned_by")
    fields = (
        *("tariff", "property", "building", "room", "meter", "starts_date", "ends_date"),
        *("assigned_at", "assigned_by", "reason"),
    )
    list_display = ("tariff", "building", "room", "meter", "starts_date", "ends_date", "assigned_by", "property")
    list_filter = (PropertyFilter,)
    search_fields = ("tariff__name", "room__number", "building__name", "meter__serial")
    adding = Adding(
        title=_("Assign a tariff"),
        button=_("Assign"),
        does=_assign,
        form=AssignForm,
        refusals=(AssignmentRefused,),
        explanation=_(
            "The closest wins: a meter's tariff over its room's, that over the building's and the property's."
        ),
    )
    deeds = (
        Deed(
            name="end",
            label=_("End the assignment"),
            roles=staff.MANAGERS,
            does=_end,
            form=EndForm,
            refusals=(AssignmentRefused,),
            fits=lambda assignment: assignment.ends_date is None,
        ),
    )


class SpecialDayForm(RuledForm):
    rules: ClassVar = {"a_day_is_special_in_one_way": _("Something is entered for this day already.")}


@admin.display(description=_("where"), ordering="property")
def where(day: SpecialDay) -> str:
    return str(day.property) if day.property else gettext("whole country")


@admin.register(SpecialDay)
class SpecialDayAdmin(ScopedAdmin[SpecialDay]):
    """The country's days are everybody's to see and the operator's to write; a property's own overrule them.

    None is deleted, since days were charged by it: it becomes an ordinary day.
    """

    form = SpecialDayForm
    may_add = may_change = staff.MANAGERS
    fixed = ("property", "on_date")
    related = ("property", "entered_by")
    fields = ("property", "on_date", "kind", "name", "source")
    autocomplete_fields = ("property",)
    list_display = ("on_date", "kind", "name", where, "source", "entered_by")
    list_filter = (PropertyFilter, "kind")
    search_fields = ("name", "source")
    date_hierarchy = "on_date"
    ordering = ("-on_date", "-pk")

    def within(self, request: HttpRequest, rows: QuerySet[SpecialDay], roles: Roles) -> QuerySet[SpecialDay]:
        if roles != EVERYBODY or staff.who(request).is_superuser:
            return super().within(request, rows, roles)
        return rows.filter(Q(property=None) | Q(property__in=staff.places_where(request, roles)))

    def in_places(self, rows: QuerySet[SpecialDay], places: QuerySet[Property]) -> QuerySet[SpecialDay]:
        return rows.filter(property__in=places)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if field is not None and db_field.name == "property":
            field.required = not staff.who(request).is_superuser
            field.help_text = "" if field.required else _("Blank: the whole country.")
        return field

    def save_model(self, request: HttpRequest, obj: SpecialDay, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        obj.entered_by = staff.who(request)
        super().save_model(request, obj, form, change)
        if change and "kind" not in form.changed_data:
            return  # what it is called costs nobody anything
        calendars.changed(property_id=obj.property_id, on_date=obj.on_date, now=timezone.now())


def _yuan(label: Any) -> forms.CharField:
    return forms.CharField(label=capfirst(label), required=False, max_length=12)


class SupplyPriceForm(RuledForm):
    """Yuan per kWh: one price, or one for each period."""

    all = _yuan(_("all periods"))
    sharp = _yuan(NAMES["sharp"])
    peak = _yuan(NAMES["peak"])
    flat = _yuan(NAMES["flat"])
    valley = _yuan(NAMES["valley"])
    deep_valley = _yuan(NAMES["deep_valley"])

    class Meta:
        model = SupplyPrice
        fields = ("property", "starts_date", "source")

    rules: ClassVar = {"a_supply_price_begins_once": _("A price that begins on this day is recorded already.")}

    def clean(self) -> None:
        super().clean()
        told = {name: self.cleaned_data.get(name, "").strip() for name in (ALL, *PERIODS)}
        prices = {name: _read(self, name, text) for name, text in told.items() if text}
        if not self.errors and (not prices or (ALL in prices and len(prices) > 1)):
            raise ValidationError(_("Write one price for all periods, or a price for each period."))
        self.instance.prices = prices


def _read(form: SupplyPriceForm, name: str, text: str) -> int | None:
    try:
        return units.price(text)
    except ValueError:
        form.add_error(name, _('Write yuan per kWh with at most 8 decimals, such as "0.60886875".'))
        return None


@admin.display(description=_("yuan per kWh"))
def in_yuan(price: SupplyPrice) -> str:
    words: dict[str, Any] = {ALL: _("all periods")} | {str(name): text for name, text in NAMES.items()}
    return ", ".join(f"{words.get(name, name)} {units.yuan(each)}" for name, each in price.prices.items())


@admin.register(SupplyPrice)
class SupplyPriceAdmin(ScopedAdmin[SupplyPrice]):
    form = SupplyPriceForm
    may_add = staff.BOOKS
    related = ("property", "entered_by")
    autocomplete_fields = ("property",)
    list_display = ("property", "starts_date", in_yuan, "source", "entered_by", "entered_at")
    list_filter = (PropertyFilter,)
    search_fields = ("source",)
    ordering = ("-starts_date", "-pk")
    readonly_fields = (in_yuan, "entered_at", "entered_by")

    def get_fields(self, request: HttpRequest, obj: SupplyPrice | None = None) -> tuple[Any, ...]:
        begins = ("property", "starts_date")
        return (*begins, in_yuan, "source", "entered_at", "entered_by") if obj else (*begins, ALL, *PERIODS, "source")

    def save_model(self, request: HttpRequest, obj: SupplyPrice, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        obj.entered_at, obj.entered_by = timezone.now(), staff.who(request)
        super().save_model(request, obj, form, change)
        for version in supply_prices.changed(property_id=obj.property_id, now=obj.entered_at):
            told = gettext("%(version)s costs tenants more than the property pays. It is on the work list.")
            self.message_user(request, told % {"version": version}, "warning")


class HouseholdForm(RuledForm):
    rules: ClassVar = {"a_household_changes_once_a_day": _("Its people on this day are recorded already.")}


@admin.register(Household)
class HouseholdAdmin(ScopedAdmin[Household]):
    form = HouseholdForm
    property_path = "tenancy__property"
    may_add = may_change = staff.DESK
    fixed = ("tenancy", "starts_date")
    related = ("tenancy__room__building", "entered_by")
    fields = ("tenancy", "starts_date", "persons", "proof")
    autocomplete_fields = ("tenancy",)
    list_display = ("tenancy", "starts_date", "persons", "proof", "entered_by")
    list_filter = (PropertyFilter,)
    search_fields = ("tenancy__room__number", "proof")

    def save_model(self, request: HttpRequest, obj: Household, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        obj.entered_by = staff.who(request)
        super().save_model(request, obj, form, change)
        households.changed(household=obj, now=timezone.now())
