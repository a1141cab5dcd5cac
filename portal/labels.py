"""A sheet of QR labels for the meters of a building: what a tenant in the dark scans.

A4, three by seven labels of 70 x 42.3 mm, as they are sold without a margin. Each carries the address of the meter's
page (error correction M, 26 mm, with the quiet zone that scanners want), the room, the meter's number and whom to call.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import segno
from django.conf import settings
from django.urls import reverse
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

from accounts.models import Building
from meters.models import Installation

COLUMNS, ROWS = 3, 7
A_SHEET: Final = COLUMNS * ROWS
WIDTH, HEIGHT = A4[0] / COLUMNS, A4[1] / ROWS
QR: Final = 26 * mm
QUIET: Final = 4  # modules around the code: ISO/IEC 18004
EDGE: Final = 4 * mm
FONT: Final = "STSong-Light"  # Adobe's name of a Chinese font that every reader of PDF brings: no file of ours
LINE: Final = 4.6 * mm


@dataclass(frozen=True, slots=True)
class Label:
    """`address` is what is scanned; the others are read."""

    address: str
    place: str
    room: str
    serial: str
    phone: str


def of_building(building: Building) -> list[Label]:
    """Of every meter that hangs there now, room by room as people count: 2 before 10. One query."""
    hanging = Installation.objects.filter(room__building=building, ends_at=None)
    found = list(hanging.select_related("meter", "room__building__property"))
    found.sort(key=lambda one: (_as_counted(one.room.number), one.meter.serial))
    return [
        Label(
            address=settings.PUBLIC_URL + reverse("meter-page", args=[one.meter.code]),
            place=one.room.building.property.name,
            room=str(one.room),
            serial=one.meter.serial,
            phone=one.room.building.property.phone,
        )
        for one in found
    ]


def sheet(labels: Sequence[Label], *, begin: int = 1) -> bytes:
    """The PDF; `begin` is where the first label goes, from 1 at the top left: for a sheet that was used in part."""
    if FONT not in pdfmetrics.getRegisteredFontNames():
        pdfmetrics.registerFont(UnicodeCIDFont(FONT))
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=A4, invariant=1)
    for place, label in _placed(labels, begin):
        if place == 0 and label is not labels[0]:
            canvas.showPage()
        _draw(canvas, label, left=(place % COLUMNS) * WIDTH, top=A4[1] - (place // COLUMNS) * HEIGHT)
    canvas.save()
    return out.getvalue()


def _placed(labels: Sequence[Label], begin: int) -> Iterator[tuple[int, Label]]:
    for n, label in enumerate(labels, begin - 1):
        yield n % A_SHEET, label


def _draw(canvas: Canvas, label: Label, *, left: float, top: float) -> None:
    _code(canvas, label.address, left=left + EDGE, bottom=top - HEIGHT / 2 - QR / 2)
    at, wide = left + EDGE + QR + 1.5 * mm, WIDTH - 2 * EDGE - QR - 1.5 * mm
    lines = ((label.room, 12), (label.place, 8), ("微信 / 支付宝", 9), ("扫码充值 Scan to pay", 8))
    more = ((f"表号 {label.serial}", 7), (label.phone, 8))
    down = top - HEIGHT / 2 + 2.4 * LINE
    for text, size in (*lines, *more):
        if text:
            canvas.setFont(FONT, _fitting(text, size, wide))
            canvas.drawString(at, down, text)
            down -= LINE


def _code(canvas: Canvas, address: str, *, left: float, bottom: float) -> None:
    matrix = segno.make(address, error="m", micro=False).matrix
    module = QR / (len(matrix) + 2 * QUIET)
    for y, row in enumerate(matrix):
        for x, is_dark in enumerate(row):
            if is_dark:
                across, up = left + (x + QUIET) * module, bottom + (len(matrix) - 1 - y + QUIET) * module
                canvas.rect(across, up, module, module, stroke=0, fill=1)


def _fitting(text: str, size: float, wide: float) -> float:
    """The size at which the text is no wider than its room."""
    needed = pdfmetrics.stringWidth(text, FONT, size)
    return min(size, size * wide / needed) if needed else size


def _as_counted(number: str) -> list[tuple[int, int | str]]:
    parts = re.split(r"(\d+)", number)
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts if part]
