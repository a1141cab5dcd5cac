"""What fits: parts of an SMS are money, and a field of WeChat's that does not fit is refused."""

from __future__ import annotations

import pytest

from notifications import lengths

SIGN_NAME = "阳光物业"  # 6 characters with its brackets


@pytest.mark.parametrize(
    ("characters", "parts"), [(0, 1), (64, 1), (65, 2), (2 * 67 - 6, 2), (2 * 67 - 5, 3), (3 * 67 - 6, 3)]
)
def test_an_sms_has_seventy_characters_with_its_sign_name_and_sixty_seven_a_part_beyond(characters, parts):
    assert lengths.sms_parts("电" * characters, sign_name=SIGN_NAME) == parts


def test_without_a_sign_name_there_are_no_brackets_to_count():
    assert lengths.sms_parts("a" * 70, sign_name="") == 1
    assert lengths.sms_parts("a" * 71, sign_name="") == 2


def test_an_emoji_counts_twice():
    assert lengths.sms_parts("⚡" * 70, sign_name="") == 1
    assert lengths.sms_parts("🔌" * 36, sign_name="") == 2


@pytest.mark.parametrize(
    ("name", "limit"), [("thing1", 20), ("character_string12", 32), ("phrase3", 5), ("room", None), ("thing", None)]
)
def test_a_field_of_wechat_says_in_its_name_what_it_takes(name, limit):
    assert lengths.field_limit(name) == limit


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("thing1", "1号楼-1203 🔌"),
        ("thing2", "-1.20元"),
        ("amount3", "¥12345678.90元"),
        ("amount3", "4.20"),
        ("number4", "123.45"),
        ("time5", "2026年11月23日 18:05"),
        ("time5", "18:05~19:05:30"),
        ("date6", "2026年11月"),
        ("date6", "2026-11-23 18:05"),
        ("phrase7", "已采纳"),
        ("character_string8", "310000000001, 2"),
        ("phone_number9", "+86-0755-66888866"),
    ],
)
def test_a_field_takes_what_its_rule_names(name, value):
    assert lengths.fits(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("thing1", ""),
        ("thing1", "电" * 21),
        ("amount3", "-1.20"),
        ("amount3", "12345678901"),
        ("number4", "3块"),
        ("time5", "Nov 23, 18:05"),
        ("time5", "11月23日18:05"),
        ("time5", "2026年11月23日"),
        ("date6", "Nov 2026"),
        ("phrase7", "upheld"),
        ("phrase7", "已采纳并更正"),
        ("character_string8", "1号楼"),
    ],
)
def test_a_field_refuses_everything_else(name, value):
    assert not lengths.fits(name, value)


def test_what_is_too_long_is_cut_and_says_so():
    assert lengths.fitted("thing1", "电" * 21) == "电" * 19 + "…"
    assert lengths.fitted("thing1", "电" * 20) == "电" * 20


def test_a_value_is_one_line_and_never_blank():
    assert lengths.fitted("thing1", " 已停电\n请充值 ") == "已停电 请充值"
    assert lengths.fitted("thing1", " \n") == "-"
    assert lengths.one_line("") == "-"
