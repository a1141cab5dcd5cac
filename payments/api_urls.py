from __future__ import annotations

from django.urls import path

from payments import api

urlpatterns = [
    path("recharges", api.Recharges.as_view(), name="recharges"),
    path("recharges/<slug:number>", api.Recharge.as_view(), name="recharge"),
    path("recharges/<slug:number>/cancel", api.CancelRecharge.as_view(), name="recharge-cancel"),
]
