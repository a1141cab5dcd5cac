"""Every address of the web application."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from notifications import pages as messages
from portal import labels_admin

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("portal.pages.urls")),
    path("payments/", include("payments.urls")),
    path("notifications/", include("notifications.urls")),
    path("api/v1/", include("accounts.urls")),
    path("api/v1/", include("portal.urls")),
    path("api/v1/", include("payments.api_urls")),
    path("api/v1/", include("notifications.api_urls")),
    path("messages/off/<str:token>/", messages.off, name="messages-off"),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("i18n/", include("django.conf.urls.i18n")),
    path("admin/accounts/building/<int:pk>/labels.pdf", admin.site.admin_view(labels_admin.sheet), name="labels"),
    path("admin/", admin.site.urls),
]
if not settings.PRODUCTION:  # a page to try the API out; its scripts and styles stand in the page
    urlpatterns.append(path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"))
handler404 = "portal.errors.no_such_page"
handler500 = "portal.errors.fault_page"
