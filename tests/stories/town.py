"""A small town: the product's processes on the test database, the vendors in their boxes, virtual meters on a broker.

Everything but the vendors and the meters runs as it does in production: processes of their own, started as an operator
starts them, and killed as the kernel kills them.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from subprocess import Popen
from typing import Any

import requests
from django.conf import settings
from django.utils import timezone

from accounts import invitations
from accounts.models import Property
from billing import prepaid, supply
from billing.audit import audit
from config.embedded.broker import is_free
from config.embedded.children import end, spawn
from config.management.commands.audit import CHECKS
from meters.models import Level, TopUp
from payments.models import Merchant, MerchantProperty, Order, Payment
from sandbox.alipay import Alipay
from sandbox.fleet import Fleet
from sandbox.phone import Phone
from sandbox.server import running
from sandbox.wechat import WeChat
from sandbox.world import World
from tests import makers
from tests.gateways import database_url, hang, there, wait_until
from tests.payments.conftest import alipay_merchant, wechat_merchant
from tests.processes import marked
from tests.stories.database import backends
from tests.stories.homes import Home, Provider, Vendor

PROJECT = Path(__file__).resolve().parents[2]
PORTS = range(30_000, 32_000)  # below the ports that systems give to outgoing connections
SPEED = 100  # WeChat's first repetitions come after 0.15, 0.15, 0.3 and 1.8 seconds
PATIENCE_S = 40  # for what takes a second or two on a machine that does nothing else

CHANNEL = {"wechat": "wechat_mini", "alipay": "alipay_mini"}
COMMANDS = {
    "web": [
        "-m", "gunicorn", "config.wsgi", "--bind", "{bind}", "--worker-class", "gthread", "--workers", "1",
        "--threads", "6", "--graceful-timeout", "3", "--log-level", "warning", "--no-control-socket",
    ],
    "gateway": ["manage.py", "gateway"],
    "chaser": ["manage.py", "chaser"],
}  # fmt: skip


class Town:
    """`start()` what a story is about. All of it ends with the block of `a_town`."""

    def __init__(self, *, world: World, broker_url: str, wechat: str, alipay: str, folder: Path, ends: ExitStack):
        self.world, self.broker_url, self.folder = world, broker_url, folder
        self.wechat, self.alipay = Vendor(wechat), Vendor(alipay)
        self.fleet = Fleet(broker_url, relay_ms=10, report_every_s=0)
        self.web_url = f"http://127.0.0.1:{free_port()}"
        self._running: dict[str, Popen[bytes]] = {}
        self._ends = ends

    # ---- processes ----

    def settings(self) -> dict[str, str]:
        """What an operator would set, for processes and for the test's own."""
        wechat, alipay = self.world.info["wechat"], self.world.info["alipay"]["key"]
        app_id, official = wechat["direct"]["appid"], wechat["official"]["appid"]
        return {
            "PUBLIC_URL": self.web_url,
            "WECHAT_API_URL": self.wechat.url,
            "WECHAT_PAY_URL": self.wechat.url,
            "WECHAT_OAUTH_URL": self.wechat.url,
            "WECHAT_OFFICIAL_APP_ID": official,
            "WECHAT_OFFICIAL_SECRET_REF": f"file:{wechat['apps'][official]['secret_file']}",
            "WECHAT_MINI_APP_ID": app_id,
            "WECHAT_MINI_SECRET_REF": f"file:{wechat['apps'][app_id]['secret_file']}",
            "ALIPAY_GATEWAY_URL": f"{self.alipay.url}/gateway.do",
            "ALIPAY_APP_ID": alipay["app_id"],
            "ALIPAY_PRIVATE_KEY_REF": f"file:{alipay['app_private_key_file']}",
            "ALIPAY_PUBLIC_KEY_REF": f"file:{alipay['alipay_public_key_file']}",
        }

    def start(self, *names: str) -> None:
        """Starts processes and waits until they are at work."""
        offsets = {name: self._log(name).stat().st_size if self._log(name).exists() else 0 for name in names}
        for name in names:
            self._running[name] = self._spawn(name)
        for name in names:
            self.until(partial(self._is_at_work, name, offsets[name]), f"{name} is at work")

    def kill(self, name: str) -> None:
        """SIGKILL of a process and of all that it started."""
        process = self._running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def process(self, name: str) -> Popen[bytes]:
        return self._running[name]

    def close(self) -> None:
        """Everything ends, and nothing of it is left over."""
        end(*self._running.values(), patience_s=20)
        self._running.clear()
        assert marked(str(self.folder)) == []

    def _spawn(self, name: str) -> Popen[bytes]:
        env = os.environ | self.settings()
        env |= {
            "DATABASE_URL": database_url(),
            "DATABASE_LISTEN_URL": database_url(),
            "MQTT_URL": self.broker_url,
            "SECRET_KEY": settings.SECRET_KEY,
            "PYTHONPATH": str(PROJECT),
            "PGAPPNAME": f"town-{name}",  # so that the database knows them apart
            "LOG_LEVEL": "INFO",
            "TOWN": str(self.folder),  # a mark by which they are found, whoever started them
        }
        words = [word.format(bind=self.web_url.removeprefix("http://")) for word in COMMANDS[name]]
        return spawn([sys.executable, *words], env=env, log=self._log(name))

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _is_at_work(self, name: str, offset: int) -> bool:
        assert self._running[name].poll() is None, self.logs()
        if name == "web":
            return answers(self.web_url)
        if name == "gateway":
            return b"connected to the broker" in self._log(name).read_bytes()[offset:]
        return bool(backends(name))

    def logs(self) -> str:
        parts = [f"---- {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in self.folder.glob("*.log")]
        return "\n".join(parts)

    # ---- people and their homes ----

    def home(self, *, held_by: str = "server", provider: Provider = "wechat", ttl_s: int = 30) -> Home:
        """A home whose relay is open, with a merchant who takes money for it."""
        room = makers.a_room()
        tenancy = makers.a_tenancy(room=room)
        order = "auto" if held_by == "meter" else "open"
        meter = hang(self.fleet, held_by=held_by, ttl_s=ttl_s, room=room, relay="open", order=order)
        self._take_money_for(room.property, provider)
        purse = makers.a_cut_ready_home(room, purse=prepaid.purse_of(tenancy))
        supply.decide(purse_id=purse.pk, trace="before", now=timezone.now())
        return Home(tenancy, meter, provider)

    def _take_money_for(self, place: Property, provider: Provider) -> None:
        """The provider knows one merchant, who serves all properties of the town."""
        merchant = Merchant.objects.filter(provider=provider).first()
        if merchant is None:
            merchant_of = wechat_merchant if provider == "wechat" else alipay_merchant
            merchant_of(self.world, place)
        else:
            MerchantProperty.objects.create(merchant=merchant, property=place, starts_at=makers.LONG_AGO)

    def phone(self, home: Home) -> Phone:
        """The phone of a new tenant of this home, who has logged in and joined by the code that staff printed."""
        phone = Phone(self.web_url, wechat_url=self.wechat.url, alipay_url=self.alipay.url)
        self._ends.enter_context(phone)
        log_in = phone.log_in_wechat if home.provider == "wechat" else phone.log_in_alipay
        log_in()
        now = timezone.now()
        invited = invitations.invite(tenancy=home.tenancy, role="holder", phone="", by=None, now=now)
        phone.bind(invitation=invited.code)
        return phone

    def phone_when_heard(self, home: Home) -> Phone:
        """The same, once the meter was heard."""
        self.until(home.is_online, "the meter is online")
        return self.phone(home)

    def recharge(self, home: Home, phone: Phone, amount: str = "50.00", **options: Any) -> Order:
        """Orders and pays; `options` are those of the box (notify, wait, …)."""
        placed = phone.recharge(home.tenancy.pk, amount, CHANNEL[home.provider])
        phone.pay(placed, **options)
        return Order.objects.get(number=placed["number"])

    # ---- what came of it ----

    def there(self, home: Home) -> dict[str, Any]:
        """The meter's own view."""
        return there(self.fleet, home.meter)

    def until(self, holds: Callable[[], Any], what: str, *, within_s: float = PATIENCE_S) -> Any:
        """The first true value of `holds()`."""
        try:
            return wait_until(holds, within_s=within_s)
        except AssertionError:
            raise AssertionError(f"in {within_s} s it did not come that {what}\n{self.logs()}") from None

    def until_power_is_back(self, home: Home, *, fen: int, recharges: int = 1) -> None:
        """All money of so many recharges has arrived where it belongs, once, and the meter and we agree about it."""
        self.until(lambda: self._arrived(home, fen, recharges), f"{home} has {fen} fen: {self._standing(home)}")
        assert Payment.objects.filter(purse=home.purse).count() == recharges
        assert self.there(home)["relay"] == "closed"

    def _arrived(self, home: Home, fen: int, recharges: int) -> bool:
        agreed = Level.objects.filter(meter=home.meter, kind="relay", agreed_at__isnull=False).exists()
        there, purse = self.there(home), home.purse
        if home.meter.holds_money():
            applied = {str(number): 1 for number in range(1, recharges + 1)}
            is_there = (there["balance_fen"], there["purchase_count"], there["applied"]) == (fen, recharges, applied)
            settled = TopUp.objects.filter(meter=home.meter, state="landed", settled_at__isnull=False).count()
            here = (purse.paid_fen, purse.in_transit_fen, purse.in_meter_fen) == (0, 0, fen) and settled == recharges
            return agreed and is_there and here
        return agreed and purse.paid_fen == fen == there["shown_fen"] and there["relay"] == "closed"

    def _standing(self, home: Home) -> Any:
        return {"purse": home.purse.__dict__, "meter": self.there(home)}

    def moves_of(self, home: Home) -> list[str]:
        return [move["to"] for move in self.there(home)["relay_moves"]]

    @staticmethod
    def findings() -> list[str]:
        """What does not add up; nothing, one hopes."""
        return [str(finding) for finding in audit(checks=CHECKS, now=timezone.now()).findings]


@contextmanager
def a_town(*, world: World, broker_url: str, folder: Path) -> Iterator[Town]:
    with ExitStack() as ends:
        wechat = ends.enter_context(running(WeChat(world, speed=SPEED)))
        alipay = ends.enter_context(running(Alipay(world, speed=SPEED)))
        town = Town(world=world, broker_url=broker_url, wechat=wechat, alipay=alipay, folder=folder, ends=ends)
        ends.enter_context(town.fleet)
        ends.callback(town.close)
        yield town


def free_port() -> int:
    """Chosen by us and not by the kernel: it must be the same after a restart, and known before the first."""
    return next(port for port in random.sample(PORTS, len(PORTS)) if is_free(port))


def answers(url: str) -> bool:
    """Whether the product does: a stranger is refused."""
    with requests.Session() as http, suppress(requests.RequestException):
        http.trust_env = False
        return http.get(f"{url}/api/v1/homes", timeout=5).status_code == 401
    return False
