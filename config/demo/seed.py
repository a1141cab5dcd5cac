"""The data of the demo: one property with everything that a real one has. Written once; again, it changes nothing.

The rooms of `VACANT` begin without money, were told in time, and are cut; they wait for the tenants whom the story
brings.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.db import transaction

from accounts.models import Building, Member, Property, Room, StaffRole, Tenancy, User
from billing import assignments, changes, notices, prepaid, rules, supply, tariffs
from billing.models import SupplyPolicy, SupplyPrice, Tariff, TariffVersion
from billing.tariff.civil import civil_date
from meters import parameters
from meters.models import Installation, Meter, MeterModel, Reading
from payments import counter
from payments.models import Merchant, MerchantProperty, ProviderKey, RechargeLimits

CODE = "sunshine"
BUILDINGS = ("1号楼", "2号楼", "3号楼")
FLOORS, ROOMS_A_FLOOR = 5, 4
VACANT = "3号楼"
VACANT_ENDINGS = ("1", "2")  # of a room's number: the first with a meter of either kind
SERVER, METER = MeterModel.BalanceHolder.SERVER, MeterModel.BalanceHolder.METER
MODELS = {SERVER: "DDZY-2000 远程费控", METER: "DDZY-2000C 本地费控"}
PRICE_MICRO_FEN_PER_KWH = 56_000_000  # 0.56 yuan
LIVED_THERE = timedelta(days=200)
MOVED_IN, TOLD = timedelta(days=3), timedelta(days=2)  # before the demo: the tenants of the vacant rooms
# Zhejiang's residential prices by day and by night, as published.
TARIFF = {
    "periods": [{"day": {"peak": ["08:00-22:00"], "valley": "rest"}}],
    "prices": [{"yuan": {"peak": "0.5680", "valley": "0.2880"}, "surcharge_yuan": ["0.05", "0.30"]}],
    "tiers": {"cycle": {"months": 12}, "limits": [{"kwh": [2760, 4800]}]},
}
FAMILY_NAMES = "王李张刘陈杨黄赵周吴徐孙马朱胡郭何高林罗"
GIVEN_NAMES = ("伟", "芳", "娜", "敏", "静", "磊", "军", "洋", "勇", "艳", "杰", "娟", "涛", "明", "超", "霞")


@dataclass(frozen=True, slots=True)
class Door:
    """One room of the demo, as it is made: where it lies, who holds its meter's money, whether somebody lives there."""

    index: int
    building: str
    number: str
    held_by: MeterModel.BalanceHolder
    is_vacant: bool

    @property
    def serial(self) -> str:
        return f"{310_000_000_000 + self.index:012d}"

    @property
    def import_wh(self) -> int:
        """What its meter had counted before the demo began."""
        return 1_000_000 + self.index * 7_919

    @property
    def money_fen(self) -> int:
        """What its tenant had paid before the demo began."""
        return 0 if self.is_vacant else 2_000 + self.index * 137 % 9_000


def doors() -> Iterator[Door]:
    """All rooms: 101 to 504 of each building, meters of both kinds side by side."""
    index = 0
    for building in BUILDINGS:
        for floor in range(1, FLOORS + 1):
            for n in range(1, ROOMS_A_FLOOR + 1):
                index += 1
                is_vacant = building == VACANT and str(n) in VACANT_ENDINGS
                yield Door(index, building, f"{floor}{n:02d}", SERVER if n % 2 else METER, is_vacant)


def seed(*, world: dict[str, Any], now: datetime) -> Property:
    """Everything but the virtual meters. One transaction: half a property would be nobody's."""
    with transaction.atomic():
        place, is_new = Property.objects.get_or_create(code=CODE, defaults={"name": "阳光花园"})
        if is_new:
            _people_and_meters(place, now)
            _rules(place, now)
            _prices(place, now)
        _merchants(place, world, now)
        if is_new:
            _debts_of_before(place, now)
    changes.catch_up(now=now)
    if is_new:
        _cash_of_before(place, now)
    return place


