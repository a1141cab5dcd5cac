"""A date within an address: 2026-11-23."""

from __future__ import annotations

from datetime import date


class DateConverter:
    regex = "20[0-9]{2}-[0-9]{2}-[0-9]{2}"

    def to_python(self, value: str) -> date:
        """Raises ValueError, which is an address that does not exist."""
        return date.fromisoformat(value)

    def to_url(self, value: date | str) -> str:
        """A template has it written already."""
        return value if isinstance(value, str) else value.isoformat()
