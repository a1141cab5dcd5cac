"""A line of the log carries the id of what it is about, and neither a secret nor a whole phone number."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.core.exceptions import BadRequest
from django.core.handlers.exception import response_for_exception
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.module_loading import import_string

from config.logs import JsonFormatter, TraceMiddleware, current_trace, tracing
from tests import makers
from tests.desk import at_work


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the handlers of settings.py would write."""
    yield from written_by("tests.logs")


@pytest.fixture
def djangos_lines() -> Iterator[io.StringIO]:
    yield from written_by("django")


def written_by(name: str) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    for each in settings.LOGGING["handlers"]["stderr"]["filters"]:
        handler.addFilter(import_string(settings.LOGGING["filters"][each]["()"])())
    logger = logging.getLogger(name)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(level)


log = logging.getLogger("tests.logs")


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("phone 13812345678 joined", "phone 138****5678 joined"),
        ("19912345678", "199****5678"),
        ("order 4200001381234567890", "order 4200001381234567890"),  # eleven digits within a longer number are none
        ("code=071abcDEF123", "code=***"),
        ("?appid=wx1&secret=abcdef0123456789&js_code=x", "?appid=wx1&secret=***&js_code=x"),
        ('{"access_token": "63_abcdefgh", "expires_in": 7200}', '{"access_token": "***", "expires_in": 7200}'),
        ("Authorization: Bearer abcdefghijklmnop", "Authorization: Bearer ***"),
        ("session_key = 'tiihtNczf5v6AKRyjwEUhQ=='", "session_key = '***'"),
        ("password: hunter2hunter2", "password: ***"),
        ("secret of 5", "secret of 5"),
    ],
)
def test_phones_are_masked_and_secrets_cut_out(lines, said, written):
    log.info(said)

    assert json.loads(lines.getvalue())["message"] == written


def test_what_comes_in_as_an_argument_is_cut_out_too(lines):
    log.info("%s logged in with %s", "13812345678", {"code": "071abcDEF123"})

    assert json.loads(lines.getvalue())["message"] == "138****5678 logged in with {'code': '***'}"


@pytest.mark.parametrize("formatter", [JsonFormatter(), logging.Formatter()], ids=["json", "console"])
def test_a_secret_in_a_stack_trace_is_cut_out_too(lines, formatter):
    logging.getLogger("tests.logs").handlers[0].setFormatter(formatter)

    try:
        int("secret=abcdef0123456789 of 13812345678")
    except ValueError:
        log.exception("something failed")

    assert "ValueError" in lines.getvalue()
    assert "abcdef0123456789" not in lines.getvalue()
    assert "13812345678" not in lines.getvalue()
    assert "138****5678" in lines.getvalue()


def test_what_is_said_beside_the_message_is_cut_out_too(lines):
    log.info("joined", extra={"phone": "13812345678", "homes": 2})

    line = json.loads(lines.getvalue())
    assert (line["phone"], line["homes"]) == ("138****5678", 2)


def test_a_line_says_who_when_and_about_what(lines):
    with tracing("0" * 32):
        log.warning("电费 %s", "50.00")

    line = json.loads(lines.getvalue())
    assert line["message"] == "电费 50.00"
    assert "电费" in lines.getvalue()
    assert (line["levelname"], line["name"], line["trace"]) == ("WARNING", "tests.logs", "0" * 32)
    assert line["asctime"]


def test_the_trace_of_the_row_is_stronger_than_that_of_the_process(lines):
    with tracing("process"):
        log.info("a command goes out", extra={"trace": "order"})

    assert json.loads(lines.getvalue())["trace"] == "order"


def test_a_trace_ends_with_its_block():
    assert current_trace() == "-"
    with tracing("outer"), tracing("") as fresh:
        assert current_trace() == fresh
        assert len(fresh) == 32
    assert current_trace() == "-"


def test_each_request_has_a_trace_that_its_caller_is_told():
    seen = []

    def view(request):
        seen.append((request.META["TRACE_ID"], current_trace()))
        return HttpResponse()

    middleware = TraceMiddleware(view)
    answers = [middleware(RequestFactory().get("/")) for _ in range(2)]

    traces = [answer.headers["X-Trace-Id"] for answer in answers]
    assert seen == [(trace, trace) for trace in traces]
    assert len(set(traces)) == 2


@pytest.mark.django_db
def test_who_may_not_is_one_line_with_its_id_and_no_stack(djangos_lines):
    nobody = at_work(makers.a_user(is_staff=True))

    answer = nobody.get("/admin/billing/staffhold/add/")

    (line,) = map(json.loads, djangos_lines.getvalue().splitlines())
    assert (answer.status_code, line["trace"]) == (403, answer["X-Trace-Id"])
    assert line["message"] == "Forbidden (Permission denied): /admin/billing/staffhold/add/"
    assert "exc_info" not in line
    assert "Traceback" not in djangos_lines.getvalue()


def test_what_is_asked_wrongly_has_no_stack_and_a_fault_of_ours_has(djangos_lines):
    request = RequestFactory().get("/")
    for error in (BadRequest("not so"), ZeroDivisionError("ours")):
        try:
            raise error
        except (BadRequest, ZeroDivisionError) as caught:
            response_for_exception(request, caught)

    theirs, ours = map(json.loads, djangos_lines.getvalue().splitlines())
    assert "exc_info" not in theirs
    assert "ZeroDivisionError: ours" in ours["exc_info"]
