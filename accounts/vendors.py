"""What every call to WeChat and Alipay shares: one connection a thread, a timeout, a limit, errors by blame.

Django-free, so that payments' providers may stand on it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import requests
from urllib3 import exceptions as urllib3_errors

ANSWER_LIMIT_BYTES = 1024 * 1024  # certificates and sessions are some kilobytes; bills are not fetched this way
TOO_MANY = 429


class ProviderError(Exception):
    """Something came of a call that is not what was asked for. `code` is the vendor's, or a word of ours."""

    def __init__(self, code: str, message: str = "", *, status: int = 0) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
        self.status = status


class ProviderRefused(ProviderError):
    """The vendor said no, and will say no again: something must change before anybody asks again."""


class ProviderUnsure(ProviderError):
    """Nobody knows what came of it (timeout, overload, a fault of theirs): ask again with the same parameters."""


class ProviderBadAnswer(ProviderUnsure):
    """An answer that cannot be believed (unsigned, altered, not what was asked): nothing in it counts."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole: `headers` in lower case, `body` as the raw bytes that a signature covers."""

    status: int
    headers: Mapping[str, str]
    body: bytes


_of_thread = threading.local()


def call(
    method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"", timeout_s: float
) -> Answer:
    """One request, no redirect, no retry. 5xx, 429, 202, timeouts and broken connections raise ProviderUnsure.

    Messages name the kind of failure alone: the URL may hold a secret.
    """
    answer = _exchange(method, url, dict(headers or {}), body, timeout_s)
    if isinstance(answer, str):
        raise ProviderUnsure(answer)
    if answer.status >= 500 or answer.status in (TOO_MANY, 202):
        raise ProviderUnsure(f"HTTP {answer.status}", excerpt(answer.body), status=answer.status)
    if len(answer.body) > ANSWER_LIMIT_BYTES:
        raise ProviderBadAnswer("too_large", status=answer.status)
    return answer


def excerpt(body: bytes) -> str:
    """The beginning of an answer, for a log line."""
    return body[:200].decode("utf-8", "replace")


def _exchange(method: str, url: str, headers: dict[str, str], body: bytes, timeout_s: float) -> Answer | str:
    """The answer, or the name of what failed: returned and not raised, so that no traceback carries the URL."""
    try:
        with _session().request(
            method, url, headers=headers, data=body, timeout=timeout_s, allow_redirects=False, stream=True
        ) as response:
            content = response.raw.read(ANSWER_LIMIT_BYTES + 1, decode_content=True)
            names = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status_code, names, content)
    except (requests.RequestException, OSError, urllib3_errors.HTTPError) as error:
        return type(error).__name__


def _session() -> requests.Session:
    """This thread's session. A session is not made for threads: its cookies are not locked."""
    session: requests.Session | None = getattr(_of_thread, "session", None)
    if session is None:
        session = requests.Session()
        # No proxy, netrc or certificate bundle from the environment: netrc would replace our signed Authorization.
        session.trust_env = False
        _of_thread.session = session
    return session
