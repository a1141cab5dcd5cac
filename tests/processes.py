"""A look at the processes of this machine (Linux): whose child each is, of whose group, with which mark."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Seen(NamedTuple):
    pid: int
    state: str
    parent: int
    group: int


def living() -> list[Seen]:
    """All processes but zombies, oldest number first."""
    found = []
    for entry in sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        try:
            state, parent, group, *_rest = Path(f"/proc/{entry}/stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue  # it ended while we looked
        if state not in "ZX":
            found.append(Seen(entry, state, int(parent), int(group)))
    return found


def children_of(pid: int) -> list[int]:
    return [seen.pid for seen in living() if seen.parent == pid]


def group_of(pid: int) -> list[int]:
    return [seen.pid for seen in living() if seen.group == pid]


def marked(mark: str) -> list[int]:
    """Processes that were started with `mark` somewhere in their environment or their words."""
    found = []
    for seen in living():
        try:
            told = Path(f"/proc/{seen.pid}/environ").read_bytes() + Path(f"/proc/{seen.pid}/cmdline").read_bytes()
        except OSError:
            continue
        if mark.encode() in told:
            found.append(seen.pid)
    return found
