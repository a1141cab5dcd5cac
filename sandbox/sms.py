"""SMS in a box: `python -m sandbox.sms --world <folder> --port N [--speed 60] [--state <file>]`.

One server plays dysmsapi.aliyuncs.com (SendSms, QuerySendDetails) and sms.tencentcloudapi.com (SendSms,
PullSmsSendStatusByPhoneNumber): which of them is meant stands in a request's headers. Signatures are verified as the
vendors' documents say. Status reports are pushed to the addresses that `/sandbox/report_to` names.
"""

import json
import secrets
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from werkzeug.routing import Rule
from werkzeug.wrappers import Request, Response

from sandbox.callbacks import Courier, Delivery, Dressed
from sandbox.faults import AnswerFault, Faults
from sandbox.server import Box, Handler, as_json, hang_up, json_of, main, pause_for
from sandbox.sms_signatures import BEIJING, BadSignatureError, check_aliyun, check_tencent
from sandbox.world import World

CHOICES: dict[str, tuple[Any, ...]] = {
    "receipts": ("soon", "hold", "never", "twice"),
    "carriers": ("deliver", "fail"),  # what mobile carriers make of it
}
LADDER_S = (60.0, 300.0, 900.0)
A_DAY_S = 86_400
REPORT_AFTER_S = 0.2
ONE_SMS, A_PART = 70, 67  # characters, the sign name with its brackets among them
SIGN = {"aliyun": "meterpay", "tencent": "meterpay"}


