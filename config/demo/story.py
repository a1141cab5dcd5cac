"""What is played: a tenant whose power is off pays and it comes back, once with each kind of meter.

Everything goes through the product's own doors: its HTTP API from the tenant's phone, the vendors' signed callbacks,
the broker. The database is looked at only to choose a home and, at the end, to see what became of the money.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import requests
from django.utils import timezone

from accounts import invitations
from accounts.models import Property, Tenancy
from accounts.sentences import joined
from billing import changes, money
from billing.models import Purse
from config.demo import seed
from config.demo.narration import Narrator, until
from config.demo.town import Town
from meters.models import Meter, TopUp
from payments.models import Attempt, Payment, ShippingNotice
from sandbox.fleet.client import FleetClient
from sandbox.phone import Phone

AMOUNT, AMOUNT_FEN = "50.00", 5000
WITHIN_S = 30.0
ALL_OF_IT_WH = 10_000_000


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays: with which vendor they pay, and who holds the money of their meter."""

    provider: str
    vendor_name: str
    held_by: str

    @property
    def channel(self) -> str:
        return f"{self.provider}_mini"


WECHAT = Cast("wechat", "WeChat Pay 微信支付", seed.SERVER)
ALIPAY = Cast("alipay", "Alipay 支付宝", seed.METER)


