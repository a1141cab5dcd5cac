"""A home of a story, and the vendors around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import requests

from accounts.models import Tenancy
from billing import prepaid
from billing.models import Purse
from meters.models import Level, Meter
from sandbox.phone import Phone, Shapes

Provider = Literal["wechat", "alipay"]


@dataclass(frozen=True)
class Home:
    """Where a tenant lives, with the power off: nothing is paid for, and the property may cut."""

    tenancy: Tenancy
    meter: Meter
    provider: Provider

    @property
    def purse(self) -> Purse:
        return prepaid.purse_of(self.tenancy)

    @property
    def relay_wanted(self) -> str:
        return Level.objects.get(meter=self.meter, kind="relay").wanted

    def is_online(self) -> bool:
        """As we know it."""
        return Meter.objects.get(pk=self.meter.pk).is_online

    def agrees(self, wanted: str) -> bool:
        """Whether we want this of the relay, and the meter has said that it has it."""
        return Level.objects.filter(meter=self.meter, kind="relay", wanted=wanted, reported=wanted).exists()


class Vendor:
    """The control API of a vendor's box."""

    def __init__(self, url: str) -> None:
        self.url = url

    def do(self, path: str, **body: Any) -> Any:
        return self._ask("POST", path, body)

    def look(self, path: str) -> Any:
        return self._ask("GET", path, None)

    def tries(self, number: str = "") -> list[dict[str, Any]]:
        """Every sending of a callback so far."""
        callbacks = self.look(f"callbacks?out_trade_no={number}")["callbacks"]
        return [one for callback in callbacks for one in callback["tries"]]

    def _ask(self, method: str, path: str, body: Any) -> Any:
        with requests.Session() as http:
            http.trust_env = False  # no proxy between this machine and itself
            answer = http.request(method, f"{self.url}/sandbox/{path}", json=body, timeout=30)
        assert answer.ok, answer.text
        return answer.json()


def seen_by(phone: Phone) -> Any:
    """The tenant's home as the API shows it to somebody who reads English."""
    (home,) = phone.api("GET", Shapes.HOMES, headers={"Accept-Language": "en"})["homes"]
    return home
