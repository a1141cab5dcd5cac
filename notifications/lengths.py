"""How long a message may be: parts of an SMS, and the fields of WeChat's templates.

Sources: SMS, 70 characters, or 67 a part of a longer one, the sign name with its brackets counted
(help.aliyun.com/document_detail/108253.html, cloud.tencent.com/document/product/382/18058); fields of subscribe
messages (developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/mp-message-management/subscribe-message/sendMessage.html).
"""

from __future__ import annotations

import re
from typing import Final

ONE_SMS, A_PART = 70, 67
_NUMBERED = re.compile(r"([a-z_]+)\d+")
# Characters a value of this kind of field may have; amounts, numbers and times have shapes of their own as well.
FIELD_LIMITS: Final = {
    "thing": 20,
    "short_thing": 5,
    "const": 20,
    "letter": 32,
    "symbol": 5,
    "character_string": 32,
    "phone_number": 17,
    "car_number": 8,
    "name": 10,
    "phrase": 5,
    "number": 32,
    "amount": 11,  # a currency sign and ten digits with decimals
    "time": 32,
    "date": 32,
}


def sms_parts(text: str, *, sign_name: str) -> int:
    """How many SMS are charged for a text under a sign name; UCS-2 units, so that an emoji counts twice."""
    length = _units(text) + (len(sign_name) + 2 if sign_name else 0)
    return 1 if length <= ONE_SMS else -(-length // A_PART)


def field_limit(name: str) -> int | None:
    """How many characters a field takes (`thing1`: 20); None for a name that is no field of WeChat's."""
    match = _NUMBERED.fullmatch(name)
    return FIELD_LIMITS.get(match.group(1)) if match else None


def fitted(name: str, value: str) -> str:
    """A value as its field takes it: one line, cut with an ellipsis, "-" where there is nothing to say."""
    limit = field_limit(name)
    value = " ".join(value.split()) or "-"
    return value if limit is None or len(value) <= limit else value[: limit - 1] + "…"


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
