"""Meters that hold their own money, as staff see them: what they took beside what our tariff says, and what a person
explains about a balance that does not add up."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import BigIntegerField, F, Max, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Abs, TruncMonth
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.deeds import Added, Adding, Answers, DeskForm, Text, instant
from accounts.panes import PropertyFilter, yuan_column
from accounts.window import AskingAdmin, ScopedAdmin
from billing import money
from billing.mirror import drift, explained
from billing.mirror.explained import ExplanationRefused, Word
from billing.models import MeterMoney, MirroredDay
from billing.tariff.units import NANO_FEN_PER_FEN, to_fen
from meters.models import Installation, MeterModel

Kind = MeterMoney.Kind


class DriftFilter(admin.SimpleListFilter):
    """One row a day, or the newest of each meter and month, whose sums are then the month's."""

    title = _("drift")
    parameter_name = "drift"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, Text]]:
        return [("months", _("one row a month")), ("wide", _("months with other prices than ours"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[MirroredDay]) -> QuerySet[MirroredDay]:
        if self.value() not in {"months", "wide"}:
            return queryset
        months = MirroredDay.objects.order_by().values("installation", month=TruncMonth("usage_date"))
        rows = queryset.filter(pk__in=months.annotate(newest=Max("pk")).values("newest"))
        if self.value() == "months":
            return rows
        apart_nano = Abs(F("month_fen") * NANO_FEN_PER_FEN - F("month_nano"), output_field=BigIntegerField())
        rows = rows.annotate(apart_nano=apart_nano).filter(apart_nano__gt=drift.FEN * NANO_FEN_PER_FEN)
        return rows.filter(apart_nano__gt=F("month_nano") * drift.PERCENT / 100)


@admin.display(description=_("by our tariff"), ordering="ours_nano")
def ours(day: MirroredDay) -> str:
    return staff.yuan(to_fen(day.ours_nano))


@admin.display(description=_("difference"))
def difference(day: MirroredDay) -> str:
    return staff.yuan(day.charged_fen - to_fen(day.ours_nano))


@admin.display(description=_("difference of the month"))
def of_month(day: MirroredDay) -> str:
    month_fen: int = day.month_fen  # type: ignore[attr-defined]  # see MirroredDayAdmin.get_queryset
    ours_fen = to_fen(day.month_nano)  # type: ignore[attr-defined]
    share = f" ({(month_fen - ours_fen) * 100 / ours_fen:+.1f} %)" if ours_fen > 0 else ""
    return f"{staff.yuan(month_fen - ours_fen)}{share}"


@admin.display(description=_("meter"))
def meter(row: MirroredDay | MeterMoney) -> str:
    return row.installation.meter.serial


@admin.display(description=_("room"))
def room(row: MirroredDay | MeterMoney) -> str:
    return str(row.installation.room)


def _month_sum(field: str) -> Subquery:
    """Plan: the meter's own days by their index, for each row that is shown."""
    same = MirroredDay.objects.filter(
        installation=OuterRef("installation"),
        usage_date__year=OuterRef("usage_date__year"),
        usage_date__month=OuterRef("usage_date__month"),
    )
    return Subquery(same.order_by().values("installation").annotate(sum=Sum(field)).values("sum"))


@admin.register(MirroredDay)
class MirroredDayAdmin(ScopedAdmin[MirroredDay]):
    related = ("installation__meter", "installation__room__building", "property")
    taken = yuan_column("charged_fen", label=_("taken by the meter"))
    left = yuan_column("balance_fen", label=_("balance in the meter"))
    fields = (
        *("property", room, meter, "usage_date", taken, ours, difference, of_month),
        *("read_at", "purchase_count", left, yuan_column("used_fen", label=_("used so far")), "mirrored_at"),
    )
    list_display = (room, meter, "usage_date", taken, ours, difference, of_month, left, "property")
    list_filter = (PropertyFilter, DriftFilter)
    date_hierarchy = "usage_date"
    search_fields = ("installation__room__number", "installation__meter__serial")
    search_help_text = _("Room or meter number")

    def get_queryset(self, request: HttpRequest) -> QuerySet[MirroredDay]:
        rows = super().get_queryset(request)
        return rows.annotate(month_fen=_month_sum("charged_fen"), month_nano=_month_sum("ours_nano"))


class ExplanationForm(DeskForm):
    form_key = forms.CharField(widget=forms.HiddenInput, max_length=64)
    installation = forms.ModelChoiceField(Installation.objects.none(), label=_("Meter"))
    kind = forms.ChoiceField(
        label=_("What happened"),
        choices=[
            (Kind.ELSEWHERE, _("Money was put in that nobody bought here")),
            (Kind.TAKEN_OUT, _("Money was taken out of the meter, and is the tenant's again")),
            (Kind.ACCEPTED, _("The meter is right: what it gave back belongs to the tenant")),
        ],
        widget=forms.RadioSelect(attrs={"class": "radiolist"}),
    )
    amount = forms.CharField(
        label=_("Amount, yuan"), max_length=16, required=False, help_text=_("Blank where the meter is right.")
    )
    number = forms.IntegerField(
        label=_("Purchase number"), required=False, min_value=1, help_text=_("Where the meter counted it.")
    )
    at = instant(label=_("When"))
    reason = forms.CharField(label=_("Reason"), max_length=255, widget=forms.TextInput(attrs={"class": "vTextField"}))

    def prepare(self) -> None:
        places = staff.places_where(self.request, staff.MANAGERS)
        held = MeterModel.BalanceHolder.METER
        hung = Installation.objects.filter(property__in=places, meter__model__balance_held_by=held)
        self.offer("installation", hung.select_related("meter", "room__building"), like=MeterMoney.installation.field)
        self.fields["form_key"].initial = uuid.uuid4().hex

    def clean(self) -> dict[str, Any]:
        super().clean()
        answers: dict[str, Any] = self.cleaned_data
        if answers.get("kind") == Kind.ACCEPTED:
            return answers | {"amount_fen": 0}
        try:
            answers["amount_fen"] = money.from_yuan(answers.get("amount", "").strip())
        except money.NotAnAmount as error:
            self.add_error("amount", str(error))
        return answers


def _explain(request: HttpRequest, answers: Answers) -> Added:
    by, now = staff.who(request), timezone.now()
    word = Word(
        installation=answers["installation"],
        at=answers["at"],
        by=by,
        reason=answers["reason"],
        key=f"{by.pk}:{answers['form_key']}",
    )
    amount_fen = answers["amount_fen"]
    if answers["kind"] == Kind.ELSEWHERE:
        row = explained.bought_elsewhere(word, amount_fen=amount_fen, number=answers["number"], now=now)
    elif answers["kind"] == Kind.TAKEN_OUT:
        row = explained.taken_out(word, amount_fen=amount_fen, now=now)
    else:
        row = explained.accept(word, now=now)
    return Added(row, gettext("Explained. The meter's days are charged by it.") if row.entered_at == now else "")


@admin.register(MeterMoney)
class MeterMoneyAdmin(AskingAdmin[MeterMoney]):
    may_add = staff.MANAGERS
    related = ("installation__meter", "installation__room__building", "property", "entered_by")
    amount = yuan_column("amount_fen", label=_("amount"))
    fields = (room, meter, "kind", amount, "number", "happened_at", "reason", "entered_at", "entered_by")
    list_display = (room, meter, "kind", amount, "happened_at", "entered_by", "reason", "property")
    list_filter = (PropertyFilter, "kind")
    search_fields = ("installation__room__number", "installation__meter__serial", "reason")
    search_help_text = _("Room or meter number")
    adding = Adding(
        title=_("Explain the balance of a meter"),
        button=_("Explain"),
        does=_explain,
        form=ExplanationForm,
        refusals=(ExplanationRefused,),
        explanation=_("It stays as it is written. What the meter took is charged again by itself once it adds up."),
    )
