"""Meters as staff see them: what they reported, what we want of them, and what is on its way to them."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.deeds import Answers, Deed, Facts, ReasonForm, Refused, Text
from accounts.panes import PropertyFilter, RowsInline, yuan_column
from accounts.window import RuledForm, ScopedAdmin
from meters import parameters, readings_admin, topups, words
from meters.models import Command, Installation, Level, Meter, MeterEvent, MeterModel, TopUp
from meters.strays_admin import BatchAdmin, StrayReadingAdmin
from notifications.words import in_words, words_column

__all__ = ["BatchAdmin", "StrayReadingAdmin"]
ERROR, NOTE = words_column("error", label=_("error")), words_column("note", label=_("note"))


class ModelForm(RuledForm):
    parameters = forms.MultipleChoiceField(
        label=_("can be told"),
        choices=[(kind, Level.Kind(kind).label) for kind in parameters.KINDS],
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_(
            "Of a meter that holds its own money: what it goes by when it is told. Nothing else is sent to it."
        ),
    )


@admin.register(MeterModel)
class MeterModelAdmin(ScopedAdmin[MeterModel]):
    property_path = ""
    may_add = may_change = staff.OPERATOR
    fixed = ("balance_held_by",)  # what hangs on it was counted one way or the other
    form = ModelForm
    fields = ("name", "balance_held_by", "codec", "has_display", "command_ttl_s", "parameters")
    list_display = ("name", "balance_held_by", "has_display", "codec")
    search_fields = ("name",)


@admin.display(description=_("wanted"))
def wanted(level: Level) -> str:
    return level.in_words(level.wanted)


@admin.display(description=_("reported"))
def reported(level: Level) -> str:
    return level.in_words(level.reported)


@admin.display(description=_("reason"), ordering="reason")
def level_reason(level: Level) -> str:
    return words.level_reason(level.reason)


class LevelsInline(RowsInline):
    model = Level
    fields = readonly_fields = (
        "kind",
        wanted,
        level_reason,
        "wanted_at",
        reported,
        "reported_at",
        "tries",
        "next_try_at",
    )


class HangingInline(RowsInline):
    model = Installation
    fields = readonly_fields = ("room", "starts_at", "starts_wh", "ends_at", "ends_wh")
    ordering = ("-starts_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Installation]:
        return super().get_queryset(request).select_related("room__building")


class MeterForm(RuledForm):
    rules: ClassVar = {"a_meter_has_its_own_number": _("The property has a meter of this number.")}


@admin.display(description=_("room"))
def hangs_in(meter: Meter) -> str:
    hanging: list[Installation] = meter.hanging  # type: ignore[attr-defined]  # see MeterAdmin.get_queryset
    return ", ".join(str(installation.room) for installation in hanging)


@admin.register(Meter)
class MeterAdmin(ScopedAdmin[Meter]):
    form = MeterForm
    may_add = may_change = staff.MANAGERS
    fixed = ("property", "model", "serial")
    related = ("property", "model")
    autocomplete_fields = ("property", "model")
    registered = ("property", "model", "serial", "verified_until_date")
    said = (
        *("is_online", "last_seen_at", "reported_at", "relay", "relay_order", "import_wh", "power_w"),
        *(
            yuan_column("shown_fen", label=_("shown balance")),
            yuan_column("balance_fen", label=_("balance in the meter")),
        ),
        "purchase_count",
    )
    readonly_fields = said
    list_display = (
        *(
            "serial",
            hangs_in,
            "model",
            "is_online",
            "relay",
            yuan_column("balance_fen", label=_("balance in the meter")),
        ),
        *("last_seen_at", "property"),
    )
    list_filter = (PropertyFilter, "is_online", "relay")
    search_fields = ("serial", "installations__room__number")
    search_help_text = _("Meter number or room")
    inlines = (LevelsInline, HangingInline)
    pages = (readings_admin.OF_A_METER,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Meter]:
        hanging = Installation.objects.filter(ends_at__isnull=True).select_related("room__building")
        return super().get_queryset(request).prefetch_related(Prefetch("installations", hanging, to_attr="hanging"))

    def get_fieldsets(self, request: HttpRequest, obj: Meter | None = None) -> Any:
        register = (None, {"fields": self.registered})
        return (register, (_("As reported"), {"fields": self.said})) if obj else (register,)


@admin.display(description=_("kind"), ordering="kind")
def event_kind(event: MeterEvent) -> str:
    return words.event(event.kind)


class EventFilter(admin.SimpleListFilter):
    title = _("kind")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, Text]]:
        return list(words.EVENTS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(kind=self.value()) if self.value() in words.EVENTS else queryset


@admin.register(MeterEvent)
class MeterEventAdmin(ScopedAdmin[MeterEvent]):
    related = ("meter", "property")
    fields = ("meter", event_kind, "happened_at", "received_at", "detail")
    list_display = ("happened_at", "meter", event_kind, "detail", "property")
    list_filter = (PropertyFilter, EventFilter)
    search_fields = ("meter__serial", "kind")


@admin.register(Level)
class LevelAdmin(ScopedAdmin[Level]):
    property_path = "meter__property"
    related = ("meter",)
    fields = (
        *("meter", "kind", wanted, level_reason, "wanted_at", "generation", reported, "reported_at", "agreed_at"),
        *("tries", "next_try_at", "trace"),
    )
    list_display = ("meter", "kind", wanted, reported, level_reason, "wanted_at", "agreed_at", "tries")
    list_filter = (PropertyFilter, "kind")
    search_fields = ("meter__serial", "trace")


@admin.display(description=_("value"))
def told(command: Command) -> str:
    return command.value_in_words()


@admin.register(Command)
class CommandAdmin(ScopedAdmin[Command]):
    related = ("meter", "property")
    ordering = ("-queued_at",)
    fields = (
        *("meter", "kind", told, "generation", "top_up", "state", ERROR),
        *("queued_at", "sent_at", "expires_at", "answered_at", "trace"),
    )
    list_display = ("queued_at", "meter", "kind", told, "state", ERROR, "sent_at", "answered_at", "property")
    list_filter = (PropertyFilter, "kind", "state")
    search_fields = ("meter__serial", "trace")


class ReleaseForm(ReasonForm):
    to = forms.ChoiceField(
        label=_("What becomes of it"),
        choices=[
            (TopUp.State.WAITING, _("Send it again, with a new number: the meter has not booked it")),
            (TopUp.State.LANDED, _("It is in the meter: somebody looked at its display")),
            (TopUp.State.CANCELLED, _("Give it up: the money goes back to the purse")),
        ],
        widget=forms.RadioSelect,
    )
    field_order = ("to", "reason")


def _release(request: HttpRequest, top_up: TopUp, answers: Answers) -> str:
    note = str(answers["reason"])[:64]
    if not topups.release(top_up_id=top_up.pk, to=answers["to"], note=note, now=timezone.now()):
        raise Refused(gettext("This top-up does not need a person, or no longer."))
    return gettext("Decided: %(state)s.") % {"state": TopUp.State(answers["to"]).label}


def _stuck(top_up: TopUp) -> Facts:
    return [
        (_("meter"), top_up.meter),
        (_("amount"), staff.yuan(top_up.amount_fen)),
        (_("purchase number"), top_up.number or ""),
        (_("purchase count of the meter"), top_up.meter.purchase_count),
        (_("note"), in_words(top_up.note)),
    ]


@admin.register(TopUp)
class TopUpAdmin(ScopedAdmin[TopUp]):
    related = ("meter", "property")
    amount = yuan_column("amount_fen", label=_("amount"))
    fields = (
        *("meter", amount, "state", "number", "queued_at", "sent_at", "landed_at", "settled_at"),
        *("tries", "next_try_at", NOTE, "key", "trace"),
    )
    list_display = ("queued_at", "meter", amount, "state", "number", "landed_at", NOTE, "property")
    list_filter = (PropertyFilter, "state")
    search_fields = ("meter__serial", "key", "trace")
    deeds = (
        Deed(
            name="release",
            label=_("Decide about a stuck top-up"),
            roles=staff.BOOKS,
            does=_release,
            form=ReleaseForm,
            refusals=(Refused,),
            facts=_stuck,
            fits=lambda top_up: top_up.state == TopUp.State.STUCK,
            at_most=1,
        ),
    )
