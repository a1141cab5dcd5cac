from __future__ import annotations

from django.urls import path

from payments import api

urlpatterns = [
    path("recharges", api.Recharges.as_view(), name="recharges"),
    path("recharges/<str:number>", api.Recharge.as_view(), name="recharge"),
    path("recharges/<str:number>/cancel", api.CancelRecharge.as_view(), name="recharge-cancel"),
]
