from __future__ import annotations

from django.urls import path

from accounts import api

urlpatterns = [
    path("auth/wechat", api.WeChat.as_view(), name="login-wechat"),
    path("auth/alipay", api.Alipay.as_view(), name="login-alipay"),
    path("auth/logout", api.Logout.as_view(), name="logout"),
]
