from __future__ import annotations

from django.urls import path

from portal import (
    alert_level_api,
    api,
    bills_api,
    disputes_api,
    emergency_api,
    help_api,
    movements_api,
    phone_login_api,
    picture_api,
    privacy_api,
    refunds_api,
    restoring_api,
    stages_api,
    suggestions_api,
    sums_api,
    timeline_api,
    usage_api,
)

urlpatterns = [
    path("auth/phone-codes", phone_login_api.PhoneCodes.as_view(), name="phone-codes"),
    path("auth/phone", phone_login_api.Phone.as_view(), name="login-phone"),
    path("privacy", privacy_api.Privacy.as_view(), name="privacy"),
    path("privacy/consent", privacy_api.GiveConsent.as_view(), name="privacy-consent"),
    path("recharges/<str:number>/progress", stages_api.Progress.as_view(), name="recharge-progress"),
    path("help", help_api.Articles.as_view(), name="help"),
    path("help/<slug:slug>", help_api.Article.as_view(), name="help-article"),
    path("recharges/<str:number>/refunds", refunds_api.Refunds.as_view(), name="recharge-refunds"),
    path("homes", api.Homes.as_view(), name="homes"),
    path("homes/<int:home>", api.Home.as_view(), name="home"),
    path("homes/<int:home>/usage", sums_api.Usage.as_view(), name="usage"),
    path("homes/<int:home>/usage/<str:on>", usage_api.UsageDay.as_view(), name="usage_day"),
    path("homes/<int:home>/bills", bills_api.HomeBills.as_view(), name="bills"),
    path("homes/<int:home>/bills/<str:month>", bills_api.HomeBill.as_view(), name="bill"),
    path("homes/<int:home>/prices", usage_api.HomePrices.as_view(), name="prices"),
    path("homes/<int:home>/prices/today.svg", picture_api.TodaysPrices.as_view(), name="prices-today"),
    path("homes/<int:home>/movements", movements_api.Movements.as_view(), name="movements"),
    path("homes/<int:home>/timeline", timeline_api.Timeline.as_view(), name="timeline"),
    path("homes/<int:home>/recharge-suggestions", suggestions_api.Suggestions.as_view(), name="recharge-suggestions"),
    path("homes/<int:home>/restore", restoring_api.Restore.as_view(), name="restore"),
    path("homes/<int:home>/emergency-credit", emergency_api.EmergencyCredit.as_view(), name="emergency_credit"),
    path("homes/<int:home>/alert-level", alert_level_api.AlertLevel.as_view(), name="alert_level"),
    path("homes/<int:home>/disputes", disputes_api.Disputes.as_view(), name="disputes"),
    path(
        "homes/<int:home>/disputes/<int:dispute>/withdraw",
        disputes_api.WithdrawDispute.as_view(),
        name="withdraw_dispute",
    ),
]
