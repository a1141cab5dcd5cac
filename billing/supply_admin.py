"""The rules of supply and what came of them, as staff see them: policies, notices to serve, decisions to read."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.deeds import Added, Adding, Answers, Deed, DeskForm, Facts, Text, instant
from accounts.models import Property
from accounts.panes import PropertyFilter, StandingFilter, yuan_column
from accounts.window import AskingAdmin, RuledForm, ScopedAdmin
from billing import not_on_meter, notices, parameters, rules, supply_words, weather
from billing.models import Alert, Notice, RoomPolicy, SupplyDecision, SupplyPolicy, WeatherHold
from billing.power_admin import restore_clock
from meters.models import Meter, MeterModel

NOT_KEPT = _("what meters that hold their own money do not keep of it")

LIMITS = (
    *("warn_fens", "warn_percents", "warn_days", "overdraft_fen", "restore_above_fen", "emergency_fen"),
    *("notice_hours", "protected_hours", "protected_weekdays", "protects_holidays", "cuts_a_day"),
)
INHERITED = (
    "warn_fens",
    "warn_percents",
    "protected_hours",
    "protected_weekdays",
)  # of a room: blank is the property's


class HoursField(forms.CharField):
    """Protected hours as people write them: "22:00-08:00, 12:00-14:00"."""

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, str) or value is None:
            return value
        return ", ".join("-".join(pair) for pair in value)

    def clean(self, value: Any) -> list[list[str]]:
        parts = str(super().clean(value)).replace("，", ",").split(",")
        written = [[time.strip() for time in part.split("-")] for part in parts if part.strip()]
        try:
            rules.hours(written)
        except rules.HoursRefused as error:
            raise ValidationError(str(error)) from error
        return written

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(super().has_changed(self.prepare_value(initial), data))


def _hours_field() -> HoursField:
    return HoursField(
        label=_("protected hours"),
        required=False,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=_("Nobody is cut then: 22:00-08:00, 12:00-14:00. Blank: at no hour."),
    )


class PolicyForm(RuledForm):
    protected_hours = _hours_field()


class RoomPolicyForm(RuledForm):
    protected_hours = _hours_field()

    def clean(self) -> dict[str, Any]:
        """A list that is left blank is the property's, and not an empty one."""
        answers = super().clean() or self.cleaned_data
        return answers | {name: answers.get(name) or None for name in INHERITED}


def _lacking(meters: QuerySet[Meter], stands: rules.LaidDown) -> str:
    """Each model of these meters that hold their own money, and what it does not keep."""
    models = MeterModel.objects.filter(meters__in=meters, balance_held_by=MeterModel.BalanceHolder.METER).distinct()
    each = [(model, not_on_meter.not_on_meter(model=model, laid_down=stands)) for model in models.order_by("name")]
    lines = ((model, not_on_meter.in_words(codes)) for model, codes in each if codes)
    return format_html_join("", "<div>{}: {}</div>", lines) or "–"


@admin.display(description=NOT_KEPT)
def lacking_in_property(policy: SupplyPolicy) -> str:
    hanging = Meter.objects.filter(property=policy.property_id, installations__ends_at=None)
    return _lacking(hanging, rules.LaidDown(policy))


@admin.display(description=NOT_KEPT)
def lacking_in_room(policy: RoomPolicy) -> str:
    hanging = Meter.objects.filter(installations__room=policy.room_id, installations__ends_at=None)
    return _lacking(hanging, rules.laid_down(room_id=policy.room_id, property_id=policy.property_id))


