"""A property to try things on: three buildings, sixty rooms with a tenant and a meter each. Safe to run again."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import Building, Property, Room, Tenancy, User
from billing.models import SupplyPolicy
from meters.models import Installation, Meter, MeterModel
from payments.models import Merchant, MerchantProperty, ProviderKey

CODE, NAME = "demo", "示范小区"
BUILDINGS = ("1号楼", "2号楼", "3号楼")
FLOORS, ROOMS_A_FLOOR = 5, 4
STAFF = "admin"


def seed(*, world: dict[str, Any], secrets_folder: Path) -> Property:
    """Writes what is missing. The staff's password is made once and kept in `secrets_folder`."""
    with transaction.atomic():
        place, _new = Property.objects.get_or_create(code=CODE, defaults={"name": NAME})
        SupplyPolicy.objects.get_or_create(
            property=place,
            defaults={
                "legal_basis": "租赁合同第七条：预付电费用尽后暂停供电，充值后立即恢复。",
                "notice": "余额不足时至少提前24小时通知。",
                "recorded_at": timezone.now(),
            },
        )
        _merchants(place, world)
        for n, room in enumerate(_rooms(place)):
            _home(room, n)
    _staff(secrets_folder / "admin-password")
    return place


def definitions(place: Property) -> list[dict[str, Any]]:
    """What the fleet of virtual meters needs to know of each meter."""
    meters = Meter.objects.filter(property=place).select_related("model").order_by("pk")
    return [
        {
            "property": place.code,
            "serial": meter.serial,
            "kind": meter.model.balance_held_by,
            "relay": "open",
            "import_wh": 1_000_000 + meter.pk * 1000,
            "power_w": 300,
        }
        for meter in meters
    ]


def password(secrets_folder: Path) -> str:
    return (secrets_folder / "admin-password").read_text(encoding="ascii")


def _rooms(place: Property) -> Iterator[Room]:
    for name in BUILDINGS:
        building, _new = Building.objects.get_or_create(property=place, name=name)
        for floor in range(1, FLOORS + 1):
            for door in range(1, ROOMS_A_FLOOR + 1):
                yield Room.objects.get_or_create(
                    building=building, number=f"{floor}{door:02d}", defaults={"property": place}
                )[0]


def _home(room: Room, n: int) -> None:
    """Every other home has a meter that holds its own money."""
    held_by = MeterModel.BalanceHolder.METER if n % 2 else MeterModel.BalanceHolder.SERVER
    name = "本地费控电表（演示）" if n % 2 else "远程费控电表（演示）"
    model, _new = MeterModel.objects.get_or_create(name=name, defaults={"balance_held_by": held_by})
    meter, is_new = Meter.objects.get_or_create(
        property=room.property, serial=f"2026{n + 1:08d}", defaults={"model": model}
    )
    if is_new:
        now = timezone.now()
        Installation.objects.create(property=room.property, room=room, meter=meter, starts_at=now)
        Tenancy.objects.create(property=room.property, room=room, starts_at=now)


def _merchants(place: Property, world: dict[str, Any]) -> None:
    wechat, alipay = world["wechat"]["direct"], world["alipay"]["key"]
    common = {"is_sandbox": True}
    _merchant(
        place,
        {
            "slug": "demo-wechat", "name": "微信支付（沙箱）", "provider": "wechat", "account": wechat["mchid"],
            "app_id": wechat["appid"], "private_key_ref": f"file:{wechat['key_file']}",
            "api_key_ref": f"file:{wechat['apiv3_key_file']}", "certificate_serial": wechat["serial"],
        } | common,
        serial=wechat["public_key_id"],
        pem=wechat["public_key_file"],
    )  # fmt: skip
    _merchant(
        place,
        {
            "slug": "demo-alipay", "name": "支付宝（沙箱）", "provider": "alipay", "account": alipay["seller_id"],
            "app_id": alipay["app_id"], "private_key_ref": f"file:{alipay['app_private_key_file']}",
        } | common,
        serial="alipay",
        pem=alipay["alipay_public_key_file"],
    )  # fmt: skip


def _merchant(place: Property, facts: dict[str, Any], *, serial: str, pem: str) -> None:
    merchant, is_new = Merchant.objects.get_or_create(slug=facts["slug"], defaults=facts)
    if is_new:
        MerchantProperty.objects.create(merchant=merchant, property=place, starts_at=timezone.now())
        ProviderKey.objects.create(
            merchant=merchant,
            kind=ProviderKey.Kind.PUBLIC_KEY,
            serial=serial,
            pem=Path(pem).read_text(encoding="ascii"),
        )


def _staff(kept: Path) -> None:
    if not kept.exists():
        kept.touch(mode=0o600)
        kept.write_text(secrets.token_urlsafe(9), encoding="ascii")
    staff, _new = User.objects.get_or_create(
        username=STAFF, defaults={"name": "演示管理员", "is_staff": True, "is_superuser": True}
    )
    if not staff.check_password(kept.read_text(encoding="ascii")):
        staff.set_password(kept.read_text(encoding="ascii"))
        staff.save(update_fields=["password"])
