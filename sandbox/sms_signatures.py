"""How requests to the SMS vendors are signed, from the vendors' documents.

Aliyun: help.aliyun.com/document_detail/2593177.html (ACS3-HMAC-SHA256); Tencent Cloud:
cloud.tencent.com/document/api/382/52072 (TC3-HMAC-SHA256).
"""

import hashlib
import hmac
import re
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote
from zoneinfo import ZoneInfo

from werkzeug.wrappers import Request

BEIJING = ZoneInfo("Asia/Shanghai")
WINDOW_S = 900  # Aliyun's; Tencent's is 300
_AUTHORIZATION = re.compile(r"(\S+) Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})")


class BadSignatureError(Exception):
    """Nobody vouches for the request. `code` as the vendor words it."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def check_aliyun(request: Request, account: dict[str, Any]) -> None:
    """Raises BadSignatureError."""
    _algorithm, credential, names, signature = _parts(request, "ACS3-HMAC-SHA256", "IncompleteSignature")
    if credential != account["key_id"]:
        raise BadSignatureError("InvalidAccessKeyId.NotFound")
    try:
        made_at = datetime.strptime(request.headers.get("x-acs-date", ""), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise BadSignatureError("InvalidTimeStamp.Format") from None
    if abs(time.time() - made_at.timestamp()) > WINDOW_S:
        raise BadSignatureError("InvalidTimeStamp.Expired")
    digest = hashlib.sha256(request.get_data()).hexdigest()
    pairs = sorted(parse_qsl(request.query_string.decode(), keep_blank_values=True))
    query = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)
    lines = [f"{name}:{request.headers.get(name, '').strip()}" for name in names.split(";")]
    canonical = "\n".join([request.method, request.path, query, *lines, "", names, digest])
    wanted = _hmac(account["secret"].encode(), f"ACS3-HMAC-SHA256\n{_sha256(canonical)}").hex()
    must_sign = {name.lower() for name, _value in request.headers if name.lower().startswith("x-acs-")} | {"host"}
    if not hmac.compare_digest(wanted, signature) or not must_sign <= set(names.split(";")):
        raise BadSignatureError("SignatureDoesNotMatch")


def check_tencent(request: Request, account: dict[str, Any]) -> None:
    """Raises BadSignatureError."""
    _algorithm, credential, names, signature = _parts(request, "TC3-HMAC-SHA256", "AuthFailure.InvalidAuthorization")
    made_at = request.headers.get("X-TC-Timestamp", "")
    if not made_at.isdigit() or abs(time.time() - int(made_at)) > 300:
        raise BadSignatureError("AuthFailure.SignatureExpire")
    day = f"{datetime.fromtimestamp(int(made_at), UTC):%Y-%m-%d}"
    if credential != f"{account['secret_id']}/{day}/sms/tc3_request":
        raise BadSignatureError("AuthFailure.SecretIdNotFound")
    lines = [f"{name}:{request.headers.get(name, '').strip().lower()}" for name in names.split(";")]
    digest = hashlib.sha256(request.get_data()).hexdigest()
    canonical = "\n".join([request.method, "/", "", *lines, "", names, digest])
    to_sign = f"TC3-HMAC-SHA256\n{made_at}\n{day}/sms/tc3_request\n{_sha256(canonical)}"
    key = _hmac(_hmac(_hmac(f"TC3{account['secret_key']}".encode(), day), "sms"), "tc3_request")
    if not hmac.compare_digest(_hmac(key, to_sign).hex(), signature) or not {"content-type", "host"} <= set(
        names.split(";")
    ):
        raise BadSignatureError("AuthFailure.SignatureFailure")


def _parts(request: Request, algorithm: str, code: str) -> tuple[str, ...]:
    match = _AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
    if match is None or match.group(1) != algorithm:
        raise BadSignatureError(code)
    return match.groups()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
