"""Tariffs and their versions as staff write, look at and publish them."""

from __future__ import annotations

import json
from datetime import date, timedelta
from itertools import groupby
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Max
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.deeds import Answers, Deed, Facts, ReasonForm, Text
from accounts.panes import PropertyFilter, RowsInline, table
from accounts.window import RuledForm, ScopedAdmin
from billing import holidays, markups, tariffs
from billing.markups import MarkUpRefused
from billing.models import MarkUp, Tariff, TariffAssignment, TariffVersion
from billing.tariff import expand, units
from billing.tariff.civil import CIVIL, civil_date
from billing.tariff.expand import Slot
from billing.tariff_words import PERIODS
from billing.tariffs import DefinitionRefused, TariffRefused

State = TariffVersion.State
PREVIEWED = timedelta(days=6)  # a week, its first day included

EXAMPLE = {"prices": [{"yuan": "0.62"}]}
_EXPLAINED = _(
    "Prices are text in yuan per kWh. Periods (sharp, peak, flat, valley, deep_valley), tiers and a service fee:"
    " see docs/tariffs.md, which begins with three examples."
)

Line = tuple[str, str, tuple[int, ...], int]  # hours, period, prices by tier, fee


class VersionsInline(RowsInline):
    model = TariffVersion
    ordering = ("-starts_date", "-number")
    fields = readonly_fields = ("number", "starts_date", "state", "is_provisional", "published_at", "published_by")
    show_change_link = True


class AssignmentsInline(RowsInline):
    model = TariffAssignment
    ordering = ("-starts_date",)
    fields = readonly_fields = ("building", "room", "meter", "starts_date", "ends_date", "assigned_by", "reason")


class TariffForm(RuledForm):
    rules: ClassVar = {"a_tariff_has_its_own_name": _("The property has a tariff of this name.")}


@admin.register(Tariff)
class TariffAdmin(ScopedAdmin[Tariff]):
    form = TariffForm
    may_add = may_change = staff.MANAGERS
    fixed = ("property",)
    related = ("property",)
    fields = ("property", "name")
    autocomplete_fields = ("property",)
    list_display = ("name", "property", "created_at")
    list_filter = (PropertyFilter,)
    search_fields = ("name",)
    inlines = (VersionsInline, AssignmentsInline)

    def save_model(self, request: HttpRequest, obj: Tariff, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        if not change:
            obj.created_at = timezone.now()
        super().save_model(request, obj, form, change)

    def get_inlines(self, request: HttpRequest, obj: Tariff | None) -> Any:
        return self.inlines if obj else ()


class DefinitionField(forms.JSONField):
    """A definition as people write it, over several lines, Chinese as Chinese."""

    widget = forms.Textarea(attrs={"rows": 24, "cols": 100, "class": "definition", "spellcheck": "false"})

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, (str, forms.fields.InvalidJSONInput)):
            return value
        return json.dumps(value, ensure_ascii=False, indent=2)


class VersionForm(RuledForm):
    definition = DefinitionField(label=_("Definition"), initial=EXAMPLE, help_text=_EXPLAINED)

    class Meta:
        model = TariffVersion
        fields = ("tariff", "starts_date", "is_provisional", "replaces", "definition")

    def clean_definition(self) -> Any:
        """What is wrong is said with its place in the definition."""
        definition = self.cleaned_data["definition"]
        try:
            tariffs.read(TariffVersion(definition=definition))
        except DefinitionRefused as refusal:
            raise ValidationError(str(refusal)) from None
        return definition

    def clean(self) -> None:
        super().clean()
        answers: dict[str, Any] = self.cleaned_data
        replaced, tariff = answers.get("replaces"), answers.get("tariff", getattr(self.instance, "tariff", None))
        if replaced and (replaced.tariff != tariff or replaced.starts_date != answers.get("starts_date")):
            told = _("It can only replace a version of the same tariff that begins on the same day.")
            self.add_error("replaces", told)


@admin.display(description=_("prices of a week"))
def week(version: TariffVersion) -> SafeString | str:
    """What each hour costs on seven days from the version's start or today: alike days together."""
    if not version.definition:
        return ""
    first_date = max(version.starts_date, civil_date(timezone.now()))
    days = _days(version, first_date)
    alike = [(lines, [on for on, _lines in run]) for lines, run in groupby(days, key=lambda day: day[1])]
    return format_html_join("", "<h4>{}</h4>{}", ((_named(dates), _priced(lines)) for lines, dates in alike))


def _days(version: TariffVersion, first_date: date) -> list[tuple[date, list[Line]]]:
    special_days = holidays.special_days(property_id=version.tariff.property_id)
    try:
        tariff = tariffs.read(version)
    except DefinitionRefused:
        return []
    slots = expand.slots(tariff, first_date=first_date, last_date=first_date + PREVIEWED, special_days=special_days)
    return [(on, [_line(slot) for slot in run]) for on, run in groupby(slots, key=lambda slot: slot.usage_date)]


def _line(slot: Slot) -> Line:
    ends = slot.to_at.astimezone(CIVIL)
    hours = f"{slot.from_at.astimezone(CIVIL):%H:%M}–{'24:00' if not (ends.hour or ends.minute) else f'{ends:%H:%M}'}"
    return hours, slot.period, slot.prices_micro_fen_per_kwh, slot.fee_micro_fen_per_kwh


