"""How people and secrets are written where not all of them may be shown."""

from __future__ import annotations


def masked(phone: str | None) -> str:
    """A phone number as lists show it: 138****5678."""
    return f"{phone[:3]}****{phone[-4:]}" if phone else ""


def shortened(secret: str) -> str:
    """An openid or the like as lists show it: enough to tell two apart, too little to use."""
    return f"{secret[:6]}…" if len(secret) > 6 else secret
