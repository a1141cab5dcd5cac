"""SMS by Tencent Cloud (sms 2021-01-11), signed calls without the vendor's SDK.

Each number has a code of its own within an answer with status 200. There is no idempotency key. What nobody answered
can be asked for by the number, but the vendor lists an SMS only once a carrier has reported on it: one that is not
listed may have been sent all the same (`absence_proves_after` is None).
Sources: cloud.tencent.com/document/api/382/55981 (SendSms), 55979 (PullSmsSendStatusByPhoneNumber), 52072 (signature
TC3-HMAC-SHA256), 59177 (codes).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from accounts import vendors
from accounts.vendors import ProviderError
from notifications.channels import calls
from notifications.channels.base import Answer, Fate, Letter, Outcome, Receipt

ALGORITHM: Final = "TC3-HMAC-SHA256"
VERSION: Final = "2021-01-11"
JSON: Final = "application/json; charset=utf-8"
SIGNED: Final = "content-type;host"
# Not now: limits of a number or an account, faults on their side. What is not listed here is refused for good.
LATER: Final = (
    "LimitExceeded.",
    "RequestLimitExceeded",
    "InternalError",
    "FailedOperation.InsufficientBalanceInSmsPackage",
    "AuthFailure.SignatureExpire",
    "ResourceUnavailable",
)
FATES: Final = {"SUCCESS": Fate.DELIVERED, "FAIL": Fate.UNDELIVERED}
LAST_INSTANT: Final = 1 << 32
NO_SUCH_PERSON: Final = "InvalidParameterValue.IncorrectPhoneNumber"


class TencentSms:
    """Safe to share between threads."""

    absence_proves_after: timedelta | None = None

    def __init__(
        self, *, url: str, region: str, secret_id: str, secret_key: str, app_id: str, sign_name: str, timeout_s: float
    ) -> None:
        self._url, self._region, self._secret_id, self._timeout_s = url, region, secret_id, timeout_s
        self._app_id, self._sign_name = app_id, sign_name
        self._host = urlsplit(url).netloc
        self._secret_key = secret_key

    def send(self, letter: Letter) -> Answer:
        """SendSms, one number. Parameters go by position."""
        content = {
            "PhoneNumberSet": [f"+86{letter.address}"],
            "SmsSdkAppId": self._app_id,
            "SignName": self._sign_name,
            "TemplateId": letter.template_id,
            "TemplateParamSet": list(letter.fields.values()),
            "SessionContext": letter.reference,
        }
        try:
            told = self._call("SendSms", content)
        except ProviderError as error:
            return calls.failed(error)
        statuses = told.get("SendStatusSet")
        first = statuses[0] if isinstance(statuses, list) and statuses and isinstance(statuses[0], dict) else None
        about = first or told.get("Error")
        if not isinstance(about, dict):
            return Answer(outcome=Outcome.UNKNOWN, code="malformed")
        return _answer(about, letter)

    def look_up(self, *, reference: str, address: str, sent_on: date) -> Sequence[Receipt] | None:
        """PullSmsSendStatusByPhoneNumber for that civil day (China)."""
        begins = datetime.combine(sent_on, time(), calls.BEIJING)
        content = {
            "BeginTime": int(begins.timestamp()),
            "EndTime": int((begins + timedelta(days=1)).timestamp()),
            "Offset": 0,
            "Limit": 100,
            "PhoneNumber": f"+86{address}",
            "SmsSdkAppId": self._app_id,
        }
        try:
            told = self._call("PullSmsSendStatusByPhoneNumber", content)
        except ProviderError:
            return None
        rows = told.get("PullSmsSendStatusSet")
        if not isinstance(rows, list):
            return None
        return [_receipt(row) for row in rows if isinstance(row, dict) and row.get("SessionContext") == reference]

    def _call(self, action: str, content: Mapping[str, Any]) -> dict[str, Any]:
        body = json.dumps(content, ensure_ascii=False).encode()
        now = datetime.now(UTC)
        headers = {
            "Content-Type": JSON,
            "Host": self._host,
            "X-TC-Action": action,
            "X-TC-Region": self._region,
            "X-TC-Timestamp": str(int(now.timestamp())),
            "X-TC-Version": VERSION,
            "Authorization": authorization(self._secret_id, self._secret_key, host=self._host, body=body, now=now),
        }
        answer = vendors.call("POST", f"{self._url}/", headers=headers, body=body, timeout_s=self._timeout_s)
        told = calls.as_object(answer).get("Response")
        return told if isinstance(told, dict) else {}


def authorization(
    secret_id: str, secret_key: str, *, host: str, body: bytes, now: datetime, service: str = "sms"
) -> str:
    """The header of a POST of JSON to the path /."""
    day, at = f"{now:%Y-%m-%d}", int(now.timestamp())
    digest = hashlib.sha256(body).hexdigest()
    request = f"POST\n/\n\ncontent-type:{JSON}\nhost:{host}\n\n{SIGNED}\n{digest}"
    scope = f"{day}/{service}/tc3_request"
    to_sign = f"{ALGORITHM}\n{at}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"TC3{secret_key}".encode()
    for part in (day, service, "tc3_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return f"{ALGORITHM} Credential={secret_id}/{scope}, SignedHeaders={SIGNED}, Signature={signature}"


def _answer(about: dict[str, Any], letter: Letter) -> Answer:
    code = calls.text_of(about, "Code")
    if code == "Ok":
        number, parts = calls.text_of(about, "SerialNo"), calls.parts_of(about, "Fee")
        return Answer(outcome=Outcome.HANDED, vendor_id=number, parts=parts)
    if not code:
        return Answer(outcome=Outcome.UNKNOWN, code="malformed")
    return Answer(
        outcome=Outcome.LATER if code.startswith(LATER) else Outcome.REFUSED,
        code=code,
        detail=calls.without_person(str(about.get("Message") or ""), letter.address),
        is_person_gone=code == NO_SUCH_PERSON,
    )


def _receipt(row: dict[str, Any]) -> Receipt:
    status = calls.text_of(row, "ReportStatus")
    return Receipt(
        fate=FATES.get(status, Fate.HANDED),
        reference=str(row["SessionContext"]),
        vendor_id=calls.text_of(row, "SerialNo"),
        at=_at(calls.text_of(row, "UserReceiveTime")),
        code="" if status == "SUCCESS" else calls.text_of(row, "Description"),
    )


def _at(text: str) -> datetime | None:
    """Seconds of Unix; None where it is something else."""
    is_instant = text.isascii() and text.isdigit() and 0 < int(text) < LAST_INSTANT
    return datetime.fromtimestamp(int(text), UTC) if is_instant else None
