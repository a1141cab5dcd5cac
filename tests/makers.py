"""Makers of our world's parts: each needs nothing and takes the one thing a test is about."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.utils import timezone

from accounts import consents, login
from accounts.models import AccessToken, Building, Identity, Member, Property, Room, Tenancy, User
from billing import tariffs
from billing.models import Notice, Purse, SupplyPolicy, SupplyPrice, Tariff, TariffAssignment, TariffVersion
from billing.tariff import units
from meters.models import Installation, Meter, MeterModel, Reading
from payments.models import Attempt, Merchant, MerchantProperty, Order

_serial = itertools.count(1)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
LONG_AGO_DATE = date(2026, 1, 1)
ONE_PRICE = {"prices": [{"yuan": "0.62"}]}
TIME_OF_USE_AND_TIERS = {
    "periods": [{"day": {"peak": ["08:00-22:00"], "valley": ["22:00-08:00"]}}],
    "tiers": {"cycle": {"months": 12}, "limits": [{"kwh": [2760, 4800]}]},
    "prices": [{"yuan": {"peak": "0.5680", "valley": "0.2880"}, "surcharge_yuan": ["0.05", "0.30"]}],
    "fee_yuan": "0.02",
}


def a_property(**kwargs: Any) -> Property:
    n = next(_serial)
    return Property.objects.create(**{"code": f"p{n}", "name": f"Garden {n}"} | kwargs)


def a_room(*, place: Property | None = None) -> Room:
    place = place or a_property()
    building, _ = Building.objects.get_or_create(property=place, name="1")
    return Room.objects.create(property=place, building=building, number=f"{next(_serial)}")


def a_user(**kwargs: Any) -> User:
    told = {"username": f"user{next(_serial)}", "name": "王小明", "notice_version": consents.CURRENT}
    return User.objects.create(**told | kwargs)


def an_identity(*, user: User | None = None, provider: str = "wechat", app_id: str = "wxsandboxmini") -> Identity:
    n = next(_serial)
    return Identity.objects.create(user=user or a_user(), provider=provider, app_id=app_id, subject=f"openid-{n}")


def a_login(user: User, *, identity: Identity | None = None) -> dict[str, str]:
    """The header of somebody who is logged in."""
    token, now = f"token-{next(_serial)}", timezone.now()
    AccessToken.objects.create(
        user=user, identity=identity, digest=login.digest_of(token), created_at=now, expires_at=now + timedelta(days=1)
    )
    return {"Authorization": f"Bearer {token}"}


def a_tenancy(*, room: Room | None = None, holder: User | None = None, **kwargs: Any) -> Tenancy:
    room = room or a_room()
    tenancy = Tenancy.objects.create(**{"property": room.property, "room": room, "starts_at": LONG_AGO} | kwargs)
    if holder is not None:
        Member.objects.create(tenancy=tenancy, user=holder, role=Member.Role.HOLDER, joined_at=LONG_AGO)
    return tenancy


def a_purse(*, tenancy: Tenancy | None = None) -> Purse:
    tenancy = tenancy or a_tenancy()
    return Purse.objects.create(property=tenancy.property, tenancy=tenancy)


def a_meter(
    *, held_by: str = "server", place: Property | None = None, room: Room | None = None, **kwargs: Any
) -> Meter:
    """A meter, hanging in `room` when one is given."""
    place = room.property if room else place or a_property()
    model, _ = MeterModel.objects.get_or_create(name=f"model-{held_by}", defaults={"balance_held_by": held_by})
    meter = Meter.objects.create(**{"property": place, "model": model, "serial": f"{next(_serial):012d}"} | kwargs)
    if room:
        Installation.objects.create(property=place, room=room, meter=meter, starts_at=LONG_AGO)
    return meter


def a_policy(place: Property, **kwargs: Any) -> SupplyPolicy:
    recorded = {"legal_basis": "lease, clause 7", "notice": "7 days, in writing", "recorded_at": LONG_AGO}
    return SupplyPolicy.objects.create(**{"property": place} | recorded | kwargs)


def a_cut_ready_home(
    room: Room, *, purse: Purse | None = None, read_at: datetime | None = None, **policy: Any
) -> Purse:
    """Nothing stands in the way of a cut there: it needs but the money to be used up. Whoever lives there owns a purse.

    The property may cut at any hour and as often as it likes, each meter of the room was read just before `read_at`
    (now), and a notice has run out.
    """
    at = read_at or timezone.now()
    allowed = {"protects_holidays": False, "cuts_a_day": 1000} | policy
    if not SupplyPolicy.objects.filter(property=room.property).exists():
        a_policy(room.property, **allowed)
    for installation in Installation.objects.filter(room=room, ends_at=None):
        a_reading(installation.meter, at=at - timedelta(minutes=1))
    purse = purse or Purse.objects.filter(tenancy__room=room).first()
    purse = purse or a_purse(tenancy=Tenancy.objects.filter(room=room).first() or a_tenancy(room=room))
    a_notice(purse, at=at)
    return purse


def a_notice(purse: Purse, *, at: datetime | None = None, **kwargs: Any) -> Notice:
    """Served some days before `at` (now): its period is over."""
    at = at or timezone.now()
    served_at, ended_at = at - timedelta(days=5), at - timedelta(days=3)
    proven = {"state": "proven", "proven_at": served_at, "runs_until": ended_at, "proof": "signed"}
    about = {
        "left_at": served_at,
        "purse": purse,
        "property": purse.property,
        "recharge": purse.recharges,
        "message_key": f"n:{next(_serial)}",
    }
    return Notice.objects.create(**about | proven | kwargs)


def a_reading(meter: Meter, *, at: datetime, import_wh: int = 1000) -> Reading:
    """Stored and rated: no batch names it."""
    return Reading.objects.create(
        meter=meter, read_at=at, property=meter.property, received_at=at, import_wh=import_wh, relay="closed"
    )


def a_supply_price(place: Property, *, yuan: str = "1", **kwargs: Any) -> SupplyPrice:
    """What the property itself pays per kWh; by default more than the tariffs of these makers cost."""
    prices = {"all": units.price(yuan)}
    started = {"starts_date": LONG_AGO_DATE, "entered_at": LONG_AGO, "source": "price list of the grid company"}
    return SupplyPrice.objects.create(**{"property": place, "prices": prices} | started | kwargs)


def a_tariff(
    *,
    place: Property | None = None,
    definition: dict[str, Any] | None = None,
    starts_date: date = LONG_AGO_DATE,
    **kwargs: Any,
) -> TariffVersion:
    """The draft of a tariff's first version: one price, unless told otherwise. Nothing is assigned."""
    tariff = Tariff.objects.create(property=place or a_property(), name=f"Tariff {next(_serial)}", created_at=LONG_AGO)
    return a_version(tariff, definition=definition, starts_date=starts_date, **kwargs)


