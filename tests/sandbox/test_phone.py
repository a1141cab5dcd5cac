"""The tenant's phone pays at both vendors what a product hands over, and refuses what their clients would refuse."""

import json
import secrets

import pytest
import requests
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from sandbox.phone import Phone, PhoneError
from tests.sandbox.conftest import served
from tests.sandbox.merchants import AlipayAppByHand, WeChatMerchantByHand


class SmallestShop:
    """The least that has the product's API: it places orders at the real sandboxes and believes their queries."""

    def __init__(self, world, wechat_url, alipay_url, receiver_url):
        self.wechat = WeChatMerchantByHand(world, wechat_url)
        self.alipay = AlipayAppByHand(world, alipay_url)
        self.secret = world.app_secrets[self.wechat.info["appid"]]
        self.receiver_url = receiver_url
        self.people, self.orders, self.keys = {}, {}, {}
        self.routes = Map(
            [
                Rule("/api/v1/auth/wechat", methods=["POST"], endpoint=self.log_in_wechat),
                Rule("/api/v1/auth/alipay", methods=["POST"], endpoint=self.log_in_alipay),
                Rule("/api/v1/homes", methods=["GET"], endpoint=self.homes),
                Rule("/api/v1/homes", methods=["POST"], endpoint=self.bind),
                Rule("/api/v1/recharges", methods=["POST"], endpoint=self.recharge),
                Rule("/api/v1/recharges/<number>", methods=["GET"], endpoint=self.order),
                Rule("/api/v1/recharges/<number>/cancel", methods=["POST"], endpoint=self.cancel),
            ]
        )

    def __call__(self, environ, start_response):
        request = Request(environ)
        try:
            handler, args = self.routes.bind_to_environ(environ).match()
            answer = Response(json.dumps(handler(request, **args)), mimetype="application/json")
        except HTTPException as error:
            answer = Response(json.dumps({"error": error.name}), status=error.code, mimetype="application/json")
        return answer(environ, start_response)

    def log_in_wechat(self, request):
        asked = {"appid": self.wechat.info["appid"], "secret": self.secret, "js_code": request.json["code"]}
        with requests.Session() as session:
            session.trust_env = False
            path = f"{self.wechat.url}/sns/jscode2session"
            openid = session.get(path, params=asked | {"grant_type": "authorization_code"}).json()["openid"]
        return self.logged_in(openid)

    def log_in_alipay(self, request):
        answer = self.alipay.call(
            "alipay.system.oauth.token", grant_type="authorization_code", code=request.json["auth_code"]
        )
        return self.logged_in(answer.json()["alipay_system_oauth_token_response"]["open_id"])

    def logged_in(self, person):
        token = secrets.token_hex(8)
        self.people[token] = person
        return {"token": token}

    def who(self, request):
        return self.people[request.headers["Authorization"].removeprefix("Bearer ")]

    def homes(self, request):
        return {"homes": [self.who(request)]}

    def bind(self, request):
        return request.json

    def recharge(self, request):
        if request.headers["Idempotency-Key"] in self.keys:
            return self.orders[self.keys[request.headers["Idempotency-Key"]]]
        number = f"R{secrets.token_hex(8)}"
        order = {"number": number, "state": "unpaid", "amount": request.json["amount"]}
        pay = getattr(self, request.json["channel"])(number, order["amount"], self.who(request))
        self.keys[request.headers["Idempotency-Key"]] = number
        self.orders[number] = order | {"pay": pay}
        return self.orders[number]

    def wechat_mini(self, number, amount, openid):
        total = {"total": int(float(amount) * 100)}
        answer = self.wechat.prepay(number, amount=total, payer={"openid": openid}, notify_url=self.receiver_url)
        return self.wechat.pay_fields(answer.json()["prepay_id"])

    def alipay_mini(self, number, amount, open_id):
        order = self.alipay.order(number, total_amount=amount, buyer_open_id=open_id)
        answer = self.alipay.call("alipay.trade.create", order, notify_url=self.receiver_url)
        return {"tradeNO": answer.json()["alipay_trade_create_response"]["trade_no"]}

    def alipay_wap(self, number, amount, _open_id):
        order = self.alipay.order(
            number, total_amount=amount, product_code="QUICK_WAP_WAY", quit_url="https://x.test/q"
        )
        return {"url": self.alipay.address("alipay.trade.wap.pay", order, notify_url=self.receiver_url)}

    def order(self, _request, number):
        if number not in self.orders:
            raise NotFound
        order = self.orders[number]
        if "paySign" in order["pay"]:
            paid = self.wechat.query(number).json()["trade_state"] == "SUCCESS"
        else:
            answer = self.alipay.call("alipay.trade.query", {"out_trade_no": number})
            paid = answer.json()["alipay_trade_query_response"].get("trade_status") == "TRADE_SUCCESS"
        return order | {"state": "paid" if paid else "unpaid"}

    def cancel(self, _request, number):
        self.wechat.close(number)
        return self.orders[number] | {"state": "cancelled"}


