"""SMS by Aliyun (Dysms 2017-05-25), signed calls without the vendor's SDK, which brings half of its cloud along.

A refusal comes with status 200 and a code other than OK. There is no idempotency key: what nobody answered is looked up
by the phone number and the day, and found by our own OutId.
Sources: help.aliyun.com/document_detail/419273.html (SendSms), 419277.html (QuerySendDetails), 101346.html (codes),
2593177.html (signature ACS3-HMAC-SHA256).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, urlsplit
from uuid import uuid4

from accounts import vendors
from accounts.vendors import ProviderError
from notifications.channels import calls
from notifications.channels.base import Answer, Fate, Letter, Outcome, Receipt

ALGORITHM: Final = "ACS3-HMAC-SHA256"
VERSION: Final = "2017-05-25"
NO_BODY: Final = hashlib.sha256(b"").hexdigest()
PAGE: Final = 50  # the most that one question lists
# Not now: limits and faults on their side, nothing was sent. What is not listed here is refused for good.
LATER: Final = {
    "isv.BUSINESS_LIMIT_CONTROL",
    "isv.DAY_LIMIT_CONTROL",
    "isv.MONTH_LIMIT_CONTROL",
    "isv.AMOUNT_NOT_ENOUGH",
    "isv.OUT_OF_SERVICE",
    "isp.SYSTEM_ERROR",
    "isp.GATEWAY_VERSION_FAIL",
    "Throttling",
    "Throttling.User",
    "Throttling.Api",
    "ServiceUnavailable",
    "SignatureNonceUsed",
    "InvalidTimeStamp.Expired",
}
NO_SUCH_PERSON: Final = {"isv.MOBILE_NUMBER_ILLEGAL"}
FATES: Final = {"1": Fate.HANDED, "2": Fate.UNDELIVERED, "3": Fate.DELIVERED}


class AliyunSms:
    """Safe to share between threads."""

    # It lists an SMS some seconds after it took it, also while no carrier has reported on it.
    absence_proves_after: timedelta | None = timedelta(minutes=2)

    def __init__(self, *, url: str, key_id: str, secret: str, sign_name: str, timeout_s: float) -> None:
        self._url, self._key_id, self._sign_name, self._timeout_s = url, key_id, sign_name, timeout_s
        self._host = urlsplit(url).netloc
        self._secret = secret.encode()

    def send(self, letter: Letter) -> Answer:
        """SendSms, one number."""
        params = {
            "OutId": letter.reference,
            "PhoneNumbers": letter.address,
            "SignName": self._sign_name,
            "TemplateCode": letter.template_id,
            "TemplateParam": json.dumps(dict(letter.fields), ensure_ascii=False),
        }
        try:
            told = self._call("SendSms", params)
        except ProviderError as error:
            return calls.failed(error)
        code = calls.text_of(told, "Code")
        if code == "OK":
            return Answer(outcome=Outcome.HANDED, vendor_id=calls.text_of(told, "BizId"))
        if not code:
            return Answer(outcome=Outcome.UNKNOWN, code="malformed")
        return Answer(
            outcome=Outcome.LATER if code in LATER or code.startswith("isp.") else Outcome.REFUSED,
            code=code,
            detail=calls.without_person(str(told.get("Message") or ""), letter.address),
            is_person_gone=code in NO_SUCH_PERSON,
        )

    def look_up(self, *, reference: str, address: str, sent_on: date) -> Sequence[Receipt] | None:
        """QuerySendDetails: what was sent to the number on that civil day (China), ours among it."""
        params = {
            "CurrentPage": "1",
            "PageSize": str(PAGE),
            "PhoneNumber": address,
            "SendDate": f"{sent_on:%Y%m%d}",
        }
        try:
            told = self._call("QuerySendDetails", params)
        except ProviderError:
            return None
        listed = told.get("SmsSendDetailDTOs")
        rows = listed.get("SmsSendDetailDTO") if isinstance(listed, dict) else None
        if told.get("Code") != "OK" or not isinstance(rows, list):
            return None
        if len(rows) >= PAGE and not any(_is_of(row, reference) for row in rows):
            return None  # more than one page: rather ask again than believe that it is not there
        return [_receipt(row) for row in rows if _is_of(row, reference)]

    def _call(self, action: str, params: Mapping[str, str]) -> dict[str, Any]:
        query = canonical_query(params)
        headers = {
            "host": self._host,
            "x-acs-action": action,
            "x-acs-content-sha256": NO_BODY,
            "x-acs-date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "x-acs-signature-nonce": uuid4().hex,
            "x-acs-version": VERSION,
        }
        headers["Authorization"] = authorization(self._key_id, self._secret, query=query, headers=headers)
        answer = vendors.call("POST", f"{self._url}/?{query}", headers=headers, timeout_s=self._timeout_s)
        return calls.as_object(answer)


def canonical_query(params: Mapping[str, str]) -> str:
    """Sorted, and escaped as RFC 3986 says."""
    return "&".join(f"{quote(name, safe='')}={quote(params[name], safe='')}" for name in sorted(params))


def authorization(key_id: str, secret: bytes, *, query: str, headers: Mapping[str, str], method: str = "POST") -> str:
    """The header of a request without a body to the path /; `headers` are all that are signed, in lower case."""
    names = sorted(headers)
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in names)
    signed = ";".join(names)
    request = f"{method}\n/\n{query}\n{lines}\n{signed}\n{headers['x-acs-content-sha256']}"
    to_sign = f"{ALGORITHM}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = hmac.new(secret, to_sign.encode(), hashlib.sha256).hexdigest()
    return f"{ALGORITHM} Credential={key_id},SignedHeaders={signed},Signature={signature}"


def _is_of(row: Any, reference: str) -> bool:
    return isinstance(row, dict) and row.get("OutId") == reference


def _receipt(row: dict[str, Any]) -> Receipt:
    fate = FATES.get(calls.text_of(row, "SendStatus"), Fate.HANDED)
    is_delivered = fate == Fate.DELIVERED
    return Receipt(
        fate=fate,
        reference=str(row["OutId"]),
        at=calls.instant_of(str(row.get("ReceiveDate") or "")),
        code="" if is_delivered else calls.text_of(row, "ErrCode"),
    )