@admin.register(SupplyPolicy)
class SupplyPolicyAdmin(ScopedAdmin[SupplyPolicy]):
    form = PolicyForm
    may_add = may_change = staff.MANAGERS
    fixed = ("property",)
    related = ("property", "recorded_by")
    fields = (
        *("property", "legal_basis", "notice", "proof_level", *LIMITS, "fresh_for_s", "unreachable_debt_fen"),
        *("restore_limit_s", "price_notice_days", "silent_hours"),
        *("recorded_at", "recorded_by", lacking_in_property, restore_clock),
    )
    readonly_fields = ("recorded_at", "recorded_by", lacking_in_property, restore_clock)
    autocomplete_fields = ("property",)
    list_display = ("property", "legal_basis", "recorded_at", "recorded_by")
    search_fields = ("property__name",)

    def save_model(self, request: HttpRequest, obj: SupplyPolicy, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        obj.recorded_at, obj.recorded_by = timezone.now(), staff.who(request)
        super().save_model(request, obj, form, change)
        parameters.push(now=obj.recorded_at, property_id=obj.property_id)


@admin.register(RoomPolicy)
class RoomPolicyAdmin(ScopedAdmin[RoomPolicy]):
    form = RoomPolicyForm
    may_add = may_change = staff.MANAGERS
    fixed = ("room",)
    related = ("room__building", "property", "changed_by")
    fields = ("room", "is_protected", "protected_reason", *LIMITS, "changed_at", "changed_by", lacking_in_room)
    readonly_fields = ("changed_at", "changed_by", lacking_in_room)
    autocomplete_fields = ("room",)
    list_display = ("room", "is_protected", "protected_reason", "changed_at", "changed_by", "property")
    list_filter = (PropertyFilter, "is_protected")
    search_fields = ("room__number", "protected_reason")

    def save_model(self, request: HttpRequest, obj: RoomPolicy, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        obj.property_id = obj.room.property_id
        obj.changed_at, obj.changed_by = timezone.now(), staff.who(request)
        super().save_model(request, obj, form, change)
        parameters.push(now=obj.changed_at, room_id=obj.room_id)


# ---- extreme weather ----


class WeatherForm(DeskForm):
    property = forms.ModelChoiceField(Property.objects.none(), label=_("property"))
    reason = forms.CharField(label=_("Reason"), max_length=255, widget=forms.TextInput(attrs={"class": "vTextField"}))
    until = instant(label=_("Until"), required=False, help_text=_("Blank: until somebody ends it."))

    def prepare(self) -> None:
        places = staff.places_where(self.request, staff.DESK)
        self.offer("property", places, like=SupplyPolicy.property.field)


def _begin(request: HttpRequest, answers: Answers) -> Added:
    hold = weather.begin(
        place=answers["property"],
        reason=answers["reason"],
        until=answers["until"],
        by=staff.who(request),
        now=timezone.now(),
    )
    return Added(hold, gettext("Nobody of %(property)s is cut while it stands.") % {"property": hold.property})


def _end(_request: HttpRequest, hold: WeatherHold, _answers: Answers) -> str:
    if not weather.end(hold_id=hold.pk, now=timezone.now()):
        raise weather.WeatherRefused(gettext("It was over before."))
    return gettext("It is over.")


class OverFilter(StandingFilter):
    field = "until_at"


@admin.register(WeatherHold)
class WeatherHoldAdmin(AskingAdmin[WeatherHold]):
    may_add = staff.DESK
    related = ("property", "placed_by")
    fields = ("property", "reason", "from_at", "until_at", "placed_at", "placed_by")
    list_display = ("property", "reason", "from_at", "until_at", "placed_by")
    list_filter = (PropertyFilter, OverFilter)
    search_fields = ("reason",)
    adding = Adding(
        title=_("Extreme weather"),
        button=_("Switch on"),
        does=_begin,
        form=WeatherForm,
        refusals=(weather.WeatherRefused,),
        explanation=_("Nobody of the property is cut while it stands."),
    )
    deeds = (
        Deed(
            name="end",
            label=_("Switch off"),
            roles=staff.DESK,
            does=_end,
            refusals=(weather.WeatherRefused,),
            fits=lambda hold: hold.until_at is None or hold.until_at > timezone.now(),
        ),
    )


# ---- notices ----


class ServedForm(DeskForm):
    at = instant(label=_("Served at"))
    reason = forms.CharField(
        label=_("Proof"),
        max_length=255,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=_("How it was served, to whom, and where the signature or the photo lies."),
    )


def _serve(request: HttpRequest, notice: Notice, answers: Answers) -> str:
    served = notices.proven(
        notice_id=notice.pk,
        by=staff.who(request),
        channel="",
        proof=answers["reason"],
        at=answers["at"],
        now=timezone.now(),
    )
    return gettext("Its period ends at %(at)s.") % {"at": _local(served.runs_until)}


def _local(at: datetime | None) -> str:
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M}" if at else ""


def _notice(notice: Notice) -> Facts:
    return [(_("tenancy"), notice.purse), (_("left"), _local(notice.left_at))]


@admin.register(Notice)
class NoticeAdmin(ScopedAdmin[Notice]):
    related = ("purse__tenancy__room__building", "property", "proven_by")
    fields = (
        *("purse", "state", "left_at", "proven_at", "proven_by_channel", "proven_by", "proof", "runs_until"),
        *("stranded_at", "void_at", "property"),
    )
    list_display = ("purse", "state", "left_at", "proven_at", "runs_until", "property")
    list_filter = (PropertyFilter, "state")
    search_fields = ("purse__tenancy__room__number",)
    deeds = (
        Deed(
            name="served",
            label=_("Record that it was served"),
            roles=staff.DESK,
            does=_serve,
            form=ServedForm,
            explanation=_("The period of the notice runs from then; after it the home may be cut."),
            refusals=(notices.NoticeRefused,),
            facts=_notice,
            fits=lambda notice: notice.state == Notice.State.LEFT,
        ),
    )


# ---- what came of them ----


@admin.display(description=_("decision"), ordering="verdict")
def verdict(decision: SupplyDecision) -> str:
    return supply_words.verdict(decision.verdict)


@admin.display(description=_("power"), ordering="wants")
def wanted(decision: SupplyDecision) -> str:
    return gettext("on") if decision.wants == "closed" else gettext("off")


@admin.display(description=_("why not cut"))
def why_not(decision: SupplyDecision) -> str:
    return supply_words.listed(supply_words.why_not(decision.because))


class VerdictFilter(admin.SimpleListFilter):
    title = _("decision")
    parameter_name = "verdict"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, Text]]:
        return [(str(code), words) for code, words in supply_words.VERDICTS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[SupplyDecision]) -> QuerySet[SupplyDecision]:
        return queryset.filter(verdict=self.value()) if self.value() else queryset


