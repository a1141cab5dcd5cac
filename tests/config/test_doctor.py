"""The doctor names what is wrong and how to mend it."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from config import doctor
from config.embedded import broker
from config.management.commands.doctor import broker as examine_broker
from payments.models import Merchant, ProviderKey
from tests import makers
from tests.payments.conftest import wechat_merchant, world  # noqa: F401 (a fixture)

pytestmark = pytest.mark.django_db(transaction=True)
PROJECT = Path(__file__).resolve().parents[2]


def whats(examination) -> list[str]:
    return [ailment.what for ailment in examination(timezone.now())]


class TestMerchants:
    def test_good_keys_are_no_ailment(self, world):  # noqa: F811
        wechat_merchant(world, makers.a_property())

        assert whats(doctor.merchant_keys) == []

    def test_a_key_that_is_not_there_is_named(self, world):  # noqa: F811
        wechat_merchant(world, makers.a_property())
        Merchant.objects.update(private_key_ref="env:NOT_THERE")

        (found,) = whats(doctor.merchant_keys)

        assert "NOT_THERE" in found

    def test_a_certificate_that_runs_out_soon_is_a_warning(self, world):  # noqa: F811
        wechat_merchant(world, makers.a_property())
        ProviderKey.objects.filter(kind="certificate").update(ends_at=timezone.now() + timedelta(days=3))

        (found,) = doctor.merchant_keys(timezone.now())

        assert found.is_warning
        assert "runs out" in found.what

    def test_a_merchant_without_its_providers_key_is_named(self, world):  # noqa: F811
        wechat_merchant(world, makers.a_property())
        ProviderKey.objects.all().delete()

        assert whats(doctor.merchant_keys) == ["has no key of its provider"]


class TestDatabase:
    def test_it_finds_what_would_lose_money_in_a_power_cut(self):
        durable = doctor.database(timezone.now())
        with connection.cursor() as cursor:
            cursor.execute("select current_setting('fsync')")
            (fsync,) = cursor.fetchone()

        assert any("fsync" in ailment.what for ailment in durable) == (fsync == "off")

    def test_a_clock_that_is_off_is_named(self):
        found = [a.what for a in doctor.database(timezone.now() + timedelta(minutes=3))]

        assert any("apart" in what for what in found)


class TestBroker:
    @pytest.mark.parametrize("kind", ["mosquitto", "iotcore"])
    def test_a_broker_that_works_is_no_ailment(self, kind, settings, tmp_path_factory):
        folder = tmp_path_factory.mktemp("doctor")
        settings.MQTT_URL = broker.lease(folder / kind, kind=kind)

        assert list(examine_broker()) == []

    def test_a_broker_that_is_not_there_is_named(self, settings):
        settings.MQTT_URL = "mqtt://127.0.0.1:1"

        (found,) = examine_broker()

        assert found.where == "MQTT_URL"


@pytest.mark.parametrize("language", ["", "C.UTF-8"])
def test_the_command_says_what_is_wrong_and_fails(language):
    env = os.environ | {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "MQTT_URL": "mqtt://127.0.0.1:1"}
    env |= {"LANG": language, "DATABASE_POOL_SIZE": "1"}

    done = subprocess.run(
        [sys.executable, "manage.py", "doctor"],
        cwd=PROJECT,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 1
    assert "DATABASE_URL" in done.stdout
    assert "MQTT_URL" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
