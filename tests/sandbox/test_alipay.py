"""The Alipay in a box signs, refuses and repeats itself as the real one does."""

import json
import re
import signal
import subprocess
import sys
import time
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import requests
from alipay import AliPay, DCAliPay
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sandbox.alipay import signed_notify
from sandbox.alipay_trades import BEIJING, fen_of, yuan_of
from sandbox.signatures import alipay_notify_message, is_signed
from tests.sandbox.merchants import AlipayAppByHand, form_of

SIGNED_PART = re.compile(r'^\{"\w+_response":(\{.*?\})(?:,"alipay_cert_sn":"\w+")?,"sign":"([^"]+)"\}$')


@pytest.fixture
def app(world, alipay):
    alipay.post("login_code", open_id="tenant")
    return AlipayAppByHand(world, alipay.url)


def result(answer):
    return next(iter(answer.json().values()))


def vendor_key(world, name="key"):
    return load_pem_public_key(Path(world.info["alipay"][name]["alipay_public_key_file"]).read_bytes())


def answer_verifies(world, answer, charset="utf-8", name="key"):
    found = SIGNED_PART.match(answer.content.decode(charset))
    return bool(found) and is_signed(vendor_key(world, name), found[1].encode(charset), found[2])


def notify_verifies(world, body, charset="utf-8", name="key"):
    form = form_of(body, charset)
    return is_signed(vendor_key(world, name), alipay_notify_message(form, charset), form["sign"])


# -- the product's SDK against it


def sdk_for(world, name):
    info = world.info["alipay"][name]
    usual = {
        "appid": info["app_id"],
        "app_notify_url": None,
        "app_private_key_string": Path(info["app_private_key_file"]).read_text(),
        "sign_type": "RSA2",
    }
    if name == "key":
        return AliPay(**usual, alipay_public_key_string=Path(info["alipay_public_key_file"]).read_text())
    return DCAliPay(
        **usual,
        app_public_key_cert_string=Path(info["app_cert_file"]).read_text(),
        alipay_public_key_cert_string=Path(info["alipay_cert_file"]).read_text(),
        alipay_root_cert_string=Path(info["root_cert_file"]).read_text(),
    )


@pytest.mark.parametrize("mode", ["key", "certificate"])
def test_an_independent_sdk_pays_queries_closes_and_reads_the_notify(world, alipay, receiver, mode):
    sdk = sdk_for(world, mode)
    sdk._gateway = f"{alipay.url}/gateway.do"
    info = world.info["alipay"][mode]
    given = alipay.post("login_code", open_id="tenant", app_id=info["app_id"])

    token = sdk.server_api("alipay.system.oauth.token", grant_type="authorization_code", code=given["auth_code"])
    order = AlipayAppByHand(world, alipay.url, mode).order("SDK0001")
    created = sdk.server_api("alipay.trade.create", order, notify_url=receiver.url)
    assert (token["open_id"], created["code"]) == ("tenant", "10000")
    alipay.post("trades/SDK0001/pay", wait=True)

    form = form_of(receiver.wait_for(1)[0][1])
    form.pop("sign_type")
    assert sdk.verify(form, form.pop("sign"))
    assert sdk.server_api("alipay.trade.query", {"out_trade_no": "SDK0001"})["trade_status"] == "TRADE_SUCCESS"
    closed = sdk.server_api("alipay.trade.close", {"out_trade_no": "SDK0001"})
    assert (closed["code"], closed["sub_code"]) == ("40004", "ACQ.TRADE_STATUS_ERROR")


# -- requests


