"""What an API caller reads when something went wrong: one shape, in their language, with the id that finds the log.

    {"error": {"code": "not_found", "message": "…", "trace": "5f0c…"}}

`code` is for programs and stays; `message` is for people. What is wrong with single fields stands in `fields` as well.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils.log import log_response
from django.utils.translation import gettext as _
from django.views import defaults
from rest_framework.exceptions import ErrorDetail
from rest_framework.response import Response
from rest_framework.views import exception_handler

from accounts.sentences import joined

FAULT = "fault"


def answer(exc: Exception, context: dict[str, Any]) -> Response:
    """The framework's exception handler (settings: EXCEPTION_HANDLER).

    What nobody foresaw is logged once, with its stack trace and the id, and answered with 500 and no detail.
    """
    request = context["request"]
    response = exception_handler(exc, context)
    if response is None:
        response = Response(status=500)
        response.data = {"error": _fault(request.META)}
        log_response("Internal Server Error: %s", request.path, response=response, request=request, exception=exc)
        return response
    response.data = {"error": _described(response.data) | {"trace": _trace(request.META)}}
    return response


def no_such_page(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler404: the same shape where programs ask, a page for people elsewhere."""
    if not request.path.startswith("/api/"):
        return defaults.page_not_found(request, exception)
    error = {"code": "not_found", "message": _("There is nothing at this address."), "trace": _trace(request.META)}
    return JsonResponse({"error": error}, status=404)


def fault_page(request: HttpRequest) -> HttpResponse:
    """handler500: a fault outside of the API's views (in middleware, say). Django has logged it."""
    if not request.path.startswith("/api/"):
        return HttpResponse(render_to_string("500.html", {"trace": _trace(request.META)}), status=500)
    return JsonResponse({"error": _fault(request.META)}, status=500)


def document(result: dict[str, Any], **_options: Any) -> dict[str, Any]:
    """A postprocessing hook of drf-spectacular: every operation may answer with an error, in the one shape."""
    text = {"type": "string"}
    shape = {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message", "trace"],
                "properties": {
                    "code": text,
                    "message": text,
                    "trace": text,
                    "fields": {"type": "object", "additionalProperties": text},
                },
            }
        },
    }
    result.setdefault("components", {}).setdefault("schemas", {})["Error"] = shape
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for operations in result["paths"].values():
        for operation in operations.values():
            operation["responses"]["default"] = {"description": "An error, told in one shape.", "content": content}
    return result


def _described(data: Any) -> dict[str, Any]:
    """Code, message and, for a form, the first complaint about each field, out of the framework's nested details."""
    if isinstance(data, list):
        return _first(data)
    if set(data) == {"detail"}:
        return _first(data["detail"])
    fields = {name: _first(details)["message"] for name, details in data.items()}
    # Each complaint once, in words alone: which field it is about stands in `fields`.
    return {"code": "invalid", "message": joined(*dict.fromkeys(fields.values())), "fields": fields}


def _first(detail: Any) -> dict[str, Any]:
    """The first complaint in details of any depth (a list of forms has empty ones where nothing is wrong)."""
    if isinstance(detail, ErrorDetail):
        return {"code": detail.code, "message": str(detail)}
    parts = detail.values() if isinstance(detail, dict) else detail
    return _first(next(part for part in parts if part not in ({}, [])))


def _fault(meta: dict[str, Any]) -> dict[str, Any]:
    message = _("Something went wrong on our side. Please try again; if it stays, tell us this number: %(trace)s")
    return {"code": FAULT, "message": message % {"trace": _trace(meta)}, "trace": _trace(meta)}


def _trace(meta: dict[str, Any]) -> str:
    return str(meta.get("TRACE_ID", ""))
