"""The addresses of tenants' pages."""

from __future__ import annotations

from django.urls import path, register_converter

from portal.pages import (
    asking,
    disputing,
    entering,
    front,
    home,
    household,
    my_number,
    paying,
    person,
    recharge,
    wechat_back,
)
from portal.pages.dates import DateConverter

register_converter(DateConverter, "date")

urlpatterns = [
    path("", front.front, name="front"),
    # without a login
    path("m/<slug:code>/", paying.meter, name="meter-page"),
    path("f/<str:token>/", paying.by_link, name="pay-link-page"),
    path("r/<slug:number>/", recharge.show, name="recharge-page"),
    path("r/<slug:number>/pay/", recharge.pay, name="recharge-pay"),
    path("r/<slug:number>/stages/", recharge.progress, name="recharge-progress-page"),
    path("r/<slug:number>/call-off/", recharge.call_off, name="recharge-call-off"),
    path("wechat/back/", wechat_back.come_back, name="wechat-back"),
    path("login/", entering.log_in, name="login-page"),
    path("privacy/", entering.privacy, name="privacy-page"),
    path("help/", person.help_index, name="help-index"),
    path("help/<slug:slug>/", person.help_article, name="help-page"),
    # with one
    path("logout/", entering.log_out, name="logout-page"),
    path("home/", home.homes, name="homes-page"),
    path("home/<int:home>/", home.home, name="home-page"),
    path("home/<int:home>/recharge/", home.recharge, name="recharge-form"),
    path("home/<int:home>/usage/", home.used, name="usage-page"),
    path("home/<int:home>/usage/<date:on>/", home.day, name="day-page"),
    path("home/<int:home>/usage/<date:on>/dispute/", disputing.dispute, name="dispute-page"),
    path("home/<int:home>/disputes/", disputing.disputes, name="disputes-page"),
    path("home/<int:home>/movements/", home.movements, name="movements-page"),
    path("home/<int:home>/prices/", home.prices, name="prices-page"),
    path("home/<int:home>/household/", household.household, name="household-page"),
    path("home/<int:home>/ask-to-pay/", asking.ask_to_pay, name="ask-to-pay-page"),
    path("messages/", person.messages, name="messages-page"),
    path("settings/", person.settings, name="settings-page"),
    path("settings/number/", my_number.number, name="number-page"),
]
