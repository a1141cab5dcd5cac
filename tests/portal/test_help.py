"""Help is for everybody, in their language, and names the phone of the property that they live in or stand before."""

from __future__ import annotations

import re

import pytest

from accounts.models import Property
from portal import help as helping
from tests import makers

pytestmark = pytest.mark.django_db


@pytest.fixture
def place() -> Property:
    return makers.a_property(name="Garden", phone="400-820-1234")


def get(client, path="help", headers=None, *, language="en", **query):
    return client.get(f"/api/v1/{path}", query, headers={"Accept-Language": language} | (headers or {}))


def test_all_articles_are_listed_without_a_login(client):
    told = get(client).json()

    assert [one["slug"] for one in told["articles"]] == list(helping.ARTICLES)
    assert told["articles"][2]["title"] == "The power is off: what to do"
    assert told["phones"] == []


@pytest.mark.parametrize("slug", helping.ARTICLES)
def test_each_article_is_plain_text_in_both_languages(client, slug):
    english, chinese = (get(client, f"help/{slug}", language=one).json() for one in ("en", "zh-CN"))

    assert english["slug"] == slug
    assert set(re.findall(r"<(\w+)", english["html"])) <= {"h2", "p", "ul", "ol", "li", "a"}
    assert "on" + "click" not in english["html"]
    assert chinese["html"].count("<li>") == english["html"].count("<li>")


@pytest.mark.parametrize("slug", helping.ARTICLES)
def test_the_same_article_is_a_page(client, slug):
    page = client.get(f"/help/{slug}/", headers={"Accept-Language": "en"}).content.decode()

    article = get(client, f"help/{slug}").json()
    assert article["html"].strip() in page
    assert article["title"].replace("'", "&#x27;") in page


def test_the_phone_is_that_of_ones_own_property(client, place):
    tenant = makers.a_user()
    makers.a_tenancy(room=makers.a_room(place=place), holder=tenant)
    makers.a_tenancy(room=makers.a_room(place=makers.a_property(phone="95598")))

    told = get(client, "help/contact", makers.a_login(tenant)).json()

    assert told["phones"] == [{"property": "Garden", "phone": "400-820-1234"}]
    assert 'Garden: <a href="tel:400-820-1234">400-820-1234</a>' in told["html"]


def test_or_of_the_meter_that_was_scanned(client, place):
    meter = makers.a_meter(room=makers.a_room(place=place))
    meter.refresh_from_db()

    told = get(client, "help/power-off", meter=meter.code).json()

    assert told["phones"] == [{"property": "Garden", "phone": "400-820-1234"}]
    assert get(client, meter="000000000000").json()["phones"] == []


def test_a_property_without_a_phone_names_none(client):
    tenant = makers.a_user()
    makers.a_tenancy(holder=tenant)

    told = get(client, "help/contact", makers.a_login(tenant)).json()

    assert told["phones"] == []
    assert "on the label" in told["html"]


@pytest.mark.parametrize("slug", ["nothing", "base", "recharge2"])
def test_an_unknown_article_is_not_found(client, slug):
    assert get(client, f"help/{slug}").status_code == 404
    assert client.get(f"/help/{slug}/").status_code == 404
