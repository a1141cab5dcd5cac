"""How much a request may say: the framework itself reads JSON without a limit."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import IO, Any

from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import JSONParser

LIMIT_BYTES = 16 * 1024  # the longest request of a tenant has a few hundred bytes


class BodyTooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = _("The request is too large.")
    default_code = "too_large"


class ShortJSONParser(JSONParser):
    """JSON up to LIMIT_BYTES; longer is 413, nested beyond reason is malformed."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        body = stream.read(LIMIT_BYTES + 1)
        if len(body) > LIMIT_BYTES:
            raise BodyTooLarge
        try:
            return super().parse(io.BytesIO(body), media_type, parser_context)
        except RecursionError as error:
            raise ParseError(_("The request is nested too deeply.")) from error
        except ParseError as error:  # the framework passes on what Python's parser says, which is nobody's language
            raise ParseError(_("The request is not valid JSON.")) from error
