"""Today's prices as a picture."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal import picture
from portal.prices import prices_of
from portal.usage_api import own_home

SVG = "image/svg+xml"
GOOD_FOR_S = 300  # the line where the day is now moves by a pixel in four minutes


class Drawn(BaseRenderer):
    """Pictures as they are; a problem is JSON here as well."""

    media_type = SVG
    format = "svg"
    charset = "utf-8"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        if isinstance(data, str):
            return data.encode()
        return bytes(JSONRenderer().render(data, accepted_media_type, renderer_context))


class TodaysPrices(APIView):
    renderer_classes = (Drawn,)

    @extend_schema(
        operation_id="prices_today_picture", summary="See today's prices as a picture",
        responses={(200, SVG): OpenApiTypes.STR},
    )  # fmt: skip
    def get(self, request: Request, home: int) -> Response:
        """The day from midnight to midnight: a bar for each period, as high as its price in the first tier with the
        service fee; a line where the day is now. Of several meters, the first for which a price is known."""
        now = timezone.now()
        slots = next((one.slots for one in prices_of(tenancy=own_home(request, home), now=now) if one.slots), [])
        drawn = picture.of_a_day(slots, now=now) if slots else picture.of_no_day()
        return Response(str(drawn), headers={"Cache-Control": f"private, max-age={GOOD_FOR_S}"})
