"""From which address a request came: what our own proxies saw, never what the asker says."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import RequestFactory

from accounts.addresses import address_of

PROXY = "10.0.0.1"


def asked(told: str | None) -> str:
    headers = {} if told is None else {"X-Forwarded-For": told}
    return address_of(RequestFactory().get("/", headers=headers, REMOTE_ADDR=PROXY))


@pytest.mark.parametrize(
    ("proxies", "told", "address"),
    [
        (0, None, PROXY),
        (0, "198.51.100.9", PROXY),
        (1, "203.0.113.7", "203.0.113.7"),
        (1, "198.51.100.9, 203.0.113.7", "203.0.113.7"),
        (1, " , 203.0.113.7 ,", "203.0.113.7"),
        (2, "198.51.100.9, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        (2, "203.0.113.7", "203.0.113.7"),
        (1, "2001:db8::7", "2001:db8::7"),
        (1, "", PROXY),
        (1, None, PROXY),
    ],
)
def test_it_is_what_the_first_of_our_proxies_saw(settings, proxies, told, address):
    settings.TRUSTED_PROXIES = proxies

    assert asked(told) == address


def test_the_proxy_that_comes_with_us_says_who_asks():
    nginx = Path(__file__).parents[2] / "deploy" / "nginx.conf"

    assert "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;" in nginx.read_text()
