"""Reads settings from the environment, and says everything that is wrong with them at once, a line each.

Usage: ask for each variable, then call `finish()`. Nothing is silently defaulted: what is malformed is an error,
what is unset takes the default that stands in settings.py, in sight.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Environment:
    def __init__(self, values: dict[str, str] | None = None) -> None:
        self.values = dict(os.environ) if values is None else values
        self.problems: list[str] = []

    def text(self, name: str, default: str = "") -> str:
        return self.values.get(name, "").strip() or default

    def choice(self, name: str, default: str, *, among: tuple[str, ...]) -> str:
        value = self.text(name, default)
        if value not in among:
            self.refuse(name, f"is {value!r}, must be one of {', '.join(among)}")
            return default
        return value

    def integer(self, name: str, default: int, *, at_least: int, at_most: int) -> int:
        raw = self.text(name, str(default))
        try:
            value = int(raw)
        except ValueError:
            self.refuse(name, f"is {raw!r}, must be a whole number")
            return default
        if not at_least <= value <= at_most:
            self.refuse(name, f"is {value}, must be between {at_least} and {at_most}")
            return default
        return value

    def url(self, name: str, default: str, *, schemes: tuple[str, ...]) -> str:
        """A URL without a trailing slash. The value is never repeated in a message: it may hold a password."""
        value = self.text(name, default).rstrip("/")
        if not value:
            return ""
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError:
            self.refuse(name, "is not a URL")
            return default
        if parts.scheme not in schemes or not parts.netloc:
            self.refuse(name, f"must be a URL that begins with {' or '.join(s + '://' for s in schemes)}")
            return default
        return value

    def listed(self, name: str, default: list[str]) -> list[str]:
        value = self.text(name)
        return [part.strip() for part in value.split(",") if part.strip()] if value else default

    def key_reference(self, name: str, default: str = "") -> str:
        """`env:NAME` or `file:/path`; what it names is looked up when it is used."""
        value = self.text(name, default)
        if value and not value.startswith(("env:", "file:")):
            self.refuse(name, "must be env:NAME or file:/path (a reference to a key, never the key)")
            return ""
        return value

    def refuse(self, name: str, what: str) -> None:
        self.problems.append(f"meterpay: setting {name} {what}")

    def finish(self) -> None:
        """Ends the process with one line a problem and a non-zero exit, if there are any.

        Raises SystemExit: settings are wrong before anything runs, and a stack trace would help nobody.
        """
        if self.problems:
            raise SystemExit("\n".join(self.problems))


def is_loopback(url: str) -> bool:
    return (urlsplit(url).hostname or "") in LOOPBACK


def kept_secret(path: Path) -> str:
    """A development secret that outlives restarts: made once, readable by its owner alone."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(os.urandom(32).hex(), encoding="ascii")
        try:
            os.link(draft, path)  # whoever links first has made it; the others read that one
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="ascii")
