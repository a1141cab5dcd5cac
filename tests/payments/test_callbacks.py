"""What comes in at the callback addresses: what counts, what does not, how it is answered, what it leaves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from billing.models import Transfer
from notifications.models import WorkItem
from payments import merchants
from payments.models import Attempt, Payment, ProviderEvent, Refund
from sandbox.alipay import signed_notify
from sandbox.wechat import signed_callback
from tests import makers
from tests.payments.conftest import alipay_merchant, wechat_merchant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def attempt(world) -> Attempt:
    """An attempt of 50.00 yuan at a WeChat merchant, ready to be paid, of a home with a server-held meter."""
    return an_attempt(world)


def an_attempt(world, *, provider: str = "wechat", which: str = "", **kwargs: Any) -> Attempt:
    room = makers.a_room()
    purse = makers.a_purse(tenancy=makers.a_tenancy(room=room))
    makers.a_meter(room=room, is_online=True)
    if provider == "wechat":
        merchant = wechat_merchant(world, room.property, which=which or "direct")
    else:
        merchant = alipay_merchant(world, room.property, which=which or "key")
    return makers.an_attempt(order=makers.an_order(purse=purse), merchant=merchant, **kwargs)


def post(attempt, headers, body, *, slug=""):
    merchant = attempt.merchant
    content_type = headers.get("Content-Type", "application/json")
    rest = {f"HTTP_{k.upper().replace('-', '_')}": v for k, v in headers.items() if k.lower() != "content-type"}
    address = f"/payments/notify/{merchant.provider}/{slug or merchant.slug}/"
    return Client().post(address, data=body, content_type=content_type, **rest)


def pay(world, attempt, **kwargs):
    return post(attempt, *wechat_callback(world, attempt, **kwargs))


def wechat_callback(world, attempt, **kwargs):
    return signed_callback(world, **{"out_trade_no": attempt.number, "amount_fen": attempt.amount_fen} | kwargs)


def alipay_notify(world, attempt, **kwargs):
    return signed_notify(world, **{"out_trade_no": attempt.number, "amount_fen": attempt.amount_fen} | kwargs)


def credited_fen(attempt: Attempt) -> int:
    attempt.order.purse.refresh_from_db()
    return attempt.order.purse.paid_fen


def assert_nothing_moved(attempt: Attempt) -> None:
    assert credited_fen(attempt) == 0
    assert not Transfer.objects.exists()
    assert not Payment.objects.exists()


class TestGenuine:
    def test_it_credits_the_purse_and_answers_204(self, world, attempt):
        response = pay(world, attempt)

        assert response.status_code == 204
        assert credited_fen(attempt) == 5000

    @pytest.mark.parametrize("key", ["public_key", "platform_certificate"])
    def test_it_takes_both_of_wechats_keys_during_a_switch(self, world, attempt, key):
        assert pay(world, attempt, sign_with=key).status_code == 204

        assert credited_fen(attempt) == 5000

    def test_it_keeps_the_evidence_whole(self, world, attempt):
        headers, body = wechat_callback(world, attempt)

        post(attempt, headers, body)

        event = ProviderEvent.objects.get()
        assert (bytes(event.body), event.is_verified, event.state) == (body, True, "done")
        assert event.headers["wechatpay-serial"] == headers["Wechatpay-Serial"]

    def test_it_counts_a_repeated_event_once(self, world, attempt):
        headers, body = wechat_callback(world, attempt)

        answers = [post(attempt, headers, body).status_code for _each in range(3)]

        assert answers == [204, 204, 204]
        assert credited_fen(attempt) == 5000
        assert ProviderEvent.objects.get().times == 3

    def test_it_serves_a_sub_merchant_of_a_service_provider(self, world):
        attempt = an_attempt(world, which="partner")

        assert pay(world, attempt, merchant="partner").status_code == 204

        assert credited_fen(attempt) == 5000

    @pytest.mark.parametrize("which", ["key", "certificate"])
    def test_it_credits_alipay_in_both_modes_and_answers_success(self, world, which):
        attempt = an_attempt(world, provider="alipay", which=which)

        response = post(attempt, *alipay_notify(world, attempt, app=which))

        assert (response.status_code, response.content) == (200, b"success")
        assert credited_fen(attempt) == 5000

    @pytest.mark.parametrize(
        "form", [{"charset": "gbk"}, {"blank_fields": True}, {"charset": "gbk", "blank_fields": True}]
    )
    def test_it_reads_alipays_gbk_and_blank_fields(self, world, form):
        attempt = an_attempt(world, provider="alipay")

        response = post(attempt, *alipay_notify(world, attempt, subject="电费充值 50.00元", **form))

        assert response.content == b"success"
        assert credited_fen(attempt) == 5000

    def test_it_takes_a_trade_that_is_finished_as_paid(self, world):
        attempt = an_attempt(world, provider="alipay")

        post(attempt, *alipay_notify(world, attempt, state="TRADE_FINISHED"))

        assert credited_fen(attempt) == 5000

    def test_it_does_nothing_for_a_trade_closed_unpaid(self, world):
        attempt = an_attempt(world, provider="alipay")

        response = post(attempt, *alipay_notify(world, attempt, state="TRADE_CLOSED"))

        assert response.content == b"success"
        assert_nothing_moved(attempt)
        assert ProviderEvent.objects.get().state == "done"


class TestSuspense:
    def test_it_suspends_a_wrong_amount(self, world, attempt):
        response = pay(world, attempt, amount_fen=4999)

        assert response.status_code == 204
        self.assert_suspended(attempt, "wrong_amount", 4999)

    def test_it_suspends_a_genuine_payment_for_an_unknown_order(self, world, attempt):
        response = pay(world, attempt, out_trade_no="A00000000000000000000000NO")

        assert response.status_code == 204
        self.assert_suspended(attempt, "unknown_order", 5000)

    def test_it_suspends_a_second_payment_through_the_other_provider(self, world, attempt):
        other = makers.an_attempt(
            order=attempt.order, merchant=alipay_merchant(world, attempt.property), channel="alipay_mini"
        )
        pay(world, attempt)

        response = post(other, *alipay_notify(world, other))

        assert response.content == b"success"
        assert credited_fen(attempt) == 5000
        assert Payment.objects.get(suspicion="surplus").amount_fen == 5000
        assert WorkItem.objects.get(kind="payment_in_suspense").detail["why"] == "surplus"

    def test_it_credits_an_order_that_was_closed_here(self, world, attempt):
        type(attempt.order).objects.filter(pk=attempt.order_id).update(state="closed")

        pay(world, attempt)

        attempt.order.refresh_from_db()
        assert (attempt.order.state, credited_fen(attempt)) == ("paid", 5000)

    def test_it_suspends_what_comes_after_the_tenancy_ended(self, world, attempt):
        tenancy = attempt.order.tenancy
        tenancy.ends_at = attempt.made_at
        tenancy.save(update_fields=["ends_at"])

        response = pay(world, attempt)

        assert response.status_code == 204
        self.assert_suspended(attempt, "tenancy_ended", 5000)

    @staticmethod
    def assert_suspended(attempt: Attempt, why: str, amount_fen: int) -> None:
        assert credited_fen(attempt) == 0
        payment = Payment.objects.get()
        assert (payment.state, payment.suspicion, payment.amount_fen) == ("suspended", why, amount_fen)
        assert WorkItem.objects.get(kind="payment_in_suspense").detail["why"] == why
        lines = Transfer.objects.values_list("debit__kind", "credit__kind", "amount_fen")
        assert list(lines) == [("clearing", "suspense", amount_fen)]

    def test_an_order_whose_payment_is_in_suspense_waits_for_no_other(self, world, attempt):
        pay(world, attempt, amount_fen=4999)

        attempt.order.refresh_from_db()
        assert attempt.order.state == "closed"


class TestNotForUs:
    """A genuine signature over somebody else's payment: refused, kept whole, on the work list; no money moves."""

    @pytest.mark.parametrize(
        ("resource", "why"),
        [
            ({"mchid": "1900000999"}, "wrong_account"),
            ({"appid": "wxsandboxother"}, "wrong_app_id"),
            ({"amount": {"currency": "USD"}}, "wrong_currency"),
        ],
    )
    def test_it_refuses_another_receiver_at_wechat(self, world, attempt, resource, why):
        response = pay(world, attempt, resource=resource)

        assert response.status_code == 401
        assert response.json()["code"] == "FAIL"
        self.assert_refused(attempt, why)

    @pytest.mark.parametrize(
        ("params", "why"),
        [({"seller_id": "2088000000000999"}, "wrong_account"), ({"app_id": "2021000000000999"}, "wrong_app_id")],
    )
    def test_it_refuses_another_receiver_at_alipay(self, world, params, why):
        attempt = an_attempt(world, provider="alipay")

        response = post(attempt, *alipay_notify(world, attempt, params=params))

        assert (response.status_code, response.content) == (400, b"fail")
        self.assert_refused(attempt, why)

    @staticmethod
    def assert_refused(attempt: Attempt, why: str) -> None:
        assert_nothing_moved(attempt)
        event = ProviderEvent.objects.get()
        assert (event.is_verified, event.state, event.reason) == (True, "refused", why)
        assert event.body
        assert WorkItem.objects.get(kind="event_for_somebody_else").detail["why"] == why


