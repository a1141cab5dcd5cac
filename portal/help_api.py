"""Help, for everybody: no login is needed to read how the light comes back."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Property, User
from accounts.polled import Polled
from portal import help as helping


class HelpRequest(serializers.Serializer[Any]):
    """Whose phone is named to somebody without a login."""

    meter = serializers.CharField(
        required=False, default="", max_length=12, help_text="the code on a meter's label; with a login one's own homes"
    )


class PlaceAnswer(serializers.Serializer[Any]):
    property = serializers.CharField(source="name")
    phone = serializers.CharField(help_text="somebody answers at any hour")


class TitleAnswer(serializers.Serializer[Any]):
    slug = serializers.CharField()
    title = serializers.CharField()


class ArticlesAnswer(serializers.Serializer[Any]):
    articles = TitleAnswer(many=True)
    phones = PlaceAnswer(many=True)


class ArticleAnswer(TitleAnswer):
    html = serializers.CharField(help_text="headings, paragraphs, lists and links alone, in the reader's language")
    phones = PlaceAnswer(many=True)


class Articles(Polled):
    permission_classes = (AllowAny,)

    @extend_schema(
        operation_id="help_list", summary="List the help articles", parameters=[HelpRequest], responses=ArticlesAnswer
    )
    def get(self, request: Request) -> Response:
        """All articles, and the phone of the property: that of one's homes, or of the meter that was scanned."""
        articles = [{"slug": slug, "title": title} for slug, title in helping.ARTICLES.items()]
        return Response(ArticlesAnswer({"articles": articles, "phones": _places(request)}).data)


class Article(Polled):
    permission_classes = (AllowAny,)

    @extend_schema(
        operation_id="help_retrieve", summary="Read a help article", parameters=[HelpRequest], responses=ArticleAnswer
    )
    def get(self, request: Request, slug: str) -> Response:
        """How to recharge, read the display, get the power back; what prices and tiers are; whom to call."""
        places = _places(request)
        found = helping.article(slug, places=places)
        if found is None:
            raise NotFound
        told = {"slug": found.slug, "title": found.title, "html": found.html, "phones": places}
        return Response(ArticleAnswer(told).data)


def _places(request: Request) -> list[Property]:
    form = HelpRequest(data=request.query_params)
    form.is_valid(raise_exception=True)
    now, code = timezone.now(), form.validated_data["meter"]
    if code:
        return helping.places_by_meter(code, now=now)
    return helping.places_of(request.user, now=now) if isinstance(request.user, User) else []
