"""Words of a floor above, in every language that somebody may read: which of them a person wants is known later."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.conf import settings
from django.utils import translation

T = TypeVar("T")


def in_each(say: Callable[[], T]) -> dict[str, T]:
    """What `say` says in each language, by its code: where it says text, a value for the context of a message."""
    said = {}
    for code, _name in settings.LANGUAGES:
        with translation.override(code):
            said[code] = say()
    return said
