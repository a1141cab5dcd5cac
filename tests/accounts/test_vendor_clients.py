"""Our apps at WeChat and Alipay: who logs in, one token for everybody, and errors that say whose they are."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.core.cache import cache

from accounts import pem
from accounts.alipay import AlipayGateway, AlipayKeys, Person, certificate_sn, root_sn
from accounts.vendors import ProviderBadAnswer, ProviderRefused, ProviderUnsure
from accounts.wechat import MiniProgram, Phone, Session
from tests.vendors import NOW, Shelf, Vendor, alipay_answer, certificate_pem, private_pem, public_pem, rsa_key, vendor

SECRET = "a-secret-of-the-app"


@pytest.fixture
def desk():
    with vendor() as it:
        yield it


def mini(desk: Vendor, tokens=None, timeout_s=5) -> MiniProgram:
    return MiniProgram("wx1", SECRET, tokens=tokens or Shelf(), base_url=desk.url, timeout_s=timeout_s)


class WeChat:
    """Answers token calls, and everything else with what the test says, for the token that is good."""

    def __init__(self, desk: Vendor, content: object, *, good: str = "token-1") -> None:
        self.content, self.good, self.forced = content, good, 0
        self.issued = good
        desk.answer = self.answer
        self.desk = desk

    def answer(self, asked):
        if asked.path == "/cgi-bin/stable_token":
            if asked.json["force_refresh"]:
                self.forced += 1
                self.issued = self.good
            return 200, {}, json.dumps({"access_token": self.issued, "expires_in": 7200}).encode()
        token = parse_qs(urlsplit(asked.path).query)["access_token"][0]
        found = self.content if token == self.good else {"errcode": 40001, "errmsg": "invalid credential"}
        return 200, {}, json.dumps(found, ensure_ascii=False).encode()

    def times(self, part: str) -> int:
        return sum(part in asked.path for asked in self.desk.asked)


# ---- WeChat: who logs in ----


def test_a_login_code_becomes_a_session_without_a_token(desk):
    desk.says({"openid": "o-1", "unionid": "u-1", "session_key": "HyVFkGl5F5OQWJZZaNzBBg==", "errcode": 0})

    session = mini(desk).code_to_session("code/with+signs")

    assert session == Session("o-1", "u-1", "HyVFkGl5F5OQWJZZaNzBBg==")
    assert session.session_key not in repr(session)
    (asked,) = desk.asked
    assert (asked.method, urlsplit(asked.path).path) == ("GET", "/sns/jscode2session")
    assert dict(parse_qsl(urlsplit(asked.path).query)) == {
        "appid": "wx1",
        "secret": SECRET,
        "js_code": "code/with+signs",
        "grant_type": "authorization_code",
    }


def test_an_app_on_its_own_has_no_union_id(desk):
    desk.says({"openid": "o-1", "session_key": "k"})

    assert mini(desk).code_to_session("code").union_id == ""


@pytest.mark.parametrize("code", [40029, 40163, 40125, 40013, 40226])
def test_a_bad_code_is_refused_by_wechats_number(desk, code):
    desk.says({"errcode": code, "errmsg": "because"})

    with pytest.raises(ProviderRefused) as refused:
        mini(desk).code_to_session("code")
    assert (refused.value.code, refused.value.message) == (str(code), "because")


@pytest.mark.parametrize("code", [-1, 45011])
def test_a_busy_wechat_may_be_asked_again(desk, code):
    desk.says({"errcode": code, "errmsg": "system busy"})

    with pytest.raises(ProviderUnsure) as unsure:
        mini(desk).code_to_session("code")
    assert not isinstance(unsure.value, ProviderBadAnswer)


@pytest.mark.parametrize("content", [{}, {"openid": ""}, {"openid": 5}, [], None, "o-1", {"errcode": "0"}])
def test_a_session_of_nobody_is_not_believed(desk, content):
    desk.says(content)

    with pytest.raises(ProviderBadAnswer):
        mini(desk).code_to_session("code")


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, b"<html>"),
        (200, {}, b"\xff"),
        (404, {}, b'{"openid": "o-1"}'),
        (302, {"Location": "/"}, b""),
        (200, {}, b""),
    ],
)
def test_a_page_instead_of_an_answer_is_not_believed(desk, answer):
    desk.answer = lambda _asked: answer

    with pytest.raises(ProviderBadAnswer):
        mini(desk).code_to_session("code")
    assert len(desk.asked) == 1


def test_no_error_shows_the_apps_secret(desk):
    let_go = threading.Event()
    for answer in (lambda _asked: None, lambda _asked: let_go.wait(3) and None, lambda _asked: (500, {}, b"")):
        desk.answer = answer
        with pytest.raises(ProviderUnsure) as unsure:
            mini(desk, timeout_s=0.2).code_to_session("code")
        assert unsure.value.__context__ is None
        assert SECRET not in repr(unsure.value)
    let_go.set()


# ---- WeChat: one token for everybody ----


def test_a_token_is_fetched_once_and_shared(desk):
    wechat, shelf = WeChat(desk, {"errcode": 0, "is_trade_managed": True}), Shelf()

    for _each in range(3):
        assert mini(desk, shelf).is_trade_managed() is True

    assert wechat.times("stable_token") == 1
    assert shelf.timeouts["wechat-token:wx1"] == 7200 - 300
    assert desk.asked[0].json == {
        "grant_type": "client_credential",
        "appid": "wx1",
        "secret": SECRET,
        "force_refresh": False,
    }


def test_a_token_near_its_end_is_used_and_not_kept(desk):
    desk.says_in_turn({"access_token": "short", "expires_in": 200}, {"errcode": 0})
    shelf = Shelf()

    assert mini(desk, shelf).is_trade_managed() is False
    assert shelf.kept == {}


@pytest.mark.parametrize(
    "content", [{}, {"access_token": ""}, {"access_token": "t"}, {"access_token": 5, "expires_in": 7200}]
)
def test_a_token_that_is_none_is_not_believed(desk, content):
    desk.says(content)

    with pytest.raises(ProviderBadAnswer):
        mini(desk).token()


def test_a_token_that_somebody_renewed_meanwhile_is_taken_from_the_store(desk):
    wechat, shelf = WeChat(desk, {"errcode": 0}, good="new"), Shelf()
    app = mini(desk, shelf)
    shelf.kept["wechat-token:wx1"] = "new"

    assert app._renewed("old") == "new"
    assert wechat.times("stable_token") == 0


def test_a_refused_token_is_renewed_gently_where_that_helps(desk):
    wechat, shelf = WeChat(desk, {"errcode": 0, "is_trade_managed": True}, good="new"), Shelf()
    shelf.kept["wechat-token:wx1"] = "old"

    assert mini(desk, shelf).is_trade_managed() is True

    assert (wechat.times("stable_token"), wechat.forced) == (1, 0)
    assert shelf.kept["wechat-token:wx1"] == "new"


def test_a_refused_token_that_wechat_still_gives_out_is_renewed_by_force_but_rarely(desk):
    wechat, shelf = WeChat(desk, {"errcode": 0, "is_trade_managed": True}, good="new"), Shelf()
    wechat.issued = "old"

    assert mini(desk, shelf).is_trade_managed() is True
    assert wechat.forced == 1

    wechat.good, wechat.issued = "newer", "new"
    with pytest.raises(ProviderUnsure, match="by force not long ago"):
        mini(desk, shelf).is_trade_managed()
    assert wechat.forced == 1


def test_a_token_that_is_always_refused_ends_after_two_tries(desk):
    wechat, shelf = WeChat(desk, {"errcode": 42001, "errmsg": "expired"}), Shelf()

    with pytest.raises(ProviderUnsure, match="42001"):
        mini(desk, shelf).is_trade_managed()

    assert wechat.times("is_trade_managed") == 2
    assert wechat.times("stable_token") <= 3
    assert not shelf.kept["wechat-token:wx1"]


@pytest.mark.django_db
def test_djangos_cache_is_a_store(desk):
    wechat = WeChat(desk, {"errcode": 0, "is_trade_managed": True})

    for _each in range(2):
        assert MiniProgram("wx1", SECRET, tokens=cache, base_url=desk.url, timeout_s=5).is_trade_managed()

    assert wechat.times("stable_token") == 1


def test_threads_share_a_client(desk):
    wechat = WeChat(desk, {"errcode": 0, "is_trade_managed": True})
    app = mini(desk)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda _: app.is_trade_managed(), range(12)))
    assert wechat.times("is_trade_managed") == 12


# ---- WeChat: phone number, shipping information ----


def test_a_phone_number_comes_with_its_country(desk):
    info = {"phoneNumber": "+86 13800000000", "purePhoneNumber": "13800000000", "countryCode": "86"}
    WeChat(desk, {"errcode": 0, "phone_info": info})

    assert mini(desk).phone_number("code") == Phone("86", "13800000000")
    assert desk.asked[-1].json == {"code": "code"}


@pytest.mark.parametrize("info", [None, [], {}, {"purePhoneNumber": ""}, {"purePhoneNumber": 138}])
def test_a_phone_number_that_is_none_is_not_believed(desk, info):
    WeChat(desk, {"errcode": 0, "phone_info": info})

    with pytest.raises(ProviderBadAnswer):
        mini(desk).phone_number("code")


def ship(desk, **changes):
    wish = {"transaction_id": "42000001", "openid": "o-1", "item": "电费充值 50.00元", "uploaded_at": NOW}
    mini(desk).upload_shipping_info(**wish | changes)


def test_shipping_information_says_that_virtual_goods_were_delivered(desk):
    WeChat(desk, {"errcode": 0, "errmsg": "ok"})

    ship(desk)

    asked = desk.asked[-1]
    assert urlsplit(asked.path).path == "/wxa/sec/order/upload_shipping_info"
    assert asked.json == {
        "order_key": {"order_number_type": 2, "transaction_id": "42000001"},
        "logistics_type": 3,
        "delivery_mode": 1,
        "shipping_list": [{"item_desc": "电费充值 50.00元"}],
        "upload_time": "2026-03-04T05:06:07.000+00:00",
        "payer": {"openid": "o-1"},
    }
    assert "电费充值".encode() in asked.body


@pytest.mark.parametrize("code", [10060002, 10060003, 10060004, 10060023])
def test_what_is_shipped_already_is_done(desk, code):
    WeChat(desk, {"errcode": code, "errmsg": "done"})

    ship(desk)


def test_too_early_is_unsure_and_wrong_is_refused(desk):
    WeChat(desk, {"errcode": 10060001, "errmsg": "支付单不存在"})
    with pytest.raises(ProviderUnsure, match="10060001"):
        ship(desk)

    WeChat(desk, {"errcode": 268485228, "errmsg": "列表长度必须为1"})
    with pytest.raises(ProviderRefused, match="268485228"):
        ship(desk, item="长" * 500)
    assert len(desk.asked[-1].json["shipping_list"][0]["item_desc"]) == 120


# ---- Alipay: who logs in, whose answer it is ----

APP, ALIPAY, NEXT = rsa_key("app"), rsa_key("alipay"), rsa_key("next alipay")
TOKEN = "alipay.system.oauth.token"
SOMEBODY = {"open_id": "074a1Cc", "union_id": "u-1", "access_token": "authbseB", "expires_in": 1296000}


def gateway(desk, **keys):
    given = {"app_id": "2021000000000001", "private_key": APP, "provider_keys": {"": ALIPAY.public_key()}} | keys
    return AlipayGateway(AlipayKeys(**given), gateway_url=desk.url, timeout_s=5)


def answers(desk: Vendor, content, *, key=ALIPAY, name: str = "", serial: str = "") -> None:
    desk.answer = lambda _asked: (200, {}, alipay_answer(TOKEN, content, key=key, name=name, serial=serial))


def test_an_auth_code_becomes_a_person(desk):
    answers(desk, SOMEBODY)

    person = gateway(desk).oauth_token("code+/=")

    assert person == Person("074a1Cc", "", "u-1")
    assert (person.subject, gateway(desk).app_id) == ("074a1Cc", "2021000000000001")
    fields = dict(parse_qsl(urlsplit(desk.asked[0].path).query) + parse_qsl(desk.asked[0].body.decode()))
    assert (fields["method"], fields["grant_type"], fields["code"]) == (TOKEN, "authorization_code", "code+/=")
    assert fields["biz_content"] == "{}"
    assert "code%2B" not in desk.asked[0].path


def test_an_older_app_knows_its_people_by_user_id(desk):
    answers(desk, {"user_id": "2088102169481075", "access_token": "authbseB"})

    assert gateway(desk).oauth_token("code").subject == "2088102169481075"


def test_a_person_without_a_name_is_nobody(desk):
    answers(desk, {"access_token": "authbseB"})

    with pytest.raises(ProviderBadAnswer, match="nobody"):
        gateway(desk).oauth_token("code")


@pytest.mark.parametrize(("key", "name"), [(ALIPAY, "error_response"), (None, ""), (None, "error_response")])
def test_a_bad_code_is_refused_signed_or_not(desk, key, name):
    content = {"code": "40002", "msg": "Invalid Arguments", "sub_code": "isv.code-invalid", "sub_msg": "授权码无效"}
    answers(desk, content, key=key, name=name)

    with pytest.raises(ProviderRefused) as refused:
        gateway(desk).oauth_token("code")
    assert (refused.value.code, refused.value.message) == ("isv.code-invalid", "授权码无效")


@pytest.mark.parametrize(
    "content",
    [
        {"code": "20000", "msg": "unavailable", "sub_code": "isp.unknow-error"},
        {"code": "20000", "msg": "unavailable", "sub_code": "aop.unknow-error"},
        {"code": "40004", "msg": "failed", "sub_code": "ACQ.SYSTEM_ERROR"},
        {"code": "40004", "msg": "failed", "sub_code": "isp.whatever"},
        {"code": "40005", "msg": "Call Limited"},
    ],
)
def test_after_their_fault_we_may_ask_again(desk, content):
    answers(desk, content)

    with pytest.raises(ProviderUnsure) as unsure:
        gateway(desk).oauth_token("code")
    assert not isinstance(unsure.value, ProviderBadAnswer)


def test_an_error_without_a_code_is_a_refusal(desk):
    answers(desk, {}, key=None, name="error_response")

    with pytest.raises(ProviderRefused, match="error_response"):
        gateway(desk).oauth_token("code")


def test_a_success_that_alipay_did_not_sign_is_forged(desk):
    for spoil in (
        lambda: answers(desk, SOMEBODY, key=None),
        lambda: answers(desk, SOMEBODY, key=rsa_key("nobody")),
        lambda: answers(desk, SOMEBODY, serial="sn-of-nobody"),
    ):
        spoil()
        with pytest.raises(ProviderBadAnswer, match="signature"):
            gateway(desk).oauth_token("code")

    good = alipay_answer(TOKEN, SOMEBODY, key=ALIPAY)
    for body in (good.replace(b"074a1Cc", b"074a1Cd"), good.replace(b'"sign":"', b'"sign":"%')):
        desk.answer = lambda _asked, body=body: (200, {}, body)
        with pytest.raises(ProviderBadAnswer, match="signature"):
            gateway(desk).oauth_token("code")


def test_a_refusal_under_a_wrong_signature_is_not_believed_either(desk):
    answers(desk, {"code": "40004", "sub_code": "ACQ.TRADE_NOT_EXIST"}, key=rsa_key("nobody"))

    with pytest.raises(ProviderBadAnswer, match="signature"):
        gateway(desk).oauth_token("code")


def test_braces_slashes_and_spaces_within_an_answer_do_not_move_what_is_signed(desk):
    text = '{"open_id" : "a } b { c", "union_id":"\\/\\u7535","nested":{"a":[1,{"b":"}"}]}}'
    body = (
        alipay_answer(TOKEN, text, key=ALIPAY)
        .replace(b'_response":', b'_response" : ')
        .replace(b',"sign"', b' , "sign"')
    )
    desk.answer = lambda _asked: (200, {}, b" \n" + body + b"\n")

    assert gateway(desk).oauth_token("code") == Person("a } b { c", "", "/电")


def test_the_key_is_chosen_by_the_certificate_that_alipay_names(desk):
    keys = {"today": ALIPAY.public_key(), "tomorrow": NEXT.public_key()}
    given = {"provider_keys": keys, "app_cert_sn": "a", "root_cert_sn": "r"}

    answers(desk, SOMEBODY, key=NEXT, serial="tomorrow")
    assert gateway(desk, **given).oauth_token("code").subject == "074a1Cc"

    answers(desk, SOMEBODY, key=NEXT, serial="today")
    with pytest.raises(ProviderBadAnswer, match="today"):
        gateway(desk, **given).oauth_token("code")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502</html>",
        b"[]",
        b"{}",
        b'{"a":1}',
        b'{"a" 1}',
        b'{"a":1',
        b"{1:2}",
        b"\xff",
        b"null",
        b'{"a":{}',
        b"{[]:1}",
        b'{"alipay_system_oauth_token_response":"text"}',
        pytest.param(b'{"a":' * 100_000, id="without end"),
    ],
)
def test_an_answer_that_is_none_is_not_believed(desk, body):
    desk.answer = lambda _asked: (200, {}, body)

    with pytest.raises(ProviderBadAnswer, match="malformed"):
        gateway(desk).oauth_token("code")


@pytest.mark.parametrize("status", [302, 404])
def test_another_status_than_200_is_not_read(desk, status):
    desk.answer = lambda _asked: (status, {"Location": "/"}, alipay_answer(TOKEN, SOMEBODY, key=ALIPAY))

    with pytest.raises(ProviderBadAnswer, match=str(status)):
        gateway(desk).oauth_token("code")


def test_keys_are_whole_or_refused():
    with pytest.raises(ValueError, match="public key"):
        AlipayKeys(app_id="1", private_key=APP, provider_keys={})
    with pytest.raises(ValueError, match="certificate mode"):
        AlipayKeys(app_id="1", private_key=APP, provider_keys={"": ALIPAY.public_key()}, app_cert_sn="a")


# ---- certificates' names, keys as vendors hand them out ----


def test_certificates_are_named_as_the_sdk_names_them():
    from alipay import DCAliPay  # the SDK's own reading, as an oracle

    certificate = certificate_pem(APP)

    assert certificate_sn(certificate) == DCAliPay.get_cert_sn(certificate)


def test_of_the_roots_those_signed_with_rsa_are_named_whatever_lies_between():
    first, second = certificate_pem(APP), certificate_pem(ALIPAY)
    elliptic = certificate_pem(ec.generate_private_key(ec.SECP256R1()))

    expected = f"{certificate_sn(first)}_{certificate_sn(second)}"

    for between in ("", "\n", "\n\n", "\r\n\r\nsome words\n"):
        assert root_sn(between.join((first, elliptic, second))) == expected


def test_what_is_no_certificate_has_no_name():
    for text in ("", "words", public_pem(APP)):
        with pytest.raises(pem.BadKeyError):
            certificate_sn(text)


def bare(text: str) -> str:
    """A key as Alipay's tool shows it: base64 without the lines around it."""
    return "".join(text.splitlines()[1:-1])