@pytest.fixture
def shop_url(world, wechat, alipay, receiver):
    with served(SmallestShop(world, wechat.url, alipay.url, receiver.url)) as url:
        yield url


@pytest.fixture
def phone(shop_url, wechat, alipay):
    with Phone(shop_url, wechat_url=wechat.url, alipay_url=alipay.url) as made:
        yield made


def test_a_tenant_logs_in_binds_recharges_and_pays_with_wechat(phone, wechat, receiver):
    assert phone.log_in_wechat("oTenant", phone="13800000000")["token"]
    assert phone.homes() == {"homes": ["oTenant"]}
    assert phone.bind(invitation="ABCD") == {"code": "ABCD"}
    assert phone.bind() == {"phone_code": phone.phone_code}
    order = phone.recharge("1", "50.00", key="once")
    assert phone.recharge("1", "50.00", key="once") == order
    assert phone.cancel(order)["errMsg"] == "requestPayment:fail cancel"

    paid = phone.pay(order, wait=True)

    assert paid["errMsg"] == "requestPayment:ok"
    assert paid["callbacks"][0]["state"] == "accepted"
    assert phone.wait_for(order["number"])["state"] == "paid"
    assert len(receiver.came) == 1


@pytest.mark.parametrize("channel", ["alipay_mini", "alipay_wap"])
def test_a_tenant_pays_with_alipay(phone, channel, receiver):
    phone.log_in_alipay()
    order = phone.recharge("1", "50.00", channel)
    phone.cancel(order)
    assert phone.order(order["number"])["state"] == "unpaid"

    phone.pay(order)

    assert phone.wait_for(order["number"])["state"] == "paid"
    assert len(receiver.wait_for(1)) == 1
    with pytest.raises(PhoneError):
        phone.pay(order)


def test_two_taps_at_once_pay_once(phone, receiver):
    phone.log_in_wechat("oTenant")
    order = phone.recharge("1", "50.00")

    answers = phone.pay_twice(order, wait=True)

    assert sorted(isinstance(a, PhoneError) for a in answers) == [False, True]
    assert len(receiver.came) == 1


def test_a_pay_sign_of_another_is_refused_by_the_phone(phone):
    phone.log_in_wechat("oTenant")
    order = phone.recharge("1", "50.00")
    order["pay"]["nonceStr"] = "another"

    with pytest.raises(PhoneError, match="签名"):
        phone.pay(order)


def test_a_cancelled_order_is_not_paid_and_waiting_has_an_end(phone):
    phone.log_in_wechat("oTenant")
    order = phone.recharge("1", "50.00")
    assert phone.cancel_order(order["number"])["state"] == "cancelled"

    with pytest.raises(PhoneError, match="CLOSED"):
        phone.pay(order)
    with pytest.raises(PhoneError, match="did not arrive"):
        phone.wait_for(order["number"], timeout_s=0.2)
    assert phone.wait_for(order["number"], lambda o: o["state"] == "unpaid")


def test_what_goes_wrong_at_the_product_is_told(phone, shop_url, wechat):
    with pytest.raises(PhoneError) as told:
        phone.order("nosuch")
    assert told.value.status == 404
    wechat.post("login_code", openid="x")
    with Phone(wechat.url, wechat_url=wechat.url) as lost, pytest.raises(PhoneError):
        lost.api("GET", "/cgi-bin/token/nowhere")
    with Phone(shop_url, alipay_url=wechat.url) as lost, pytest.raises(PhoneError, match="404"):
        lost.pay({"pay": {"url": f"{wechat.url}/cashier/nosuch"}})
