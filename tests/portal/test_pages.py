"""What people meet at the bare address, and when they are lost: a page in their language, and no stack trace."""

from __future__ import annotations

import pytest
from django.test import Client, RequestFactory
from django.utils import translation

from payments.models import CounterReceipt
from portal import errors
from tests import makers
from tests.desk import address, at_work, staff_of

pytestmark = pytest.mark.django_db
CHINESE, ENGLISH = "zh-CN,zh;q=0.9", "en-GB"


def look(path, language, client=None):
    return (client or Client()).get(path, headers={"Accept-Language": language})


@pytest.mark.parametrize(("language", "said", "lang"), [(CHINESE, "预付", "zh-hans"), (ENGLISH, "For tenants", "en")])
def test_the_bare_address_greets_tenants_and_shows_staff_the_way(language, said, lang):
    page = look("/", language)

    assert page.status_code == 200
    assert said in page.content.decode()
    assert f'<html lang="{lang}">' in page.content.decode()
    assert 'href="/admin/"' in page.content.decode()


@pytest.mark.parametrize(
    ("language", "said"), [(CHINESE, "没有"), (ENGLISH, "There is nothing at this address.")], ids=["zh", "en"]
)
@pytest.mark.parametrize("path", ["/nothing-here", "/admin/nothing/here/"])
def test_an_address_that_leads_nowhere_is_told_in_the_readers_language(language, said, path):
    manager = at_work(staff_of(makers.a_property()))

    page = look(path, language, manager)

    assert page.status_code == 404
    assert said in page.content.decode()
    assert "<h1>Not Found</h1>" not in page.content.decode()
    assert 'href="/admin/"' in page.content.decode()  # back to work


@pytest.mark.parametrize(("language", "said"), [(CHINESE, "权限"), (ENGLISH, "Your role does not reach this page.")])
def test_a_page_beyond_ones_role_is_told_in_the_readers_language(language, said):
    accountant = at_work(staff_of(makers.a_property(), "finance"))

    page = look(address(CounterReceipt, "add"), language, accountant)

    assert page.status_code == 403
    assert said in page.content.decode()
    assert "403 Forbidden" not in page.content.decode()


def test_a_form_from_before_the_login_is_told_to_be_sent_again():
    client = Client(enforce_csrf_checks=True, headers={"Accept-Language": "en"})

    page = client.post("/admin/login/", {"username": "x", "password": "y"})

    assert page.status_code == 403
    assert "Nothing was sent." in page.content.decode()
    assert "CSRF" not in page.content.decode()


@pytest.mark.parametrize(("language", "said"), [("zh-hans", "出错"), ("en", "Something went wrong on our side.")])
def test_a_fault_shows_its_number_and_nothing_else(language, said):
    request = RequestFactory().get("/admin/", TRACE_ID="trace-17")

    with translation.override(language):
        page = errors.fault_page(request)

    assert page.status_code == 500
    assert said in page.content.decode()
    assert "trace-17" in page.content.decode()
    assert "Traceback" not in page.content.decode()


def test_the_styles_of_these_pages_are_served(client):
    for line in look("/", ENGLISH).content.decode().split('href="')[1:]:
        href = line.split('"')[0]
        if href.endswith(".css"):
            served = client.get(href)
            assert served.status_code == 200
            b"".join(served.streaming_content)
            served.close()