def test_answers_are_signed_over_their_exact_text(world, alipay, app):
    alipay.post("login_code", open_id="tenant", union_id="a/b")
    given = alipay.post("login_code", open_id="tenant", union_id="a/b", user_id="2088000000000001")

    answer = app.call("alipay.system.oauth.token", grant_type="authorization_code", code=given["auth_code"])

    assert r"a\/b" in answer.text
    assert answer_verifies(world, answer)
    assert result(answer)["union_id"] == "a/b"
    again = app.call("alipay.system.oauth.token", grant_type="authorization_code", code=given["auth_code"])
    assert again.json()["error_response"]["sub_code"] == "isv.code-invalid"
    fresh = alipay.post("login_code", open_id="tenant")["auth_code"]
    wrong = app.call("alipay.system.oauth.token", grant_type="refresh", code=fresh)
    assert wrong.json()["error_response"]["sub_code"] == "isv.grant-type-invalid"


def test_a_gbk_request_is_read_and_answered_in_gbk(world, alipay, app):
    answer = app.call("alipay.trade.create", app.order(subject="房租"), charset="gbk")

    assert result(answer)["code"] == "10000"
    assert answer_verifies(world, answer, "gbk")
    assert alipay.get("trades/SANDBOX001")["asked"]["subject"] == "房租"
    missing = app.call("alipay.trade.query", {"out_trade_no": "NOSUCH"}, charset="gbk")
    assert "交易不存在" in missing.content.decode("gbk")


def beijing_in(seconds):
    return (datetime.now(BEIJING) + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("changes", "sub_code"),
    [
        ({"app_id": "1"}, "isv.invalid-app-id"),
        ({"app_id": ""}, "isv.missing-app-id"),
        ({"timestamp": -360}, "isv.invalid-timestamp"),
        ({"timestamp": 360}, "isv.invalid-timestamp"),
        ({"timestamp": "2026"}, "isv.invalid-timestamp"),
        ({"charset": "big5"}, "isv.invalid-charset"),
        ({"sign_type": "RSA"}, "isv.invalid-signature-type"),
        ({"version": "2.0"}, "isv.invalid-format"),
        ({"notify_url": "https://pay.example.com/n?m=1"}, "isv.invalid-parameter"),
        ({"biz_content": "no json"}, "isv.invalid-parameter"),
        ({"method": "alipay.no.such"}, "isv.invalid-method"),
    ],
)
def test_a_request_that_the_gateway_would_refuse_is_refused_unsigned(app, changes, sub_code):
    changes = {"method": "alipay.trade.query"} | changes
    if isinstance(changes.get("timestamp"), int):
        changes["timestamp"] = beijing_in(changes["timestamp"])  # counted from now: tests are collected minutes before

    answer = app.call(changes.pop("method"), {"out_trade_no": "SANDBOX001"}, **changes)

    assert result(answer)["sub_code"] == sub_code
    assert "sign" not in answer.json()


def test_a_foreign_signature_and_missing_certificate_names_are_refused(world, alipay, app):
    app.key = world.foreign.private
    assert result(app.call("alipay.trade.query", {}))["sub_code"] == "isv.invalid-signature"

    certified = AlipayAppByHand(world, alipay.url, "certificate")
    for name in ("app_cert_sn", "alipay_root_cert_sn"):
        answer = certified.call("alipay.trade.query", {"out_trade_no": "1"}, **{name: "0"})
        assert result(answer)["sub_code"] == f"isv.invalid-{name.replace('_', '-')}"
    answer = certified.call("alipay.trade.query", {"out_trade_no": "1"})
    assert answer.json()["alipay_cert_sn"] == certified.info["alipay_cert_sn"]
    assert answer_verifies(world, answer, name="certificate")


