"""Disputes of readings as staff see them, and the deed that decides one."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.deeds import Answers, Deed, Facts, ReasonForm
from accounts.panes import PropertyFilter
from accounts.window import ScopedAdmin
from billing.disputes import UNTIL_READ
from billing.models import Dispute
from billing.rating import disputing
from billing.tariff import units
from meters.models import Reading


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
class DisputeAdmin(ScopedAdmin[Dispute]):
    related = ("tenancy__room__building", "draw__meter", "property", "opened_by", "decided_by")
    fields = (
        *("tenancy", meter, "read_at", register, frozen, days, "reason", "state", "opened_at", "opened_by"),
        *("decided_at", "decided_by", "note"),
    )
    list_display = ("tenancy", "read_at", register, frozen, "state", "opened_at", "decided_at", "property")
    list_filter = (PropertyFilter, "state")
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