class SmsError(Exception):
    """A vendor's refusal: `code` and `message` as it words them."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass
class Sms:
    """One SMS that a vendor took."""

    vendor: str
    to: str
    template: str
    params: Any
    reference: str  # OutId, SessionContext
    number: str  # BizId, SerialNo
    at: float
    parts: int
    state: str = "on its way"  # delivered, failed: what a carrier has reported
    reported_at: float = 0.0


class SmsBox(Box):
    """Both vendors: what they sent, their limits, their reports."""

    def __init__(self, world: World, *, speed: float = 1.0) -> None:
        self.sent: list[Sms] = []
        self.by_phone: dict[str, list[Sms]] = defaultdict(list)
        self.by_number: dict[str, Sms] = {}
        self.report_to: dict[str, str] = {}
        self.templates: dict[str, str] = {}
        self.a_day: dict[str, int] = {}
        self.apart_s: dict[str, float] = {}
        self.forget()
        courier = Courier(ladder_s=LADDER_S, speed=speed, dress=self._dress, accepts=_accepts, changed=self.changed)
        super().__init__(world, faults=Faults(CHOICES), courier=courier)

    def routes(self) -> Iterable[Rule]:
        yield Rule("/", methods=["POST"], endpoint=self._vendor)
        yield Rule("/sandbox/messages", methods=["GET"], endpoint=self._messages)
        yield Rule("/sandbox/report_to", methods=["POST"], endpoint=self._report_to)
        yield Rule("/sandbox/limits", methods=["POST"], endpoint=self._limits)
        yield Rule("/sandbox/templates", methods=["POST"], endpoint=self._templates)

    def answer(self, request: Request, handler: Handler, args: dict[str, Any]) -> Response:
        fault = self.faults.take(_action(request))
        if fault and not fault.work_done:
            return self._spoiled(request, fault) or handler(request, **args)
        response = handler(request, **args)
        return (fault and self._spoiled(request, fault)) or response

    def snapshot(self) -> dict[str, Any]:
        sent = [asdict(one) for one in self.sent]
        return {"sent": sent, "report_to": self.report_to, "templates": self.templates}

    def restore(self, saved: dict[str, Any]) -> None:
        self.forget()
        for one in saved["sent"]:
            self._keep(Sms(**one))
        self.report_to = dict(saved["report_to"])
        self.templates = dict(saved.get("templates", {}))

    def forget(self) -> None:
        self.sent.clear()
        self.by_phone.clear()
        self.by_number.clear()
        self.report_to, self.templates = {}, {}
        self.a_day, self.apart_s = {"aliyun": 50, "tencent": 50}, {"aliyun": 0.0, "tencent": 0.0}

    # ---- the vendors ----

    def _vendor(self, request: Request) -> Response:
        if "X-Acs-Action" in request.headers:
            return self._aliyun(request)
        return self._tencent(request)

    def _aliyun(self, request: Request) -> Response:
        about = {"RequestId": secrets.token_hex(16).upper()}
        try:
            check_aliyun(request, self.world.sms["aliyun"])
            action = {"SendSms": self._aliyun_send, "QuerySendDetails": self._aliyun_details}
            told = action.get(_action(request), _no_such_action)(request.args.to_dict())
        except BadSignatureError as error:
            return as_json(about | {"Code": error.code, "Message": str(error)}, status=400)
        except SmsError as error:
            return as_json(about | {"Code": error.code, "Message": error.message})
        except (KeyError, ValueError) as error:
            return as_json(about | {"Code": "MissingParameter", "Message": type(error).__name__}, status=400)
        return as_json(about | {"Code": "OK", "Message": "OK"} | told)

    def _aliyun_send(self, asked: dict[str, str]) -> dict[str, Any]:
        if asked.get("SignName") != SIGN["aliyun"]:
            raise SmsError("isv.SMS_SIGNATURE_ILLEGAL", "短信签名不合法")
        if not str(asked.get("TemplateCode", "")).startswith("SMS_"):
            raise SmsError("isv.SMS_TEMPLATE_ILLEGAL", "短信模版不合法")
        try:
            params = json.loads(asked.get("TemplateParam") or "{}")
        except ValueError:
            raise SmsError("isv.INVALID_JSON_PARAM", "JSON参数不合法，只接受字符串值") from None
        one = self._take("aliyun", asked["PhoneNumbers"], asked["TemplateCode"], params, asked.get("OutId", ""))
        return {"BizId": one.number}

    def _aliyun_details(self, asked: dict[str, str]) -> dict[str, Any]:
        day = asked["SendDate"]
        size, page = int(asked["PageSize"]), int(asked["CurrentPage"])
        with self.lock:
            listed = [one for one in self.by_phone[asked["PhoneNumber"]] if one.vendor == "aliyun"]
        rows = [_detail(one) for one in reversed(listed) if f"{_beijing(one.at):%Y%m%d}" == day]
        return {
            "TotalCount": len(rows),
            "SmsSendDetailDTOs": {"SmsSendDetailDTO": rows[(page - 1) * size : page * size]},
        }

    def _tencent(self, request: Request) -> Response:
        try:
            check_tencent(request, self.world.sms["tencent"])
            action = {"SendSms": self._tencent_send, "PullSmsSendStatusByPhoneNumber": self._tencent_statuses}
            told = action[request.headers["X-TC-Action"]](json.loads(request.get_data()))
        except BadSignatureError as error:
            told = {"Error": {"Code": error.code, "Message": str(error)}}
        except SmsError as error:
            told = {"Error": {"Code": error.code, "Message": error.message}}
        except (KeyError, ValueError) as error:
            told = {"Error": {"Code": "InvalidParameterValue", "Message": type(error).__name__}}
        return as_json({"Response": told | {"RequestId": secrets.token_hex(16)}})

    def _tencent_send(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["SmsSdkAppId"] != self.world.sms["tencent"]["app_id"]:
            raise SmsError("UnauthorizedOperation.SmsSdkAppIdVerifyFail", "SmsSdkAppId 校验失败")
        statuses = []
        for number in asked["PhoneNumberSet"]:
            code, one = "Ok", None
            try:
                one = self._tencent_take(number, asked)
            except SmsError as error:
                code = error.code
            statuses.append(
                {
                    "SerialNo": one.number if one else "",
                    "PhoneNumber": number,
                    "Fee": one.parts if one else 0,
                    "SessionContext": asked.get("SessionContext", ""),
                    "Code": code,
                    "Message": "send success" if one else code,
                    "IsoCode": "CN",
                }
            )
        return {"SendStatusSet": statuses}

    def _tencent_take(self, number: str, asked: dict[str, Any]) -> Sms:
        if asked.get("SignName") != SIGN["tencent"]:
            raise SmsError("FailedOperation.SignatureIncorrectOrUnapproved", "签名未审批或格式错误")
        to, reference = number.removeprefix("+86"), asked.get("SessionContext", "")
        return self._take("tencent", to, asked["TemplateId"], asked.get("TemplateParamSet", []), reference)

    def _tencent_statuses(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Only what a carrier has reported on."""
        from_at, to_at = asked["BeginTime"], asked.get("EndTime") or time.time()
        with self.lock:
            listed = list(self.by_phone[asked["PhoneNumber"].removeprefix("+86")])
        found = [one for one in listed if one.vendor == "tencent" and one.reported_at and from_at <= one.at <= to_at]
        return {"PullSmsSendStatusSet": [_status(one) for one in found[: asked["Limit"]]]}

    def _take(self, vendor: str, to: str, template: str, params: Any, reference: str) -> Sms:
        if not (len(to) == 11 and to.isdigit()):
            raise SmsError(*_WRONG_NUMBER[vendor])
        number = f"{secrets.randbelow(10**18):018d}^0" if vendor == "aliyun" else f"5000:{secrets.token_hex(14)}"
        with self.lock:
            now = time.time()  # taken in turn, or the one before would seem to come later
            same = [
                one
                for one in self.by_phone[to]
                if one.vendor == vendor and one.template == template and one.at > now - A_DAY_S
            ]
            if len(same) >= self.a_day[vendor] or (same and now < same[-1].at + self.apart_s[vendor]):
                raise SmsError(*_TOO_OFTEN[vendor])
            parts = _parts(self.templates.get(template, ""), params, sign=SIGN[vendor])
            one = Sms(vendor, to, template, params, reference, number, now, parts)
            self._keep(one)
        self._report(one)
        return one

    def _keep(self, one: Sms) -> None:
        self.sent.append(one)
        self.by_phone[one.to].append(one)
        self.by_number[one.number] = one

    # ---- what carriers and people do ----

    def _report(self, one: Sms) -> None:
        how, is_well = self.faults["receipts"], self.faults["carriers"] == "deliver"
        if how == "never":
            return
        fate = "delivered" if is_well else "failed"
        if how != "hold":
            self._reported(one, fate)
        url = self.report_to.get(one.vendor)
        if not url:
            return
        for turn in range(2 if how == "twice" else 1):
            delivery = Delivery(
                id=f"{one.number}-{turn}", about=one.to, url=url, payload={"number": one.number, "fate": fate},
                state="held" if how == "hold" else "waiting",
            )  # fmt: skip
            self.courier.send(delivery, delay_s=REPORT_AFTER_S)

    def _reported(self, one: Sms, fate: str) -> None:
        """A carrier has told the vendor: what is asked for and what is pushed say the same from now on."""
        with self.lock:
            one.state, one.reported_at = fate, one.reported_at or time.time()
        self.changed()

    def _dress(self, delivery: Delivery) -> Dressed:
        one, fate = self.by_number[delivery.payload["number"]], delivery.payload["fate"]
        self._reported(one, fate)
        is_well, at = fate == "delivered", f"{_beijing(one.reported_at):%Y-%m-%d %H:%M:%S}"
        if one.vendor == "aliyun":
            report: dict[str, Any] = {
                "phone_number": one.to,
                "send_time": f"{_beijing(one.at):%Y-%m-%d %H:%M:%S}",
                "report_time": at,
                "success": is_well,
                "err_code": "DELIVERED" if is_well else "UNDELIVERABLE",
                "err_msg": "用户接收成功" if is_well else "空号",
                "sms_size": str(one.parts),
                "biz_id": one.number,
                "out_id": one.reference,
            }
        else:
            report = {
                "user_receive_time": at,
                "nationcode": "86",
                "mobile": one.to,
                "report_status": "SUCCESS" if is_well else "FAIL",
                "errmsg": "DELIVRD" if is_well else "UNDELIV",
                "description": "用户短信送达成功" if is_well else "空号",
                "sid": one.number,
            }
        return {"Content-Type": "application/json;charset=utf-8"}, json.dumps([report], ensure_ascii=False).encode()

    # ---- the control API ----

    def _messages(self, request: Request) -> Response:
        to = request.args.get("to", "")
        with self.lock:
            found = list(self.by_phone.get(to, []) if to else self.sent)
        return as_json({"messages": [asdict(one) for one in found]})

    def _report_to(self, request: Request) -> Response:
        self.report_to |= json_of(request)
        self.changed()
        return as_json(self.report_to)

    def _templates(self, request: Request) -> Response:
        """`{"SMS_1000": "余额${balance}元"}`: approved texts, by which parts are charged (Tencent: {1}, {2})."""
        self.templates |= json_of(request)
        self.changed()
        return as_json(self.templates)

    def _limits(self, request: Request) -> Response:
        """`{"aliyun": {"a_day": 2, "apart_s": 30}}`."""
        for vendor, wanted in json_of(request).items():
            self.a_day[vendor] = int(wanted.get("a_day", self.a_day[vendor]))
            self.apart_s[vendor] = float(wanted.get("apart_s", self.apart_s[vendor]))
        return as_json({"a_day": self.a_day, "apart_s": self.apart_s})

    def _spoiled(self, request: Request, fault: AnswerFault) -> Response | None:
        """The answer that a fault puts in the place of the right one; None where it only delays."""
        pause_for(fault)
        if not fault.refuses:
            return None
        if fault.drop:
            hang_up(request)
        if fault.html:
            return Response(fault.html, status=fault.status or 502, mimetype="text/html")
        if "X-Acs-Action" in request.headers:
            return as_json({"Code": fault.code, "Message": fault.message}, status=fault.status or 200)
        if fault.code.startswith(("LimitExceeded.", "FailedOperation.")) and not fault.status:
            told: dict[str, Any] = {"SendStatusSet": [{"Code": fault.code, "Message": fault.message, "SerialNo": ""}]}
        else:
            told = {"Error": {"Code": fault.code, "Message": fault.message}}
        return as_json({"Response": told}, status=fault.status or 200)


