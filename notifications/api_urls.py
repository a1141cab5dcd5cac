from __future__ import annotations

from django.urls import path

from notifications import api

urlpatterns = [
    path("messages", api.Inbox.as_view(), name="messages"),
    path("messages/read", api.ReadAll.as_view(), name="messages-read"),
    path("messages/<int:message>/read", api.Read.as_view(), name="message-read"),
    path("message-permits", api.Permits.as_view(), name="message-permits"),
    path("message-preferences", api.Preferences.as_view(), name="message-preferences"),
]
