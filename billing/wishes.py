"""What a home wishes to be told beside what its property laid down: a level of its own below which it is warned."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import User
from billing import money, reviews
from billing.models import OwnLevel, Purse


class WishRefused(Exception):
    """It cannot be wished for; nothing was changed. The text is for the person who asked."""


def set_own_level(*, purse_id: int, fen: int | None, by: User | None, now: datetime) -> None:
    """From now on the home is warned when less than `fen` is left; None: no more. The same again is an answer.

    Whoever calls knows that `by` may wish it for this home. It is looked at at once, so a balance that is lower already
    is told. Raises WishRefused for what is no amount from 0.01 to 10,000 yuan, Purse.DoesNotExist.
    """
    if fen is not None and not 1 <= fen <= OwnLevel.AT_MOST_FEN:
        most = money.shown(OwnLevel.AT_MOST_FEN)
        raise WishRefused(_("Choose an amount of up to %(most)s.") % {"most": most})
    with transaction.atomic():
        Purse.objects.select_for_update(no_key=True, of=("self",)).get(pk=purse_id)
        if fen == own_level_fen(purse_id=purse_id):
            return
        if fen is None:
            OwnLevel.objects.filter(purse=purse_id).delete()
        else:
            wish = {"below_fen": fen, "set_at": now, "set_by": by}
            OwnLevel.objects.update_or_create(purse_id=purse_id, defaults=wish)
        reviews.ask(purse_ids=[purse_id], why="wish", now=now)


def own_level_fen(*, purse_id: int) -> int | None:
    """Below what the home wants to be warned; None where it has not said."""
    return OwnLevel.objects.filter(purse=purse_id).values_list("below_fen", flat=True).first()