_WRONG_NUMBER = {
    "aliyun": ("isv.MOBILE_NUMBER_ILLEGAL", "非法手机号"),
    "tencent": ("InvalidParameterValue.IncorrectPhoneNumber", "手机号格式错误"),
}
_TOO_OFTEN = {
    "aliyun": ("isv.BUSINESS_LIMIT_CONTROL", "触发天级流控Permits:50"),
    "tencent": ("LimitExceeded.PhoneNumberThirtySecondLimit", "the number of SMS messages sent in 30 s is too many"),
}


def _no_such_action(_asked: dict[str, str]) -> dict[str, Any]:
    raise SmsError("InvalidAction.NotFound", "Specified api is not found")


def _parts(template: str, params: Any, *, sign: str) -> int:
    """By the approved text with its parameters filled in; of a template that nobody entered, by the parameters."""
    values = params if isinstance(params, dict) else dict(enumerate(params, 1))
    text = template or "".join(str(value) for value in values.values())
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", str(value)).replace(f"{{{name}}}", str(value))
    length = len(text) + len(sign) + 2
    return 1 if length <= ONE_SMS else -(-length // A_PART)


def _action(request: Request) -> str:
    return request.headers.get("X-Acs-Action") or request.headers.get("X-TC-Action") or ""


def _accepts(status: int, answer: bytes) -> bool:
    try:
        told = json.loads(answer)
    except ValueError:
        return False
    return status == 200 and isinstance(told, dict) and told.get("code", told.get("result")) == 0


def _beijing(at: float) -> datetime:
    return datetime.fromtimestamp(at, BEIJING)


def _detail(one: Sms) -> dict[str, Any]:
    is_reported = bool(one.reported_at)
    status = 1 if not is_reported else (3 if one.state == "delivered" else 2)
    return {
        "PhoneNum": one.to,
        "SendStatus": status,
        "ErrCode": "" if not is_reported else ("DELIVERED" if status == 3 else "UNDELIVERABLE"),
        "TemplateCode": one.template,
        "SendDate": f"{_beijing(one.at):%Y-%m-%d %H:%M:%S}",
        "ReceiveDate": f"{_beijing(one.reported_at):%Y-%m-%d %H:%M:%S}" if is_reported else "",
        "OutId": one.reference,
    }


def _status(one: Sms) -> dict[str, Any]:
    return {
        "UserReceiveTime": int(one.reported_at),
        "CountryCode": "86",
        "SubscriberNumber": one.to,
        "PhoneNumber": f"+86{one.to}",
        "SerialNo": one.number,
        "ReportStatus": "SUCCESS" if one.state == "delivered" else "FAIL",
        "Description": "DELIVRD" if one.state == "delivered" else "UNDELIV",
        "SessionContext": one.reference,
    }


if __name__ == "__main__":
    main("sms", lambda world, speed: SmsBox(world, speed=speed))
