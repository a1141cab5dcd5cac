"""A message becomes a letter: in words of a language, and in the shape that a vendor takes."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Property
from notifications import lengths, letters, samples
from notifications.kinds import PLACE, TOLD
from notifications.letters import Texts
from notifications.models import Channel, Message, Template
from notifications.texts import CHINESE, ENGLISH, TEXTS, WECHAT_FIELDS
from tests import makers
from tests.notifications.post import a_template

LANGUAGES = (CHINESE, ENGLISH)
WECHAT = (Channel.WECHAT_SUBSCRIBE, Channel.WECHAT_TEMPLATE)
VENDORS = (*WECHAT, Channel.ALIPAY_TEMPLATE, Channel.SMS_ALIYUN, Channel.SMS_TENCENT)
EIGHT_CHARACTERS = "阳光花园物业中心"


@pytest.fixture(autouse=True)
def _sign_names(settings):
    settings.ALIYUN_SMS_SIGN_NAME = settings.TENCENT_SMS_SIGN_NAME = EIGHT_CHARACTERS


def a_text(kind: str, channel: str, language: str = CHINESE, place: int | None = None, **about: Any) -> Template:
    about = {"template_id": "of the vendor"} | about
    return Template(kind=kind, channel=channel, language=language, property_id=place, **about)


def texts(*rows: Template) -> Texts:
    return Texts({(row.property_id, row.kind, row.channel, row.language): row for row in rows})


def message(kind: str, **context: Any) -> Message:
    made = samples.message(kind, place=None)
    made.context = made.context | context
    return made


def written(of: Message, channel: str, language: str = CHINESE, **about: Any) -> letters.Written:
    return texts(a_text(of.kind, channel, language, **about)).write(
        message=of, channel=channel, language=language, reference="a" * 32, address="13800001203"
    )


# ---- what the house says of its own ----


@pytest.mark.parametrize("language", LANGUAGES)
def test_there_is_a_text_and_there_are_fields_for_every_kind(language):
    assert TEXTS[language].keys() == TOLD.keys()
    assert WECHAT_FIELDS.keys() == TOLD.keys()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", TOLD)
def test_texts_name_only_what_their_kind_knows(kind, language):
    used = {*letters.names_in(TEXTS[language][kind])}
    used |= {name for value in WECHAT_FIELDS[kind].values() for name in letters.names_in(value)}

    assert used <= {*PLACE, *TOLD[kind].names}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", TOLD)
def test_each_name_stands_once_and_alone_as_vendors_of_sms_demand(kind, language):
    text = TEXTS[language][kind]
    names = letters.names_in(text)

    assert len(names) == len(set(names))
    assert "}{" not in text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", TOLD)
def test_everything_a_kind_may_name_is_known_of_it(kind, language):
    known = letters.facts(message(kind), language=language)
    place = {"property", "phone", "contact"} | (set() if TOLD[kind].is_for_staff else {"room"})

    assert {name for name in (*place, *TOLD[kind].names) if not known.get(name)} == set()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", TOLD)
def test_nothing_is_left_open_in_what_people_read(kind, language):
    text = written(message(kind), Channel.INBOX, language).letter.text

    assert not re.search(r"[{}]|\(\)|（）|: *\.|None", text)


@pytest.mark.parametrize("kind", TOLD)
def test_a_chinese_text_is_one_sms(kind):
    assert written(message(kind), Channel.SMS_ALIYUN).parts == 1


@pytest.mark.parametrize("kind", TOLD)
def test_an_english_text_is_two_sms_at_most(kind):
    assert written(message(kind), Channel.SMS_ALIYUN, ENGLISH).parts <= 2


@pytest.mark.parametrize("channel", WECHAT)
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", TOLD)
def test_wechat_takes_the_fields_of_every_kind(kind, language, channel):
    fields = written(message(kind), channel, language).letter.fields

    assert fields.keys() == WECHAT_FIELDS[kind].keys()
    assert [name for name, value in fields.items() if not lengths.fits(name, value)] == []


# ---- words ----


@pytest.mark.parametrize(
    ("level", "chinese", "english"),
    [
        ("fen:500", "已低于5.00元", "below 5.00 yuan"),
        ("own:5000", "低于您设的50.00元", "below the 50.00 yuan you set"),
        ("percent:20", "不足上次充值的20%", "below 20 % of the last recharge"),
        ("days:3", "约够用3天", "enough for about 3 days"),
    ],
)
def test_a_level_is_told_in_words(level, chinese, english):
    low = message("low_balance", level=level)

    assert letters.facts(low, language=CHINESE)["level"] == chinese
    assert letters.facts(low, language=ENGLISH)["level"] == english


def test_instants_are_told_in_chinas_time_whatever_zone_they_were_written_in():
    back = message("power_back", at="2026-11-23T23:30:00+00:00")

    assert letters.facts(back, language=CHINESE)["at"] == "11月24日07:30"
    assert letters.facts(back, language=ENGLISH)["at"] == "Nov 24, 07:30"


def test_wechat_is_given_instants_as_it_reads_them_in_english_too():
    fields = written(message("cut_notice"), Channel.WECHAT_SUBSCRIBE, ENGLISH).letter.fields

    assert fields["time3"] == "2026年11月24日 18:05"
    assert fields["thing4"] == "the balance is used…"


def test_a_change_of_prices_and_that_it_does_not_come_are_told_apart():
    coming, not_coming = message("price_change"), message("price_change", is_taken_back=True)

    said = [written(one, Channel.INBOX).letter.text for one in (coming, not_coming)]

    assert "电价自12月1日起执行“居民峰谷电价”" in said[0]
    assert "电价12月1日起不再调整，仍执行“居民峰谷电价”" in said[1]


def test_words_of_a_floor_are_taken_in_the_language_of_the_reader_or_in_chinese():
    off = message(
        "power_off", why={"zh-hans": "余额已用完", "en": "the balance is used up"}, how={"zh-hans": "请充值。"}
    )

    known = letters.facts(off, language=ENGLISH)

    assert (known["why"], known["how"]) == ("the balance is used up", "请充值。")


def test_without_a_phone_number_one_asks_the_property():
    place = Property(code="quiet", name="静园", phone="")
    off = samples.message("power_off", place=place)

    assert "咨询：物业。" in written(off, Channel.INBOX).letter.text
    assert "Ask the property." in written(off, Channel.INBOX, ENGLISH).letter.text


def test_what_a_floor_wrote_otherwise_than_we_read_it_leaves_a_blank_and_is_logged(caplog):
    low = message("low_balance", level="moon:7", available_fen="much")

    with caplog.at_level(logging.ERROR):
        text = written(low, Channel.INBOX).letter.text

    assert text == "1号楼-1203电费余额元，，请及时充值。"
    assert {record.getMessage() for record in caplog.records} == {
        "message sample: level cannot be put in words",
        "message sample: available_fen cannot be put in words",
    }


def test_what_is_filled_in_is_not_filled_in_again():
    assert letters.filled("{room}: {note}", {"room": "1203", "note": "{phone}", "phone": "138"}) == "1203: {phone}"


# ---- the shape that a vendor takes ----


def test_a_parameter_of_an_sms_is_one_line_and_never_blank():
    decided = message("dispute_decided", note="已更正\n见账单", state="upheld")

    fields = written(decided, Channel.SMS_ALIYUN, fields={"a": "{note}", "b": "{read_at}{phone}{nobody}", "c": "{no}"})

    assert fields.letter.fields == {"a": "已更正 见账单", "b": "11月23日18:05400-800-1234", "c": "-"}


def test_an_sms_template_without_fields_has_our_names_in_the_order_of_its_text():
    ours = written(message("low_balance"), Channel.SMS_TENCENT)
    theirs = written(message("low_balance"), Channel.SMS_TENCENT, text="余额{balance}元，{room}")

    assert list(ours.letter.fields.values()) == ["1号楼-1203", "12.34", "不足上次充值的20%"]
    assert list(theirs.letter.fields.values()) == ["12.34", "1号楼-1203"]


def test_alipay_has_numbered_keywords():
    fields = written(message("cut_notice"), Channel.ALIPAY_TEMPLATE).letter.fields

    assert list(fields) == ["keyword1", "keyword2", "keyword3", "keyword4"]
    assert fields["keyword2"] == "-1.20元"


@pytest.mark.parametrize("channel", [Channel.INBOX, Channel.CONSOLE])
def test_our_own_channels_need_no_template_and_get_no_fields(channel):
    nobodys = texts()

    letter = nobodys.write(message=message("trial"), channel=channel, language=ENGLISH, reference="", address="").letter

    assert nobodys.carries(kind="trial", channel=channel, language=ENGLISH, property_id=1)
    assert (letter.template_id, letter.fields) == ("", {})
    assert letter.text == "This is a test message, sent at Nov 23, 18:05."


@pytest.mark.parametrize("channel", VENDORS)
def test_a_vendor_carries_only_what_it_has_a_template_for(channel):
    without = texts(a_text("low_balance", channel, template_id="", text="余额{balance}元"))

    assert not without.carries(kind="low_balance", channel=channel, language=CHINESE, property_id=1)
    assert not without.carries(kind="power_off", channel=channel, language=CHINESE, property_id=1)


# ---- whose text ----


@pytest.mark.django_db
def test_a_propertys_own_text_goes_before_the_one_for_all_and_its_language_before_chinese():
    place, other = makers.a_property(), makers.a_property()
    a_template(template_id="all-zh")
    a_template(template_id="all-en", language="en")
    a_template(template_id="own-zh", property=place)
    loaded = Texts.load()

    def found(language, of):
        return loaded.template_id(kind="low_balance", channel=Channel.SMS_ALIYUN, language=language, property_id=of.pk)

    assert [found("zh-hans", place), found("zh-hans", other), found("en", place), found("en", other)] == [
        "own-zh",
        "all-zh",
        "all-en",
        "all-en",
    ]


@pytest.mark.django_db
def test_where_there_is_no_english_template_all_of_the_letter_is_chinese():
    a_template("power_off")
    off = samples.message("power_off", place=None)

    letter = Texts.load().write(
        message=off, channel=Channel.SMS_ALIYUN, language=ENGLISH, reference="", address=""
    ).letter  # fmt: skip

    assert letter.text == "1号楼-1203已停电：余额已用完。充值后几秒内恢复供电。咨询：400-800-1234。"
    assert letter.fields["why"] == "余额已用完"


@pytest.mark.django_db
def test_numbered_parameters_keep_their_order_through_the_database():
    names = [str(n) for n in range(1, 12)]
    a_template(channel=Channel.SMS_TENCENT, fields={name: f"第{name}" for name in reversed(names)})

    letter = Texts.load().write(
        message=message("low_balance"), channel=Channel.SMS_TENCENT, language=CHINESE, reference="", address=""
    ).letter  # fmt: skip

    assert list(letter.fields) == names


@pytest.mark.django_db
def test_all_texts_are_read_in_one_query(django_assert_num_queries):
    home = makers.a_tenancy()
    a_template()
    left = Message.objects.create(
        key="low", kind="low_balance", property=home.property, tenancy=home, context={"available_fen": 420},
        left_at=timezone.now(),
    )  # fmt: skip
    left = Message.objects.select_related("property", "tenancy__room__building").get(pk=left.pk)

    with django_assert_num_queries(1):
        loaded = Texts.load()
        letter = loaded.write(
            message=left, channel=Channel.SMS_ALIYUN, language=CHINESE, reference="", address=""
        ).letter  # fmt: skip

    assert letter.fields["balance"] == "4.20"
    assert letter.page == f"pages/home/index?tenancy={home.pk}"
