from __future__ import annotations

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """Wires the floors together; it has commands and no models."""

    name = "config"
