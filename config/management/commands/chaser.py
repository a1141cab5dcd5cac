"""`manage.py chaser`: asks providers about payments nobody called back about, and does what was left lying."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from config.rounds import Rounds, run_lanes


class Command(BaseCommand):
    help = "Runs the chaser: unpaid attempts, events left lying, shipping notices, certificates, holds that ended."

    def handle(self, *_args: Any, **_options: Any) -> None:
        run_lanes(_prompt(), _patient())


def _prompt() -> Rounds:
    """Somebody waits for these."""
    from billing import blackouts, holds, interruptions, outages, prepaid, proving, review, reviews, supply
    from notifications import lateness, staffnews
    from payments import chase, health, inbox, shipping

    return Rounds(
        {
            chase.ask_about_due: 1,
            inbox.sweep: 2,
            shipping.upload_due: 2,
            interruptions.sweep: 2,
            blackouts.sweep: 2,
            proving.look: 5,
            review.work: 2,  # what recharges and staff ask for, and what the hour brings
            prepaid.settle: 10,  # the gateway does it at once; this is the net
            holds.expire_holds: 10,
            supply.recheck: 10,
            reviews.ask_for_cuts_on_their_way: 20,
            interruptions.sweep_own: 60,
            outages.look: 30,
            staffnews.gather: 30,
            health.look: 30,
            lateness.look: 60,
        }
    )


def _patient() -> Rounds:
    """These may take minutes, after midnight or after a change of prices."""
    from billing import blackouts, changes, parameters, proving, rating, reviews, silent_meters, unread_meters
    from billing.mirror import sweep as mirror_sweep
    from billing.rating import days, disputing
    from payments import evidence, keyring

    return Rounds(
        {
            days.close: 10,
            changes.catch_up: 15,
            rating.work: 15,  # the gateway does it at once; this is the net
            parameters.sweep: 20,
            mirror_sweep.work: 60,
            reviews.ask_for_low_meters: 60,
            blackouts.sweep_own: 60,  # the gateway does it at once; this is the net
            proving.look_at_old: 300,
            disputing.follow: 300,
            silent_meters.look: 600,
            unread_meters.look: 600,
            keyring.refresh: 600,
            evidence.forget_unverified: 3600,
        }
    )
