"""Made-up facts for each kind of message: what a preview shows, and what lengths are checked with."""

from __future__ import annotations

from typing import Any, Final

from accounts.models import Building, Property, Room, Tenancy
from notifications.kinds import TOLD
from notifications.models import Message

_AT: Final = "2026-11-23T18:05:00+08:00"
_LATER: Final = "2026-11-24T18:05:00+08:00"


def _both(chinese: str, english: str) -> dict[str, str]:
    return {"zh-hans": chinese, "en": english}


CONTEXTS: Final[dict[str, dict[str, Any]]] = {
    "recharge_received": {"amount_fen": 10_000},
    "refund_done": {"amount_fen": 5_000},
    "dispute_decided": {"state": "upheld", "note": "已更正", "read_at": _AT},
    "low_balance": {"available_fen": 1_234, "level": "percent:20"},
    "balance_used_up": {"available_fen": -50, "level": "used_up"},
    "balance_is_well": {"available_fen": 9_850, "level": ""},
    "cut_notice": {
        "available_fen": -120,
        "hours": 24,
        "not_before": _LATER,
        "why": _both("余额已用完", "the balance is used up"),
    },
    "power_off": {
        "why": _both("余额已用完", "the balance is used up"),
        "how": _both("充值后几秒内恢复供电。", "Recharge, and the power comes back within seconds."),
        "at": _AT,
    },
    "power_back": {"at": _AT},
    "meter_alarm": {"alarm": _both("表盖被打开", "its cover was opened"), "at": _AT},
    "price_change": {
        "starts_on": "2026-12-01",
        "tariff": "居民峰谷电价",
        "prices": _both("每度0.2880至0.5680元", "0.2880 to 0.5680 yuan per kWh"),
    },
    "monthly_bill": {"month": "2026-10", "energy_wh": 123_450, "amount_fen": 6_543},
    "trial": {"at": _AT},
    "login_code": {"code": "123456", "minutes": "10"},
    "meters_silent": {"count": 3, "meters": "310000000001, 310000000002, 310000000003"},
    "differences_found": {"count": 2, "what": _both("挂账2笔", "2 payments in suspense")},
    "commands_given_up": {"count": 1, "meters": "310000000001"},
    "outage": {"what": _both("微信支付中断", "WeChat Pay is down")},
    "daily_summary": {
        "day": "2026-11-22",
        "summary": _both("充值12笔共1200.00元，停电1户", "12 recharges, 1200.00 yuan; 1 home is off"),
    },
}


def message(kind: str, *, place: Property | None) -> Message:
    """One of that kind, as if it had been left; not in the table."""
    place = place or Property(code="sunshine", name="阳光花园", phone="400-800-1234")
    room = Room(property=place, building=Building(property=place, name="1号楼"), number="1203")
    tenancy = None if TOLD[kind].is_for_staff else Tenancy(property=place, room=room)
    return Message(key="sample", kind=kind, property=place, tenancy=tenancy, context=CONTEXTS.get(kind, {}))
