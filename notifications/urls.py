"""Where vendors tell us what became of messages."""

from __future__ import annotations

from django.urls import path

from notifications import callbacks

urlpatterns = [
    path("sms/aliyun/<str:secret>/", callbacks.aliyun_reports, name="aliyun-reports"),
    path("sms/tencent/<str:secret>/", callbacks.tencent_reports, name="tencent-reports"),
    path("wechat/<slug:app>/", callbacks.wechat_events, name="wechat-events"),
]