def virtual_meters() -> list[dict[str, Any]]:
    """The same meters as the fleet defines them; those that are there already stay as they are."""
    return [_virtual(door) for door in doors()]


def _virtual(door: Door) -> dict[str, Any]:
    common = {
        "property": CODE,
        "serial": door.serial,
        "kind": door.held_by,
        "relay": "closed" if door.money_fen else "open",
        "import_wh": door.import_wh,
        "power_w": 60 + door.index * 53 % 900,
    }
    if door.held_by == SERVER:
        return common
    return common | {
        "order": "auto",
        "balance_fen": door.money_fen,
        "purchase_count": 3 if door.money_fen else 0,
        "price_micro_fen_per_kwh": PRICE_MICRO_FEN_PER_KWH,
    }


def _prices(place: Property, now: datetime) -> None:
    """By day and by night, in three tiers, and no dearer than what the property pays itself."""
    admin = User.objects.get(username="admin")
    starts_date = civil_date(now - LIVED_THERE)
    SupplyPrice.objects.create(
        property=place,
        starts_date=starts_date,
        prices={"peak": 86_800_000, "valley": 58_800_000},
        source="国网浙江电力 居民生活用电分时电价表",
        entered_at=now,
        entered_by=admin,
    )
    tariff = Tariff.objects.create(property=place, name="居民峰谷阶梯电价", created_at=now)
    draft = TariffVersion.objects.create(tariff=tariff, number=1, starts_date=starts_date, definition=TARIFF)
    tariffs.publish(version_id=draft.pk, by=admin, reason="入住公示", now=now)
    assignments.assign(
        tariff=tariff,
        place=assignments.Place(property=place),
        starts_date=starts_date,
        by=admin,
        reason="入住公示",
        now=now,
    )


def _people_and_meters(place: Property, now: datetime) -> None:
    long_ago = now - LIVED_THERE
    buildings = {name: Building.objects.create(property=place, name=name) for name in BUILDINGS}
    models = {
        kind: MeterModel.objects.get_or_create(
            name=name, balance_held_by=kind, defaults={"parameters": parameters.KINDS if kind == METER else []}
        )[0]
        for kind, name in MODELS.items()
    }
    for door in doors():
        room = Room.objects.create(building=buildings[door.building], number=door.number)
        meter = Meter.objects.create(property=place, model=models[door.held_by], serial=door.serial)
        Installation.objects.create(
            property=place, room=room, meter=meter, starts_at=long_ago, starts_wh=door.import_wh
        )
        tenancy = Tenancy.objects.create(room=room, starts_at=now - MOVED_IN if door.is_vacant else long_ago)
        if not door.is_vacant:
            user = _resident(door)
            Member.objects.create(tenancy=tenancy, user=user, role=Member.Role.HOLDER, joined_at=long_ago)


def _resident(door: Door) -> User:
    family = FAMILY_NAMES[door.index % len(FAMILY_NAMES)]
    user = User(username=f"resident-{door.serial}", name=family + GIVEN_NAMES[door.index % len(GIVEN_NAMES)])
    user.set_unusable_password()
    user.save()
    return user


def _rules(place: Property, now: datetime) -> None:
    admin = User.objects.get(username="admin")
    SupplyPolicy.objects.create(
        property=place,
        legal_basis="租赁合同第七条: 电费预付, 余额用尽后停电。",
        notice="余额低于20元时短信提醒, 用尽前24小时再次提醒。",
        recorded_at=now,
        recorded_by=admin,
        protects_holidays=False,  # the demo plays on any day, and cuts who has not paid
    )
    RechargeLimits.objects.create(property=place, at_least_fen=100, at_most_fen=200_000)
    StaffRole.objects.create(user=admin, property=place, role=StaffRole.Role.MANAGER)


