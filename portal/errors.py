"""What an API caller reads when something went wrong: problem details (RFC 9457), in their language, with the id that
finds the log.

    {"type": "urn:meterpay:problem:not_found", "title": "Not Found", "status": 404, "detail": "…",
     "code": "not_found", "trace": "5f0c…"}

`code` is for programs and stays; `type` says the same as a name of its own. `detail` is for people. What is wrong with
single fields stands in `fields` as well.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils.log import log_response
from django.utils.translation import gettext as _
from django.views import defaults
from rest_framework.exceptions import ErrorDetail
from rest_framework.response import Response
from rest_framework.views import exception_handler

from accounts.sentences import joined

FAULT: Final = "fault"
PROBLEM: Final = "application/problem+json"


def answer(exc: Exception, context: dict[str, Any]) -> Response:
    """The framework's exception handler (settings: EXCEPTION_HANDLER).

    What nobody foresaw is logged once, with its stack trace and the id, and answered with 500 and no detail.
    """
    request = context["request"]
    response = exception_handler(exc, context)
    if response is None:
        response = Response(_fault(request.META), status=500, content_type=PROBLEM)
        log_response("Internal Server Error: %s", request.path, response=response, request=request, exception=exc)
        return response
    response.data = _problem(request.META, status=response.status_code, **_described(response.data))
    response.content_type = PROBLEM
    return response


def no_such_page(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler404: the same shape where programs ask, a page for people elsewhere."""
    if not request.path.startswith("/api/"):
        return defaults.page_not_found(request, exception)
    problem = _problem(request.META, status=404, code="not_found", detail=_("There is nothing at this address."))
    return JsonResponse(problem, status=404, content_type=PROBLEM)


def fault_page(request: HttpRequest) -> HttpResponse:
    """handler500: a fault outside of the API's views (in middleware, say). Django has logged it."""
    if not request.path.startswith("/api/"):
        return HttpResponse(render_to_string("500.html", {"trace": _trace(request.META)}), status=500)
    return JsonResponse(_fault(request.META), status=500, content_type=PROBLEM)


def document(result: dict[str, Any], **_options: Any) -> dict[str, Any]:
    """A postprocessing hook of drf-spectacular: every operation may answer with an error, in the one shape."""
    text = {"type": "string"}
    shape = {
        "type": "object",
        "required": ["type", "title", "status", "detail", "code", "trace"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "code": text,
            "trace": text,
            "fields": {"type": "object", "additionalProperties": text},
        },
    }
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = shape
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for operations in result["paths"].values():
        for operation in operations.values():
            operation["responses"]["default"] = {"description": "A problem (RFC 9457).", "content": content}
    return result


def _described(data: Any) -> dict[str, Any]:
    """Code, detail and, for a form, the first complaint about each field, out of the framework's nested details."""
    if isinstance(data, list):
        return _first(data)
    if set(data) == {"detail"}:
        return _first(data["detail"])
    fields = {name: _first(details)["detail"] for name, details in data.items()}
    # Each complaint once, in words alone: which field it is about stands in `fields`.
    return {"code": "invalid", "detail": joined(*dict.fromkeys(fields.values())), "fields": fields}


def _first(detail: Any) -> dict[str, Any]:
    """The first complaint in details of any depth (a list of forms has empty ones where nothing is wrong)."""
    if isinstance(detail, ErrorDetail):
        return {"code": detail.code, "detail": str(detail)}
    parts = detail.values() if isinstance(detail, dict) else detail
    return _first(next(part for part in parts if part not in ({}, [])))


def _problem(meta: dict[str, Any], *, status: int, code: str, detail: str, **more: Any) -> dict[str, Any]:
    named = {"type": f"urn:meterpay:problem:{code}", "title": HTTPStatus(status).phrase, "status": status}
    return named | {"detail": detail, "code": code, "trace": _trace(meta)} | more


def _fault(meta: dict[str, Any]) -> dict[str, Any]:
    message = _("Something went wrong on our side. Please try again; if it stays, tell us this number: %(trace)s")
    return _problem(meta, status=500, code=FAULT, detail=message % {"trace": _trace(meta)})


def _trace(meta: dict[str, Any]) -> str:
    return str(meta.get("TRACE_ID", ""))