@pytest.mark.parametrize(
    ("changes", "sub_code"),
    [
        ({"out_trade_no": "with-dash"}, "ACQ.INVALID_PARAMETER"),
        ({"subject": "a=b"}, "ACQ.INVALID_PARAMETER"),
        ({"subject": None}, "ACQ.INVALID_PARAMETER"),
        ({"total_amount": "0.00"}, "ACQ.TOTAL_FEE_EXCEED"),
        ({"total_amount": "1.001"}, "ACQ.TOTAL_FEE_EXCEED"),
        ({"total_amount": "100000000.01"}, "ACQ.TOTAL_FEE_EXCEED"),
        ({"product_code": "QUICK_WAP_WAY"}, "ACQ.INVALID_PARAMETER"),
        ({"op_app_id": None}, "ACQ.INVALID_PARAMETER"),
        ({"buyer_open_id": "stranger"}, "ACQ.INVALID_PARAMETER"),
        ({"time_expire": "tomorrow"}, "ACQ.INVALID_PARAMETER"),
        ({"time_expire": beijing_in(-1)}, "ACQ.INVALID_PARAMETER"),
        ({"timeout_express": "soon"}, "ACQ.INVALID_PARAMETER"),
    ],
)
def test_a_trade_against_the_rules_is_a_signed_business_error(world, app, changes, sub_code):
    answer = app.call("alipay.trade.create", app.order(**changes))

    assert (result(answer)["code"], result(answer)["sub_code"]) == ("40004", sub_code)
    assert answer_verifies(world, answer)


def test_a_number_is_good_again_only_for_the_same_unpaid_open_trade(alipay, app):
    def create(number, **changes):
        return result(app.call("alipay.trade.create", app.order(number, **changes)))

    first = create("SANDBOX001")
    assert create("SANDBOX001")["trade_no"] == first["trade_no"]
    assert create("SANDBOX001", total_amount="1.00")["sub_code"] == "ACQ.CONTEXT_INCONSISTENT"
    alipay.post("trades/SANDBOX001/pay")
    assert create("SANDBOX001")["sub_code"] == "ACQ.TRADE_HAS_SUCCESS"
    create("SANDBOX002")
    assert result(app.call("alipay.trade.close", {"out_trade_no": "SANDBOX002"}))["code"] == "10000"
    assert create("SANDBOX002")["sub_code"] == "ACQ.TRADE_HAS_CLOSE"


def test_an_unpaid_trade_closes_when_its_time_is_over(alipay, app):
    app.call("alipay.trade.create", app.order(time_expire=beijing_in(1.5)))

    time.sleep(1.6)

    assert result(app.call("alipay.trade.query", {"out_trade_no": "SANDBOX001"}))["trade_status"] == "TRADE_CLOSED"
    assert alipay.post("trades/SANDBOX001/pay", status=409)["refused"] == "TRADE_CLOSED"
    assert alipay.post("trades/SANDBOX001/pay", force=True)["trade"]["state"] == "TRADE_SUCCESS"


def test_queries_go_by_either_number_and_only_to_the_own_seller(world, alipay, app):
    trade_no = result(app.call("alipay.trade.create", app.order()))["trade_no"]

    assert result(app.call("alipay.trade.query", {"trade_no": trade_no}))["trade_status"] == "WAIT_BUYER_PAY"
    assert result(app.call("alipay.trade.query", {}))["sub_code"] == "ACQ.INVALID_PARAMETER"
    other = AlipayAppByHand(world, alipay.url, "other")
    assert result(other.call("alipay.trade.query", {"trade_no": trade_no}))["sub_code"] == "ACQ.TRADE_NOT_EXIST"
    same_seller = AlipayAppByHand(world, alipay.url, "certificate")
    assert result(same_seller.call("alipay.trade.query", {"trade_no": trade_no}))["code"] == "10000"


def test_fifty_trades_at_once(app):
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda n: result(app.call("alipay.trade.create", app.order(f"P{n}"))), range(50)))

    assert len({a["trade_no"] for a in answers}) == 50


# -- the cashier page


def wap(app, receiver, number="WAP001", **changes):
    order = app.order(number, product_code="QUICK_WAP_WAY", quit_url="https://pay.example.com/quit", op_app_id=None)
    order = {k: v for k, v in (order | changes).items() if v is not None and k != "buyer_open_id"}
    return app.address(
        "alipay.trade.wap.pay", order, notify_url=receiver.url, return_url="https://pay.example.com/back"
    )


