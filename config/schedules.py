"""What django-q2 does by the clock, where half a minute does not matter. The tasks are sweeps over rows: a run that is
lost or doubled changes nothing. Everything quicker has a process of its own (chaser, gateway)."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

BEAT = "qcluster-beat"

SCHEDULES = {
    "months of readings ahead": ("config.schedules.make_months", 60 * 24),
    "months of readings that nobody needs": ("config.schedules.drop_months", 60 * 24),
    "proof of life": ("config.schedules.beat", 1),
    "prices laid out ahead": ("config.schedules.lay_out_prices", 60 * 24),
    "holidays of next year": ("config.schedules.warn_of_holidays", 60 * 24),
    "summaries of yesterday": ("config.schedules.sum_up_yesterday", 10),
    "other prices announced": ("config.schedules.announce_prices", 30),
    "ended logins": ("config.schedules.forget_logins", 60 * 24),
    "followers of the official account": ("config.schedules.look_through_followers", 60 * 24),
}


def ensure_schedules() -> None:
    """Writes the schedule rows that are missing, and mends those that differ. Called when the queue is started."""
    from django_q.models import Schedule

    for name, (func, minutes) in SCHEDULES.items():
        Schedule.objects.update_or_create(
            name=name, defaults={"func": func, "schedule_type": Schedule.MINUTES, "minutes": minutes, "repeats": -1}
        )
    Schedule.objects.exclude(name__in=SCHEDULES).filter(func__startswith="config.schedules.").delete()


def make_months() -> list[str]:
    from meters import partitions

    return partitions.make_months(now=timezone.now())


def drop_months() -> list[str]:
    from django.conf import settings

    from billing.rating import retention
    from meters import partitions

    kept = settings.READINGS_KEPT_MONTHS
    return partitions.drop_months(now=timezone.now(), kept=kept, may_drop=retention.may_drop)


def lay_out_prices() -> int:
    from billing import slots

    return slots.expand(now=timezone.now())


def sum_up_yesterday() -> int:
    from portal import summary

    return summary.tell(now=timezone.now())


def announce_prices() -> int:
    from billing import price_news

    return price_news.announce(now=timezone.now())


def warn_of_holidays() -> None:
    from billing import holidays

    holidays.warn(now=timezone.now())


def forget_logins() -> int:
    """What was kept to let people in, and tells where they were when: tokens, codes, counts of tries."""
    from accounts import guesses, login, phone_codes

    now = timezone.now()
    return login.forget_ended_tokens(now=now) + phone_codes.forget_old(now=now) + guesses.forget_old(now=now)


def look_through_followers() -> int:
    from accounts import followers

    return followers.look_through()


def beat() -> None:
    """Proves each minute that the cluster runs tasks: `manage.py queue_watch` looks for it."""
    from django.core.cache import cache

    cache.set(BEAT, timezone.now().isoformat(), timeout=None)


def last_beat() -> datetime | None:
    """When the cluster last ran `beat`, or None when it never did."""
    from django.core.cache import cache

    beaten = cache.get(BEAT)
    return datetime.fromisoformat(beaten) if beaten else None