class Story:
    def __init__(self, town: Town, fleet: FleetClient, place: Property, narrator: Narrator) -> None:
        self.town, self.fleet, self.place = town, fleet, place
        self.step, self.tell = narrator.step, narrator.tell

    def play(self, cast: Cast) -> None:
        """One tenant's recharge, from the login to the light. Raises StepFailed."""
        held = "the server holds the money" if cast.held_by == seed.SERVER else "the meter holds its own money"
        with self.step(f"{cast.provider}: a home is found whose power is off") as said:
            tenancy, meter = self._dark_home(cast)
            invited = invitations.invite(tenancy=tenancy, role="holder", phone="", by=None, now=timezone.now())
            said(f"{tenancy.room}, meter {meter.serial} ({held}), invitation code {invited.code}")
        at = self.town.at
        with Phone(at.web, wechat_url=at.wechat, alipay_url=at.alipay) as phone:
            self._come_in(cast, phone, invited.code)
            number = self._recharge(cast, phone, tenancy)
            self._see_it_arrive(cast, phone, tenancy, meter, number)

    # ---- the tenant ----

    def _come_in(self, cast: Cast, phone: Phone, code: str) -> None:
        with self.step(f"{cast.provider}: the tenant logs in through the mini-program API"):
            log_in = phone.log_in_wechat if cast.provider == "wechat" else phone.log_in_alipay
            log_in()
        with self.step(f"{cast.provider}: joins the home by the code that staff printed"):
            phone.bind(invitation=code)
        with self.step(f"{cast.provider}: sees that the power is off, and why") as said:
            home = until(lambda: _if(_home(phone), relay="open"), "the tenant sees it", within_s=WITHIN_S)
            said(joined(home["power"]["why"], home["power"]["how_to_restore"]))

    def _recharge(self, cast: Cast, phone: Phone, tenancy: Tenancy) -> str:
        with self.step(f"{cast.provider}: orders a recharge of {AMOUNT} yuan") as said:
            order = phone.recharge(tenancy.pk, AMOUNT, cast.channel)
            number = str(order["number"])
            said(f"order {number}")
        with self.step(f"{cast.provider}: pays with {cast.vendor_name}"):
            phone.pay(order)
        return number

    def _see_it_arrive(self, cast: Cast, phone: Phone, tenancy: Tenancy, meter: Meter, number: str) -> None:
        with self.step(f"{cast.provider}: the signed callback arrives, the purse is credited") as said:
            # Not by asking for the order: while it is unpaid, that asks the vendor, who may be quicker with the answer.
            sent_at = until(lambda: self._callback_taken(cast, number), "the callback is taken", within_s=WITHIN_S)
            phone.wait_for(number, timeout_s=WITHIN_S)
            payment = Payment.objects.get(order__number=number)
            said(f"transaction {payment.provider_transaction}, found by {payment.found_by}, trace {payment.trace}")
        if cast.held_by == seed.METER:
            self._see_it_land(cast, payment, meter)
        with self.step(f"{cast.provider}: the meter closes its relay") as said:
            state = self.fleet.wait(seed.CODE, meter.serial, lambda s: s["relay"] == "closed", timeout_s=WITHIN_S)
            moved_at = datetime.fromisoformat(state["relay_moves"][-1]["at"])
            said(f"{(moved_at - sent_at).total_seconds() * 1000:.0f} ms after the vendor sent its callback")
        with self.step(f"{cast.provider}: the tenant sees the money and that the power is on") as said:
            field = "in_meter" if cast.held_by == seed.METER else "available"
            home = until(lambda: _settled(_home(phone)), "the tenant sees it", within_s=WITHIN_S)
            said(f"balance ¥{home['balance'][field]['yuan']}, relay {home['power']['relay']}")
        self._see_the_books(cast, tenancy)
        if cast.provider == "wechat":
            self._see_it_shipped(payment)

    # ---- what became of it ----

    def _see_it_land(self, cast: Cast, payment: Payment, meter: Meter) -> None:
        with self.step(f"{cast.provider}: the top-up lands in the meter, which counts it") as said:
            ours = TopUp.objects.filter(meter=meter, trace=payment.trace)
            landed = until(lambda: ours.filter(state=TopUp.State.LANDED).first(), "it landed", within_s=WITHIN_S)
            state = self.fleet.state(seed.CODE, meter.serial)
            if state["applied"].get(str(landed.number)) != 1:
                raise AssertionError(f"the meter applied top-up {landed.number} not once: {state['applied']}")
            said(f"purchase number {landed.number}, the meter shows ¥{money.to_yuan(state['balance_fen'])}")

    def _see_the_books(self, cast: Cast, tenancy: Tenancy) -> None:
        with self.step(f"{cast.provider}: the ledger says where each fen is") as said:
            wanted = (0, AMOUNT_FEN) if cast.held_by == seed.METER else (AMOUNT_FEN, 0)
            purse = until(lambda: _holding(tenancy, wanted), f"{wanted} fen are in purse and meter", within_s=WITHIN_S)
            paid, in_meter = money.to_yuan(purse.paid_fen), money.to_yuan(purse.in_meter_fen)
            said(f"in the purse ¥{paid}, bought into the meter ¥{in_meter}, nothing in transit")

    def _see_it_shipped(self, payment: Payment) -> None:
        with self.step("wechat: WeChat is told that it was delivered 发货信息, or it would keep the money"):
            done = ShippingNotice.objects.filter(payment=payment, state=ShippingNotice.State.DONE)
            until(done.exists, "WeChat took the notice", within_s=WITHIN_S)

    def _callback_taken(self, cast: Cast, number: str) -> datetime | None:
        """When the vendor sent the callback of this order that we took."""
        url = self.town.at.wechat if cast.provider == "wechat" else self.town.at.alipay
        attempt = Attempt.objects.get(order__number=number)
        with requests.Session() as http:
            http.trust_env = False
            about = {"out_trade_no": attempt.number}
            answer = http.get(f"{url}/sandbox/callbacks", params=about, timeout=5).json()
        tries = [one for callback in answer["callbacks"] for one in callback["tries"] if one["accepted"]]
        return datetime.fromtimestamp(tries[0]["sent_at"], UTC) if tries else None

    # ---- a home whose power is off ----

    def _dark_home(self, cast: Cast) -> tuple[Tenancy, Meter]:
        """One of the rooms that the demo plays in; when all of them have power, it goes out in one."""
        candidates = self._candidates(cast)
        for tenancy, meter in candidates:
            state = self.fleet.state(seed.CODE, meter.serial)
            if state["relay"] == "open" and not tenancy.members.exists() and not _has_money(tenancy):
                return tenancy, meter
        tenancy, meter = candidates[0]
        return self._next_tenant(tenancy, meter), meter

    def _candidates(self, cast: Cast) -> list[tuple[Tenancy, Meter]]:
        open_ones = Tenancy.objects.filter(
            property=self.place, room__building__name=seed.VACANT, ends_at=None
        ).select_related("room__building")
        found = []
        for tenancy in open_ones.order_by("starts_at", "pk"):
            meter = Meter.objects.get(installations__room=tenancy.room, installations__ends_at=None)
            if tenancy.room.number.endswith(seed.VACANT_ENDINGS) and meter.model.balance_held_by == cast.held_by:
                found.append((tenancy, meter))
        return found

    def _next_tenant(self, former: Tenancy, meter: Meter) -> Tenancy:
        """The former tenant moves out, having used up what is in the meter, and the next one starts from nothing."""
        now = timezone.now()
        former.ends_at = now
        former.save(update_fields=["ends_at"])
        tenancy = Tenancy.objects.create(room=former.room, starts_at=now)
        if meter.holds_money():
            self.fleet.consume(seed.CODE, meter.serial, ALL_OF_IT_WH)
        else:
            seed.warn(tenancy=tenancy, now=now)
        changes.catch_up(now=now)
        self.fleet.wait(seed.CODE, meter.serial, lambda s: s["relay"] == "open", timeout_s=WITHIN_S)
        return tenancy


def _home(phone: Phone) -> dict[str, Any]:
    (home,) = phone.homes()["homes"]
    return dict(home)


def _if(home: dict[str, Any], *, relay: str) -> dict[str, Any] | None:
    return home if home["power"]["relay"] == relay else None


def _settled(home: dict[str, Any]) -> dict[str, Any] | None:
    return home if home["power"]["relay"] == "closed" and not home["balance"]["in_transit"]["fen"] else None


def _has_money(tenancy: Tenancy) -> bool:
    purse = Purse.objects.filter(tenancy=tenancy).first()
    return purse is not None and (purse.available_fen() > 0 or purse.in_transit_fen > 0)


def _holding(tenancy: Tenancy, wanted: tuple[int, int]) -> Purse | None:
    purse = Purse.objects.get(tenancy=tenancy)
    return purse if (purse.paid_fen, purse.in_meter_fen, purse.in_transit_fen) == (*wanted, 0) else None