@admin.register(SupplyDecision)
class SupplyDecisionAdmin(ScopedAdmin[SupplyDecision]):
    related = ("room__building", "purse__tenancy__room__building", "property")
    fields = (
        *("room", "purse", "decided_at", verdict, wanted, why_not),
        *(yuan_column("available_fen", label=_("available")), "read_at", "trace", "property"),
    )
    list_display = (
        *("decided_at", "room", verdict, wanted, why_not),
        *(yuan_column("available_fen", label=_("available")), "property"),
    )
    list_filter = (PropertyFilter, VerdictFilter)
    search_fields = ("room__number", "trace")


class AlertOverFilter(StandingFilter):
    field = "over_at"


@admin.display(description=_("level"), ordering="level")
def level(alert: Alert) -> str:
    return supply_words.level(alert.level)


@admin.register(Alert)
class AlertAdmin(ScopedAdmin[Alert]):
    property_path = "purse__property"
    related = ("purse__tenancy__room__building", "purse__property")
    fields = ("purse", level, "raised_at", yuan_column("available_fen", label=_("available")), "over_at")
    list_display = ("raised_at", "purse", level, yuan_column("available_fen", label=_("available")), "over_at")
    list_filter = (PropertyFilter, AlertOverFilter)
    search_fields = ("purse__tenancy__room__number",)