def a_version(
    tariff: Tariff, *, definition: dict[str, Any] | None = None, starts_date: date = LONG_AGO_DATE, **kwargs: Any
) -> TariffVersion:
    """One more draft of a tariff."""
    number = tariff.versions.count() + 1
    return TariffVersion.objects.create(
        tariff=tariff, number=number, starts_date=starts_date, definition=definition or ONE_PRICE, **kwargs
    )


def a_published_version(
    *,
    place: Property | None = None,
    definition: dict[str, Any] | None = None,
    starts_date: date = LONG_AGO_DATE,
    now: datetime | None = None,
    **kwargs: Any,
) -> TariffVersion:
    """A tariff that holds in the whole property from 2026 on, laid out around `now`: 0.62 yuan per kWh by default.

    Several makers' tariffs of one property: `a_tariff`, `tariffs.publish`, `an_assignment`.
    """
    place = place or a_property()
    if not place.supply_prices.exists():
        a_supply_price(place)
    version = a_tariff(place=place, definition=definition, starts_date=starts_date, **kwargs)
    an_assignment(version.tariff)
    return tariffs.publish(version_id=version.pk, by=None, reason="", now=now or timezone.now())


def an_assignment(tariff: Tariff, **kwargs: Any) -> TariffAssignment:
    """To the whole property, unless a building, a room or a meter is given."""
    return TariffAssignment.objects.create(
        **{"property": tariff.property, "tariff": tariff, "starts_date": LONG_AGO_DATE, "assigned_at": LONG_AGO}
        | kwargs
    )


def a_merchant(*, provider: str = "wechat", place: Property | None = None, **kwargs: Any) -> Merchant:
    n = next(_serial)
    merchant = Merchant.objects.create(
        **{
            "slug": f"{provider}-{n}",
            "name": f"{provider} {n}",
            "provider": provider,
            "account": f"19{n:08d}" if provider == "wechat" else f"2088{n:012d}",
            "app_id": "wxsandboxmini" if provider == "wechat" else "2021000000000109",
            "private_key_ref": "env:TEST_PRIVATE_KEY",
            "api_key_ref": "env:TEST_APIV3_KEY" if provider == "wechat" else "",
            "is_sandbox": True,
        }
        | kwargs
    )
    if place:
        MerchantProperty.objects.create(merchant=merchant, property=place, starts_at=LONG_AGO)
    return merchant


def an_order(*, purse: Purse | None = None, user: User | None = None, amount_fen: int = 5000, **kwargs: Any) -> Order:
    purse = purse or a_purse()
    n = next(_serial)
    return Order.objects.create(
        **{
            "number": f"R{n:020d}",
            "property": purse.property,
            "tenancy": purse.tenancy,
            "purse": purse,
            "user": user or a_user(),
            "amount_fen": amount_fen,
            "idempotency_key": f"key-{n}",
            "request_digest": "0" * 64,
            "trace": f"{n:032x}",
            "placed_at": timezone.now(),
        }
        | kwargs
    )


def an_attempt(*, order: Order | None = None, merchant: Merchant | None = None, **kwargs: Any) -> Attempt:
    order = order or an_order()
    merchant = merchant or a_merchant(place=order.property)
    now = timezone.now()
    return Attempt.objects.create(
        **{
            "order": order,
            "property": order.property,
            "merchant": merchant,
            "channel": "wechat_mini" if merchant.provider == "wechat" else "alipay_mini",
            "number": f"A{next(_serial):020d}",
            "payer": "openid-1",
            "app_id": merchant.app_id,
            "amount_fen": order.amount_fen,
            "state": "ready",
            "made_at": now,
            "expires_at": now + timedelta(minutes=30),
            "next_ask_at": now + timedelta(seconds=5),
        }
        | kwargs
    )
