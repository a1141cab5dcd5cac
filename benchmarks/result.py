"""What a benchmark found: a line for people, and the same as one JSON line in var/bench.jsonl."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from config.embedded.lease import var_folder

PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Result:
    """`ours` and `reference` are in `unit`; `runs` holds each of the interleaved runs, `more` whatever else was seen.

    `goal` says what is asked for in words, `is_met` whether it was reached.
    """

    name: str
    unit: str
    ours: float
    reference: float
    ratio: float
    goal: str
    is_met: bool
    runs: list[dict[str, float]]
    more: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        verdict = "reached" if self.is_met else "NOT reached"
        return (
            f"{self.name}: ours {self.ours:.4g} {self.unit}, reference {self.reference:.4g} {self.unit}, "
            f"ratio {self.ratio:.3g}, goal {self.goal}: {verdict}"
        )

    def keep(self) -> None:
        """Appends it to var/bench.jsonl with the date, the machine and the commit."""
        where = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": _machine(), "commit": _commit()}
        with (var_folder() / "bench.jsonl").open("a") as file:
            file.write(json.dumps(where | asdict(self), ensure_ascii=False) + "\n")


def _machine() -> str:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} × {cpu}, Python {platform.python_version()}"


def _commit() -> str:
    try:
        said = [
            subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True, check=True).stdout.strip()
            for words in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return said[0] + ("+" if said[1] else "")
