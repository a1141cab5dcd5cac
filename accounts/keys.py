"""Keys by reference: what settings and merchants name, `env:NAME` or `file:/path`, looked up when it is used.

A key is never in our tables, never in a log line and never in a message: errors name the reference alone.
"""

from __future__ import annotations

import os
from pathlib import Path

LIMIT_BYTES = 64 * 1024  # the longest thing named by a reference is a chain of root certificates, about 8 KB


class UnreadableKeyError(Exception):
    """What a reference names is not there, or not a text. An operator mends it; the message says which and why."""


def read_key(ref: str) -> str:
    """The text that `ref` names, without blanks around it; never empty. Raises UnreadableKeyError.

    Environments that hold one line a variable (docker's env files) may write the line breaks of a PEM as `\\n`.
    """
    scheme, _, name = ref.partition(":")
    if scheme == "env" and name:
        text = os.environ.get(name, "")
    elif scheme == "file" and name:
        text = _read_file(ref, Path(name))
    else:
        # What was entered may be the key itself, so it is not repeated.
        raise UnreadableKeyError("a key is named as env:NAME or file:/path")
    text = text.strip()
    if not text:
        raise UnreadableKeyError(f"{ref} is unset or empty")
    return text.replace("\\n", "\n") if text.startswith("-----BEGIN ") else text


def _read_file(ref: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise UnreadableKeyError(f"{ref} cannot be read: {error.strerror}") from error
    if len(content) > LIMIT_BYTES:
        raise UnreadableKeyError(f"{ref} is longer than {LIMIT_BYTES} bytes, which no key is")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        # Without the cause: its message would show bytes of the key.
        raise UnreadableKeyError(f"{ref} is not a text (a PEM is)") from None
