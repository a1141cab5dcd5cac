"""Gives a command the servers it needs: the operator's where they are named, embedded ones under `var/` otherwise."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import cast

from config.embedded.holding import EmbeddedServerError

BASE_DIR = Path(__file__).resolve().parent.parent.parent
WITHOUT_DATABASE = {
    "",
    "help",
    "--help",
    "-h",
    "version",
    "--version",
    "check",
    "collectstatic",
    "compilemessages",
    "makemessages",
    "spectacular",
}


def var_folder() -> Path:
    return Path(os.environ.get("METERPAY_VAR") or BASE_DIR / "var")


def ensure_database(arguments: list[str]) -> None:
    """Puts DATABASE_URL into the environment where it is unset and the command (manage.py's) needs a database.

    Ends the process with one line when the embedded server cannot start. In production nothing is started:
    the settings refuse a missing DATABASE_URL themselves. The demo chooses its servers itself.
    """
    command = arguments[0] if arguments else ""
    if command == "demo":
        _prepare_demo(arguments[1:])
        return
    production = os.environ.get("METERPAY_ENV") == "production"
    if os.environ.get("DATABASE_URL") or production or command in WITHOUT_DATABASE:
        return
    from config.embedded import postgres

    try:
        os.environ["DATABASE_URL"] = postgres.lease(var_folder() / "postgres")
    except EmbeddedServerError as error:
        sys.exit(f"meterpay: {error}")


def _prepare_demo(arguments: list[str]) -> None:
    from config.demo import ground

    try:
        ground.prepare(arguments)
    except EmbeddedServerError as error:
        sys.exit(f"meterpay: {error}")


def ensure_broker() -> None:
    """Puts MQTT_URL into the environment where it is unset. METERPAY_BROKER may ask for mosquitto or iotcore."""
    if os.environ.get("MQTT_URL") or os.environ.get("METERPAY_ENV") == "production":
        return
    from config.embedded import broker

    kind = os.environ.get("METERPAY_BROKER") or "auto"
    if kind not in ("auto", "mosquitto", "iotcore"):
        sys.exit("meterpay: setting METERPAY_BROKER must be auto, mosquitto or iotcore")
    try:
        os.environ["MQTT_URL"] = broker.lease(var_folder() / "broker", kind=cast(broker.Kind, kind))
    except EmbeddedServerError as error:
        sys.exit(f"meterpay: {error}")