@pytest.mark.parametrize("form", [lambda t: t, bare, lambda t: f"\n {t}\n\n", lambda t: t.replace("\n", "\r\n")])
def test_keys_are_read_in_every_form_that_vendors_hand_out(form):
    pkcs1 = APP.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()

    for text in (private_pem(APP), pkcs1):
        assert pem.private_key(form(text)).private_numbers() == APP.private_numbers()
    assert pem.public_key(form(public_pem(APP))).public_numbers() == APP.public_key().public_numbers()


def test_a_certificate_is_a_public_key_too():
    assert pem.public_key(certificate_pem(APP)).public_numbers() == APP.public_key().public_numbers()


SHORT = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 (to be refused for it)
LOCKED = APP.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "words",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        pytest.param(private_pem(SHORT), id="short private"),
        pytest.param(public_pem(SHORT), id="short public"),
        pytest.param(certificate_pem(ec.generate_private_key(ec.SECP256R1())), id="elliptic"),
        pytest.param(LOCKED, id="with a password"),
    ],
)
def test_what_is_no_usable_key_is_refused_and_not_shown(text):
    for read in (pem.private_key, pem.public_key):
        with pytest.raises(pem.BadKeyError) as refused:
            read(text)
        assert "AAAA" not in str(refused.value)
        assert len(str(refused.value)) < 100


def test_the_halves_of_a_key_are_not_taken_for_each_other():
    with pytest.raises(pem.BadKeyError):
        pem.private_key(public_pem(APP))
    with pytest.raises(pem.BadKeyError):
        pem.public_key(private_pem(APP))


def test_the_clock_of_a_request_is_the_real_one(desk):
    answers(desk, SOMEBODY)

    gateway(desk).oauth_token("code")

    stamp = dict(parse_qsl(urlsplit(desk.asked[0].path).query))["timestamp"]
    at = datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone(timedelta(hours=8)))
    assert abs(datetime.now(UTC) - at) < timedelta(seconds=30)
