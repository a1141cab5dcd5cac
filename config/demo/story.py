"""The main job, played by a tenant's phone: power off, log in, recharge, power on. Each step with the time it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone

from accounts import invitations
from accounts.models import Property, Tenancy, User
from billing import changes, prepaid
from config.demo import seed
from config.demo.town import Town
from meters.models import Meter, TopUp
from sandbox.fleet import FleetClient
from sandbox.phone import Phone

WITHIN_S = 30.0
POLL_S = 0.01


class DidNotHappen(Exception):
    """Something that the story waits for did not come about in time."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened (or did not), and how long it took."""

    name: str
    ok: bool
    ms: int
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        facts = {"name": self.name, "ok": self.ok, "ms": self.ms}
        return facts | ({"error": self.error} if self.error else {})


@dataclass(slots=True)
class Story:
    """Plays and takes notes. `tell` is called with each step; the first that fails ends the chapter it is in."""

    town: Town
    place: Property
    tell: Callable[[Step], None]
    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        except Exception as error:
            self._note(Step(name, ok=False, ms=_ms_since(began), error=f"{type(error).__name__}: {error}"[:300]))
            raise
        self._note(Step(name, ok=True, ms=_ms_since(began)))

    def _note(self, step: Step) -> None:
        self.steps.append(step)
        self.tell(step)

    def play(self) -> bool:
        """Both chapters; True when every step went well."""
        for provider, held_by in (("wechat", "server"), ("alipay", "meter")):
            with suppress(Exception):  # the failing step has been told, with its error; the other chapter plays
                self._recharge(provider, held_by)
        return all(step.ok for step in self.steps)

    def _recharge(self, provider: str, held_by: str) -> None:
        who = "WeChat" if provider == "wechat" else "Alipay"
        phone = Phone(self.town.web_url, wechat_url=self.town.wechat_url, alipay_url=self.town.alipay_url)
        with phone, FleetClient(self.town.fleet_url) as fleet:
            with self.step(f"{who}: the power of a home is off"):
                home, meter = self._home_in_the_dark(fleet, held_by)
                count = fleet.state(self.place.code, meter.serial)["purchase_count"] if held_by == "meter" else None
            with self.step(f"{who}: its tenant logs in"):
                (phone.log_in_wechat if provider == "wechat" else phone.log_in_alipay)()
            with self.step(f"{who}: joins the home by the code that staff printed"):
                self._invite(phone, home)
            with self.step(f"{who}: orders a recharge of 50.00 yuan"):
                order = phone.recharge(home.pk, "50.00", f"{provider}_mini")
            with self.step(f"{who}: pays; the signed callback arrives and the purse is credited"):
                phone.pay(order)
                self._until(lambda: phone.order(order["number"])["state"] == "paid", "the order is paid")
            with self.step(
                f"{who}: {'the top-up lands in the meter and ' if count is not None else ''}the relay closes"
            ):
                fleet.wait(self.place.code, meter.serial, lambda state: state["relay"] == "closed", timeout_s=WITHIN_S)
                self._check_count(fleet, meter, count)
            with self.step(f"{who}: the tenant sees it"):
                self._until(lambda: self._relay_seen(phone, home) == "closed", "the tenant sees the power back")

    def _home_in_the_dark(self, fleet: FleetClient, held_by: str) -> tuple[Tenancy, Meter]:
        """A home that nobody has recharged yet; when all have power, one that uses up what it has."""
        meters = Meter.objects.filter(property=self.place, model__balance_held_by=held_by).order_by("pk")
        dark = meters.filter(installations__room__tenancies__purse__isnull=True).first()
        meter = dark or self._used_up(fleet, meters.order_by("?")[0])
        home = Tenancy.objects.get(room__installations__meter=meter, ends_at=None)
        changes.catch_up(now=timezone.now())
        self._until(lambda: self._is_dark(fleet, meter), "the relay is open")
        return home, meter

    def _used_up(self, fleet: FleetClient, meter: Meter) -> Meter:
        """Until consumption is priced, a home whose money the server holds is emptied by the ledger."""
        home = Tenancy.objects.get(room__installations__meter=meter, ends_at=None)
        if meter.holds_money():
            state = fleet.state(self.place.code, meter.serial)
            fleet.consume(self.place.code, meter.serial, _wh_for(state))
            return meter
        now = timezone.now()
        purse = prepaid.purse_of(home)
        prepaid.take_back(
            key=f"demo:{now.isoformat()}",
            kind="demo_used_up",
            purse_id=purse.pk,
            amount_fen=max(purse.available_fen(), 1),
            target=prepaid.Source("clearing", "merchant:demo-wechat"),
            happened_at=now,
            trace="demo",
            actor_id=None,
            reason="the demo uses it up",
            now=now,
        )
        return meter

    def _is_dark(self, fleet: FleetClient, meter: Meter) -> bool:
        is_open = fleet.state(self.place.code, meter.serial)["relay"] == "open"
        return is_open and Meter.objects.get(pk=meter.pk).relay == "open"

    def _invite(self, phone: Phone, home: Tenancy) -> None:
        staff = User.objects.get(username=seed.STAFF)
        invited = invitations.invite(tenancy=home, role="holder", phone="", by=staff, now=timezone.now())
        phone.bind(invitation=invited.code)

    def _check_count(self, fleet: FleetClient, meter: Meter, before: int | None) -> None:
        if before is None:
            return
        state = fleet.state(self.place.code, meter.serial)
        if state["purchase_count"] != before + 1:
            raise DidNotHappen(f"the meter's count went from {before} to {state['purchase_count']}")
        settled = TopUp.objects.filter(meter=meter, state="landed", settled_at__isnull=False)
        self._until(lambda: settled.count() == state["purchase_count"], "the ledger has it in the meter")

    @staticmethod
    def _relay_seen(phone: Phone, home: Tenancy) -> str:
        return next(str(one["power"]["relay"]) for one in phone.homes()["homes"] if one["id"] == home.pk)

    @staticmethod
    def _until(happened: Callable[[], bool], what: str) -> None:
        over = time.monotonic() + WITHIN_S
        while not happened():
            if time.monotonic() > over:
                raise DidNotHappen(f"not within {WITHIN_S:.0f} s: {what}")
            time.sleep(POLL_S)


def _wh_for(state: dict[str, Any]) -> int:
    """More than the money in this meter pays for."""
    price = state["price_micro_fen_per_kwh"] or 1
    return int(state["balance_fen"] * 1_000_000 * 1000 // price) + 1000


def _ms_since(began: float) -> int:
    return round((time.perf_counter() - began) * 1000)