class TestForged:
    """Nobody vouches for it: a 4xx, a hash and a reason; never a 500, never a credit."""

    @pytest.mark.parametrize(
        "kwargs",
        [
            pytest.param({"sign_with": "foreign", "serial": "PUB_KEY"}, id="foreign signature"),
            pytest.param({"sign_with": "foreign"}, id="unknown serial"),
            pytest.param({"alter": "body"}, id="altered body"),
            pytest.param({"alter": "signature"}, id="altered signature"),
            pytest.param({"alter": "signtest"}, id="probe"),
            pytest.param({"alter": "tag"}, id="altered GCM tag"),
            pytest.param({"alter": "ciphertext"}, id="altered ciphertext"),
            pytest.param({"resource_nonce": "short"}, id="wrong nonce length"),
            pytest.param({"drop_headers": ["Wechatpay-Signature"]}, id="no signature"),
            pytest.param({"drop_headers": ["Wechatpay-Serial"]}, id="no serial"),
            pytest.param({"drop_headers": ["Wechatpay-Timestamp", "Wechatpay-Nonce"]}, id="no timestamp, no nonce"),
            pytest.param({"headers": {"Wechatpay-Timestamp": "soon"}}, id="timestamp is no number"),
            pytest.param({"headers": {"Wechatpay-Signature": "%%%"}}, id="signature is no base64"),
            pytest.param({"headers": {"Wechatpay-Serial": "zz-not-hex"}}, id="serial is not hex"),
        ],
    )
    def test_it_is_answered_with_fail_and_leaves_a_reason(self, world, attempt, kwargs):
        if kwargs.get("serial") == "PUB_KEY":
            kwargs = kwargs | {"serial": world.info["wechat"]["direct"]["public_key_id"]}

        response = pay(world, attempt, **kwargs)

        assert 400 <= response.status_code < 500
        assert response.json()["code"] == "FAIL"
        assert_nothing_moved(attempt)
        event = ProviderEvent.objects.get()
        assert (event.is_verified, event.state, event.body) == (False, "refused", None)
        assert event.reason
        assert len(event.body_sha256) == 64

    @pytest.mark.parametrize("minutes", [-6, 6])
    def test_a_clock_six_minutes_off_is_refused(self, world, attempt, minutes):
        import time

        response = pay(world, attempt, at=time.time() + 60 * minutes)

        assert response.status_code == 401
        assert_nothing_moved(attempt)

    @pytest.mark.parametrize(
        "body", [b"", b"not json", b"[]", b"{}", b'{"resource": 1}', b"\xff\xfe\x00", b"\x00" * 100]
    )
    def test_noise_is_refused(self, world, attempt, body):
        response = post(attempt, {"Wechatpay-Serial": "x"}, body)

        assert response.status_code == 401
        assert_nothing_moved(attempt)

    def test_two_megabytes_are_refused_unread(self, world, attempt):
        headers, _body = wechat_callback(world, attempt)

        response = post(attempt, headers, b"x" * 2_000_000)

        assert response.status_code == 413
        assert_nothing_moved(attempt)
        assert ProviderEvent.objects.get().reason == "too_large"

    @pytest.mark.parametrize("kwargs", [{"sign_with": "foreign"}, {"alter": "body"}, {"alter": "signature"},
                                        {"alter": "unsigned"}, {"alter": "sign_type"}])  # fmt: skip
    def test_alipay_is_answered_with_fail(self, world, kwargs):
        attempt = an_attempt(world, provider="alipay")

        response = post(attempt, *alipay_notify(world, attempt, **kwargs))

        assert (response.status_code, response.content) == (400, b"fail")
        assert_nothing_moved(attempt)
        assert ProviderEvent.objects.get().is_verified is False

    @pytest.mark.parametrize("provider", ["wechat", "alipay"])
    def test_keys_that_cannot_be_read_are_ours_to_mend(self, world, provider):
        attempt = an_attempt(world, provider=provider)
        type(attempt.merchant).objects.update(private_key_ref="env:NOT_THERE")
        made = wechat_callback if provider == "wechat" else alipay_notify

        response = post(attempt, *made(world, attempt))

        assert response.status_code == 503
        assert_nothing_moved(attempt)
        assert WorkItem.objects.get().detail["why"] == "keys_unusable"

    def test_a_sandbox_merchant_takes_no_money_in_production(self, world, attempt, settings):
        settings.PRODUCTION = True

        response = pay(world, attempt)

        assert response.status_code == 503
        assert_nothing_moved(attempt)

    @pytest.mark.parametrize("is_marked", [True, False])
    def test_a_sandboxs_keys_are_known_even_when_nobody_says_so(self, world, attempt, is_marked):
        type(attempt.merchant).objects.update(is_sandbox=is_marked)

        assert merchants.sandbox_mark(type(attempt.merchant).objects.get())

    def test_nobody_by_that_name_is_a_404(self, world, attempt):
        response = post(attempt, *wechat_callback(world, attempt), slug="nobody")

        assert response.status_code == 404
        assert_nothing_moved(attempt)

    def test_a_flood_is_counted_and_not_stored(self, world, attempt):
        for _each in range(40):
            post(attempt, {"Wechatpay-Serial": "x"}, b"noise")

        assert ProviderEvent.objects.count() == 30
        assert sum(ProviderEvent.objects.values_list("times", flat=True)) == 40

    def test_a_get_is_not_a_callback(self, attempt):
        assert Client().get(f"/payments/notify/wechat/{attempt.merchant.slug}/").status_code == 405

    def test_nothing_of_the_inside_leaves(self, world, attempt):
        response = pay(world, attempt, alter="tag")

        assert "Traceback" not in response.content.decode()
        assert set(json.loads(response.content)) == {"code", "message"}

    def test_what_is_signed_and_unreadable_goes_to_a_person(self, world, attempt):
        pay(world, attempt, alter="tag")

        assert WorkItem.objects.get().kind == "event_unreadable"


