"""The product with one more address, which answers with a constant: what a Django view costs that does nothing."""

from __future__ import annotations

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, include, path

CONSTANT = b"x" * 2000


def constant(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(CONSTANT, content_type="text/plain")


urlpatterns: list[URLPattern | URLResolver] = []  # filled once Django is set up: see application()


def application() -> WSGIHandler:
    """For gunicorn, which calls it once in each worker: all middleware of the product, and this module's addresses."""
    from config.wsgi import application as product

    urlpatterns[:] = [path("constant", constant), path("", include("config.urls"))]
    settings.ROOT_URLCONF = __name__
    return product
