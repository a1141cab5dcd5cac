"""What became of the power, as staff see it: off and back, how long it took, dark homes, outages, emergency credit."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import Property
from accounts.panes import PropertyFilter, StandingFilter, yuan_column
from accounts.window import ScopedAdmin
from billing import interruptions, supply_words
from billing.models import Blackout, Emergency, Interruption, Outage, SupplyPolicy

CLOCK_DAYS: Final = 30


@admin.display(description=_("restore clock, last 30 days"))
def restore_clock(policy: SupplyPolicy) -> str:
    """How long homes of a property waited for the light, from the payment to the relay that reported itself closed."""
    now = timezone.now()
    clock = interruptions.clock(property_id=policy.property_id, from_at=now - timedelta(days=CLOCK_DAYS), to_at=now)
    if clock.median_s is None or clock.p99_s is None:
        return gettext("Power did not have to come back.")
    return gettext("%(times)d times; half within %(median).1f s, 99 of 100 within %(p99).1f s") % {
        "times": clock.times,
        "median": clock.median_s,
        "p99": clock.p99_s,
    }


@admin.display(description=_("cause"), ordering="cause")
def cause(row: Interruption | Blackout) -> str:
    return gettext("by its meter") if row.cause == interruptions.BY_ITSELF else supply_words.verdict(row.cause)


class InterruptionFilter(StandingFilter):
    field = "on_at"


@admin.register(Interruption)
class InterruptionAdmin(ScopedAdmin[Interruption]):
    related = ("room__building", "meter", "purse__tenancy__room__building", "property")
    times = ("ordered_at", "off_at", "restore_ordered_at", "on_at", "seconds")
    fields = ("room", "meter", "purse", "state", cause, *times, "property")
    list_display = ("room", "state", cause, "off_at", "on_at", "seconds", "property")
    list_filter = (PropertyFilter, "state", InterruptionFilter)
    search_fields = ("room__number", "meter__serial")


class BlackoutFilter(StandingFilter):
    field = "ended_at"


@admin.register(Blackout)
class BlackoutAdmin(ScopedAdmin[Blackout]):
    property_path = "purse__property"
    related = ("purse__tenancy__room__building", "purse__property")
    fields = list_display = ("purse", cause, "began_at", "ended_at")
    list_filter = (PropertyFilter, BlackoutFilter)
    search_fields = ("purse__tenancy__room__number",)


class OutageFilter(StandingFilter):
    field = "ended_at"


@admin.register(Outage)
class OutageAdmin(ScopedAdmin[Outage]):
    """Those of a property, and those that concern everybody."""

    related = ("property",)
    fields = list_display = ("kind", "ref", "property", "began_at", "seen_at", "ended_at", "detail")
    list_filter = (PropertyFilter, "kind", OutageFilter)
    search_fields = ("ref", "detail")

    def in_places(self, rows: QuerySet[Outage], places: QuerySet[Property]) -> QuerySet[Outage]:
        return rows.filter(Q(property__in=places) | Q(property=None))


class RepaidFilter(StandingFilter):
    field = "repaid_at"


@admin.register(Emergency)
class EmergencyAdmin(ScopedAdmin[Emergency]):
    related = ("purse__tenancy__room__building", "property", "taken_by")
    amount = yuan_column("amount_fen", label=_("amount"))
    fields = ("purse", amount, "taken_at", "taken_by", "repaid_at", "property")
    list_display = ("purse", amount, "taken_at", "repaid_at", "property")
    list_filter = (PropertyFilter, RepaidFilter)
    search_fields = ("purse__tenancy__room__number",)
