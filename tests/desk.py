"""The property's staff, logged in to the admin, and one of everything that they can look at."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import invitations
from accounts.models import Building, Property, Room, StaffRole, User
from billing import draws, holds, prepaid
from billing.models import (
    Alert,
    Backlog,
    Blackout,
    CutHold,
    Dispute,
    Doubt,
    Draw,
    Emergency,
    Household,
    Interruption,
    JournalEntry,
    LedgerAccount,
    MeterMoney,
    MirroredDay,
    Operation,
    Outage,
    OwnLevel,
    PriceChange,
    Purse,
    RoomPolicy,
    SpecialDay,
    SupplyDecision,
    TariffVersion,
    WeatherHold,
)
from meters.models import Batch, Command, Installation, Level, MeterEvent, StrayReading, TopUp
from notifications import outbox, worklist
from notifications.models import Delivery, Message, Permit, Preference, Template, WorkItem
from payments import counter
from payments.models import (
    MerchantProperty,
    Payment,
    ProviderEvent,
    ProviderKey,
    RechargeLimits,
    Refund,
    ShippingNotice,
)
from tests import makers


def staff_of(place: Property, role: str = "manager", **kwargs: Any) -> User:
    user = makers.a_user(is_staff=True, name=f"{role} of {place.name}", **kwargs)
    StaffRole.objects.create(user=user, property=place, role=role)
    return user


def at_work(user: User) -> Client:
    client = Client(headers={"accept-language": "en"})  # the catalogue of Chinese has tests of its own
    client.force_login(user)
    return client


def address(row: Model | type[Model], page: str, **query: Any) -> str:
    meta = row._meta
    args = [row.pk] if isinstance(row, Model) and page in {"change", "history", "delete"} else []
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{page}", args=args, query=query)


def do(client: Client, deed: str, rows: Iterable[Model], **answers: Any) -> Any:
    """What the page between the button and the deed sends when it is filled in."""
    rows = list(rows)
    data = {"action": deed, "_selected_action": [row.pk for row in rows], "_answered": "1"} | answers
    return client.post(address(rows[0], "changelist"), data, follow=True)


def told(response: Any) -> str:
    """The messages on a page."""
    return " ".join(str(message) for message in response.context["messages"])


def no_rows(prefix: str) -> dict[str, str]:
    """What a page with a list below its form sends along."""
    return {f"{prefix}-TOTAL_FORMS": "0", f"{prefix}-INITIAL_FORMS": "0"}


def windows() -> dict[type[Model], admin.ModelAdmin[Any]]:
    ours = {"accounts", "billing", "meters", "notifications", "payments"}
    return {model: window for model, window in admin.site._registry.items() if model._meta.app_label in ours}


def a_suspended_payment(place: Property | None, *, merchant, **kwargs: Any) -> Payment:
    now, n = timezone.now(), Payment.objects.count()
    return Payment.objects.create(
        **{
            "merchant": merchant,
            "property": place,
            "provider_transaction": f"42{merchant.pk:08d}{n:08d}",
            "number": f"N{n}",
            "amount_fen": 5000,
            "paid_at": now,
            "found_at": now,
            "found_by": "callback",
            "state": "suspended",
            "suspicion": "unknown_order",
            "trace": "t",
        }
        | kwargs
    )


def _supply(purse: Purse, room: Room, clerk: User, now: datetime) -> list[Model]:
    """The rules of a room, and what came of them."""
    about: dict[str, Any] = {"property": room.property, "room": room}
    protected = {"is_protected": True, "protected_reason": f"ventilator at {room.property.name}"}
    storm = {"property": room.property, "reason": f"storm over {room.property.name}", "from_at": now}
    return [
        RoomPolicy.objects.create(**about, **protected, changed_at=now),
        WeatherHold.objects.create(**storm, placed_at=now, placed_by=clerk),
        makers.a_notice(purse),
        Alert.objects.create(purse=purse, level="fen:500", recharge=1, raised_at=now, available_fen=400),
        SupplyDecision.objects.create(
            **about, purse=purse, decided_at=now, verdict="spared", wants="closed", because=[["outage", {}]],
            available_fen=0, trace=f"trace of {room.property.name}",
        ),
    ]  # fmt: skip


def _power(purse: Purse, room: Room, version: TariffVersion, clerk: User, now: datetime) -> list[Model]:
    """What became of the power, and what the home was told and wished to be told."""
    place, meter = room.property, room.installations.get().meter
    back = {"off_at": now, "restore_ordered_at": now, "on_at": now, "seconds": 2.5}
    return [
        Interruption.objects.create(
            property=place, room=room, meter=meter, purse=purse, state="over", cause="spent", ordered_at=now, **back
        ),
        Blackout.objects.create(purse=purse, cause="meter", began_at=now),
        Outage.objects.create(
            kind="telemetry", ref=str(place.pk), property=place, began_at=now, seen_at=now, detail=f"at {place.name}"
        ),
        Emergency.objects.create(
            purse=purse, property=place, recharge=1, amount_fen=500, taken_at=now, taken_by=clerk, repaid_at=now
        ),
        OwnLevel.objects.create(purse=purse, below_fen=3000, set_at=now, set_by=clerk),
        PriceChange.objects.create(purse=purse, starts_date=now.date(), version=version, told_at=now),
    ]


def _messages(place: Property, tenant: User, now: datetime) -> list[Model]:
    """How one was carried, and what its reader allows and wants."""
    identity = makers.an_identity(user=tenant)
    return [
        Delivery.objects.create(
            message=Message.objects.get(property=place), property=place, user=tenant, channel="sms_aliyun",
            reference=f"{place.pk:032d}", address=tenant.phone or "", text=f"text for {place.name}", state="handed",
            made_at=now, claimed_at=now, handed_at=now,
        ),
        Permit.objects.create(identity=identity, template_id=f"of {place.name}", reported_as="tap", given_at=now),
        Preference.objects.create(user=tenant, off_kinds=[f"off at {place.name}"[:32]], changed_at=now),
        Template.objects.create(
            property=place, kind="low_balance", channel="inbox", text=f"low at {place.name}", changed_at=now
        ),
    ]  # fmt: skip


def one_of_everything(place: Property) -> dict[type[Model], Model]:
    """A row of every table that the admin shows, all of one property."""
    now, name = timezone.now(), place.name
    clerk = staff_of(place, "service")
    building = Building.objects.create(property=place, name=f"{name} tower")
    room = Room.objects.create(building=building, number=f"{name} 101")
    tenant = makers.a_user(name=f"tenant of {name}", phone=f"138{place.pk:08d}")
    tenancy = makers.a_tenancy(room=room, holder=tenant)
    meter = makers.a_meter(room=room, held_by="meter", purchase_count=0)
    purse = prepaid.purse_of(tenancy)
    receipt = counter.take_money(
        purse=purse, amount_fen=5000, by=clerk, form_key=f"{place.pk}", meter=None, note="", trace="t", now=now
    )
    merchant = makers.a_merchant(place=place, name=f"merchant of {name}")
    attempt = makers.an_attempt(order=makers.an_order(purse=purse, user=tenant), merchant=merchant)
    payment = a_suspended_payment(place, merchant=merchant)
    outbox.leave(
        key=f"m{place.pk}", kind="x", tenancy_id=tenancy.pk, property_id=place.pk, context={"of": name}, now=now
    )
    worklist.raise_item(key=f"w{place.pk}", kind="x", property_id=place.pk, detail={"why": name}, trace="", now=now)
    hold = holds.hold_room(room=room, position="open", reason=f"works at {name}", by=clerk, until=None, now=now)
    version = makers.a_published_version(place=place)
    draws.align(room_ids=[room.pk], now=now)
    draw = Draw.objects.get(tenancy=tenancy)
    rows: list[Any] = [
        *(version.tariff, version, version.tariff.assignments.get(), place.supply_prices.get()),
        SpecialDay.objects.create(property=place, on_date=date(2026, 12, 24), kind="holiday", name=f"feast of {name}"),
        Household.objects.create(tenancy=tenancy, starts_date=date(2026, 5, 1), persons=5, proof=f"booklet of {name}"),
        *(place, building, room, tenancy, tenancy.members.get(), clerk.staff_roles.get(), tenant),
        invitations.invite(tenancy=tenancy, role="sharer", phone="", by=clerk, now=now).invitation,
        *(meter, meter.model, Installation.objects.get(meter=meter), Level.objects.get(meter=meter, kind="relay")),
        *(Command.objects.filter(meter=meter).first(), TopUp.objects.get(meter=meter)),
        MeterEvent.objects.create(
            meter=meter, property=place, message_id=f"{place.pk}", kind="cover", happened_at=now, received_at=now
        ),
        StrayReading.objects.create(
            meter=meter, property=place, read_at=now, received_at=now, import_wh=1, reason="ahead", note=f"of {name}"
        ),
        Batch.objects.create(stored_at=now, meter_ids=[meter.pk], from_at=[now], readings=1, first_at=now, last_at=now),
        *(purse, hold, makers.a_policy(place), JournalEntry.objects.get(key=f"counter:{receipt.pk}")),
        LedgerAccount.objects.filter(purse=purse).first(),
        Dispute.objects.create(
            key=f"d{place.pk}",
            property=place,
            tenancy=tenancy,
            purse=purse,
            draw=draw,
            read_at=now,
            import_wh=1,
            from_date=now.date(),
            to_date=now.date(),
            reason=f"dispute at {name}",
            opened_at=now,
            opened_by=tenant,
        ),
        Doubt.objects.create(
            installation=draw.installation,
            property=place,
            read_at=now,
            import_wh=1,
            reason="jump",
            found_at=now,
        ),
        Backlog.objects.update_or_create(
            installation=draw.installation,
            defaults={"property": place, "from_at": now, "reasons": ["late"], "next_try_at": now},
        )[0],
        Operation.objects.create(
            key=f"o{place.pk}",
            kind="move_in",
            property=place,
            room=room,
            happened_at=now,
            done_at=now,
            done_by=clerk,
            reason=f"lease at {name}",
        ),
        MirroredDay.objects.create(
            property=place,
            installation=draw.installation,
            draw=draw,
            usage_date=now.date(),
            used_fen=5,
            charged_fen=5,
            ours_nano=5_000_000_000,
            mirrored_at=now,
        ),
        MeterMoney.objects.create(
            key=f"x{place.pk}",
            kind="elsewhere",
            property=place,
            installation=draw.installation,
            amount_fen=5,
            happened_at=now,
            entered_at=now,
            entered_by=clerk,
            reason=f"a bank near {name}",
        ),
        *_supply(purse, room, clerk, now),
        *_power(purse, room, version, clerk, now),
        CutHold.objects.create(purse=purse, key=f"c{place.pk}", reason="x", expires_at=now + timedelta(hours=1)),
        *(merchant, MerchantProperty.objects.get(merchant=merchant), attempt, attempt.order, payment, receipt),
        ProviderKey.objects.create(merchant=merchant, kind="public_key", serial=f"PUB_KEY_ID_{name}", pem="PUBLIC"),
        RechargeLimits.objects.create(property=place),
        Refund.objects.create(
            payment=payment,
            property=place,
            number=f"RF {name}",
            amount_fen=100,
            origin="console",
            refunded_at=now,
            found_at=now,
            trace="t",
        ),
        ProviderEvent.objects.create(
            merchant=merchant,
            provider="wechat",
            event_id=f"EV {name}",
            is_verified=True,
            body=b"the whole body",
            body_sha256="0" * 64,
            trace="t",
            received_at=now,
        ),
        ShippingNotice.objects.create(payment=payment, next_try_at=now),
        *(Message.objects.get(property=place), WorkItem.objects.get(property=place)),
        *_messages(place, tenant, now),
    ]
    return {type(row): row for row in rows}
