"""Structured logs: one trace id from the callback or request to the meter's answer; no secret, no full phone number."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.http import HttpRequest, HttpResponse
from pythonjsonlogger.json import JsonFormatter as BaseJsonFormatter

_trace: ContextVar[str] = ContextVar("trace", default="-")
PHONE = re.compile(r"(?<!\d)(1[3-9]\d)\d{4}(\d{4})(?!\d)")
SECRET = re.compile(
    r"(?i)\b(bearer|secret|password|access_token|appsecret|session_key|code)([\"']?\s*[=:]\s*[\"']?|\s+)([^\s\"'&,}]{6,})"
)
ADDRESS = re.compile(r"(/notifications/sms/[a-z]+/)[^/\s\"']+")  # the secret that SMS vendors' callbacks go to


def new_trace() -> str:
    return uuid.uuid4().hex


def current_trace() -> str:
    return _trace.get()


@contextmanager
def tracing(trace: str) -> Iterator[str]:
    """Everything logged inside carries this id."""
    token = _trace.set(trace or new_trace())
    try:
        yield _trace.get()
    finally:
        _trace.reset(token)


class TraceMiddleware:
    """Gives each request an id: `request.META["TRACE_ID"]` for the floors below, `X-Trace-Id` for the caller."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with tracing(new_trace()) as trace:
            request.META["TRACE_ID"] = trace
            response = self.get_response(request)
            response.headers["X-Trace-Id"] = trace
            return response


class TraceFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.trace = getattr(record, "trace", None) or current_trace()
        return True


class RefusalFilter(logging.Filter):
    """What a caller may not do, or asks wrongly, is a line with its id: Django's stack of it names no fault of ours."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.") and 400 <= getattr(record, "status_code", 0) < 500:
            record.exc_info, record.exc_text = None, None
        return True


class PrivacyFilter(logging.Filter):
    """The last net: phone numbers are masked and what looks like a secret is cut out, wherever a line came from."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        clean = without_secrets(text)
        if clean != text:
            record.msg, record.args = clean, None
        if record.exc_info:
            # Formatters take what is kept here before they write the stack themselves.
            record.exc_text = without_secrets(logging.Formatter().formatException(record.exc_info))
        return True


class JsonFormatter(BaseJsonFormatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(trace)s %(message)s", json_ensure_ascii=False)

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """What was given as `extra`, and the stack, are cleaned like the message."""
        cleaned = {
            name: without_secrets(value) if isinstance(value, str) else value for name, value in log_data.items()
        }
        return super().process_log_record(cleaned)


def without_secrets(text: str) -> str:
    """138****5678, and `***` for what follows a word like secret, code or bearer, and in an address that is one."""
    return ADDRESS.sub(r"\1***", SECRET.sub(r"\1\2***", PHONE.sub(r"\1****\2", text)))
