from __future__ import annotations

from tests.accounts.boxes import _hang_up, alipay, wechat, world

__all__ = ["_hang_up", "alipay", "wechat", "world"]
