"""The addresses of WEB_POOL=callbacks: providers wait five seconds, so nothing else shares these processes."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("payments/", include("payments.urls")),
    path("notifications/", include("notifications.urls")),
]
