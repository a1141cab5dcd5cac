"""The doctor names what is wrong and how to mend it."""

from __future__ import annotations

import os
import re
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

pytestmark = pytest.mark.django_db(transaction=True)
PROJECT = Path(__file__).resolve().parents[2]


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


@pytest.mark.parametrize("language", ["", "C.UTF-8", "zh_CN.UTF-8"])
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
    assert done.stdout.isascii() or not re.search("[\u4e00-\u9fff]", done.stdout)  # as all that is said in a shell
