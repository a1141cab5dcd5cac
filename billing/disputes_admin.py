"""Disputes of readings as staff see them, open them for a tenant, and decide them."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Final

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.deeds import Added, Adding, Answers, Deed, DeskForm, Facts, ReasonForm, Text
from accounts.models import Tenancy
from accounts.panes import CodeFilter, PropertyFilter, coded_column
from accounts.window import AskingAdmin
from billing.disputes import UNTIL_READ
from billing.models import Dispute
from billing.rating import disputing
from billing.rating.disputing import Claim
from billing.tariff import units
from meters.models import Reading

State = Dispute.State
STATES: Final[dict[str, Text]] = {
    State.OPEN: pgettext_lazy("work item", "open"),
    State.UPHELD: State.UPHELD.label,
    State.DISMISSED: State.DISMISSED.label,
    State.WITHDRAWN: State.WITHDRAWN.label,
}
STATE = coded_column("state", label=_("state"), words=STATES)


class OpeningForm(DeskForm):
    """What a tenant says at the desk or on the telephone."""

    form_key = forms.CharField(widget=forms.HiddenInput, max_length=64)
    tenancy = forms.ModelChoiceField(Tenancy.objects.none(), label=_("Tenancy"))
    read_at = forms.DateTimeField(
        label=_("Instant of the disputed reading"),
        widget=forms.TextInput(attrs={"size": 30}),
        error_messages={"invalid": _("Write the instant as 2026-11-23 14:15:00.")},
        help_text=_("As the list of the meter's readings shows it."),
    )
    meter = forms.CharField(
        label=_("Meter number"), required=False, max_length=32, help_text=_("Only where the home has several meters.")
    )
    reason = forms.CharField(
        label=_("What the tenant says"),
        max_length=disputing.REASON_AT_MOST,
        widget=forms.Textarea(attrs={"rows": 4, "class": "vLargeTextField"}),
    )

    def prepare(self) -> None:
        homes = Tenancy.objects.filter(property__in=staff.places_where(self.request, staff.DESK))
        self.offer("tenancy", homes.select_related("room__building"), like=Dispute.tenancy.field)
        self.fields["form_key"].initial = uuid.uuid4().hex


def _open(request: HttpRequest, answers: Answers) -> Added:
    by, now = staff.who(request), timezone.now()
    claim = Claim(
        tenancy=answers["tenancy"],
        by=by,
        read_at=answers["read_at"],
        reason=answers["reason"],
        key=f"staff:{by.pk}:{answers['form_key']}",
        meter=answers["meter"].strip(),
    )
    dispute = disputing.open_dispute(claim, now=now)
    told = gettext("The dispute is open. Frozen until it is decided: %(days)s.") % {"days": days(dispute)}
    return Added(dispute, told if dispute.opened_at == now else "")


class StateFilter(CodeFilter):
    title, parameter_name, words = _("state"), "state", STATES


class DecisionForm(ReasonForm):
    field_order = ("decision", "right_kwh", "reason")

    decision = forms.ChoiceField(
        label=_("Decision"),
        choices=[
            (Dispute.State.UPHELD, _("The tenant is right: the reading does not count")),
            (Dispute.State.DISMISSED, _("The reading is right: it is charged")),
        ],
        widget=forms.RadioSelect(attrs={"class": "radiolist"}),
    )
    right_kwh = forms.DecimalField(
        label=_("What the register showed in truth, kWh"),
        required=False,
        min_value=Decimal(0),
        max_digits=12,
        decimal_places=3,
        help_text=_("Only where the tenant is right and it is known."),
    )

    def prepare(self) -> None:
        self.fields["reason"].help_text = _("The tenant reads this.")


def _decide(request: HttpRequest, dispute: Dispute, answers: Answers) -> str:
    is_upheld = answers["decision"] == Dispute.State.UPHELD
    right_kwh: Decimal | None = answers["right_kwh"] if is_upheld else None
    disputing.decide(
        dispute_id=dispute.pk,
        as_="upheld" if is_upheld else "dismissed",
        by=staff.who(request),
        note=answers["reason"],
        right_wh=None if right_kwh is None else int(right_kwh * 1000),
        now=timezone.now(),
    )
    return gettext("The reading does not count.") if is_upheld else gettext("The reading counts, and is charged.")


@admin.display(description=_("register"))
def register(dispute: Dispute) -> str:
    return f"{units.kwh(dispute.import_wh)} kWh"


@admin.display(description=_("disputed amount"), ordering="frozen_nano")
def frozen(dispute: Dispute) -> str:
    return staff.yuan(units.to_fen(dispute.frozen_nano))


@admin.display(description=_("days that are not posted"))
def days(dispute: Dispute) -> str:
    if dispute.to_date == UNTIL_READ:
        return gettext("from %(from)s until the next reading") % {"from": dispute.from_date}
    return f"{dispute.from_date} – {dispute.to_date}" if dispute.to_date > dispute.from_date else f"{dispute.from_date}"


@admin.display(description=_("meter"))
def meter(dispute: Dispute) -> str:
    return dispute.draw.meter.serial


def _facts(dispute: Dispute) -> Facts:
    """What it is about, with the registers around it."""
    readings = Reading.objects.filter(meter=dispute.draw.meter_id)
    before = readings.filter(read_at__lt=dispute.read_at).order_by("-read_at").first()
    after = readings.filter(read_at__gt=dispute.read_at).order_by("read_at").first()
    return [
        (_("home"), dispute.tenancy),
        (_("meter"), meter(dispute)),
        (_("reading before"), _read(before.read_at, before.import_wh) if before else ""),
        (_("disputed reading"), _read(dispute.read_at, dispute.import_wh)),
        (_("reading after"), _read(after.read_at, after.import_wh) if after else ""),
        (_("disputed amount"), frozen(dispute)),
        (_("the tenant says"), dispute.reason),
    ]


def _read(at: datetime, import_wh: int) -> str:
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S} · {units.kwh(import_wh)} kWh"


@admin.register(Dispute)
class DisputeAdmin(AskingAdmin[Dispute]):
    may_add = staff.DESK
    adding = Adding(
        title=_("Open a dispute for a tenant"),
        button=_("Open the dispute"),
        does=_open,
        form=OpeningForm,
        refusals=(disputing.DisputeRefused,),
        explanation=_(
            "What follows from the reading is frozen: it is not posted, and cuts nobody until it is decided."
        ),
    )
    related = ("tenancy__room__building", "draw__meter", "property", "opened_by", "decided_by")
    fields = (
        *("tenancy", meter, "read_at", register, frozen, days, "reason", STATE, "opened_at", "opened_by"),
        *("decided_at", "decided_by", "note"),
    )
    list_display = ("tenancy", "read_at", register, frozen, STATE, "opened_at", "decided_at", "property")
    list_filter = (PropertyFilter, StateFilter)
    search_fields = ("tenancy__room__number", "draw__meter__serial")
    search_help_text = _("Room or meter number")
    deeds = (
        Deed(
            name="decide",
            label=_("Decide the dispute"),
            roles=staff.MANAGERS,
            does=_decide,
            form=DecisionForm,
            refusals=(disputing.DisputeRefused,),
            facts=_facts,
            fits=lambda dispute: dispute.state == Dispute.State.OPEN,
            explanation=_("What was used since the next reading is charged either way."),
            at_most=1,
        ),
    )
