"""How long a message may be: parts of an SMS, and the fields of WeChat's templates, with the shapes they take.

Sources: SMS, 70 characters, or 67 a part of a longer one, the sign name with its brackets counted
(help.aliyun.com/document_detail/108253.html, cloud.tencent.com/document/product/382/18058); fields of subscribe
messages (developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/mp-message-management/subscribe-message/sendMessage.html).
"""

from __future__ import annotations

import re
from typing import Final

ONE_SMS, A_PART = 70, 67
_NUMBERED = re.compile(r"([a-z_]+)\d+")
KEYWORD: Final = "keyword"  # of Alipay: USER_KEYWORD_LENGTH_ERROR above that many characters
# Characters a value of this kind of field may have.
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
    "amount": 16,  # a currency sign, ten digits with decimals, 元
    "time": 41,  # a span of two instants
    "date": 41,
    KEYWORD: 50,
}
STAMPS: Final = ("time", "date")
_DAY = r"(?:\d{4}年\d{1,2}月(?:\d{1,2}日)?|\d{1,2}月\d{1,2}日|\d{4}[-/.]\d{1,2}(?:[-/.]\d{1,2})?|\d{1,2}[-/.]\d{1,2})"
_CLOCK = r"\d{1,2}:\d\d(?::\d\d)?"
_TIME, _DATE = rf"(?:{_DAY} )?{_CLOCK}", rf"{_DAY}(?: {_CLOCK})?"
# What else a value must look like. The rules know no minus: a debt goes into a `thing`.
_SHAPES: Final = {
    kind: re.compile(shape)
    for kind, shape in {
        "letter": r"[A-Za-z]+",
        "symbol": r"[^\w\s]+",
        "character_string": r"[^\u4e00-\u9fff]+",
        "phone_number": r"[\d+*#() -]+",
        "phrase": r"[\u4e00-\u9fff]+",
        "number": r"\d+(?:\.\d+)?",
        "amount": r"[¥￥$]?\d{1,10}(?:\.\d+)?元?",
        "time": rf"{_TIME}(?:~{_TIME})?",
        "date": rf"{_DATE}(?:~{_DATE})?",
    }.items()
}


def sms_parts(text: str, *, sign_name: str) -> int:
    """How many SMS are charged for a text under a sign name; UCS-2 units, so that an emoji counts twice."""
    length = _units(text) + (len(sign_name) + 2 if sign_name else 0)
    return 1 if length <= ONE_SMS else -(-length // A_PART)


def field_limit(name: str) -> int | None:
    """How many characters a field takes (`thing1`: 20); None for a name that is no field of WeChat's or Alipay's."""
    return FIELD_LIMITS.get(_kind(name))


def is_wechats(name: str) -> bool:
    """Whether it is a field of WeChat's."""
    return _kind(name) in FIELD_LIMITS.keys() - {KEYWORD}


def is_stamp(name: str) -> bool:
    """Whether a field takes an instant or a day, and nothing else."""
    return _kind(name) in STAMPS


def fits(name: str, value: str) -> bool:
    """Whether a field takes the value as it is; what it does not take is refused with 47003."""
    limit, shape = field_limit(name), _SHAPES.get(_kind(name))
    return bool(value) and len(value) <= (limit or len(value)) and (shape is None or bool(shape.fullmatch(value)))


def fitted(name: str, value: str) -> str:
    """A value as its field takes it: one line, cut with an ellipsis, "-" where there is nothing to say."""
    limit, value = field_limit(name), one_line(value)
    return value if limit is None or len(value) <= limit else value[: limit - 1] + "…"


def one_line(value: str) -> str:
    """As any vendor takes a parameter: without line breaks, and never blank."""
    return " ".join(value.split()) or "-"


def _kind(name: str) -> str:
    match = _NUMBERED.fullmatch(name)
    return match.group(1) if match else ""


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
