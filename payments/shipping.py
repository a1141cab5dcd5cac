"""发货信息管理: telling WeChat that what was paid for was delivered, or it freezes the money from the first day.

One notice per payment, written in the transaction that credits it. Claimed, then sent, then recorded: a process that
dies in between sends it again: WeChat takes one re-upload and answers later ones as done.
Source: developers.weixin.qq.com/miniprogram/dev/server/API/order_shipping/api_uploadshippinginfo
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db import transaction

from accounts import vendor_apps
from accounts.vendors import ProviderError
from billing import money
from notifications import worklist
from payments.models import ShippingNotice

log = logging.getLogger(__name__)
TRIES = 12  # from half a minute to half an hour apart: about three hours, then a person
LONGEST_PAUSE = timedelta(minutes=30)


def upload_due(*, now: datetime, limit: int = 20) -> int:
    """Uploads the notices whose time has come. Returns how many were tried."""
    claimed = _claim(now, limit)
    for notice in claimed:
        _upload(notice, now)
    return len(claimed)


def _claim(now: datetime, limit: int) -> list[ShippingNotice]:
    with transaction.atomic():
        taken = list(
            ShippingNotice.objects.select_for_update(skip_locked=True, of=("self",))
            .select_related("payment__attempt", "payment__order")
            .filter(state=ShippingNotice.State.WAITING, next_try_at__lte=now)
            .order_by("pk")[:limit]
        )
        for notice in taken:
            notice.tries += 1
            notice.next_try_at = now + min(timedelta(seconds=30) * 2 ** min(notice.tries - 1, 6), LONGEST_PAUSE)
            notice.save(update_fields=["tries", "next_try_at"])
    return taken


def _upload(notice: ShippingNotice, now: datetime) -> None:
    payment = notice.payment
    if payment.refunded_fen == payment.amount_fen:
        _end(notice, ShippingNotice.State.GIVEN_UP, "refunded", now)  # what is given back was not delivered
        return
    try:
        vendor_apps.wechat_app().upload_shipping_info(
            transaction_id=payment.provider_transaction,
            openid=payment.payer,
            item=f"电费充值 {money.to_yuan(payment.amount_fen)}元",
            uploaded_at=now,
        )
    except (ProviderError, vendor_apps.NotSetUpError) as error:
        _failed(notice, str(error), now)
    else:
        _end(notice, ShippingNotice.State.DONE, "", now)


def _failed(notice: ShippingNotice, error: str, now: datetime) -> None:
    log.warning("shipping notice of payment %s: %s", notice.payment_id, error, extra={"trace": notice.payment.trace})
    if notice.tries < TRIES:
        ShippingNotice.objects.filter(pk=notice.pk).update(last_error=error[:64])
        return
    with transaction.atomic():
        _end(notice, ShippingNotice.State.GIVEN_UP, error, now)
        worklist.raise_item(
            key=f"shipping:{notice.payment_id}",
            kind="shipping_not_accepted",
            property_id=notice.payment.property_id,
            detail={"payment": notice.payment_id, "error": error[:64]},
            trace=notice.payment.trace,
            now=now,
        )


def _end(notice: ShippingNotice, state: str, error: str, now: datetime) -> None:
    ShippingNotice.objects.filter(pk=notice.pk, state=ShippingNotice.State.WAITING).update(
        state=state, last_error=error[:64], done_at=now
    )
