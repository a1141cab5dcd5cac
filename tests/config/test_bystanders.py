"""What the tests do to the database that an operator named in DATABASE_URL: nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.gateways import database_url

PROJECT = Path(__file__).resolve().parents[2]
NEEDS_NO_DATABASE = "tests/config/test_logs.py"


@pytest.mark.django_db(transaction=True)
def test_tests_that_need_no_database_cut_nobody_off_from_the_operators():
    """pytest-django makes no test database for them, so that what ends connections after the tests would hit his."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", NEEDS_NO_DATABASE]
    with psycopg.connect(database_url(), autocommit=True) as somebody:
        ran = subprocess.run(
            words, cwd=PROJECT, env=os.environ | {"DATABASE_URL": database_url()}, capture_output=True, check=False
        )

        assert ran.returncode == 0, ran.stdout
        assert somebody.execute("select 1").fetchone() == (1,)
