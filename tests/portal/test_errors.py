from __future__ import annotations

import logging
from typing import Any

import pytest
from django.test import Client, RequestFactory
from django.urls import include, path
from rest_framework import exceptions, serializers
from rest_framework.permissions import AllowAny
from rest_framework.views import APIView

from portal import errors
from portal.bodies import LIMIT_BYTES, ShortJSONParser


class Line(serializers.Serializer[Any]):
    fen = serializers.IntegerField()


class Form(serializers.Serializer[Any]):
    amount = serializers.IntegerField(min_value=1)
    meters = serializers.ListField(child=serializers.IntegerField(), required=False)
    lines = Line(many=True, required=False)
    parts = serializers.ListField(child=serializers.DictField(child=serializers.IntegerField()), required=False)


class Broken(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)

    def get(self, request):
        raise RuntimeError("the database password is hunter2")


class Asking(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)
    parser_classes = (ShortJSONParser,)

    def post(self, request):
        form = Form(data=request.data)
        form.is_valid(raise_exception=True)
        raise exceptions.ValidationError("Too much.", "too_much")


urlpatterns = [
    path("api/v1/broken", Broken.as_view()),
    path("api/v1/asking", Asking.as_view()),
    path("", include("config.urls")),
]
handler404 = "portal.errors.no_such_page"
handler500 = "portal.errors.fault_page"

pytestmark = pytest.mark.urls(__name__)


def ask(client, body):
    return client.post("/api/v1/asking", body, content_type="application/json", headers={"Accept-Language": "en"})


def test_an_unforeseen_fault_is_a_500_with_an_id_and_without_detail(client):
    answer = client.get("/api/v1/broken", headers={"Accept-Language": "en"})

    assert answer.status_code == 500
    error = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert set(error) == {"type", "title", "status", "detail", "code", "trace"}
    assert (error["type"], error["title"], error["status"]) == (
        "urn:meterpay:problem:fault",
        "Internal Server Error",
        500,
    )
    assert error["code"] == "fault"
    assert error["trace"] == answer.headers["X-Trace-Id"]
    assert error["trace"] in error["detail"]
    assert b"hunter2" not in answer.content


def test_an_unforeseen_fault_is_logged_once_with_its_stack_trace(client, caplog):
    client.get("/api/v1/broken")

    [record] = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert isinstance(record.exc_info[1], RuntimeError)


def test_a_field_that_is_wrong_is_named(client):
    error = ask(client, {"amount": 0}).json()

    assert error["code"] == "invalid"
    assert error["fields"] == {"amount": "Ensure this value is greater than or equal to 1."}
    assert error["detail"] == "Ensure this value is greater than or equal to 1."  # no field's name to a person


def test_what_is_wrong_with_several_fields_is_said_once(client):
    error = ask(client, {"amount": "x", "lines": "x", "meters": "x"}).json()

    assert set(error["fields"]) == {"amount", "lines", "meters"}
    assert error["detail"].count("A valid integer is required.") == 1
    assert "amount" not in error["detail"]


@pytest.mark.parametrize(
    "part", [{"meters": [1, "x"]}, {"parts": [{"a": 1}, {"b": "x"}]}, {"lines": [{"fen": 1}, {"fen": "x"}]}]
)
def test_a_complaint_deep_inside_is_found(client, part):
    assert "A valid integer is required." in ask(client, {"amount": 1} | part).json()["detail"]


def test_a_complaint_of_the_view_keeps_its_own_code(client):
    answer = ask(client, {"amount": 1})

    assert answer.status_code == 400
    error = answer.json()
    assert (error["code"], error["detail"]) == ("too_much", "Too much.")


def test_what_is_not_an_object_is_refused(client):
    error = ask(client, [1]).json()

    assert error["fields"].keys() == {"non_field_errors"}
    assert error["detail"].startswith("Invalid data.")


def test_malformed_json_is_a_400(client):
    for body in ("{", "", "\x00", '{"amount": NaN}', "{'amount': 1}"):
        answer = ask(client, body)

        assert answer.status_code == 400, body
        error = answer.json()
        assert error["code"] in {"parse_error", "invalid"}
        assert "Expecting" not in error["detail"]  # Python's own words
        assert "parse error" not in error["detail"]
    assert ask(client, "{").json()["detail"] == "The request is not valid JSON."


def test_json_nested_beyond_reason_is_a_400(client):
    assert ask(client, "[" * LIMIT_BYTES).status_code == 400


def test_a_long_request_is_a_413(client):
    answer = ask(client, '{"amount": 1' + " " * LIMIT_BYTES + "}")

    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"


def test_another_method_and_another_format_are_told_in_the_same_shape(client):
    assert client.get("/api/v1/asking").json()["code"] == "method_not_allowed"
    answer = client.post("/api/v1/asking", "a=1", content_type="application/x-www-form-urlencoded")
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


def test_no_such_address_of_the_api_is_told_in_the_same_shape(client):
    answer = client.get("/api/v1/nothing-here")

    assert answer.status_code == 404
    assert answer.json()["trace"] == answer.headers["X-Trace-Id"]


def test_no_such_page_is_a_page_elsewhere(client):
    answer = client.get("/nothing-here")

    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")


def test_a_fault_outside_of_the_api_is_told_in_the_same_shape_to_programs_alone():
    request = RequestFactory().get("/api/v1/anything")
    assert errors.fault_page(request).status_code == 500
    assert b'"code": "fault"' in errors.fault_page(request).content

    assert errors.fault_page(RequestFactory().get("/admin/")).headers["Content-Type"].startswith("text/html")


def test_a_client_reads_errors_in_the_language_it_asks_for():
    client = Client()

    chinese = client.post("/api/v1/asking", {}, content_type="application/json", headers={"Accept-Language": "zh-CN"})
    english = client.post("/api/v1/asking", {}, content_type="application/json", headers={"Accept-Language": "en-GB"})

    assert chinese.json()["fields"]["amount"] == "该字段是必填项。"
    assert english.json()["fields"]["amount"] == "This field is required."
