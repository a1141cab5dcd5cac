"""A room's draws after it was rated: where their chains end, what they owe, and what SQL needs to go on from there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from billing.models import Draw, TariffVersion
from billing.rating import chain
from billing.rating import room as rooms
from billing.rating.chain import Folded, Span
from billing.rating.counting import Counts, Used
from billing.rating.room import Hanging, Rated, Room
from billing.tariff.civil import civil_date, instant
from billing.tariff.split import Slice, Term
from billing.tariff.tiers import Household, Window
from meters.models import Installation

WRITTEN: Final = (
    "is_current", "last_at", "last_wh", "cycle_wh", "day_date", "day_wh", "day_nano", "total_nano", "version",
    "ct_ratio", "max_power_w", "extra_wh", "cycle_date", "plain_until_at", "is_plain", "why_not",
)  # fmt: skip


def write(found: Rated) -> list[Draw]:
    """Advances the draws of a room that was rated, which the caller holds. Returns those whose money changed."""
    theirs = [(one, draw) for one in found.hanging for draw in found.room.draws if _is_of(draw, one)]
    changed = [draw for one, draw in theirs if _advance(found, one, draw)]
    # A meter has one current draw: the one that ceases to be it gives way first.
    for _one, draw in sorted(theirs, key=lambda each: each[1].is_current):
        draw.save(update_fields=WRITTEN)
    return changed


def _is_of(draw: Draw, one: Hanging) -> bool:
    return draw.installation_id == one.installation.pk


def _advance(found: Rated, one: Hanging, draw: Draw) -> bool:
    """Sets where the chain ends, the sums up to there, and what SQL needs to go on from there."""
    room, priced = found.room, found.priced
    end = one.folded.end
    own = [part for part in priced if part.draw_id == draw.pk and civil_date(part.slice.from_at) >= draw.closed_until]
    before = (draw.total_nano, draw.last_at)
    draw.total_nano = draw.closed_nano + sum(part.nano_fen for part in own)
    draw.day_date = max((civil_date(part.slice.from_at) for part in own), default=draw.closed_until)
    newest = [part for part in own if civil_date(part.slice.from_at) == draw.day_date]
    draw.day_wh = sum(part.slice.energy_wh for part in newest)
    draw.day_nano = sum(part.nano_fen for part in newest)
    draw.is_current = room.draw_at(draw.installation_id, end.at) is draw and not _hangs_elsewhere(one.installation)
    if end.at >= draw.starts_at:
        draw.last_at, draw.last_wh = _reached(one.folded, draw)
    draw.is_plain, draw.why_not = False, "doubt" if one.in_doubt else ""
    if draw.is_current:
        _make_ready(found, one, draw)
    return before != (draw.total_nano, draw.last_at)


def _hangs_elsewhere(installation: Installation) -> bool:
    """Taken down and hung again: what the meter tells is the other installation's, also while readings of this one wait
    for a person."""
    if installation.ends_at is None:
        return False
    return Installation.objects.filter(meter=installation.meter_id, starts_at__gte=installation.ends_at).exists()


def _reached(folded: Folded, draw: Draw) -> tuple[datetime, int]:
    """Where the chain ends within the draw, and the register there: between two readings, by the time."""
    if draw.ends_at is None or folded.end.at <= draw.ends_at:
        return folded.end.at, folded.end.wh
    span = next((span for span in folded.spans if span.a.at < draw.ends_at <= span.b.at), None)
    return draw.ends_at, _register(span, draw.ends_at) if span else draw.last_wh


def _register(span: Span, at: datetime) -> int:
    return span.a.wh + (span.b.wh - span.a.wh) * ((at - span.a.at) // chain.MILLISECOND) // (
        (span.b.at - span.a.at) // chain.MILLISECOND
    )


def _make_ready(found: Rated, one: Hanging, draw: Draw) -> None:
    """What SQL needs of tariff and household, and until when it holds; beyond that the careful path takes a step."""
    room, on = found.room, civil_date(draw.last_at)
    terms = [term for term in one.terms if term.from_at <= draw.last_at] or list(one.terms[:1])
    if not terms:
        draw.version, draw.why_not = None, "no_tariff"
        return
    term = terms[-1]
    household = room.household(draw, on)
    window, usual = term.tariff.window(on, household), term.tariff.window(on)
    draw.version_id = term.version
    draw.max_power_w, draw.ct_ratio = rooms.rule_of(one.installation).max_w, one.installation.ct_ratio
    draw.cycle_date = window.start_date if window else None
    draw.extra_wh = (
        [own - other for own, other in zip(window.limits_wh, usual.limits_wh, strict=True)] if window and usual else []
    )
    draw.cycle_wh = _counted(found.counts, draw, term, household) if window else 0
    draw.plain_until_at = min(_ends(room, one, draw, term, window))
    shares = window is not None and _shares(room, draw)
    draw.why_not = "doubt" if one.in_doubt else "shared" if shares else ""
    draw.is_plain = not draw.why_not


def _counted(counts: Counts, draw: Draw, term: Term, household: Household) -> int:
    """What the cycle that goes on from here has counted so far."""
    piece = Slice(draw.last_at, draw.last_at, "flat", 0, term.version, estimated=False)
    counter = rooms.counter(draw, term.version, term.tariff)
    used = Used(draw.pk, draw.installation_id, piece, term.tariff, household, counter)
    window = term.tariff.window(civil_date(draw.last_at), household)
    return counts.of(used)[window.start_date] if window else 0


def _ends(room: Room, one: Hanging, draw: Draw, term: Term, window: Window | None) -> Iterator[datetime]:
    """The instants at which something of what is kept on the draw ceases to hold."""
    slots_until = TariffVersion.objects.values_list("slots_until_date", flat=True).get(pk=term.version)
    yield instant(slots_until) if slots_until else draw.last_at
    yield from (later.from_at for later in one.terms if later.from_at > draw.last_at)
    if draw.ends_at:
        yield draw.ends_at
    if window:
        yield instant(window.end_date)
    changes = room.people.get(draw.tenancy_id, []) if draw.tenancy_id else []
    yield from (instant(on) for on, _persons in changes if instant(on) > draw.last_at)


def _shares(room: Room, draw: Draw) -> bool:
    """Whether another meter of the room fills the same tiers now."""
    return any(
        other.installation_id != draw.installation_id and (other.ends_at is None or other.ends_at > draw.last_at)
        for other in room.draws
    )
