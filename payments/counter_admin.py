"""The counter: cash taken, its receipt, and the correction of a receipt."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.deeds import Added, Adding, Answers, Deed, DeskForm, Refused
from accounts.models import Tenancy
from accounts.panes import PropertyFilter, StandingFilter, yuan_column
from accounts.sentences import joined
from accounts.window import AskingAdmin
from billing import money, prepaid
from billing.models import Purse
from meters.models import Meter
from payments import counter, counter_facts
from payments.capitals import in_capitals
from payments.models import CounterReceipt, Means


class CounterForm(DeskForm):
    form_key = forms.CharField(widget=forms.HiddenInput, max_length=64)
    tenancy = forms.ModelChoiceField(Tenancy.objects.none(), label=_("Tenancy"))
    amount = forms.CharField(label=_("Amount, yuan"), max_length=16, help_text=_("Such as 50 or 50.00."))
    means = forms.ChoiceField(label=_("Means of payment"), choices=Means.choices, initial=Means.CASH)
    payer = forms.CharField(
        label=_("Received from"), required=False, max_length=64, help_text=_("Blank: from who holds the tenancy.")
    )
    meter = forms.ModelChoiceField(
        Meter.objects.none(),
        label=_("Meter"),
        required=False,
        help_text=_("Only where several meters of the home hold their own money."),
    )
    note = forms.CharField(
        label=_("Note"), required=False, max_length=255, widget=forms.TextInput(attrs={"class": "vTextField"})
    )

    def prepare(self) -> None:
        places = staff.places_where(self.request, staff.DESK)
        homes = Tenancy.objects.filter(property__in=places).select_related("room__building")
        self.offer("tenancy", homes, like=Purse.tenancy.field)
        meters = Meter.objects.filter(property__in=places)
        self.offer("meter", meters, like=CounterReceipt.meter.field)
        self.fields["form_key"].initial = uuid.uuid4().hex

    def clean_amount(self) -> int:
        try:
            amount_fen = money.from_yuan(self.cleaned_data["amount"].strip())
        except money.NotAnAmount as error:
            raise forms.ValidationError(str(error)) from error
        if not 0 < amount_fen <= 2**31 - 1:
            raise forms.ValidationError(_("This is no amount that a counter takes."))
        return amount_fen

    def clean_tenancy(self) -> Tenancy:
        home: Tenancy = self.cleaned_data["tenancy"]
        if not home.is_open(timezone.now()):
            raise forms.ValidationError(_("Nobody lives there now: this tenancy has ended, or not begun."))
        return home

    def clean(self) -> dict[str, Any]:
        super().clean()
        home, meter = self.cleaned_data.get("tenancy"), self.cleaned_data.get("meter")
        if home is None:
            return self.cleaned_data
        hanging = list(counter_facts.holding_money(home))
        if meter is not None and meter not in hanging:
            self.add_error("meter", _("This meter does not hang in this home, or holds no money."))
        if meter is None and len(hanging) > 1:
            self.add_error("meter", _("Several meters of this home hold money. Choose the one to recharge."))
        return self.cleaned_data


def _take(request: HttpRequest, answers: Answers) -> Added:
    by, now = staff.who(request), timezone.now()
    receipt = counter.take_money(
        purse=prepaid.purse_of(answers["tenancy"]),
        amount_fen=answers["amount"],
        by=by,
        form_key=f"{by.pk}:{answers['form_key']}",
        meter=answers["meter"],
        means=Means(answers["means"]),
        payer=answers["payer"] or counter_facts.holder_of(answers["tenancy"]),
        note=answers["note"],
        trace=request.META["TRACE_ID"],
        now=now,
    )
    is_new = receipt.taken_at == now
    told = gettext("%(amount)s taken at the counter.") % {"amount": money.shown(receipt.amount_fen)} if is_new else ""
    return Added(receipt, told, redirect("admin:payments_counterreceipt_print", receipt.pk))


def _correct(request: HttpRequest, receipt: CounterReceipt, answers: Answers) -> str:
    by, now = staff.who(request), timezone.now()
    done = counter.correct(receipt_id=receipt.pk, by=by, reason=answers["reason"], now=now)
    taken_back = gettext("%(amount)s taken back out of the purse.") % {"amount": money.shown(done.amount_fen)}
    debt_fen = -Purse.objects.get(pk=done.purse_id).available_fen()
    if debt_fen <= 0:
        return taken_back
    owed = gettext("The money is in the meter or used: %(debt)s are owed, and the next recharge pays them first.")
    return joined(taken_back, owed % {"debt": money.shown(debt_fen)})


class CorrectedFilter(StandingFilter):
    field = "corrected_at"


@admin.register(CounterReceipt)
class CounterReceiptAdmin(AskingAdmin[CounterReceipt]):
    may_add = staff.DESK
    related = ("purse__tenancy__room__building", "purse__property", "property", "meter", "taken_by", "corrected_by")
    amount = yuan_column("amount_fen", label=_("amount"))
    fields = (
        *("number", "property", "purse", "meter", amount, "means", "payer", "note", "taken_at", "taken_by"),
        *("corrected_at", "corrected_by", "correction_reason", "trace"),
    )
    list_display = ("number", "purse", amount, "means", "payer", "taken_at", "taken_by", "corrected_at", "property")
    list_filter = (PropertyFilter, CorrectedFilter, "means")
    search_fields = ("number", "purse__tenancy__room__number", "payer", "taken_by__name", "trace")
    search_help_text = _("Receipt number, room, payer, or who took it")
    adding = Adding(
        title=_("Counter recharge"),
        button=_("Take the money"),
        does=_take,
        form=CounterForm,
        refusals=(counter.CounterRefused, Refused),
        facts=counter_facts.before_taking,
    )
    deeds = (
        Deed(
            name="correct",
            label=_("Correct: take it back"),
            roles=staff.BOOKS,
            does=_correct,
            refusals=(counter.CounterRefused,),
            facts=counter_facts.before_correcting,
            fits=lambda receipt: receipt.corrected_at is None,
            at_most=1,
            explanation=_("The money leaves the purse by another entry, and the receipt is void."),
        ),
    )

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.print_view)
        name = "payments_counterreceipt_print"
        return [path("<int:receipt_id>/print/", view, name=name), *super().get_urls()]

    def print_view(self, request: HttpRequest, receipt_id: int) -> HttpResponse:
        """A receipt to print and hand over; 404 for one of another property as for none."""
        receipt = self.get_queryset(request).filter(pk=receipt_id).first()
        if receipt is None:
            raise Http404
        context = self.admin_site.each_context(request) | {
            "title": gettext("Receipt"),
            "opts": self.opts,
            "receipt": receipt,
            "may_add": self.has_add_permission(request),
            "amount": money.shown(receipt.amount_fen),
            "capitals": in_capitals(receipt.amount_fen),
        }
        return TemplateResponse(request, "admin/receipt.html", context)
