"""The project's main job, with real parts only: a tenant whose power is off pays, and the power comes back."""

from __future__ import annotations

import pytest

from meters.models import Command, TopUp
from payments.models import Order, Payment, ProviderEvent, ShippingNotice
from tests.stories.homes import seen_by
from tests.stories.town import Town

pytestmark = [pytest.mark.kill, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize(("provider", "held_by"), [("wechat", "server"), ("alipay", "meter")])
def test_a_tenant_whose_power_is_off_pays_and_it_comes_back(town: Town, provider, held_by):
    town.start("web", "gateway", "chaser")
    home = town.home(held_by=held_by, provider=provider)
    phone = town.phone(home)
    town.until(lambda: seen_by(phone)["power"]["relay"] == "open", "the tenant sees that the power is off")
    assert seen_by(phone)["power"]["why"]

    placed = phone.recharge(home.tenancy.pk, "50.00", f"{provider}_mini")
    phone.pay(placed)

    town.until_power_is_back(home, fen=5000)
    assert phone.order(placed["number"])["state"] == "paid"
    seen = town.until(lambda: is_on(seen_by(phone)), "the tenant sees that the power is on")
    assert seen["balance"]["in_meter" if held_by == "meter" else "available"]["yuan"] == "50.00"
    assert (seen["power"]["why"], seen["balance"]["in_transit"]["fen"]) == ("", 0)
    assert town.findings() == []
    assert follows_one_thread(Order.objects.get(number=placed["number"]), held_by)
    if provider == "wechat":
        town.until(lambda: is_shipped(town), "WeChat is told that it was delivered")


def is_on(home):
    return home["power"]["relay"] == "closed" and not home["balance"]["in_transit"]["fen"] and home


def is_shipped(town):
    """Without it WeChat freezes the money."""
    (notice,) = ShippingNotice.objects.all()
    return notice.state == "done" and town.wechat.look(f"trades/{notice.payment.number}")["money"] == "shipped"


def follows_one_thread(order: Order, held_by: str) -> bool:
    """The same trace from the order over payment and entry to the command that switched on."""
    payment = Payment.objects.get(order=order)
    meter = order.tenancy.room.installations.get().meter
    traces = {payment.trace, order.trace}
    if held_by == "meter":
        traces.add(TopUp.objects.get(meter=meter).trace)
        traces.add(Command.objects.get(meter=meter, kind="top_up", state="done").trace)
    else:
        traces.add(Command.objects.get(meter=meter, kind="relay", value="closed", state="done").trace)
    return len(traces) == 1 and ProviderEvent.objects.get().state == "done"
