from __future__ import annotations

from django.urls import path

from payments import views

urlpatterns = [
    path("notify/wechat/<slug:slug>/", views.notify_wechat, name="notify-wechat"),
    path("notify/alipay/<slug:slug>/", views.notify_alipay, name="notify-alipay"),
]
