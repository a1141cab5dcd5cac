"""Settings are looked at before anything runs: what is wrong is one clear line each, and no secret is repeated."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from config.environment import Environment, is_loopback, kept_secret
from tests.config.embedded_users import PROJECT

PRODUCTION = {
    "METERPAY_ENV": "production",
    "SECRET_KEY": "0123456789" * 6,
    "PUBLIC_URL": "https://pay.example.com",
    "ALLOWED_HOSTS": "pay.example.com",
    "DATABASE_URL": "postgresql://meterpay@127.0.0.1:1/none",
    "MQTT_URL": "mqtts://mqtt.example.com",
}
OURS = ("DATABASE_URL", "MQTT_URL", "SECRET_KEY", "PUBLIC_URL", "METERPAY_ENV", "ALLOWED_HOSTS")


def check(**env: str) -> subprocess.CompletedProcess[str]:
    """`manage.py check` with these settings alone."""
    rest = {name: value for name, value in os.environ.items() if name not in OURS}
    command = [sys.executable, "-W", "error", "manage.py", "check"]
    return subprocess.run(command, cwd=PROJECT, env=rest | env, capture_output=True, text=True, check=False)


def refusals(answer: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """By setting, what its line says. Whatever is no such line fails the test."""
    assert answer.returncode != 0
    assert answer.stdout == ""
    found = {}
    for line in answer.stderr.splitlines():
        assert line.startswith("meterpay: setting "), line
        name, what = line.removeprefix("meterpay: setting ").split(" ", 1)
        found[name] = what
    return found


def test_in_development_nothing_needs_to_be_set():
    answer = check()

    assert (answer.returncode, answer.stderr) == (0, "")


def test_production_runs_with_what_it_needs():
    answer = check(**PRODUCTION)

    assert (answer.returncode, answer.stderr) == (0, "")


def test_everything_that_is_malformed_is_told_at_once_a_line_each():
    told = refusals(
        check(
            METERPAY_ENV="prod",
            PUBLIC_URL="pay.example.com",
            DATABASE_URL="mysql://meterpay:hunter2hunter2@db/meterpay",
            DATABASE_LISTEN_URL="postgresql://meterpay:hunter2hunter2@db:port/meterpay",
            DATABASE_POOL_SIZE="many",
            MQTT_URL="http://meters:hunter2hunter2@broker",
            WECHAT_PAY_URL="api.mch.weixin.qq.com",
            VENDOR_TIMEOUT_S="0",
            WECHAT_MINI_SECRET_REF="hunter2hunter2",
            LOG_FORMAT="xml",
        )
    )

    assert told == {
        "METERPAY_ENV": "is 'prod', must be one of development, production",
        "PUBLIC_URL": "must be a URL that begins with http:// or https://",
        "DATABASE_URL": "must be a URL that begins with postgresql:// or postgres://",
        "DATABASE_LISTEN_URL": "is not a URL",
        "DATABASE_POOL_SIZE": "is 'many', must be a whole number",
        "MQTT_URL": "must be a URL that begins with mqtt:// or mqtts://",
        "WECHAT_PAY_URL": "must be a URL that begins with http:// or https://",
        "VENDOR_TIMEOUT_S": "is 0, must be between 1 and 30",
        "WECHAT_MINI_SECRET_REF": "must be env:NAME or file:/path (a reference to a key, never the key)",
        "LOG_FORMAT": "is 'xml', must be one of json, console",
    }
    assert "hunter2" not in str(told)


def test_production_says_what_is_missing():
    told = refusals(check(METERPAY_ENV="production"))

    assert set(told) == {"SECRET_KEY", "PUBLIC_URL", "ALLOWED_HOSTS", "DATABASE_URL", "MQTT_URL"}


def test_production_refuses_what_belongs_to_a_sandbox():
    told = refusals(
        check(
            **PRODUCTION,
            WECHAT_API_URL="http://127.0.0.1:9001",
            WECHAT_PAY_URL="http://localhost:9001",
            ALIPAY_GATEWAY_URL="https://openapi-sandbox.dl.alipaydev.com/gateway.do",
            WECHAT_MINI_APP_ID="wxsandbox000000001",
            ALIPAY_APP_ID="9021000000000001",
        )
    )

    assert set(told) == {
        "WECHAT_API_URL",
        "WECHAT_PAY_URL",
        "ALIPAY_GATEWAY_URL",
        "WECHAT_MINI_APP_ID",
        "ALIPAY_APP_ID",
    }


def test_production_refuses_a_sandboxs_secret_behind_a_reference():
    answer = check(**PRODUCTION, WECHAT_MINI_SECRET_REF="env:APP_SECRET", APP_SECRET="sandboxABCDEF0123456789")

    assert answer.returncode != 0
    assert "WECHAT_MINI_SECRET_REF names a sandbox's key" in answer.stderr
    assert "ABCDEF0123456789" not in answer.stderr


@pytest.mark.parametrize("value", ["", "   "])
def test_what_is_unset_or_blank_takes_the_default(value):
    env = Environment({"NAME": value})

    assert env.text("NAME", "default") == "default"
    assert env.integer("NAME", 7, at_least=1, at_most=9) == 7
    assert env.url("NAME", "https://a.example", schemes=("https",)) == "https://a.example"
    assert env.url("NAME", "", schemes=("https",)) == ""
    assert env.listed("NAME", ["a"]) == ["a"]
    assert env.choice("NAME", "a", among=("a", "b")) == "a"
    assert env.key_reference("NAME") == ""
    env.finish()


def test_what_is_set_is_taken_without_blanks_and_slashes():
    env = Environment({"NAME": " x ", "URL": "https://a.example:8443/base/", "LIST": "a, b,,", "KEY": "file:/k.pem"})

    assert env.text("NAME") == "x"
    assert env.url("URL", "", schemes=("https",)) == "https://a.example:8443/base"
    assert env.listed("LIST", []) == ["a", "b"]
    assert env.key_reference("KEY") == "file:/k.pem"
    env.finish()


@pytest.mark.parametrize(
    ("url", "expected"), [("http://127.0.0.1:1/", True), ("http://[::1]/", True), ("https://example.com", False)]
)
def test_loopback_is_this_machine_alone(url, expected):
    assert is_loopback(url) is expected


def test_a_development_secret_outlives_restarts_and_is_its_owners_alone(tmp_path):
    path = tmp_path / "var" / "secret_key"

    secret = kept_secret(path)

    assert len(secret) == 64
    assert kept_secret(path) == secret
    assert path.stat().st_mode & 0o077 == 0
    assert list(path.parent.iterdir()) == [path]


def test_of_two_processes_that_make_the_secret_at_once_one_wins(tmp_path, monkeypatch):
    path = tmp_path / "secret_key"

    def somebody_is_quicker(draft: object, target: object) -> None:
        path.write_text("theirs")
        raise FileExistsError

    monkeypatch.setattr(os, "link", somebody_is_quicker)

    assert kept_secret(path) == "theirs"
    assert list(tmp_path.iterdir()) == [path]
