"""What apps ask for again and again: an answer that has not changed is 304 and has no body.

No connection stays open for news, which would keep a worker each: clients poll, with the ETag of what they have.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response, patch_cache_control, set_response_etag
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class Polled(APIView):
    """Answers of GET carry an ETag of their bytes. Nothing in them may tell the present instant."""

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        answer = super().finalize_response(request, response, *args, **kwargs)
        if request.method == "GET" and answer.status_code == 200:
            patch_cache_control(answer, private=True, no_cache=True)
            answer.add_post_render_callback(partial(_unless_known, request._request))  # noqa: SLF001 (the framework's own way to it)
        return answer


def _unless_known(request: HttpRequest, rendered: Any) -> HttpResponseBase | None:
    set_response_etag(rendered)
    return get_conditional_response(request, etag=rendered.headers["ETag"], response=rendered)
