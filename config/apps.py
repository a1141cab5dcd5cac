from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """Wires the floors together; it has commands and no models."""

    name = "config"

    def ready(self) -> None:
        """Registers the system checks."""
        import_module("config.checks")
