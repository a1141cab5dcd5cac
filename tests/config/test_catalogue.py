"""The Chinese catalogue says everything that the code says, and a browser is answered in its own language.

To bring it up to date (xgettext is needed for the first alone):

    python manage.py makemessages -l zh_Hans --no-location --no-wrap --no-obsolete \
        -i .venv -i var -i 'tests/*' -i sandbox -i benchmarks
    (translate what is new in locale/zh_Hans/LC_MESSAGES/django.po)
    pybabel compile -D django -d locale -l zh_Hans
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po
from django.conf import settings
from django.test import Client
from django.utils.translation import templatize

CHINESE = Path(settings.BASE_DIR) / "locale/zh_Hans/LC_MESSAGES"
ROOMS = ("accounts", "billing", "config", "meters", "notifications", "payments", "portal", "templates")
KEYWORDS = DEFAULT_KEYWORDS | {f"{name}_lazy": DEFAULT_KEYWORDS[name] for name in ("gettext", "ngettext", "pgettext")}
PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[a-z]")
HALF_WIDTH = re.compile(r"[\u4e00-\u9fff][,.;:!?()]|[,;:!?()][\u4e00-\u9fff]")

# (context, msgid): one English word may be two Chinese ones.
Name = tuple[str | None, str]


@pytest.fixture(scope="module")
def catalogue() -> Catalog:
    with (CHINESE / "django.po").open("rb") as file:
        return read_po(file)


def test_everything_the_code_says_is_in_the_catalogue_and_nothing_else(catalogue: Catalog) -> None:
    in_catalogue = {name(message) for message in entries(catalogue)}

    in_code = set(said_by_the_code())

    assert in_code - in_catalogue == set()
    assert in_catalogue - in_code == set()
    assert catalogue.obsolete == {}


def test_everything_is_translated_by_a_person(catalogue: Catalog) -> None:
    assert [name(message) for message in entries(catalogue) if not all(texts(message.string))] == []
    assert [name(message) for message in entries(catalogue) if message.fuzzy] == []
    assert catalogue.fuzzy is False  # msgfmt would leave the header out, and with it the encoding


def test_a_translation_fills_in_what_the_english_fills_in(catalogue: Catalog) -> None:
    unlike = [
        name(message)
        for message in entries(catalogue)
        for text in texts(message.string)
        # of "one" and "%(most)d": Chinese has the form for many alone
        if placeholders(text) != placeholders(texts(message.id)[-1])
    ]

    assert unlike == []


def test_chinese_is_punctuated_as_chinese(catalogue: Catalog) -> None:
    sentences = [message for message in entries(catalogue) if texts(message.id)[-1].endswith(".")]

    assert [name(message) for message in sentences if not texts(message.string)[-1].endswith("。")] == []
    assert [text for one in entries(catalogue) for text in texts(one.string) if HALF_WIDTH.search(text)] == []


def test_the_compiled_catalogue_is_that_of_the_text(catalogue: Catalog) -> None:
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)

    committed = read_mo(io.BytesIO((CHINESE / "django.mo").read_bytes()))

    assert translations(committed) == translations(read_mo(compiled))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("language", "title", "button", "absent"),
    [
        ("zh-CN,zh;q=0.9", "预付费电费管理", "登录", "Prepaid electricity"),
        ("en", "Prepaid electricity", "Log in", "预付费电费管理"),
        ("", "预付费电费管理", "登录", "Prepaid electricity"),
    ],
)
def test_the_login_page_speaks_the_browsers_language_or_else_chinese(
    language: str, title: str, button: str, absent: str
) -> None:
    page = Client(headers={"accept-language": language}).get("/admin/login/").content.decode()

    assert title in page
    assert button in page
    assert absent not in page


def test_no_text_hides_in_an_f_string_where_gettext_does_not_look() -> None:
    hidden = re.compile(r"""f["'].*\{(_|p?n?gettext)\(""")

    found = [path for path in files(".py") for line in path.read_text().splitlines() if hidden.search(line)]

    assert found == []


def said_by_the_code() -> Iterator[Name]:
    for path in files(".py"):
        yield from said_in(path.read_text())
    for path in files(".html"):
        code = templatize(path.read_text())
        # What is not to be translated is blotted out, but its indentation would not do for Python.
        yield from said_in("\n".join(line.strip() for line in code.splitlines()))


def files(suffix: str) -> list[Path]:
    return [path for room in ROOMS for path in sorted((Path(settings.BASE_DIR) / room).rglob(f"*{suffix}"))]


def said_in(code: str) -> Iterator[Name]:
    for _line, said, _comments, context in extract("python", io.BytesIO(code.encode()), KEYWORDS):
        yield context, said if isinstance(said, str) else said[0]


def entries(catalogue: Catalog) -> list[Message]:
    return [message for message in catalogue if message.id]  # without the header


def name(message: Message) -> Name:
    return message.context, texts(message.id)[0]


def texts(said: str | list[str] | tuple[str, ...] | None) -> list[str]:
    return [said or ""] if isinstance(said, str | None) else list(said)


def placeholders(text: str) -> list[str]:
    return sorted(PLACEHOLDER.findall(text))


def translations(catalogue: Catalog) -> dict[Name, list[str]]:
    return {name(message): texts(message.string) for message in entries(catalogue)}
