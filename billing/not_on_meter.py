"""What is laid down and a meter that holds its own money does not keep: it cuts and restores by itself.

It knows what it was told (parameters.py), and nothing else of what protects the tenants of other meters. Shown to staff
where they lay it down and where they hang a meter, and to the tenant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final

from django.db.models import F
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing import supply_words
from billing.models import RoomPolicy, SupplyPolicy
from billing.rules import LaidDown
from meters import parameters
from meters.models import Level, Meter, MeterModel

WORDS: Final = {
    "protected_room": gettext_lazy("the power of this room is kept on"),
    "overdraft": gettext_lazy("the overdraft"),
    "holiday": gettext_lazy("nobody is cut on a public holiday"),
    "protected_hour": gettext_lazy("protected hours"),
    "protected_weekday": gettext_lazy("protected weekdays"),
    "notice": gettext_lazy("the notice before a cut"),
    "weather": gettext_lazy("extreme weather"),
    "cuts_a_day": gettext_lazy("cuts a day at most"),
    "restore_above": gettext_lazy("the balance above which power comes back"),
    "emergency": gettext_lazy("emergency credit"),
    "warn_fens": gettext_lazy("some of the amounts to warn at (we warn all the same)"),
    "warn_others": gettext_lazy("warnings at percent of the last recharge or days left (we warn all the same)"),
}
TENANTS: Final = ("protected_room", "overdraft", "holiday", "protected_hour", "protected_weekday", "notice")


def not_on_meter(*, model: MeterModel, laid_down: LaidDown, untaken: Collection[str] = ()) -> list[str]:
    """Codes of WORDS that meters of this model do not keep, of what is laid down. None for those of the server.

    `untaken` are kinds of parameters that a certain meter was told and does not go by.
    """
    if model.balance_held_by != MeterModel.BalanceHolder.METER or (laid_down.policy or laid_down.room) is None:
        return []
    rule, known = laid_down.rule(), set(model.parameters) - set(untaken)
    lacks = {
        "protected_room": rule.is_protected and "keep" not in known,
        "overdraft": rule.overdraft_fen > 0 and "overdr" not in known,
        "holiday": rule.protects_holidays and "holidays" not in known,
        "protected_hour": bool(rule.protected_hours),
        "protected_weekday": bool(rule.protected_weekdays),
        "notice": rule.has_legal_basis and rule.notice_for > timedelta(0),
        "weather": rule.has_legal_basis,
        "cuts_a_day": rule.has_legal_basis,
        "restore_above": rule.restore_above_fen > 0,
        "emergency": laid_down.value("emergency_fen") > 0,
        "warn_fens": len(set(rule.warn_fens)) > len(known & {"warn_1", "warn_2"}),
        "warn_others": bool(rule.warn_percents) or rule.warn_days is not None,
    }
    return [code for code in WORDS if lacks[code]]


def in_words(codes: Iterable[str]) -> str:
    """For people; blank for none."""
    return supply_words.listed(str(WORDS[code]) for code in codes)


def to_tenants(meters: Mapping[int, Sequence[Meter]]) -> dict[int, str]:
    """By room, what its tenants should know of the meters that hang there, each with its model. No query where no meter
    holds money."""
    held = {room: [one for one in hanging if one.holds_money()] for room, hanging in meters.items()}
    rooms = [room for room, hanging in held.items() if hanging]
    if not rooms:
        return {}
    own = RoomPolicy.objects.in_bulk(rooms, field_name="room_id")
    places = {one.property_id for room in rooms for one in held[room]}
    policies = SupplyPolicy.objects.in_bulk(places, field_name="property_id")
    not_taken = untaken([one.pk for room in rooms for one in held[room]])
    told = {}
    for room in rooms:
        lacking: set[str] = set()
        for one in held[room]:
            laid_down = LaidDown(policies.get(one.property_id), own.get(room))
            lacking.update(not_on_meter(model=one.model, laid_down=laid_down, untaken=not_taken.get(one.pk, ())))
        if codes := [code for code in TENANTS if code in lacking]:
            text = _("The meter switches off by itself when its money is used up. It does not keep: %(what)s.")
            told[room] = text % {"what": in_words(codes)}
    return told


def untaken(meter_ids: Collection[int]) -> dict[int, list[str]]:
    """By meter, the kinds of parameters that it was told and does not go by, for now or for good."""
    rows = Level.objects.filter(meter__in=meter_ids, kind__in=parameters.KINDS).exclude(wanted=F("reported"))
    found: dict[int, list[str]] = {}
    for meter_id, kind in rows.values_list("meter", "kind"):
        found.setdefault(meter_id, []).append(kind)
    return found
