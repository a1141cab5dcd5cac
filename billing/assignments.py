"""Where tariffs hold: assigned to a property, a building, a room or a meter, from a date on.

Rating learns of it through the backlog, from where the assignment begins or from now on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from accounts.models import Building, Property, Room, User
from billing import backlog, slots, tariffs
from billing.models import Tariff, TariffAssignment
from billing.tariff.civil import instant
from meters.models import Meter


class AssignmentRefused(Exception):
    """It cannot be assigned so; nothing was changed. The text is for the person who asked."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tariff holds: in the whole property, or in one building, room or meter of it."""

    property: Property
    building: Building | None = None
    room: Room | None = None
    meter: Meter | None = None

    def __post_init__(self) -> None:
        parts = self.parts()
        if len(parts) > 1:
            raise AssignmentRefused(_("Choose a building, a room or a meter, not several."))
        if any(part.property_id != self.property.pk for part in parts):
            raise AssignmentRefused(_("The tariff and the place belong to different properties."))

    def parts(self) -> list[Building | Room | Meter]:
        return [part for part in (self.building, self.room, self.meter) if part]


def assign(
    *, tariff: Tariff, place: Place, starts_date: date, by: User | None, reason: str, now: datetime
) -> TariffAssignment:
    """From starts_date on the tariff holds there; what held there until then ends on that day.

    Raises AssignmentRefused where one begins there on that day or later, and for a place of another property.
    """
    if tariff.property_id != place.property.pk:
        raise AssignmentRefused(_("The tariff and the place belong to different properties."))
    where = {"property": place.property, "building": place.building, "room": place.room, "meter": place.meter}
    try:
        with transaction.atomic():
            before = _standing(where, starts_date)
            if before:
                before.ends_date = starts_date
                before.save(update_fields=["ends_date"])
            assignment = TariffAssignment.objects.create(
                tariff=tariff,
                starts_date=starts_date,
                reason=reason.strip(),
                assigned_at=now,
                assigned_by=by,
                **where,
            )
            _take_effect(assignment, since=starts_date, now=now)
            return assignment
    except IntegrityError:
        raise AssignmentRefused(_("A tariff is assigned here from this day or a later one on.")) from None


def end(*, assignment_id: int, ends_date: date, now: datetime) -> TariffAssignment:
    """From ends_date on the next wider assignment holds. Raises AssignmentRefused for what has ended by then."""
    with transaction.atomic():
        assignment = TariffAssignment.objects.select_for_update(no_key=True).get(pk=assignment_id)
        if assignment.ends_date and assignment.ends_date <= ends_date:
            raise AssignmentRefused(_("It ends earlier."))
        if ends_date <= assignment.starts_date:
            raise AssignmentRefused(_("It ends after it began."))
        assignment.ends_date = ends_date
        assignment.save(update_fields=["ends_date"])
        _take_effect(assignment, since=ends_date, now=now)
    return assignment


def _standing(where: Mapping[str, object], starts_date: date) -> TariffAssignment | None:
    """The assignment of exactly this place that would go on beyond starts_date."""
    rows = TariffAssignment.objects.filter(**where, starts_date__lt=starts_date)
    return rows.exclude(ends_date__lte=starts_date).select_for_update(no_key=True).first()


def _take_effect(assignment: TariffAssignment, *, since: date, now: datetime) -> None:
    slots.lay_out(tariff_id=assignment.tariff_id, now=now)
    backlog.leave(
        installation_ids=tariffs.installations_of([assignment], since=since),
        from_at=min(instant(since), now),
        reason="assigned",
        now=now,
    )
