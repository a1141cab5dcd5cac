"""A message becomes a letter: what happened, in words, in the shape that a channel takes."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from django.conf import settings

from accounts.models import Property, Tenancy
from notifications import lengths
from notifications.channels.base import Letter
from notifications.models import Channel, Message, Template
from notifications.routing import SHANGHAI, SMS
from notifications.texts import CHINESE, ENGLISH, TEXTS, WECHAT_FIELDS

log = logging.getLogger(__name__)
OURS: Final = (Channel.INBOX, Channel.CONSOLE)  # they need no template of a vendor
WECHAT: Final = (Channel.WECHAT_SUBSCRIBE, Channel.WECHAT_TEMPLATE)
_NAME = re.compile(r"\{(\w+)\}")
_Writer = Callable[[Any, str], tuple[str, str]]
_Key = tuple[int | None, str, str, str]  # property, kind, channel, language


@dataclass(frozen=True, slots=True)
class Written:
    """What is said to one person by one channel: `letter` for the vendor, `parts` of an SMS (0 for other channels)."""

    letter: Letter
    parts: int


class Texts:
    """All texts, read once a batch: what staff wrote (for the property first, then for all) over texts.py.

    Where there is none in somebody's language, the Chinese one is used.
    """

    def __init__(self, templates: Mapping[_Key, Template]) -> None:
        self._templates = templates

    @classmethod
    def load(cls) -> Texts:
        """Plan: a table of some dozens of rows, read whole."""
        rows = Template.objects.all()
        return cls({(one.property_id, one.kind, one.channel, one.language): one for one in rows})

    def carries(self, *, kind: str, channel: str, language: str, property_id: int) -> bool:
        """Whether this channel has what it needs for the kind: a template at the vendor, or it is one of ours."""
        return channel in OURS or bool(
            self.template_id(kind=kind, channel=channel, language=language, property_id=property_id)
        )

    def template_id(self, *, kind: str, channel: str, language: str, property_id: int) -> str:
        """Of the vendor; blank where there is none."""
        found = self._template(kind, channel, language, property_id)
        return found.template_id if found else ""

    def write(self, *, message: Message, channel: str, language: str, reference: str, address: str) -> Written:
        """Fills in; what is missing is left blank. The message comes with its property, tenancy, room and building."""
        template = self._template(message.kind, channel, language, message.property_id)
        names = facts(message, language=template.language if template else language)
        text = filled(self._text(message.kind, template, language), names)
        letter = Letter(
            reference=reference,
            address=address,
            template_id=template.template_id if template else "",
            fields=_fields(message, channel, template, names),
            text=text,
            language=language,
            page=f"pages/home/index?tenancy={message.tenancy_id}" if message.tenancy_id else "",
        )
        return Written(letter, lengths.sms_parts(text, sign_name=sign_name(channel)) if channel in SMS else 0)

    def _template(self, kind: str, channel: str, language: str, property_id: int) -> Template | None:
        for spoken in dict.fromkeys((language, CHINESE)):
            for place in (property_id, None):
                found = self._templates.get((place, kind, channel, spoken))
                if found is not None and (found.template_id or channel in OURS):
                    return found
        return None

    def _text(self, kind: str, template: Template | None, language: str) -> str:
        if template is not None and template.text:
            return template.text
        known = TEXTS.get(template.language if template else language, TEXTS[CHINESE])
        return known.get(kind) or TEXTS[CHINESE].get(kind, "")


def sign_name(channel: str) -> str:
    """The 【name】 that an SMS begins with."""
    return str(settings.ALIYUN_SMS_SIGN_NAME if channel == Channel.SMS_ALIYUN else settings.TENCENT_SMS_SIGN_NAME)


def filled(text: str, names: Mapping[str, str]) -> str:
    """The text with its {names}; one that nobody knows is left blank."""
    return _NAME.sub(lambda match: names.get(match.group(1), ""), text)


def names_in(text: str) -> list[str]:
    """The {names} of a text, in order."""
    return _NAME.findall(text)


def _fields(message: Message, channel: str, template: Template | None, names: Mapping[str, str]) -> dict[str, str]:
    if channel in OURS or template is None:
        return {}
    wanted = template.fields or default_fields(message.kind, channel, template)
    if channel in SMS:
        return {name: lengths.one_line(filled(str(value), names)) for name, value in wanted.items()}
    stamped = {**names, **_stamps(message)} if any(map(lengths.is_stamp, wanted)) else names
    known = {name: stamped if lengths.is_stamp(name) else names for name in wanted}
    return {name: lengths.fitted(name, filled(str(value), known[name])) for name, value in wanted.items()}


def default_fields(kind: str, channel: str, template: Template | None) -> dict[str, str]:
    """Parameters where staff have laid none down: an SMS template has our names, in the order of the text."""
    if channel == Channel.ALIPAY_TEMPLATE:  # its parameters are numbered keywords
        return {f"keyword{n}": value for n, value in enumerate(WECHAT_FIELDS.get(kind, {}).values(), 1)}
    if channel not in SMS:
        return dict(WECHAT_FIELDS.get(kind, {}))
    text = (template.text if template else "") or TEXTS[template.language if template else CHINESE].get(kind, "")
    return {name: f"{{{name}}}" for name in dict.fromkeys(names_in(text))}


# ---- what happened, in words ----


def facts(message: Message, *, language: str) -> dict[str, str]:
    """What the texts of this message may name (kinds.PLACE and its kind's names), in words."""
    names = _where(message.property, message.tenancy, language)
    for name in message.context:
        write = _WRITERS.get(name)
        if write is not None:
            known_as, words = _in_words(message, name, write, language)
            names[known_as] = words
    if "starts_on" in names:
        names["since"] = _since(
            names["starts_on"], is_taken_back=bool(message.context.get("is_taken_back")), language=language
        )
    return names


def _stamps(message: Message) -> dict[str, str]:
    """Instants and days as WeChat takes them, whatever the language: 2026年11月23日 18:05."""
    known = message.context.keys() & _STAMPS.keys()
    return dict(_in_words(message, name, _STAMPS[name], CHINESE) for name in known)


def _in_words(message: Message, name: str, write: _Writer, language: str) -> tuple[str, str]:
    """What a floor wrote otherwise than we read it leaves a blank, and holds nobody's message up."""
    try:
        return write(message.context[name], language)
    except (ValueError, TypeError, ArithmeticError, AttributeError, KeyError):
        log.exception("message %s: %s cannot be put in words", message.key, name)
        return name, ""


def _where(place: Property, tenancy: Tenancy | None, language: str) -> dict[str, str]:
    phone = place.phone
    return {
        "property": place.name,
        "room": str(tenancy.room) if tenancy else "",
        "phone": phone,
        "contact": phone or ("物业" if language == CHINESE else "the property"),
    }


def _yuan(fen: int) -> str:
    return f"{Decimal(fen) / 100:.2f}"


def _instant(text: str, language: str) -> str:
    at = datetime.fromisoformat(text).astimezone(SHANGHAI)
    return f"{at.month}月{at.day}日{at:%H:%M}" if language == CHINESE else f"{at:%b} {at.day}, {at:%H:%M}"


def _full_instant(text: str) -> str:
    at = datetime.fromisoformat(text).astimezone(SHANGHAI)
    return f"{at.year}年{at.month}月{at.day}日 {at:%H:%M}"


def _full_day(text: str) -> str:
    day = date.fromisoformat(text)
    return f"{day.year}年{day.month}月{day.day}日"


def _day(text: str, language: str) -> str:
    day = date.fromisoformat(text)
    return f"{day.month}月{day.day}日" if language == CHINESE else f"{day:%b} {day.day}"


def _month(text: str, language: str) -> str:
    first = date.fromisoformat(f"{text}-01")
    return f"{first.year}年{first.month}月" if language == CHINESE else f"{first:%b %Y}"


def _since(starts_on: str, *, is_taken_back: bool, language: str) -> str:
    """From when prices hold, or that those of before hold on, where a change that was announced does not come."""
    if language == CHINESE:
        return f"{starts_on}起不再调整，仍执行" if is_taken_back else f"自{starts_on}起执行"
    return f"does not change on {starts_on}; it stays" if is_taken_back else f"from {starts_on} is"


_LEVELS: Final = {
    "fen": ("已低于{}元", "below {} yuan"),
    "own": ("低于您设的{}元", "below the {} yuan you set"),
    "percent": ("不足上次充值的{}%", "below {} % of the last recharge"),
    "days": ("约够用{}天", "enough for about {} days"),
    "used_up": ("已用完，请尽快充值", "used up"),
    "": ("已恢复正常", "no longer low"),
}


def _level(level: str, language: str) -> str:
    """What was reached: `fen:500`, `percent:20`, `days:3`, `own:5000`, `used_up`; blank for none any more."""
    how, _colon, figure = level.partition(":")
    words = _LEVELS[how][0 if language == CHINESE else 1]
    return words.format(_yuan(int(figure)) if how in ("fen", "own") else figure)


def _decision(state: str, language: str) -> str:
    words = {"upheld": ("已采纳", "upheld"), "dismissed": ("未采纳", "dismissed")}
    return words[state][0 if language == CHINESE else 1]


def _told(value: Any, language: str) -> str:
    """Words that a floor has chosen itself: in both languages, or as they are (a name, serial numbers)."""
    if isinstance(value, Mapping):
        return str(value.get(language) or value.get(CHINESE) or value.get(ENGLISH) or "")
    return "" if value is None else str(value)


def _as_told(name: str) -> _Writer:
    return lambda value, language: (name, _told(value, language))


def _stamp(name: str, write: Callable[[str], str]) -> _Writer:
    return lambda value, _language: (name, write(value))


# By the name in the context: the name in a text, and the words.
_WRITERS: Final[dict[str, _Writer]] = {
    "amount_fen": lambda value, _language: ("amount", _yuan(value)),
    "available_fen": lambda value, _language: ("balance", _yuan(value)),
    "energy_wh": lambda value, _language: ("energy", f"{Decimal(value) / 1000:.2f}"),
    "level": lambda value, language: ("level", _level(value, language)),
    "state": lambda value, language: ("decision", _decision(value, language)),
    "read_at": lambda value, language: ("read_at", _instant(value, language)),
    "not_before": lambda value, language: ("not_before", _instant(value, language)),
    "at": lambda value, language: ("at", _instant(value, language)),
    "starts_on": lambda value, language: ("starts_on", _day(value, language)),
    "day": lambda value, language: ("day", _day(value, language)),
    "month": lambda value, language: ("month", _month(value, language)),
} | {
    name: _as_told(name)
    for name in (
        "note",
        "hours",
        "why",
        "how",
        "alarm",
        "tariff",
        "prices",
        "count",
        "meters",
        "what",
        "summary",
        "code",
        "minutes",
    )
}

_STAMPS: Final[dict[str, _Writer]] = {
    name: _stamp(name, write)
    for names, write in (
        (("read_at", "not_before", "at"), _full_instant),
        (("starts_on", "day"), _full_day),
        (("month",), lambda text: _month(text, CHINESE)),
    )
    for name in names
}
