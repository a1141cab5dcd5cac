from __future__ import annotations

from django.urls import path

from portal import api

urlpatterns = [
    path("homes", api.Homes.as_view(), name="homes"),
    path("homes/<int:home>", api.Home.as_view(), name="home"),
]