def _merchants(place: Property, world: dict[str, Any], now: datetime) -> None:
    """The sandbox's merchants, their keys by file. Written again each time: the world's folder may be another."""
    wechat, alipay = world["wechat"]["direct"], world["alipay"]["key"]
    # One account at WeChat Pay, in two apps: the mini-program, and the official account for web pages.
    for slug, app_id in (("demo-wechat", wechat["appid"]), ("demo-wechat-page", world["wechat"]["official"]["appid"])):
        _merchant(
            place,
            slug,
            now,
            name="阳光花园 微信支付 (sandbox)",
            provider="wechat",
            account=wechat["mchid"],
            app_id=app_id,
            private_key_ref=f"file:{wechat['key_file']}",
            certificate_ref=f"file:{wechat['cert_file']}",
            certificate_serial=wechat["serial"],
            api_key_ref=f"file:{wechat['apiv3_key_file']}",
            provider_key=(wechat["public_key_id"], wechat["public_key_file"]),
        )
    _merchant(
        place,
        "demo-alipay",
        now,
        name="阳光花园 支付宝 (sandbox)",
        provider="alipay",
        account=alipay["seller_id"],
        app_id=alipay["app_id"],
        private_key_ref=f"file:{alipay['app_private_key_file']}",
        provider_key=("alipay", alipay["alipay_public_key_file"]),
    )


def _merchant(place: Property, slug: str, now: datetime, *, provider_key: tuple[str, str], **fields: Any) -> None:
    merchant, _ = Merchant.objects.update_or_create(slug=slug, defaults={"is_sandbox": True} | fields)
    MerchantProperty.objects.get_or_create(
        merchant=merchant, property=place, ends_at=None, defaults={"starts_at": now - timedelta(days=1)}
    )
    serial, file = provider_key
    ProviderKey.objects.update_or_create(
        merchant=merchant,
        serial=serial,
        defaults={"kind": ProviderKey.Kind.PUBLIC_KEY, "pem": Path(file).read_text()},
    )


def _cash_of_before(place: Property, now: datetime) -> None:
    """Tenants of meters whose money the server holds paid at the counter; meters that hold theirs came with it."""
    admin = User.objects.get(username="admin")
    for door in doors():
        if door.money_fen and door.held_by == SERVER:
            counter.take_money(
                purse=prepaid.purse_of(_lives_behind(place, door)),
                amount_fen=door.money_fen,
                by=admin,
                form_key=f"demo-{door.serial}",
                meter=None,
                note="开户预存",
                trace="",
                now=now,
            )


def warn(*, tenancy: Tenancy, now: datetime) -> None:
    """What has to have happened before nothing left means no power: a notice was left and served, and its period is
    over. A cut takes a fresh reading of the meter, too."""
    admin = User.objects.get(username="admin")
    told_at = now - TOLD
    with transaction.atomic():
        purse = supply.locked(prepaid.purse_of(tenancy).pk)
        rule = rules.rule_for(room_id=tenancy.room_id, property_id=tenancy.property_id)
        notice = notices.leave(purse=purse, available_fen=0, is_used_up=True, rule=rule, now=told_at)
        notices.proven(notice_id=notice.pk, by=admin, channel="", proof="书面送达, 租客签收", at=told_at, now=now)


def _debts_of_before(place: Property, now: datetime) -> None:
    """The tenants of the vacant rooms have paid nothing, were told, and staff have read their meters today."""
    for door in doors():
        if door.is_vacant and door.held_by == SERVER:
            warn(tenancy=_lives_behind(place, door), now=now)
            Reading.objects.create(
                meter=Meter.objects.get(property=place, serial=door.serial),
                read_at=now,
                property=place,
                received_at=now,
                import_wh=door.import_wh,
                relay="open",
                source=Reading.Source.STAFF,
            )


def _lives_behind(place: Property, door: Door) -> Tenancy:
    return Tenancy.objects.get(room__property=place, room__building__name=door.building, room__number=door.number)


def read_world(folder: Path) -> dict[str, Any]:
    """The sandbox's keys, made when missing."""
    from sandbox.keys import make_world

    make_world(folder)
    world: dict[str, Any] = json.loads((folder / "world.json").read_text())
    return world