def _named(dates: list[date]) -> str:
    return f"{dates[0]} – {dates[-1]}" if len(dates) > 1 else f"{dates[0]}"


def _priced(lines: list[Line]) -> str:
    tiers = [gettext("tier %(number)d, yuan/kWh") % {"number": n} for n in range(1, len(lines[0][2]) + 1)]
    heads: list[Text] = [_("hours"), _("period"), *tiers, _("service fee")]
    rows = (
        (hours, str(PERIODS[period]), *(units.yuan(price) for price in prices), units.yuan(fee))  # type: ignore[index]
        for hours, period, prices, fee in lines
    )
    return table(heads, rows)


@admin.display(description=_("definition"))
def written(version: TariffVersion) -> str:
    text = json.dumps(version.definition, ensure_ascii=False, indent=2)
    return format_html('<pre class="laid-out">{}</pre>', text)


@admin.display(description=_("mark-up"))
def marked_up(version: TariffVersion) -> str:
    rows = MarkUp.objects.filter(version=version).select_related("approved_by")
    return table([_("reason"), _("approved by")], ((row.reason, row.approved_by) for row in rows))


class PublishForm(ReasonForm):
    mark_up = forms.CharField(
        label=_("Reason for a mark-up"),
        max_length=255,
        required=False,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=_("Needed only where tenants pay more per kWh than the property itself does."),
    )


def _publish(request: HttpRequest, version: TariffVersion, answers: Answers) -> str:
    tariffs.publish(
        version_id=version.pk,
        by=staff.who(request),
        reason=answers["reason"],
        mark_up=answers["mark_up"],
        now=timezone.now(),
    )
    return gettext("Published: holds from %(date)s on.") % {"date": version.starts_date}


def _withdraw(request: HttpRequest, version: TariffVersion, answers: Answers) -> str:
    by, reason = staff.who(request), answers["reason"]
    tariffs.withdraw(version_id=version.pk, by=by, reason=reason, now=timezone.now())
    return gettext("Withdrawn: the version before it holds.")


def _what(version: TariffVersion) -> Facts:
    facts: list[tuple[Any, object]] = [
        (_("tariff version"), version),
        (_("first day"), version.starts_date),
        (_("homes concerned"), len(tariffs.under(tariff_id=version.tariff_id, since=version.starts_date))),
    ]
    if version.replaces:
        facts.append((_("replaces"), version.replaces))
    if version.starts_date <= civil_date(timezone.now()):
        facts.append((_("past days"), gettext("Days since then are charged anew, and the difference is adjusted.")))
    return facts


def _what_to_publish(version: TariffVersion) -> Facts:
    facts = list(_what(version))
    facts += [(_("mark-up"), text) for each in tariffs.above(version) for text in markups.in_words(each)]
    return [*facts, (_("prices of a week"), week(version))]


@admin.register(TariffVersion)
class TariffVersionAdmin(ScopedAdmin[TariffVersion]):
    form = VersionForm
    property_path = "tariff__property"
    may_add = may_change = staff.MANAGERS
    fixed = ("tariff",)
    related = ("tariff__property", "published_by", "replaces__tariff")
    readonly_fields = ("number", "state", "published_at", "published_by", "reason", week, marked_up)
    list_display = ("tariff", "number", "starts_date", "state", "is_provisional", "published_at", "published_by")
    list_filter = (PropertyFilter, "state")
    search_fields = ("tariff__name",)
    autocomplete_fields = ("tariff",)
    deeds = (
        Deed(
            name="publish",
            label=_("Publish"),
            roles=staff.MANAGERS,
            does=_publish,
            form=PublishForm,
            refusals=(TariffRefused, MarkUpRefused),
            facts=_what_to_publish,
            fits=lambda version: version.state == State.DRAFT,
            explanation=_("From its first day on these prices hold. What is published cannot be changed."),
            at_most=1,
        ),
        Deed(
            name="withdraw",
            label=_("Withdraw"),
            roles=staff.MANAGERS,
            does=_withdraw,
            refusals=(TariffRefused,),
            facts=_what,
            fits=lambda version: version.state == State.PUBLISHED,
            at_most=1,
        ),
    )

    def get_fields(self, request: HttpRequest, obj: TariffVersion | None = None) -> tuple[Any, ...]:
        begins = ("tariff", "starts_date", "is_provisional", "replaces")
        if obj is None:
            return (*begins, "definition")
        published = ("state", "published_at", "published_by", "reason", marked_up)
        is_draft = obj.state == State.DRAFT
        return (
            *begins[:1],
            "number",
            *begins[1:],
            *(("state", "definition") if is_draft else (*published, written)),
            week,
        )

    def get_readonly_fields(self, request: HttpRequest, obj: TariffVersion | None = None) -> list[Any]:
        return [*super().get_readonly_fields(request, obj), written]

    def has_change_permission(self, request: HttpRequest, obj: TariffVersion | None = None) -> bool:
        """What is published stays as it is."""
        return (obj is None or obj.state == State.DRAFT) and super().has_change_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: TariffVersion, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        if not change:
            numbers = TariffVersion.objects.filter(tariff=obj.tariff_id).aggregate(newest=Max("number"))
            obj.number = (numbers["newest"] or 0) + 1
        super().save_model(request, obj, form, change)