class TestRefundFromOutside:
    """A refund made in Alipay's own console comes as TRADE_SUCCESS with refund_fee: not a second credit."""

    @pytest.fixture
    def paid(self, world) -> Attempt:
        attempt = an_attempt(world, provider="alipay")
        post(attempt, *alipay_notify(world, attempt, trade_no="T1"))
        return attempt

    def test_it_debits_the_purse_and_tells_a_person(self, world, paid):
        response = post(paid, *alipay_notify(world, paid, trade_no="T1", refunded_fen=2000))

        assert response.content == b"success"
        assert credited_fen(paid) == 3000
        assert Refund.objects.get().amount_fen == 2000
        assert WorkItem.objects.get(kind="refund_made_outside").detail["amount_fen"] == 2000

    def test_it_takes_the_same_refund_once(self, world, paid):
        for _each in range(3):
            post(paid, *alipay_notify(world, paid, trade_no="T1", refunded_fen=2000))

        assert credited_fen(paid) == 3000

    def test_two_refunds_out_of_order_come_to_their_sum(self, world, paid):
        post(paid, *alipay_notify(world, paid, trade_no="T1", refunded_fen=3000, params={"out_biz_no": "second"}))
        post(paid, *alipay_notify(world, paid, trade_no="T1", refunded_fen=1000, params={"out_biz_no": "first"}))

        assert credited_fen(paid) == 2000

    def test_a_refund_of_the_whole_closes_the_trade_and_empties_the_purse(self, world, paid):
        post(paid, *alipay_notify(world, paid, trade_no="T1", refunded_fen=5000, state="TRADE_CLOSED"))

        assert credited_fen(paid) == 0
        assert Payment.objects.get().refunded_fen == 5000

    def test_a_refund_heard_of_before_its_payment_comes_out_even(self, world):
        attempt = an_attempt(world, provider="alipay")

        post(attempt, *alipay_notify(world, attempt, trade_no="T1", refunded_fen=2000))
        post(attempt, *alipay_notify(world, attempt, trade_no="T1"))

        assert credited_fen(attempt) == 3000
        assert Payment.objects.count() == 1
