"""The demo's messages: the people of one home are warned that little is left, each by the channel that reaches them.

The home's holder has wished to be warned below an amount that the next watt-hours cross; the meter tells its register,
the reading is rated, the warning is left, the carrier brings it. Vendors are asked what arrived.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import requests
from django.utils import timezone

from accounts.models import Identity, Member, Property, Tenancy, User
from billing import money, prepaid, wishes
from config.demo import seed
from config.demo.narration import Narrator, until
from config.demo.town import Town
from meters.models import Meter
from notifications import desk, login_codes
from notifications.models import Channel, Delivery, Message, Permit, Preference, Template
from notifications.routing import SMS
from sandbox.fleet.client import FleetClient

WITHIN_S = 30.0
USED_WH = 200
KIND = "low_balance"
TEMPLATES = {
    Channel.WECHAT_SUBSCRIBE: "demo-subscribe",
    Channel.WECHAT_TEMPLATE: "demo-official",
    Channel.ALIPAY_TEMPLATE: "demo-alipay",
    Channel.SMS_ALIYUN: "SMS_100001",
    Channel.SMS_TENCENT: "100001",
}
NAMES = {
    Channel.WECHAT_SUBSCRIBE: "WeChat mini-program 微信订阅消息",
    Channel.WECHAT_TEMPLATE: "WeChat official account 公众号模板消息",
    Channel.ALIPAY_TEMPLATE: "Alipay 支付宝小程序消息",
    Channel.SMS_ALIYUN: "SMS by Aliyun 阿里云短信",
    Channel.SMS_TENCENT: "SMS by Tencent Cloud 腾讯云短信",
}


@dataclass(frozen=True, slots=True)
class Reader:
    """One of the home's people, and the channel that is the cheapest for them."""

    channel: str
    user: User
    address: str


def enter_templates(now: Any) -> None:
    """What staff would enter after the vendors have approved their templates."""
    for kind in (KIND, "trial", login_codes.KIND):
        for channel, template_id in TEMPLATES.items():
            if kind == login_codes.KIND and channel not in SMS:
                continue
            Template.objects.get_or_create(
                property=None, kind=kind, channel=channel, language="zh-hans",
                defaults={"template_id": template_id, "changed_at": now},
            )  # fmt: skip


