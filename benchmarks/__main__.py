"""`make bench`, or `python -m benchmarks [name …] [--quick]`: prints each result and appends it to var/bench.jsonl.

Exit status 0 also below the goal: speed depends on the machine, and whoever reads the line decides. It is not 0 when
something does not work or money does not add up.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys

NAMES = ("confirm", "restore", "ingest", "ingest_mqtt", "bills", "usage_api", "messages", "home")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="name", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="one short run: shows that it works, says little of speed")
    options = parser.parse_args()
    names = options.names or NAMES
    if len(names) > 1:
        return max(_alone(name, options.quick) for name in names)
    os.environ.setdefault("LOG_LEVEL", "INFO")
    result = importlib.import_module(f"benchmarks.{names[0]}").run(quick=options.quick)
    print(result.line(), flush=True)
    result.keep()
    return 0


def _alone(name: str, quick: bool) -> int:  # noqa: FBT001 - passed on as it came
    """In a process of its own: each has another database, and settings are read once a process."""
    words = [sys.executable, "-m", "benchmarks", name, *(["--quick"] if quick else [])]
    return subprocess.run(words, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