def test_a_page_is_shown_on_which_one_pays(world, alipay, app, receiver, http):
    visit = http.get(wap(app, receiver), allow_redirects=False)
    assert visit.status_code == 302
    assert result(app.call("alipay.trade.query", {"out_trade_no": "WAP001"}))["sub_code"] == "ACQ.TRADE_NOT_EXIST"

    page = http.get(visit.headers["Location"])
    assert "确认付款" in page.text
    assert "50.00" in page.text
    assert 'name="viewport"' in page.text
    cancelled = http.post(page.url, data={"action": "cancel"}, allow_redirects=False)
    assert cancelled.headers["Location"] == "https://pay.example.com/quit"
    back = http.post(page.url, data={"action": "pay"}, allow_redirects=False).headers["Location"]

    assert back.startswith("https://pay.example.com/back?")
    assert notify_verifies(world, back.split("?")[1].encode())
    assert form_of(receiver.wait_for(1)[0][1])["trade_status"] == "TRADE_SUCCESS"
    assert http.post(page.url, data={"action": "pay"}).status_code == 400
    assert http.get(page.url).status_code == 400


def test_a_wrong_request_for_the_page_is_a_page_that_says_so(alipay, app, receiver, http):
    assert http.get(wap(app, receiver, product_code="QUICK_WAP_PAY")).status_code == 400
    assert "isv.invalid-signature" in http.get(wap(app, receiver) + "&extra=1").text
    assert http.get(f"{alipay.url}/cashier/nosuch").status_code == 404
    fresh = http.get(wap(app, receiver, "WAP002"), allow_redirects=False).headers["Location"]
    assert http.post(fresh, data={"action": "pay"}).status_code == 400


# -- notifies


def test_a_notify_is_repeated_until_the_answer_is_exactly_success(world, alipay, app, receiver):
    receiver.answers = [(200, "SUCCESS"), (200, "success\n"), (200, "success")]
    app.call("alipay.trade.create", app.order(), notify_url=receiver.url)

    alipay.post("trades/SANDBOX001/pay", amount_fen=4999)

    came = [form_of(body) for _, body in receiver.wait_for(3)]
    assert all(notify_verifies(world, body) for _, body in receiver.came)
    assert len({f["notify_id"] for f in came}) == 1
    assert (came[0]["total_amount"], came[0]["trade_status"]) == ("49.99", "TRADE_SUCCESS")
    time.sleep(0.2)
    [entry] = alipay.get("callbacks?out_trade_no=SANDBOX001")["callbacks"]
    assert [t["accepted"] for t in entry["tries"]] == [False, False, True]


def test_a_notify_in_gbk_with_blank_fields_is_signed_over_them(world, alipay, app, receiver):
    alipay.post("faults", notify_charset="gbk", blank_fields=True)
    app.call("alipay.trade.create", app.order(subject="电费 + 水费"), notify_url=receiver.url)

    alipay.post("trades/SANDBOX001/pay")

    headers, body = receiver.wait_for(1)[0]
    form = form_of(body, "gbk")
    assert headers["Content-Type"].endswith("charset=GBK")
    assert (form["subject"], form["body"]) == ("电费 + 水费", "")
    assert notify_verifies(world, body, "gbk")
    without = {k: v for k, v in form.items() if v}
    assert not is_signed(vendor_key(world), alipay_notify_message(without, "gbk"), form["sign"])


def test_a_refund_in_the_console_is_told_under_the_states_of_a_payment(alipay, app, receiver):
    app.call("alipay.trade.create", app.order(), notify_url=receiver.url)
    alipay.post("trades/SANDBOX001/pay", wait=True)

    alipay.post("trades/SANDBOX001/refund", amount_fen=1000, wait=True)
    alipay.post("trades/SANDBOX001/refund", out_request_no="rest", wait=True)

    paid, part, whole = (form_of(body) for _, body in receiver.came)
    assert "refund_fee" not in paid
    assert (part["trade_status"], part["refund_fee"]) == ("TRADE_SUCCESS", "10.00")
    assert (whole["trade_status"], whole["refund_fee"], whole["out_biz_no"]) == ("TRADE_CLOSED", "50.00", "rest")
    assert "gmt_close" in whole
    assert alipay.post("trades/SANDBOX001/refund", status=400)["error"]


