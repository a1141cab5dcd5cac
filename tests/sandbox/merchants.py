"""A merchant that signs by hand, so that it can also sign wrongly."""

import json
import secrets
import time
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import requests
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sandbox.alipay_trades import BEIJING
from sandbox.signatures import (
    alipay_request_message,
    is_signed,
    signature_of,
    wechat_answer_message,
    wechat_pay_message,
    wechat_request_message,
)


class WeChatMerchantByHand:
    """Calls API v3 for one merchant of the world and verifies every 2xx answer."""

    def __init__(self, world, url, name="direct"):
        self.world, self.url, self.name = world, url, name
        self.info = world.info["wechat"][name]
        self.key = load_pem_private_key(Path(self.info["key_file"]).read_bytes(), None)

    def prepay_body(self, number="SANDBOX001", **changes):
        if self.info["mode"] == "partner":
            mine = {
                "sp_appid": self.info["appid"],
                "sp_mchid": self.info["mchid"],
                "sub_mchid": self.info["sub_mchid"],
                "sub_appid": self.info["sub_appid"],
                "payer": {"sub_openid": "oTenant"},
            }
        else:
            mine = {"appid": self.info["appid"], "mchid": self.info["mchid"], "payer": {"openid": "oTenant"}}
        usual = {
            "description": "电费充值",
            "out_trade_no": number,
            "notify_url": "https://pay.example.com/notify",
            "amount": {"total": 5000, "currency": "CNY"},
        }
        return {k: v for k, v in (mine | usual | changes).items() if v is not None}

    def headers(self, method, path, body=b"", **changes):
        at, nonce = changes.get("at", time.time()), secrets.token_hex(16)
        message = wechat_request_message(method=method, url=path, timestamp=str(int(at)), nonce=nonce, body=body)
        pairs = {
            "mchid": self.info["mchid"],
            "nonce_str": nonce,
            "timestamp": str(int(at)),
            "serial_no": changes.get("serial", self.info["serial"]),
            "signature": signature_of(changes.get("key", self.key), message),
        }
        authorization = ",".join(f'{k}="{v}"' for k, v in pairs.items())
        return {
            "Authorization": f"WECHATPAY2-SHA256-RSA2048 {authorization}",
            "Accept": "application/json",
            "User-Agent": "merchant by hand",
            "Content-Type": "application/json",
            "Wechatpay-Serial": self.info["public_key_id"],
        }

    def call(self, method, path, content=None, *, headers=None, **changes):
        body = b"" if content is None else json.dumps(content).encode()
        signed = self.headers(method, path, body, **changes) | (headers or {})
        with requests.Session() as session:
            session.trust_env = False
            session.headers.clear()
            return session.request(method, self.url + path, data=body or None, headers=signed, timeout=10)

    def base(self):
        return "/v3/pay/partner/transactions" if self.info["mode"] == "partner" else "/v3/pay/transactions"

    def prepay(self, number="SANDBOX001", **changes):
        return self.call("POST", f"{self.base()}/jsapi", self.prepay_body(number, **changes))

    def query(self, number="SANDBOX001"):
        return self.call("GET", f"{self.base()}/out-trade-no/{number}?{urlencode(self.numbers())}")

    def close(self, number="SANDBOX001"):
        return self.call("POST", f"{self.base()}/out-trade-no/{number}/close", self.numbers())

    def numbers(self):
        if self.info["mode"] == "partner":
            return {"sp_mchid": self.info["mchid"], "sub_mchid": self.info["sub_mchid"]}
        return {"mchid": self.info["mchid"]}

    def verifies(self, answer):
        keys = {k.serial: k for k in (*self.world.platform, self.world.wechat[self.name].public_key)}
        return verified(answer.headers, answer.content, keys)

    def pay_fields(self, prepay_id, appid=None):
        at, nonce, package = str(int(time.time())), secrets.token_hex(16), f"prepay_id={prepay_id}"
        appid = appid or self.info.get("sub_appid") or self.info["appid"]
        message = wechat_pay_message(appid=appid, timestamp=at, nonce=nonce, package=package)
        return {
            "timeStamp": at,
            "nonceStr": nonce,
            "package": package,
            "signType": "RSA",
            "paySign": signature_of(self.key, message),
        }


def verified(headers, body, keys):
    if "Wechatpay-Signature" not in headers:
        return False
    message = wechat_answer_message(
        timestamp=headers["Wechatpay-Timestamp"], nonce=headers["Wechatpay-Nonce"], body=body
    )
    return is_signed(keys[headers["Wechatpay-Serial"]].private.public_key(), message, headers["Wechatpay-Signature"])


class AlipayAppByHand:
    """Calls the gateway for one app of the world."""

    def __init__(self, world, url, name="key"):
        self.world, self.url, self.info = world, f"{url}/gateway.do", world.info["alipay"][name]
        self.key = load_pem_private_key(Path(self.info["app_private_key_file"]).read_bytes(), None)

    def params(self, method, content=None, **changes):
        charset = changes.get("charset", "utf-8")
        params = {
            "app_id": self.info["app_id"],
            "method": method,
            "charset": charset,
            "sign_type": "RSA2",
            "timestamp": datetime.now(BEIJING).strftime("%Y-%m-%d %H:%M:%S"),
            "version": "1.0",
            "format": "JSON",
        }
        if content is not None:
            params["biz_content"] = json.dumps(content, ensure_ascii=False)
        if self.info["mode"] == "certificate":
            params |= {"app_cert_sn": self.info["app_cert_sn"], "alipay_root_cert_sn": self.info["root_cert_sn"]}
        params |= changes
        return params | {"sign": signature_of(self.key, alipay_request_message(params, charset))}

    def address(self, method, content=None, **changes):
        params = self.params(method, content, **changes)
        return f"{self.url}?{urlencode(params, encoding=params['charset'])}"

    def call(self, method, content=None, **changes):
        params = self.params(method, content, **changes)
        data = urlencode(params, encoding=params["charset"]).encode()
        with requests.Session() as session:
            session.trust_env = False
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            return session.post(self.url, data=data, headers=form, timeout=10)

    def order(self, number="SANDBOX001", **changes):
        usual = {
            "out_trade_no": number,
            "total_amount": "50.00",
            "subject": "电费充值",
            "product_code": "JSAPI_PAY",
            "op_app_id": self.info["app_id"],
            "buyer_open_id": "tenant",
        }
        return {k: v for k, v in (usual | changes).items() if v is not None}


def form_of(body, charset="utf-8"):
    return dict(parse_qsl(body.decode(), keep_blank_values=True, encoding=charset))
