"""What is wrong with an installation, as the doctor tells it. In English, as all that is said in a shell."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ailment:
    """What is wrong, and how to mend it. A warning does not fail the examination."""

    where: str
    what: str
    cure: str
    is_warning: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.what} → {self.cure}"
