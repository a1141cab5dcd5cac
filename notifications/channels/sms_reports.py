"""What SMS vendors push about messages that they took: a JSON array, several reports at once, perhaps twice.

Neither vendor signs it: who may report is decided by a secret in the address (notifications/callbacks.py). A report
that says nothing usable is passed over, so that the vendor does not repeat the others with it.
Sources: help.aliyun.com, SmsReport (HTTP push); cloud.tencent.com/document/product/382/43547 (status notification).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from notifications.channels.base import BadReceiptError, Fate, Receipt
from notifications.channels.calls import instant_of, parts_of, text_of

# Carriers report within three days; another year is a fault of the report.
OLDEST, AHEAD = timedelta(days=7), timedelta(hours=1)
ALIYUN_FATES: Final = {"True": Fate.DELIVERED, "False": Fate.UNDELIVERED}
TENCENT_FATES: Final = {"SUCCESS": Fate.DELIVERED, "FAIL": Fate.UNDELIVERED}


def aliyun(body: bytes, *, now: datetime) -> list[Receipt]:
    """SmsReport; found by our own number (out_id), else by Aliyun's. Raises BadReceiptError."""
    receipts = []
    for row in _rows(body):
        fate, vendor_id = ALIYUN_FATES.get(str(row.get("success")).capitalize()), text_of(row, "biz_id")
        if fate is None or not vendor_id:
            continue
        receipts.append(
            Receipt(
                fate=fate,
                reference=text_of(row, "out_id"),
                vendor_id=vendor_id,
                at=_at(row.get("report_time"), now),
                code="" if fate == Fate.DELIVERED else text_of(row, "err_code"),
                parts=parts_of(row, "sms_size"),
            )
        )
    return receipts


def tencent(body: bytes, *, now: datetime) -> list[Receipt]:
    """The status notification; found by Tencent's number, the only one it tells. Raises BadReceiptError."""
    receipts = []
    for row in _rows(body):
        fate, vendor_id = TENCENT_FATES.get(text_of(row, "report_status")), text_of(row, "sid")
        if fate is None or not vendor_id:
            continue
        receipts.append(
            Receipt(
                fate=fate,
                vendor_id=vendor_id,
                at=_at(row.get("user_receive_time"), now),
                code="" if fate == Fate.DELIVERED else text_of(row, "errmsg"),
            )
        )
    return receipts


def _rows(body: bytes) -> list[Mapping[str, Any]]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise BadReceiptError("malformed")
    return [row for row in found if isinstance(row, dict)]


def _at(text: object, now: datetime) -> datetime | None:
    at = instant_of(str(text))
    return at if at is not None and now - OLDEST < at < now + AHEAD else None