def test_closing_tells_the_merchant_unless_that_is_switched_off(alipay, app, receiver):
    for number in ("CLOSE1", "CLOSE2"):
        app.call("alipay.trade.create", app.order(number), notify_url=receiver.url)
    app.call("alipay.trade.close", {"out_trade_no": "CLOSE1"})
    alipay.post("faults", notify_closed=False)
    app.call("alipay.trade.close", {"out_trade_no": "CLOSE2"})

    [(_, body)] = receiver.wait_for(1)

    form = form_of(body)
    assert (form["out_trade_no"], form["trade_status"]) == ("CLOSE1", "TRADE_CLOSED")
    assert "gmt_payment" not in form


def test_notifies_are_held_doubled_early_or_never_sent_on_request(alipay, app, receiver):
    for number in ("HELD", "TWICE", "NEVER"):
        app.call("alipay.trade.create", app.order(number), notify_url=receiver.url)
    alipay.post("faults", callbacks="hold")
    alipay.post("trades/HELD/pay")
    alipay.post("faults", callbacks="twice")
    assert len(alipay.post("trades/TWICE/pay", wait=True)["callbacks"]) == 2
    alipay.post("faults", callbacks="never")
    assert alipay.post("trades/NEVER/pay")["callbacks"] == []
    alipay.post("callbacks/release", wait=True)
    assert len(receiver.came) == 3

    alipay.post("faults", callbacks="send", pay_before_answer=True)
    app.call("alipay.trade.create", app.order("EARLY"), notify_url=receiver.url)
    assert len(receiver.came) == 4
    assert alipay.post("trades/EARLY/notify", notify=2, wait=True)["callbacks"][1]["state"] == "accepted"


@pytest.mark.parametrize(
    ("wanted", "verifies"),
    [
        ({}, True),
        ({"charset": "gbk", "blank_fields": True}, True),
        ({"params": {"seller_id": "2088000000000999", "buyer_open_id": None}}, True),
        ({"refunded_fen": 100}, True),
        ({"sign_with": "foreign"}, False),
        ({"alter": "body"}, False),
        ({"alter": "signature"}, False),
        ({"alter": "unsigned"}, False),
        ({"alter": "sign_type"}, True),  # the signed text is the same: what must refuse it is the name RSA
    ],
)
def test_notifies_are_made_to_order(world, alipay, wanted, verifies):
    made = alipay.post("callbacks/craft", out_trade_no="CRAFT001", amount_fen=5000, **wanted)

    body, charset = b64decode(made["body_base64"]), wanted.get("charset", "utf-8")
    assert notify_verifies(world, body, charset) == verifies
    form = form_of(body, charset)
    for name, value in wanted.get("params", {}).items():
        assert form.get(name) == value


def test_a_crafted_notify_is_sent_on_request(world, alipay, receiver):
    sent = alipay.post("callbacks/craft", out_trade_no="CRAFT001", amount_fen=1, send_to=receiver.url)

    assert sent["answer"] == {"status": 200, "answer": "success"}
    assert alipay.post("callbacks/craft", status=400, out_trade_no="CRAFT001")["error"]
    headers, body = signed_notify(world, app="certificate", out_trade_no="C1", amount_fen=1)
    assert headers["Content-Type"] == "application/x-www-form-urlencoded; charset=UTF-8"
    assert notify_verifies(world, body, name="certificate")


# -- faults of answers


