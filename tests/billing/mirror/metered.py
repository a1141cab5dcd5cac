"""A home whose meter holds its own money, and that meter: it counts down by its own price, whatever we think."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from accounts.models import User
from billing import prepaid, rating
from billing.mirror import sweep
from billing.mirror.explained import Word
from billing.models import Draw, MirroredDay, Purse
from billing.rating import days
from meters.models import Installation, MeterModel, TopUp
from tests import makers
from tests.billing.books import BANK
from tests.billing.rating import world
from tests.billing.rating.world import HOUR, START

DAY = timedelta(days=1)


@dataclass
class Box:
    """The meter: `fen_per_kwh` is its own price, 50 as ours says unless told otherwise."""

    draw: Draw
    wh: int = 100_000
    balance_fen: int = 0
    count: int = 0
    fen_per_kwh: int = 50
    bought_fen: int = 0
    bought: int = field(default=0)

    def use(self, wh: int) -> None:
        self.wh += wh
        self.balance_fen -= wh * self.fen_per_kwh // 1000

    def buy(self, fen: int, *, at: datetime, purse: Purse | None = None) -> TopUp:
        """A recharge with us that lands in the meter."""
        self.bought += 1
        key = f"buy:{self.draw.meter_id}:{self.bought}"
        prepaid.top_up(
            key=key,
            kind="recharge",
            purse_id=(purse or self.draw.purse).pk,
            amount_fen=fen,
            source=BANK,
            meter_id=self.draw.meter_id,
            happened_at=at,
            trace="t",
            now=at,
        )
        self.put_in(fen)
        TopUp.objects.filter(key=key).update(state="landed", number=self.count, landed_at=at)
        prepaid.settle(now=at)
        self.bought_fen += fen
        return TopUp.objects.get(key=key)

    def put_in(self, fen: int) -> None:
        self.count += 1
        self.balance_fen += fen

    def tell(self, at: datetime, **more: Any) -> None:
        told = {"balance_fen": self.balance_fen, "purchase_count": self.count} | more
        world.tell([(self.draw.meter, at, self.wh)], stored_at=at, **told)


def a_box(*, fen_per_kwh: int = 50, starts_balance_fen: int | None = 0, **more: Any) -> Box:
    draw = world.a_draw(counted_by="meter", **more)
    model, _made = MeterModel.objects.get_or_create(name="model-meter", defaults={"balance_held_by": "meter"})
    draw.meter.model = model
    draw.meter.save(update_fields=["model"])
    Installation.objects.filter(pk=draw.installation_id).update(starts_balance_fen=starts_balance_fen)
    return Box(draw, fen_per_kwh=fen_per_kwh)


def close(now: datetime) -> int:
    """What gateway and chaser do by themselves: rate, close, mirror. How many days were mirrored."""
    rating.work(now=now)
    days.close(now=now)
    return sweep.work(now=now)


def mirrored(draw: Draw) -> list[tuple[date, int]]:
    rows = MirroredDay.objects.filter(draw=draw).order_by("usage_date")
    return list(rows.values_list("usage_date", "charged_fen"))


def day(nth: int) -> date:
    return (START + nth * DAY).date()


def in_meter(draw: Draw) -> int:
    return Purse.objects.get(pk=draw.purse_id).in_meter_fen


def word(box: Box, *, at: datetime = START + 30 * HOUR, by: User | None = None, key: str = "form-1") -> Word:
    installation = Installation.objects.select_related("meter").get(pk=box.draw.installation_id)
    return Word(installation=installation, at=at, by=by or makers.a_user(), reason="asked at the bank", key=key)