class Messages:
    """Play once, after the recharges."""

    def __init__(self, town: Town, fleet: FleetClient, place: Property, narrator: Narrator) -> None:
        self.town, self.fleet, self.place = town, fleet, place
        self.step, self.tell = narrator.step, narrator.tell
        self._set = town.settings()

    def play(self) -> None:
        """Raises StepFailed."""
        with self.step("messages: vendors are told where to report what arrived"):
            self._ask_for_receipts()
        with self.step("messages: four people of a home, each reached otherwise") as said:
            home, meter = self._home()
            readers = self._readers(home)
            said(f"{home.room}: {len(readers)} people, the inbox for all of them")
        with self.step("messages: the holder wishes to be warned below an amount, and power is used") as said:
            message = self._use_until_warned(home, meter)
            said(f"warned below ¥{money.to_yuan(int(message.context['level'].partition(':')[2]))}")
        for reader in readers:
            with self.step(f"messages: {NAMES[Channel(reader.channel)]}") as said:
                said(self._see_it_arrive(reader, message))
        with self.step(f"messages: {NAMES[Channel.SMS_TENCENT]}, tried out by a member of staff") as said:
            said(self._try_out(home, Channel.SMS_TENCENT))

    def _ask_for_receipts(self) -> None:
        """As an operator enters it in the vendors' consoles. SMS vendors sign nothing: a secret is in the address."""
        ours, secret = self.town.at.web, self.town.receipts_secret().read_text()
        sms = {name: f"{ours}/notifications/sms/{name}/{secret}/" for name in ("aliyun", "tencent")}
        self._ask(self.town.at.sms, "/sandbox/report_to", **sms)
        events = {name: f"{ours}/notifications/wechat/{name}/" for name in ("official", "mini")}
        self._ask(self.town.at.wechat, "/sandbox/events_to", **events)

    # ---- the people ----

    def _home(self) -> tuple[Tenancy, Meter]:
        """The first occupied room whose meter leaves the money to the server, another one in each run."""
        done = Message.objects.filter(property=self.place, kind=KIND).values("tenancy")
        open_ones = Tenancy.objects.filter(property=self.place, ends_at=None, members__isnull=False).exclude(
            pk__in=done
        )
        lived_in = open_ones.exclude(room__building__name=seed.VACANT).order_by("pk")
        for tenancy in lived_in.distinct():
            meter = Meter.objects.get(installations__room=tenancy.room, installations__ends_at=None)
            if not meter.holds_money():
                return tenancy, meter
        raise LookupError("every home of the demo has been warned; delete var/demo to begin anew")

    def _readers(self, home: Tenancy) -> list[Reader]:
        holder = home.members.get(role=Member.Role.HOLDER, left_at=None).user
        people = [holder] + [self._sharer(home, n) for n in range(1, 4)]
        for user in people:
            never = {"quiet_from": 0, "quiet_until": 0, "changed_at": timezone.now()}  # the demo plays at any hour
            Preference.objects.update_or_create(user=user, defaults=never)
        return [
            self._in_the_mini_program(people[0]),
            self._following(people[1]),
            self._in_alipay(people[2]),
            self._with_a_number(people[3], home),
        ]

    def _sharer(self, home: Tenancy, n: int) -> User:
        user, _ = User.objects.get_or_create(username=f"tenant-demo-{home.pk}-{n}", defaults={"name": f"室友{n}"})
        now = timezone.now()
        Member.objects.get_or_create(
            tenancy=home, user=user, left_at=None, defaults={"role": "sharer", "joined_at": now}
        )
        return user

    def _in_the_mini_program(self, user: User) -> Reader:
        told = self._ask(self.town.at.wechat, "/sandbox/login_code", unionid=f"demo-{user.pk}")
        identity = self._known(user, "wechat", self._set["WECHAT_MINI_APP_ID"], told["openid"])
        template = TEMPLATES[Channel.WECHAT_SUBSCRIBE]
        self._ask(self.town.at.wechat, "/sandbox/permits", openid=identity.subject, template_id=template)
        Permit.objects.get_or_create(
            identity=identity, template_id=template, reported_as="demo", defaults={"given_at": timezone.now()}
        )
        return Reader(Channel.WECHAT_SUBSCRIBE, user, identity.subject)

    def _following(self, user: User) -> Reader:
        told = self._ask(self.town.at.wechat, "/sandbox/follow", unionid=f"demo-{user.pk}")
        identity = self._known(user, "wechat", self._set["WECHAT_OFFICIAL_APP_ID"], told["openid"])
        return Reader(Channel.WECHAT_TEMPLATE, user, identity.subject)

    def _in_alipay(self, user: User) -> Reader:
        told = self._ask(self.town.at.alipay, "/sandbox/login_code")
        identity = self._known(user, "alipay", self._set["ALIPAY_APP_ID"], told["open_id"])
        return Reader(Channel.ALIPAY_TEMPLATE, user, identity.subject)

    def _with_a_number(self, user: User, home: Tenancy) -> Reader:
        phone = f"139{home.pk % 100_000_000:08d}"
        User.objects.filter(pk=user.pk).update(phone=phone)
        return Reader(Channel.SMS_ALIYUN, user, phone)

    def _known(self, user: User, provider: str, app_id: str, subject: str) -> Identity:
        return Identity.objects.create(user=user, provider=provider, app_id=app_id, subject=subject)

    # ---- what happens ----

    def _use_until_warned(self, home: Tenancy, meter: Meter) -> Message:
        purse = prepaid.purse_of(home)
        level = purse.available_fen() - 1
        wishes.set_own_level(purse_id=purse.pk, fen=level, by=None, now=timezone.now())
        self.fleet.consume(seed.CODE, meter.serial, USED_WH)
        self.fleet.report(seed.CODE, meter.serial)
        left = Message.objects.filter(tenancy=home, kind=KIND, context__level=f"own:{level}")
        return until(left.first, "the warning is left", within_s=WITHIN_S)

    def _see_it_arrive(self, reader: Reader, message: Message) -> str:
        ours = Delivery.objects.filter(message=message, user=reader.user, channel=reader.channel)
        sent = until(lambda: ours.filter(handed_at__isnull=False).first(), "the vendor took it", within_s=WITHIN_S)
        until(lambda: self._arrived(reader), "the vendor lists it", within_s=WITHIN_S)
        if reader.channel != Channel.ALIPAY_TEMPLATE:  # which tells nobody what arrived
            until(ours.filter(state=Delivery.State.DELIVERED).exists, "its receipt came", within_s=WITHIN_S)
        waited_ms = ((sent.handed_at or sent.made_at) - sent.made_at) / timedelta(milliseconds=1)
        return f"{sent.text}   (with the vendor after {waited_ms:.0f} ms)"

    def _arrived(self, reader: Reader) -> list[dict[str, Any]]:
        url = {Channel.ALIPAY_TEMPLATE: self.town.at.alipay, Channel.SMS_ALIYUN: self.town.at.sms}
        address = url.get(Channel(reader.channel), self.town.at.wechat)
        with requests.Session() as http:
            http.trust_env = False
            return list(http.get(f"{address}/sandbox/messages?to={reader.address}", timeout=5).json()["messages"])

    def _try_out(self, home: Tenancy, channel: str) -> str:
        user = home.members.exclude(user__phone=None).get().user
        trial = desk.trial(property_id=self.place.pk, user=user, channel=channel, by=user, now=timezone.now())
        handed = Delivery.objects.filter(pk=trial, handed_at__isnull=False)
        return until(handed.first, "the vendor took it", within_s=WITHIN_S).text

    def _ask(self, url: str, path: str, **content: Any) -> dict[str, Any]:
        with requests.Session() as http:
            http.trust_env = False
            answer = http.post(url + path, json=content, timeout=5)
        answer.raise_for_status()
        return dict(answer.json())
