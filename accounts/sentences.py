"""Sentences one after the other: in English with a blank between them, in Chinese without."""

from __future__ import annotations

FULL_WIDTH_ENDS = "。！？；：，"


def joined(*sentences: str) -> str:
    """Those that say anything, as one text."""
    text = ""
    for sentence in filter(None, sentences):
        text += sentence if not text or text[-1] in FULL_WIDTH_ENDS else f" {sentence}"
    return text