def test_answers_fail_are_unsigned_or_never_come_as_often_as_asked(world, alipay, app):
    match = "alipay.trade.create"

    def create(**fault):
        alipay.post("faults", answers=[{"match": match} | fault])
        return app.call("alipay.trade.create", app.order())

    assert create(html="<h1>502</h1>").status_code == 502
    assert create(status=500).status_code == 500
    unknown = create(code="20000", work_done=True)
    assert (result(unknown)["sub_code"], answer_verifies(world, unknown)) == ("isp.unknow-error", True)
    assert alipay.get("trades/SANDBOX001")["state"] == "WAIT_BUYER_PAY"
    assert result(create(code="ACQ.SYSTEM_ERROR"))["sub_code"] == "ACQ.SYSTEM_ERROR"
    for signature in ("none", "foreign", "altered"):
        assert not answer_verifies(world, create(signature=signature, delay_ms=1)), signature
    with pytest.raises(requests.ConnectionError):
        create(drop=True)
    alipay.post("faults", answers=[{"match": match, "code": "20000"}])
    app.key = world.foreign.private
    assert result(app.call(match, app.order()))["sub_code"] == "isv.invalid-signature"


def test_my_trade_pay_answers_with_the_codes_of_the_client(alipay, app):
    trade_no = result(app.call("alipay.trade.create", app.order()))["trade_no"]

    def tapped(**asked):
        return alipay.post("trade_pay", tradeNO=trade_no, **asked)["resultCode"]

    assert tapped(open_id="stranger") == "4000"
    assert tapped(action="cancel") == "6001"
    assert alipay.post("trades/SANDBOX001/cancel")["payers_refusal"] == "cancel"
    assert tapped(open_id="tenant") == "9000"
    assert tapped() == "4000"
    assert alipay.post("trade_pay", tradeNO="no")["resultCode"] == "4000"


# -- money and the process


@pytest.mark.parametrize(("yuan", "fen"), [("0.01", 1), ("50", 5000), ("50.1", 5010), ("50.10", 5010)])
def test_yuan_are_read_as_fen(yuan, fen):
    assert fen_of(yuan) == fen
    assert fen_of(yuan_of(fen)) == fen


def test_the_server_ends_on_sigterm_and_continues_with_its_state(world, tmp_path, http):
    command = [sys.executable, "-m", "sandbox.alipay", "--world", str(world.folder), "--port", "0"]
    for state in ("WAIT_BUYER_PAY", "TRADE_SUCCESS"):
        with subprocess.Popen(
            [*command, "--state", str(tmp_path / "alipay.json")], stdout=subprocess.PIPE, text=True
        ) as process:
            url = json.loads(process.stdout.readline())["url"]
            http.post(f"{url}/sandbox/login_code", json={"open_id": "tenant"})
            app = AlipayAppByHand(world, url)
            app.call("alipay.trade.create", app.order())
            found = result(app.call("alipay.trade.query", {"out_trade_no": "SANDBOX001"}))
            assert found["trade_status"] == state
            http.post(f"{url}/sandbox/trades/SANDBOX001/pay")
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("about", "sub_code"),
    [
        ({}, ""),
        ({"to_open_id": "nobody"}, "USER_NOT_EXIST"),
        ({"user_template_id": ""}, "USER_TEMPLATE_ILLEGAL"),
        ({"data": json.dumps({"keyword1": {"value": "x" * 51}})}, "USER_KEYWORD_LENGTH_ERROR"),
        ({"data": "none"}, "INVALID_PARAMETER"),
    ],
    ids=str,
)
def test_a_message_is_taken_or_refused_with_its_reason(alipay, app, about, sub_code):
    content = {"to_open_id": "tenant", "user_template_id": "t", "data": json.dumps({"keyword1": {"value": "x"}})}

    told = result(app.call("alipay.open.app.mini.templatemessage.send", content | about))

    assert told.get("sub_code", "") == sub_code
    assert len(alipay.get("messages")["messages"]) == (0 if sub_code else 1)


def test_who_has_unsubscribed_gets_no_message(alipay, app):
    alipay.post("unsubscribe", open_id="tenant")
    content = {"to_open_id": "tenant", "user_template_id": "t", "data": json.dumps({"keyword1": {"value": "x"}})}

    told = result(app.call("alipay.open.app.mini.templatemessage.send", content))

    assert (told["sub_code"], alipay.get("messages")["messages"]) == ("USER_NOT_SUBSCRIBED", [])
