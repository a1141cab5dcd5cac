"""Who follows our official account: the same person as in the mini-program, by WeChat's union id.

Events tell who comes and who leaves; who came before the person was a user of ours, or while nobody listened, is found
by a look through all followers once a day. Followers whom we do not know otherwise leave no row here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime

from django.conf import settings
from django.db.models import QuerySet
from django_q.tasks import async_task

from accounts import login, vendor_apps
from accounts.models import Identity
from accounts.vendors import ProviderError

log = logging.getLogger(__name__)
WECHAT = Identity.Provider.WECHAT
MOST_PAGES = 100  # a million followers


def came(*, app_id: str, openid: str, at: datetime) -> None:
    """Somebody follows the account. WeChat is asked who they are by the queue: an event has to be answered at once."""
    known = _identity(app_id, openid).filter(left_at__lte=at).update(left_at=None)
    if not known and not _identity(app_id, openid).exists():
        async_task("accounts.followers.look_up", openid)


def left(*, app_id: str, openid: str, at: datetime) -> None:
    """Somebody does not follow it any more: no message reaches them there."""
    _identity(app_id, openid).filter(left_at=None).update(left_at=at)


def look_up(openid: str) -> int:
    """Asks WeChat who this follower is. Returns how many became known, 0 or 1; what fails is found the next day."""
    account = vendor_apps.official_account()
    try:
        union_ids = account.union_ids([openid])
    except ProviderError as error:
        log.warning("a follower cannot be looked up: %s", error.code)
        return 0
    return join(union_ids, app_id=account.app_id)


def look_through() -> int:
    """All followers whom we do not know yet, a hundred a call. Returns how many became known."""
    if not settings.WECHAT_OFFICIAL_APP_ID:
        return 0
    account = vendor_apps.official_account()
    found, after = 0, ""
    for _page in range(MOST_PAGES):
        openids, after = account.followers(after=after)
        strangers = _unknown(openids, app_id=account.app_id)
        for begin in range(0, len(strangers), account.AT_ONCE):
            found += join(account.union_ids(strangers[begin : begin + account.AT_ONCE]), app_id=account.app_id)
        if not openids or not after:
            break
    return found


def join(union_ids: Mapping[str, str], *, app_id: str) -> int:
    """Followers by openid with their union ids: who is a user of ours gets an identity. Returns how many did."""
    same = Identity.objects.filter(provider=WECHAT, union_id__in=list(union_ids.values())).exclude(app_id=app_id)
    ours = set(same.values_list("union_id", flat=True))
    joined = [openid for openid, union_id in union_ids.items() if union_id in ours]
    for openid in joined:
        login.recognise(login.Person(WECHAT, app_id, openid, union_ids[openid]))
    return len(joined)


def _unknown(openids: Iterable[str], *, app_id: str) -> list[str]:
    """Those without an identity; who has one, and follows, has not left."""
    openids = list(openids)
    known = Identity.objects.filter(provider=WECHAT, app_id=app_id, subject__in=openids)
    known.exclude(left_at=None).update(left_at=None)
    ours = set(known.values_list("subject", flat=True))
    return [openid for openid in openids if openid not in ours]


def _identity(app_id: str, openid: str) -> QuerySet[Identity]:
    return Identity.objects.filter(provider=WECHAT, app_id=app_id, subject=openid)
